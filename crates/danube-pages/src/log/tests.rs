//! Lines as a terminal shows them, and that nothing else ever comes out.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn at(line: u64) -> LineAt {
    LineAt {
        line,
        continues: false,
        offset: 0,
        time_us: None,
        stream: Stream::Stdout,
    }
}

fn row(bytes: &[u8]) -> Row {
    let mut terminal = Terminal::new();
    terminal.push(bytes);
    terminal.end_line(at(1), 0)
}

fn runs(row: &Row) -> Vec<(&str, &str)> {
    row.runs
        .iter()
        .map(|it| (it.class.as_str(), it.text.as_str()))
        .collect()
}

#[test]
fn a_line_looks_as_on_a_terminal() {
    for (bytes, text) in [
        (&b"plain\n"[..], "plain"),
        (b"plain\r\n", "plain"),
        (b"10%\r20%\r100%\n", "100%"),
        (b"a long one\rshort\n", "shortg one"),
        (b"a long one\r\x1b[Kshort\n", "short"),
        (b"a long one\x1b[2K\x1b[1Gshort", "short"),
        (b"a long one\x1b[4D\x1b[1K!", "      !one"),
        (b"abc\x08\x08X", "aXc"),
        (b"\x08\x08a", "a"),
        (b"a\tb\tc", "a       b       c"),
        (b"12345678\r\tx", "12345678x"),
        (b"a\x1b[3Cb", "a   b"),
        (b"ab\x1b[9Dc", "cb"),
        (b"\x1b[5Gx", "    x"),
        (b"\x1b[Ax\x1b[2Jy\x1b[10;10Hz", " yz"),
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b[?25l\x1b[>4;2mx\x1b[!p", "x"),
        (b"\x1b7a\x1b8\x1b(B\x1b=b", "ab"),
        (b"\x1b]8;;http://x/\x1b\\link\x1b]8;;\x07", "link"),
        (b"\x1b]0;title\x07x\x1bPq#0\x1b\\y\x1b_z\x1b\\", "xy"),
        (b"\x1b]0;never ended\rx", "x"),
        (b"\x1b[3", ""),
        (b"", ""),
    ] {
        let shown = row(bytes);
        assert_eq!(shown.text(), text, "{:?}", String::from_utf8_lossy(bytes));
        assert_eq!(shown.left_out_bytes, 0);
    }
}

#[test]
fn wide_characters_take_two_columns_and_marks_none() {
    for (text, shown) in [
        ("あい\rab", "abい"),
        ("あい\ra", "a い"),
        ("abcd\rxあ", "xあd"),
        ("e\u{301}x\re", "ex"),
        ("a👨\u{200d}👩", "a👨\u{200d}👩"),
        ("می\u{200c}خواهم", "می\u{200c}خواهم"),
    ] {
        assert_eq!(row(text.as_bytes()).text(), shown);
    }
}

#[test]
fn what_cannot_be_seen_is_named_and_told_apart_from_text() {
    let shown = row("a\u{202e}b\u{0}\u{7}<U+0007>\u{9b}31m\u{feff}".as_bytes());
    let expected = [
        ("", "a"),
        ("c", "<U+202E>"),
        ("", "b"),
        ("c", "<U+0000><U+0007>"),
        ("", "<U+0007>"),
        ("c", "<U+009B>"),
        ("", "31m"),
        ("c", "<U+FEFF>"),
    ];
    assert_eq!(runs(&shown), expected);
    assert_eq!(row("\u{301}x".as_bytes()).text(), "<U+0301>x");
}

#[test]
fn what_is_no_utf8_is_replaced_wherever_it_is_split() {
    let bytes = b"a\xffb\xe2\x82\xacc\xe2\x82\xf0\x9f\x98\x80d\xc3";
    let whole = row(bytes);
    assert_eq!(whole.text(), "a\u{fffd}b€c\u{fffd}😀d\u{fffd}");
    for first in 0..=bytes.len() {
        let mut terminal = Terminal::new();
        terminal.push(&bytes[..first]);
        for byte in &bytes[first..] {
            terminal.push(&[*byte]);
        }
        assert_eq!(terminal.end_line(at(1), 0), whole, "split at {first}");
    }
}

#[test]
fn colours_go_on_from_line_to_line_until_something_else_begins() {
    let mut terminal = Terminal::new();
    terminal.push(b"a\x1b[1;31mb\x1b[3");
    assert_eq!(
        runs(&terminal.end_line(at(1), 0)),
        [("", "a"), ("f1 b", "b")]
    );
    terminal.push(b"2mc");
    assert_eq!(runs(&terminal.end_line(at(2), 0)), [("f1 b", "2mc")]);
    terminal.reset();
    terminal.push(b"d");
    assert_eq!(runs(&terminal.end_line(at(3), 0)), [("", "d")]);
}

#[test]
fn a_long_line_is_cut_and_says_by_how_much() {
    let long = row(&vec![b'x'; 1 << 20]);
    assert_eq!(long.text().len(), COLUMNS_MAX);
    assert_eq!(long.left_out_bytes, (1 << 20) - COLUMNS_MAX as u64);
    // A progress bar that never ends its line is as long as what it shows.
    let bar = row(&b"\r[#####     ] 50%".repeat(100_000));
    assert_eq!(
        (bar.text().as_str(), bar.left_out_bytes),
        ("[#####     ] 50%", 0)
    );
    let erased = row(&[&vec![b'x'; 9_000][..], b"\r\x1b[Kdone"].concat());
    assert_eq!((erased.text().as_str(), erased.left_out_bytes), ("done", 0));
    let far = row(b"\x1b[999999999Gx\x1b[99999999999999999999999Cy");
    assert_eq!((far.text().len(), far.left_out_bytes), (0, 1));
    let mut terminal = Terminal::new();
    terminal.push(b"x");
    assert_eq!(terminal.end_line(at(1), 7).left_out_bytes, 7);
}

#[test]
fn a_colour_for_each_letter_makes_no_line_heavy() {
    let rainbow: String = (0..100_000)
        .map(|it| format!("\x1b[3{}mé", it % 7))
        .collect();
    let shown = row(rainbow.as_bytes());
    assert!(shown.runs.len() <= 400);
    assert_eq!(shown.text().chars().count(), COLUMNS_MAX);
    let zalgo = row(format!("a{}", "\u{301}".repeat(10_000)).as_bytes());
    assert!(zalgo.text().len() < 20);
}

#[test]
fn groups_are_known_by_their_marks() {
    for (text, group, title) in [
        ("::group::Build it\n", Some(Group::Start), Some("Build it")),
        (
            "\x1b[34m##[group]Run make\x1b[0m",
            Some(Group::Start),
            Some("Run make"),
        ),
        ("::group::", Some(Group::Start), Some("Group")),
        ("::endgroup::", Some(Group::End), None),
        ("##[endgroup]", Some(Group::End), None),
        ("say ::group::x", None, None),
    ] {
        let shown = row(text.as_bytes());
        assert_eq!(
            (shown.group, shown.group_title().as_deref()),
            (group, title)
        );
    }
}

#[test]
fn a_row_is_little_json() {
    let plain = serde_json::to_string(&row(b"a\x1b[31mb")).unwrap();
    assert_eq!(plain, r#"{"line":1,"offset":0,"runs":["a",["f1","b"]]}"#);
    let gap = Gap {
        from: 10,
        to: 30,
        lines: 2,
        reason: GapReason::Truncated,
    };
    assert_eq!(gap.bytes(), 20);
    let text = serde_json::to_string(&Row::gap(3, gap)).unwrap();
    assert_eq!(
        text,
        r#"{"line":3,"offset":10,"runs":[],"gap":{"from":10,"to":30,"lines":2,"reason":"truncated"}}"#
    );
}

/// Output as hostile as it gets: sequences whole and broken, moves, marks, and any bytes.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"\x1b[",
        b"\x1b]",
        b"\x1bP",
        b"\x1b\\",
        b"\x07",
        b"\r",
        b"\x08",
        b"\t",
        b"\n",
        b";",
        b":",
        b"38",
        b"5",
        b"m",
        b"K",
        b"1K",
        b"2J",
        b"G",
        b"99C",
        b"4096G",
        b"D",
        b"\xe2\x80\xae",
        b"\xe2\x81\xa6",
        b"\xc2\x9b",
        b"\xcc\x81",
        b"\xe3\x81\x82",
        b"<script>alert(1)</script>",
        b"\x00",
        b"\xff",
        b"\xf0\x9f",
        b"\x1b[31m",
        b"\x1b[7;48;5;200m",
        b"::group::",
        b"\xf3\xa0\x81\x81",
        b"\x7f",
        b"text",
    ];
    let piece =
        prop_oneof![4 => select(known).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..8)];
    vec(piece, 0..200).prop_map(|it| it.concat())
}

/// Names of classes that the style knows, and no more.
fn is_known(class: &str) -> bool {
    let is_colour = |it: &str| it.parse::<u8>().is_ok_and(|it| it < 16);
    class.split(' ').filter(|it| !it.is_empty()).all(|it| {
        matches!(it, "b" | "d" | "i" | "u" | "s" | "c" | "gt")
            || it.strip_prefix(['f', 'g']).is_some_and(is_colour)
    })
}

proptest! {
    #[test]
    fn nothing_comes_out_but_text_and_known_classes(bytes in hostile(), cut in any::<prop::sample::Index>()) {
        let shown = row(&bytes);
        for run in &shown.runs {
            prop_assert!(is_known(&run.class), "{}", run.class);
            prop_assert!(!run.text.chars().any(char::is_control), "{:?}", run.text);
            let moves = ['\u{200e}', '\u{200f}', '\u{61c}'];
            let is_mover = |it: char| moves.contains(&it) || ('\u{202a}'..='\u{202e}').contains(&it) || ('\u{2066}'..='\u{2069}').contains(&it);
            prop_assert!(!run.text.chars().any(is_mover), "{:?}", run.text);
        }
        // Four bytes and four marks of four, or a name, for each column.
        prop_assert!(shown.text().len() <= COLUMNS_MAX * 20);
        prop_assert!(shown.weight_bytes() <= 256 * 1024);
        let json = serde_json::to_string(&shown).unwrap();
        prop_assert!(json.len() <= shown.weight_bytes(), "{} {}", json.len(), shown.weight_bytes());
        let mut terminal = Terminal::new();
        let cut = cut.index(bytes.len() + 1);
        terminal.push(&bytes[..cut]);
        terminal.push(&bytes[cut..]);
        prop_assert_eq!(terminal.end_line(at(1), 0), shown);
    }
}

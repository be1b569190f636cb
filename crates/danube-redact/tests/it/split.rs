//! The test body of `fuzz/fuzz_targets/redact_split.rs`: makes a job's output of
//! any bytes and looks only at what a user of the redactor sees.

use std::sync::OnceLock;

use danube_redact::{MASK, Redactor, Rules, Secrets};

/// Sets of values in which overlaps, prefixes and odd bytes meet.
const SETS: &[&[&[u8]]] = &[
    &[b"1212345678", b"abcdefgh", b"efghijkl", b"aabaabaabaa"],
    &[
        b"hunter2-",
        b"hunter2-production-key",
        b"s3cr3t",
        b"kanarienvogel-0815",
    ],
    &[b"first line of it\nsecond line\r\nx\nlast line of it"],
    &[b"tr0ub4dor&3/x+\"q'$ z%\\e", b"p\xc3\xa4ssw\xc3\xb6rd <y>"],
    &[b"\xff\xfe\x00\x01binary\x80", b"abababab", b"babababa"],
    &[],
];

/// What stands around values in a log. None ends a rule's value early.
const AROUND: &[&str] = &[
    "\n",
    "\r\n",
    "\r",
    " ",
    ",",
    ":",
    "=",
    "\"",
    "'",
    "\\",
    "\\\"",
    "&",
    "?",
    "@",
    "/",
    "-",
    ".",
    "\0",
    "a",
    "ab",
    "1",
    "12",
    "x=",
    "[red",
    "[redacted]",
    "token",
    "password: ",
    "--token ",
    "api_key=\"",
    "secret=",
    "authorization: bearer ",
    "https://u:",
    "://",
    "eyJ",
    "ghp_",
    "-----BEGIN RSA PRIVATE KEY-----\n",
    "-----END",
    "\u{1b}",
    "\u{1b}[",
    "\u{1b}[31m",
    "\u{1b}]0;t\u{7}",
    "\u{1b}]8;;",
    "\u{20ac}",
    "true",
    "null",
    "<name>",
];

/// Lines that hold a secret by the looks of it. Nothing before or behind such a
/// line can make the rule miss it.
const LINES: &[(&str, &str)] = &[
    ("\npassword=swordfish-77\n", "swordfish-77"),
    ("\n{\"api_key\": \"zork-frotz-31\"}\n", "zork-frotz-31"),
    (
        "\nAuthorization: Bearer mF_9.B5f-4.1JqM\n",
        "mF_9.B5f-4.1JqM",
    ),
    (
        "\nuse ghp_abcdefghijklmnopqrstuvwxyz0123456789\n",
        "klmnopqrstuvwxyz01",
    ),
    (
        "\nhttps://robot:gnusto-cleesh@git.example/x\n",
        "gnusto-cleesh",
    ),
    ("\nmysql --password plover-plugh9\n", "plover-plugh9"),
];

/// Most pieces of one output.
const PIECES_MAX: usize = 96;

/// More than a line that is scanned at once.
const LONG_RUN_BYTES: usize = 70_000;

/// Any bytes, one after the other; zeros when there are no more.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.next()) % end.max(1)
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// The values of one output, and what of them must not be seen.
struct Values {
    secrets: Secrets,
    values: Vec<Vec<u8>>,
    canaries: Vec<Vec<u8>>,
}

impl Values {
    fn new(rules: Rules, candidates: &[&[u8]]) -> Self {
        let secrets = Secrets::new(rules);
        let mut values = Vec::new();
        for value in candidates {
            if secrets.register_short(value).is_ok() {
                values.push(value.trim_ascii().to_vec());
            }
        }
        let canaries = values.iter().flat_map(|it| forms(it)).collect();
        Self {
            secrets,
            values,
            canaries,
        }
    }
}

static KNOWN: OnceLock<Vec<Values>> = OnceLock::new();

/// The sets above, under all rules and under none.
fn known() -> &'static [Values] {
    KNOWN.get_or_init(|| {
        let rules = [
            Rules::builtin(),
            Rules::none(),
            Rules::builtin().with_email(),
        ];
        let each = |rules: Rules| SETS.iter().map(move |it| Values::new(rules.clone(), it));
        rules.into_iter().flat_map(each).collect()
    })
}

/// Puts an output together of `data`, writes it in pieces with flushes, and looks
/// at what comes out.
///
/// # Panics
/// When another split gives another text, when a canary is in it, or when it holds
/// what was not in the output, or in another order.
pub(crate) fn check_split(data: &[u8]) {
    let mut data = Bytes(data);
    let own;
    let which = data.below(32);
    let values = if let Some(values) = known().get(which) {
        values
    } else {
        let candidates: Vec<&[u8]> = (0..=data.below(3))
            .map(|_| {
                let len = 6 + data.below(40);
                data.take(len)
            })
            .collect();
        let rules = if which % 2 == 0 {
            Rules::builtin()
        } else {
            Rules::none()
        };
        own = Values::new(rules, &candidates);
        &own
    };
    let cuts: Vec<usize> = (0..=data.below(8)).map(|_| data.below(40)).collect();
    let with_rules = which < SETS.len() || (SETS.len() * 2..known().len()).contains(&which);
    let mut planted = Vec::new();
    let text = text(&mut data, values, with_rules, &mut planted);

    let whole = write(&values.secrets, &text, &[usize::MAX]);
    let split = write(&values.secrets, &text, &cuts);
    assert!(
        whole == split,
        "{cuts:?} of {:?}\ngave    {:?}\nnot     {:?}",
        String::from_utf8_lossy(&text),
        String::from_utf8_lossy(&split),
        String::from_utf8_lossy(&whole)
    );
    let mut rest = &text[..];
    for kept in between_masks(&whole) {
        let at = find(rest, kept).unwrap_or_else(|| {
            panic!("{:?} was not written there", String::from_utf8_lossy(kept));
        });
        rest = &rest[at + kept.len()..];
        for canary in values
            .canaries
            .iter()
            .map(Vec::as_slice)
            .chain(planted.iter().copied())
        {
            assert!(
                find(kept, canary).is_none(),
                "{:?} leaked: {:?}",
                String::from_utf8_lossy(canary),
                String::from_utf8_lossy(kept)
            );
        }
    }
}

fn text(
    data: &mut Bytes<'_>,
    values: &Values,
    with_rules: bool,
    planted: &mut Vec<&'static [u8]>,
) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..PIECES_MAX {
        if data.0.is_empty() {
            break;
        }
        let op = data.next();
        let value = match values.values.len() {
            0 => &[][..],
            count => values.values[data.below(count)].as_slice(),
        };
        match op % 16 {
            0 | 1 => text.push(data.next()),
            2 => {
                let len = data.below(16);
                text.extend_from_slice(data.take(len));
            }
            3..=5 => text.extend_from_slice(value),
            6 => text.extend_from_slice(&value[..data.below(value.len() + 1)]),
            7 => text.extend_from_slice(&value[data.below(value.len() + 1)..]),
            8 => text.extend(with_colour(value, data.below(value.len() + 1))),
            9 | 10 => text.extend(encoded(data, value)),
            11 if with_rules => {
                let (line, canary) = LINES[data.below(LINES.len())];
                text.extend_from_slice(line.as_bytes());
                planted.push(canary.as_bytes());
            }
            // A line's secret without its key is none.
            12 if planted.is_empty() => {
                let again = data.below(64).min(text.len());
                text.extend_from_within(text.len() - again..);
            }
            13 if op == 253 && text.len() < LONG_RUN_BYTES => {
                let byte = data.next();
                text.extend(std::iter::repeat_n(byte, LONG_RUN_BYTES));
            }
            _ => text.extend_from_slice(AROUND[data.below(AROUND.len())].as_bytes()),
        }
    }
    text
}

/// Writes `text` in pieces of these sizes, over and over; 0 is a flush.
fn write(secrets: &Secrets, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut redactor = Redactor::new(secrets);
    let mut out = Vec::new();
    let mut rest = text;
    // Long texts in few writes: the edges of small ones are tried often enough.
    let times = if text.len() < 4096 { 1 } else { 997 };
    for cut in cuts.iter().cycle().take(text.len() * 2) {
        let (now, then) = rest.split_at(cut.saturating_mul(times).min(rest.len()));
        rest = then;
        match cut {
            0 => redactor.flush_partial(&mut out),
            _ => redactor.push(now, &mut out),
        }
        if rest.is_empty() {
            break;
        }
    }
    redactor.push(rest, &mut out);
    redactor.finish(&mut out);
    assert_eq!(redactor.held_bytes(), 0);
    out
}

fn with_colour(value: &[u8], at: usize) -> Vec<u8> {
    [&value[..at], b"\x1b[31m", &value[at..]].concat()
}

/// The value in one of its forms, with something before and behind it inside.
fn encoded(data: &mut Bytes<'_>, value: &[u8]) -> Vec<u8> {
    let form = data.below(7);
    let (before, behind) = (data.below(4), data.below(4));
    let inside = [&b"u:/"[..before.min(3)], value, &b"!\n?"[..behind.min(3)]].concat();
    match form {
        0 => base64(&inside, b"+/"),
        1 => base64(&inside, b"-_"),
        2 => hex(&inside, b"0123456789abcdef"),
        3 => hex(&inside, b"0123456789ABCDEF"),
        4 => percent(&inside),
        5 => json(&inside),
        _ => shell(&inside),
    }
}

/// What must not be seen of a value: itself, and the part of each of its encodings
/// that does not depend on its neighbours.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![
        value.to_vec(),
        hex(value, b"0123456789abcdef"),
        hex(value, b"0123456789ABCDEF"),
        percent(value),
        json(value),
        shell(value),
    ];
    for before in 0..3 {
        for last in [b"+/", b"-_"] {
            let coded = base64(&[&b"xx"[..before], value].concat(), last);
            let (from, to) = ((before * 8).div_ceil(6), (before + value.len()) * 8 / 6);
            forms.push(coded[from..to].to_vec());
        }
    }
    // A mask in the text ends what is searched: such a form can't be seen whole.
    forms.retain(|it| find(it, MASK.as_bytes()).is_none());
    forms
}

fn base64(bytes: &[u8], last: &[u8; 2]) -> Vec<u8> {
    const FIRST: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let sign = |six: u32| {
        *FIRST
            .iter()
            .chain(last)
            .nth(six as usize)
            .expect("64 signs")
    };
    let mut out = Vec::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | u32::from(*three.get(at).unwrap_or(&0))
        });
        for at in 0..=three.len() {
            out.push(sign(bits >> (18 - 6 * at) & 63));
        }
    }
    out
}

fn hex(bytes: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let both = |it: &u8| [digits[usize::from(it >> 4)], digits[usize::from(it & 15)]];
    bytes.iter().flat_map(both).collect()
}

fn percent(bytes: &[u8]) -> Vec<u8> {
    let one = |it: &u8| match it {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => vec![*it],
        it => format!("%{it:02X}").into_bytes(),
    };
    bytes.iter().flat_map(one).collect()
}

fn json(bytes: &[u8]) -> Vec<u8> {
    let one = |it: &u8| match it {
        b'"' | b'\\' => vec![b'\\', *it],
        b'\n' => b"\\n".to_vec(),
        b'\r' => b"\\r".to_vec(),
        b'\t' => b"\\t".to_vec(),
        8 => b"\\b".to_vec(),
        12 => b"\\f".to_vec(),
        it @ 0..0x20 => format!("\\u{it:04x}").into_bytes(),
        it => vec![*it],
    };
    bytes.iter().flat_map(one).collect()
}

fn shell(bytes: &[u8]) -> Vec<u8> {
    let one = |it: &u8| match it {
        b'\'' => b"'\\''".to_vec(),
        it => vec![*it],
    };
    bytes.iter().flat_map(one).collect()
}

fn between_masks(out: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = out;
    while let Some(at) = find(rest, MASK.as_bytes()) {
        parts.push(&rest[..at]);
        rest = &rest[at + MASK.len()..];
    }
    parts.push(rest);
    parts
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|it| *it == wanted[0]) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

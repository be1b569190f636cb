//! Windows of logs as they are read: any line, long lines, gaps, steps.

use danube_joblog::{JobLogs, Limits, LogReader, Mark, Rules, Secrets, Stream};
use danube_model::StepStatus;
use danube_pages::log::{GapReason, LINES_MAX, LogWindow, Row, WINDOW_BYTES_MAX};

use super::window::{Known, Place, window};

const JOB: &str = "job";

struct Log {
    logs: JobLogs,
    _dir: tempfile::TempDir,
}

/// A log of these pieces, and what happens between them.
fn log(limits: Limits, pieces: &[Piece<'_>]) -> Log {
    let dir = tempfile::tempdir().unwrap();
    let logs = JobLogs::open(dir.path(), limits).unwrap();
    let mut writer = logs.writer(JOB, &Secrets::new(Rules::none())).unwrap();
    for piece in pieces {
        match piece {
            Piece::Mark(mark) => {
                writer.mark(*mark).unwrap();
            }
            Piece::Text(text) => writer.write(Stream::Stdout, text).unwrap(),
        }
    }
    writer.close().unwrap();
    Log { logs, _dir: dir }
}

enum Piece<'a> {
    Text(&'a [u8]),
    Mark(Mark),
}

impl Log {
    fn reader(&self) -> LogReader {
        self.logs.reader(JOB).unwrap()
    }

    fn window(&self, place: Place, lines: u64) -> LogWindow {
        window(&mut self.reader(), (place, lines), &Known::default()).unwrap()
    }
}

fn texts(window: &LogWindow) -> Vec<(u64, String)> {
    let text = |it: &Row| match it.gap {
        Some(gap) => format!("{:?} {} {}", gap.reason, gap.lines, gap.bytes()),
        None => it.text(),
    };
    window.rows.iter().map(|it| (it.line, text(it))).collect()
}

fn numbered(lines: std::ops::Range<u64>) -> Vec<(u64, String)> {
    lines.map(|it| (it, format!("line {it}"))).collect()
}

fn lines(count: u64) -> Vec<u8> {
    (1..=count)
        .map(|it| format!("line {it}\n"))
        .collect::<String>()
        .into_bytes()
}

#[test]
fn a_window_holds_the_lines_that_were_asked_for() {
    let text = [lines(2_000), b"the rest".to_vec()].concat();
    let log = log(Limits::default(), &[Piece::Text(&text)]);
    let shown = log.window(Place::From(700), 3);
    assert_eq!(texts(&shown), numbered(700..703));
    assert_eq!(
        (shown.first_line, shown.next_line, shown.lines),
        (700, 703, 2_001)
    );
    assert_eq!(
        texts(&log.window(Place::Before(700), 3)),
        numbered(697..700)
    );
    let last = log.window(Place::End, 2);
    assert_eq!(
        texts(&last),
        [(2_000, "line 2000".into()), (2_001, "the rest".into())]
    );
    assert!(!last.has_later());
    let offset = text.windows(8).position(|it| it == b"line 900").unwrap();
    assert_eq!(
        texts(&log.window(Place::UpTo(offset as u64), 2)),
        numbered(898..900)
    );
    assert_eq!(
        log.window(Place::From(1), 5_000).rows.len() as u64,
        LINES_MAX
    );
    assert!(log.window(Place::Before(1), 10).rows.is_empty());
    // Past the end is the end.
    assert_eq!(log.window(Place::From(9_999), 10).first_line, 2_001);
    assert!(
        self::log(Limits::default(), &[])
            .window(Place::End, 10)
            .rows
            .is_empty()
    );
}

#[test]
fn windows_one_after_the_other_are_the_whole_log() {
    let log = log(Limits::default(), &[Piece::Text(&lines(1_234))]);
    let (mut down, mut up, mut line) = (Vec::new(), Vec::new(), 1);
    while line <= 1_234 {
        let shown = log.window(Place::From(line), 100);
        down.extend(texts(&shown));
        line = shown.next_line;
    }
    assert_eq!(down, numbered(1..1_235));
    while line > 1 {
        let shown = log.window(Place::Before(line), 100);
        up.splice(0..0, texts(&shown));
        line = shown.first_line;
    }
    assert_eq!(up, down);
}

#[test]
fn a_long_line_is_passed_over_and_the_next_one_is_found() {
    let long = [&b"before\n"[..], &vec![b'x'; 5 << 20], b"\nafter\n"].concat();
    let log = log(Limits::default(), &[Piece::Text(&long)]);
    let check = |row: &Row| {
        let said = row.text().len() as u64 + row.left_out_bytes;
        assert_eq!((row.line, said), (2, 5 << 20));
    };
    let shown = log.window(Place::From(1), 10);
    assert_eq!(shown.rows.len(), 3);
    check(&shown.rows[1]);
    let after = (3, "after".to_owned());
    assert_eq!(texts(&shown)[2], after);
    // So much isn't read for the end.
    assert_eq!(texts(&log.window(Place::End, 10)), [after]);
    check(log.window(Place::Before(3), 10).rows.last().unwrap());
    assert_eq!(
        texts(&log.window(Place::Before(2), 10)),
        [(1, "before".to_owned())]
    );
}

#[test]
fn a_window_is_bounded_by_its_weight_at_the_end_that_was_asked_for() {
    let line = |it: u32| format!("{it} {}\n", "<".repeat(4_000));
    let text: String = (1..=100).map(line).collect();
    let log = log(Limits::default(), &[Piece::Text(text.as_bytes())]);
    let weight = |it: &LogWindow| it.rows.iter().map(Row::weight_bytes).sum::<usize>();
    let first = log.window(Place::From(1), 100);
    assert!(first.rows.len() > 1 && weight(&first) <= WINDOW_BYTES_MAX);
    assert_eq!(first.next_line, first.rows.len() as u64 + 1);
    let last = log.window(Place::End, 100);
    assert!(weight(&last) <= WINDOW_BYTES_MAX);
    assert_eq!(last.rows.last().unwrap().line, 100);
    assert_eq!(last.first_line, 101 - last.rows.len() as u64);
    assert_eq!(last.first_line, last.rows[0].line);
}

#[test]
fn what_was_truncated_is_a_row_of_its_own_and_lines_keep_their_numbers() {
    let limits = Limits::new(1_000, 3_000).unwrap();
    let text = lines(2_000);
    let pieces: Vec<Piece<'_>> = text.chunks(100).map(Piece::Text).collect();
    let log = log(limits, &pieces);
    let head = log.window(Place::From(1), 500);
    let gap = head.rows.iter().position(|it| it.gap.is_some()).unwrap();
    assert_eq!(head.rows[gap].gap.unwrap().reason, GapReason::Truncated);
    assert_eq!(texts(&head)[..gap - 1], numbered(1..gap as u64)[..]);
    let missing = head.rows[gap].gap.unwrap();
    assert_eq!(head.next_line, head.rows[gap].line + missing.lines);
    let tail = log.window(Place::From(head.next_line), 500);
    assert!(
        tail.rows.iter().all(|it| it.gap.is_none()),
        "it was told already"
    );
    for row in tail.rows.iter().skip(1) {
        assert_eq!(row.text(), format!("line {}", row.line));
    }
    let above = log.window(Place::Before(head.next_line), 500);
    assert_eq!(texts(&above), texts(&head)[gap - 1..]);
    assert_eq!(
        log.window(Place::Before(above.first_line), 500).rows[..],
        head.rows[..gap - 1]
    );
    // A line in the middle of what is gone leads to the gap, and behind it.
    let middle = log.window(Place::From(head.rows[gap].line + missing.lines / 2), 500);
    assert_eq!(middle.rows, above.rows);
    let last = log.window(Place::End, 2);
    assert_eq!(texts(&last), numbered(1_999..2_001));
}

#[test]
fn rows_lie_in_the_steps_that_wrote_them() {
    let pieces = [
        Piece::Mark(Mark::Attempt(1)),
        Piece::Mark(Mark::StepStart(0)),
        Piece::Text(b"\x1b[31mone\ntwo"),
        Piece::Mark(Mark::StepEnd(0)),
        Piece::Mark(Mark::StepStart(1)),
        Piece::Text(b"\nthree\n"),
        Piece::Mark(Mark::StepEnd(1)),
    ];
    let log = log(Limits::default(), &pieces);
    let job = Known::of_steps(&[
        ("build", StepStatus::Success),
        ("test", StepStatus::Failure),
    ]);
    let shown = window(&mut log.reader(), (Place::From(1), 10), &job).unwrap();
    let folds: Vec<_> = shown
        .folds
        .iter()
        .map(|it| (it.name.as_str(), it.first_line, it.end_line, it.is_open))
        .collect();
    assert_eq!(
        folds,
        [("build", 1, Some(3), false), ("test", 3, Some(4), true)]
    );
    // What the one step wrote red the next one doesn't.
    let class = |line: usize| shown.rows[line].runs[0].class.as_str();
    assert_eq!((class(0), class(1), class(2)), ("f1", "f1", ""));
    let last = window(&mut log.reader(), (Place::From(3), 10), &job).unwrap();
    assert_eq!(last.folds.len(), 1);
}

//! Writer and reader together, through the files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copy;
mod damaged;
mod folds;
mod numbers;
mod robust;
#[path = "../../../danube-redact/tests/it/seeds.rs"]
mod seeds;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use danube_joblog::{
    Chunk, GapReason, JobLogs, Limits, LineItem, LogError, LogReader, Mark, Rules, Secrets, Stream,
    StreamKind,
};
use proptest::prelude::*;
use tempfile::TempDir;

const JOB: &str = "job-1";

fn logs(limits: Limits) -> (TempDir, JobLogs) {
    // In memory where there is such a place: hundreds of syncs take their time.
    let dir = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let logs = JobLogs::open(&dir.path().join("logs"), limits).unwrap();
    (dir, logs)
}

fn none() -> Secrets {
    Secrets::new(Rules::none())
}

/// A byte and its offset.
type Byte = (u64, u8);

/// The tests' logs are small.
fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// Everything from `from` on: bytes with their offsets, gaps as `from..to`.
fn read_all(reader: &mut LogReader, from: u64, max: usize) -> (Vec<Byte>, Vec<(u64, u64)>) {
    let (mut bytes, mut gaps) = (Vec::new(), Vec::new());
    let mut at = from;
    loop {
        match reader.read(at, max).unwrap() {
            Chunk::Data {
                offset,
                bytes: more,
                ..
            } => {
                assert_eq!(offset, at);
                assert!(more.len() <= max.max(1));
                bytes.extend(more.iter().enumerate().map(|(i, b)| (at + i as u64, *b)));
                at += more.len() as u64;
            }
            Chunk::Gap { from, to, .. } => {
                assert!(from == at && to > from);
                gaps.push((from, to));
                at = to;
            }
            Chunk::End { at: end } => {
                assert_eq!(end, at.min(end));
                return (bytes, gaps);
            }
        }
    }
}

fn text(reader: &mut LogReader) -> String {
    let (bytes, gaps) = read_all(reader, 0, 1 << 20);
    assert_eq!(gaps, []);
    String::from_utf8(bytes.into_iter().map(|it| it.1).collect()).unwrap()
}

#[derive(Clone, Debug)]
enum Op {
    Write(Stream, Vec<u8>),
    Tick,
    Mark,
    Reopen,
    Crash,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
    let bytes = prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..40);
    let op = prop_oneof![
        8 => (stream, bytes).prop_map(|(stream, bytes)| Op::Write(stream, bytes)),
        3 => Just(Op::Tick),
        1 => Just(Op::Mark),
        1 => Just(Op::Reopen),
        1 => Just(Op::Crash),
    ];
    prop::collection::vec(op, 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_from_any_offset_or_named_as_a_gap(
        ops in ops(),
        head in 1u64..60,
        room in 2u64..60,
        max in 1usize..50,
    ) {
        let (dir, logs) = logs(Limits::new(head, head + room).unwrap());
        let mut live = logs.reader(JOB).err().map(|_| Vec::new()).unwrap();
        let mut follower: Option<LogReader> = None;
        let mut writer = Some(logs.writer(JOB, &none()).unwrap());
        // What the log must hold, in the order in which it reached the disk.
        let mut expected: Vec<u8> = Vec::new();
        let mut held = [Vec::new(), Vec::new()];
        for op in &ops {
            match op {
                Op::Write(stream, bytes) => {
                    // One batch an operation keeps the order of the streams plain.
                    writer.as_mut().unwrap().write(*stream, bytes).unwrap();
                    held[usize::from(*stream == Stream::Stderr)].extend_from_slice(bytes);
                    writer.as_mut().unwrap().tick().unwrap();
                    expected.extend(held.iter_mut().flat_map(std::mem::take));
                }
                Op::Tick => writer.as_mut().unwrap().tick().unwrap(),
                Op::Mark => {
                    let at = writer.as_mut().unwrap().mark(Mark::StepStart(1)).unwrap();
                    prop_assert_eq!(at, expected.len() as u64);
                }
                Op::Reopen => {
                    let summary = writer.take().unwrap().close().unwrap();
                    prop_assert_eq!(summary.bytes, expected.len() as u64);
                    writer = Some(logs.writer(JOB, &none()).unwrap());
                }
                Op::Crash => {
                    drop(writer.take());
                    writer = Some(logs.writer(JOB, &none()).unwrap());
                }
            }
            // A follower that reads along sees every byte until it is dropped.
            let follower = follower.get_or_insert_with(|| logs.reader(JOB).unwrap());
            let (bytes, gaps) = read_all(follower, live.len() as u64, max);
            for (from, to) in gaps {
                live.extend_from_slice(&expected[at(from)..at(to)]);
            }
            for (offset, byte) in bytes {
                live.truncate(at(offset));
                live.extend_from_slice(&expected[live.len()..at(offset)]);
                live.push(byte);
            }
            prop_assert_eq!(&live, &expected);
        }
        let clean = !ops.iter().any(|op| matches!(op, Op::Crash));
        let summary = writer.take().unwrap().close().unwrap();
        prop_assert_eq!(summary.bytes, expected.len() as u64);
        prop_assert_eq!(summary.complete, clean && summary.missing_bytes == 0);

        let mut reader = logs.reader(JOB).unwrap();
        let len = expected.len() as u64;
        for from in 0..=len {
            let (bytes, gaps) = read_all(&mut reader, from, max);
            for (offset, byte) in &bytes {
                prop_assert_eq!(*byte, expected[at(*offset)]);
            }
            let gone: u64 = gaps.iter().map(|(from, to)| to - from).sum();
            prop_assert_eq!(bytes.len() as u64 + gone, len - from);
            if from == 0 {
                prop_assert_eq!(gone, summary.missing_bytes);
                let kept = bytes.iter().filter(|(at, _)| *at < head).count() as u64;
                prop_assert_eq!(kept, len.min(head));
            }
        }
        let text_bytes: u64 = fs::read_dir(dir.path().join("logs"))
            .unwrap()
            .map(|it| it.unwrap())
            .filter(|it| it.file_name().to_str().unwrap().ends_with(".log"))
            .map(|it| it.metadata().unwrap().len())
            .sum();
        prop_assert!(text_bytes <= head + room, "{} > {}", text_bytes, head + room);
        let usage = logs.usage_bytes().unwrap();
        prop_assert_eq!(logs.delete(JOB).unwrap(), usage);
        prop_assert_eq!(logs.usage_bytes().unwrap(), 0);
    }
}

#[test]
fn chunks_tell_stream_and_time_and_raw_reads_ignore_them() {
    let (_dir, logs) = logs(Limits::default());
    let mut writer = logs.writer(JOB, &none()).unwrap();
    writer.write(Stream::Stdout, b"out 1\n").unwrap();
    writer.write(Stream::Stderr, b"err\n").unwrap();
    writer.write(Stream::Stdout, b"out 2\n").unwrap();
    writer.tick().unwrap();
    writer.close().unwrap();
    let mut reader = logs.reader(JOB).unwrap();
    let mut seen = Vec::new();
    let mut at = 0;
    while let Chunk::Data {
        bytes,
        stream,
        time_us,
        offset,
    } = reader.read(at, 100).unwrap()
    {
        assert!(time_us.is_some());
        at = offset + bytes.len() as u64;
        seen.push((stream, String::from_utf8(bytes).unwrap()));
    }
    let expected = [
        (StreamKind::Stdout, "out 1\n"),
        (StreamKind::Stderr, "err\n"),
        (StreamKind::Stdout, "out 2\n"),
    ];
    assert_eq!(
        seen,
        expected.map(|(stream, text)| (stream, text.to_owned()))
    );
    match reader.read_raw(3, 100).unwrap() {
        Chunk::Data { bytes, .. } => assert_eq!(bytes, b" 1\nerr\nout 2\n"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn past_the_limit_head_and_newest_tail_stay_with_a_gap_between() {
    let (_dir, logs) = logs(Limits::new(10, 20).unwrap());
    let mut writer = logs.writer(JOB, &none()).unwrap();
    let letters: Vec<u8> = (b'a'..=b'z').collect();
    writer.write(Stream::Stdout, &letters).unwrap();
    writer.tick().unwrap();
    let summary = writer.close().unwrap();
    assert!(!summary.complete);
    let (bytes, gaps) = read_all(&mut logs.reader(JOB).unwrap(), 0, 100);
    let kept: String = bytes.iter().map(|it| char::from(it.1)).collect();
    assert_eq!(kept, "abcdefghijuvwxyz");
    assert_eq!(gaps, [(10, 20)]);
    assert_eq!(summary.missing_bytes, 10);
    match logs.reader(JOB).unwrap().read(12, 5).unwrap() {
        Chunk::Gap {
            from: 12,
            to: 20,
            reason,
        } => assert_eq!(reason, GapReason::Truncated),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_index_cut_or_damaged_at_any_byte_never_hides_the_text() {
    let (dir, logs) = logs(Limits::new(16, 40).unwrap());
    let mut writer = logs.writer(JOB, &none()).unwrap();
    for line in [
        "one\n", "two\n", "three\n", "four\n", "five\n", "six\n", "seven\n",
    ] {
        writer.write(Stream::Stdout, line.as_bytes()).unwrap();
        writer.tick().unwrap();
    }
    writer.close().unwrap();
    let whole = text(&mut logs.reader(JOB).unwrap());
    assert_eq!(whole, "one\ntwo\nthree\nfour\nfive\nsix\nseven\n");
    let path = dir.path().join("logs/job-1.idx");
    let index = fs::read(&path).unwrap();
    for cut in 0..index.len() {
        fs::write(&path, &index[..cut]).unwrap();
        let mut reader = logs.reader(JOB).unwrap();
        assert_eq!(text(&mut reader), whole, "cut at {cut}");
        assert!(!reader.summary().complete);

        let mut bad = index.clone();
        bad[cut] ^= 0x40;
        fs::write(&path, &bad).unwrap();
        assert_eq!(
            text(&mut logs.reader(JOB).unwrap()),
            whole,
            "damaged at {cut}"
        );

        // A writer repairs it for good and goes on at the logical end.
        let mut writer = logs.writer(JOB, &none()).unwrap();
        assert_eq!(writer.mark(Mark::Attempt(2)).unwrap(), whole.len() as u64);
        writer.close().unwrap();
        let reader = &mut logs.reader(JOB).unwrap();
        assert_eq!(text(reader), whole, "repaired {cut}");
        assert_eq!(reader.attempts()[0].start, whole.len() as u64);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(text(&mut logs.reader(JOB).unwrap()), whole);
}

#[test]
fn bytes_behind_the_last_record_are_kept_and_missing_ones_named() {
    let (dir, logs) = logs(Limits::default());
    let mut writer = logs.writer(JOB, &none()).unwrap();
    writer.write(Stream::Stdout, b"indexed\n").unwrap();
    drop(writer);
    let path = dir.path().join("logs/job-1.log");
    fs::write(&path, "indexed\nnot indexed\n").unwrap();
    let mut reader = logs.reader(JOB).unwrap();
    assert_eq!(text(&mut reader), "indexed\nnot indexed\n");
    assert!(matches!(
        reader.read(8, 99).unwrap(),
        Chunk::Data { time_us: None, .. }
    ));

    fs::write(&path, "ind").unwrap();
    let (bytes, gaps) = read_all(&mut logs.reader(JOB).unwrap(), 0, 100);
    assert_eq!((bytes.len(), gaps), (3, vec![(3, 8)]));
    let mut writer = logs.writer(JOB, &none()).unwrap();
    writer.write(Stream::Stdout, b"more\n").unwrap();
    let summary = writer.close().unwrap();
    assert_eq!(
        (summary.bytes, summary.missing_bytes, summary.complete),
        (13, 5, false)
    );
    let (bytes, gaps) = read_all(&mut logs.reader(JOB).unwrap(), 0, 100);
    assert_eq!(bytes.last(), Some(&(12, b'\n')));
    assert_eq!((bytes.len(), gaps), (8, vec![(3, 8)]));
}

#[test]
fn a_follower_is_woken_and_hears_of_the_end() {
    let (_dir, logs) = logs(Limits::default());
    assert!(logs.progress(JOB).is_none());
    let mut writer = logs.writer(JOB, &none()).unwrap();
    let mut progress = logs.progress(JOB).unwrap();
    let mut reader = logs.reader(JOB).unwrap();
    assert_eq!(reader.read(0, 10).unwrap(), Chunk::End { at: 0 });
    writer
        .write(Stream::Stdout, b"first line after a pause\n")
        .unwrap();
    assert!(progress.has_changed().unwrap());
    assert_eq!(progress.borrow_and_update().end, 25);
    assert_eq!(text(&mut reader), "first line after a pause\n");
    writer.close().unwrap();
    assert!(progress.borrow_and_update().closed);
    reader.refresh().unwrap();
    assert!(reader.summary().complete);
    assert!(logs.progress(JOB).is_none());
}

#[test]
fn a_writer_that_is_dropped_leaves_an_incomplete_log() {
    let (_dir, logs) = logs(Limits::default());
    let mut writer = logs.writer(JOB, &none()).unwrap();
    let progress = logs.progress(JOB).unwrap();
    writer.write(Stream::Stdout, b"line\nhalf").unwrap();
    drop(writer);
    assert!(progress.borrow().closed);
    let reader = logs.reader(JOB).unwrap();
    assert!(!reader.summary().complete);
    // Also after a later attempt that ends well: nobody knows what was lost.
    logs.writer(JOB, &none()).unwrap().close().unwrap();
    let summary = logs.reader(JOB).unwrap().summary();
    assert!(!summary.complete);
    assert_eq!(summary.missing_bytes, 0);
}

#[test]
fn a_reader_opened_before_a_crash_reads_on_in_the_next_attempt() {
    let (_dir, logs) = logs(Limits::default());
    let mut writer = logs.writer(JOB, &none()).unwrap();
    writer.write(Stream::Stdout, b"one\n").unwrap();
    let mut reader = logs.reader(JOB).unwrap();
    drop(writer);
    assert_eq!(text(&mut reader), "one\n");
    assert_eq!(reader.read(4, 9).unwrap(), Chunk::End { at: 4 });
    let mut writer = logs.writer(JOB, &none()).unwrap();
    writer.mark(Mark::Attempt(2)).unwrap();
    writer.write(Stream::Stdout, b"two\n").unwrap();
    assert_eq!(text(&mut reader), "one\ntwo\n");
}

#[test]
fn marks_make_steps_and_attempts() {
    let (_dir, logs) = logs(Limits::default());
    let mut writer = logs.writer(JOB, &none()).unwrap();
    writer.mark(Mark::Attempt(1)).unwrap();
    writer.mark(Mark::StepStart(0)).unwrap();
    writer.mark(Mark::StepSpan([7; 8])).unwrap();
    writer.write(Stream::Stdout, b"no newline").unwrap();
    assert_eq!(writer.mark(Mark::StepEnd(0)).unwrap(), 10);
    writer.mark(Mark::Attempt(2)).unwrap();
    writer.mark(Mark::StepStart(0)).unwrap();
    let reader = logs.reader(JOB).unwrap();
    let steps: Vec<_> = reader
        .steps()
        .iter()
        .map(|it| (it.step, it.attempt, it.start, it.end, it.span_id))
        .collect();
    let expected = [(0, 1, 0, Some(10), Some([7; 8])), (0, 2, 10, None, None)];
    assert_eq!(steps, expected);
    let attempts: Vec<_> = reader
        .attempts()
        .iter()
        .map(|it| (it.attempt, it.start))
        .collect();
    assert_eq!(attempts, [(1, 0), (2, 10)]);
}

#[test]
fn no_piece_of_a_torn_secret_reaches_a_file() {
    let (dir, logs) = logs(Limits::new(64, 256).unwrap());
    let secrets = Secrets::new(Rules::builtin());
    secrets.register(b"correct-horse-battery").unwrap();
    let mut writer = logs.writer(JOB, &secrets).unwrap();
    let raw = b"say correct-horse-battery\nexport TOKEN=abcdef0123456789\n\x1b[31mcorrect-\x1b[0mhorse-battery";
    for _ in 0..4 {
        for byte in raw {
            writer.write(Stream::Stdout, &[*byte]).unwrap();
            writer.tick().unwrap();
            for file in fs::read_dir(dir.path().join("logs")).unwrap() {
                let bytes = fs::read(file.unwrap().path()).unwrap();
                for secret in [&b"correct-"[..], b"horse", b"battery", b"abcdef", b"456789"] {
                    assert!(!bytes.windows(secret.len()).any(|it| it == secret));
                }
            }
        }
        writer.mark(Mark::StepEnd(0)).unwrap();
    }
    let counts = writer.counts();
    assert_eq!(counts.redactions["value"], 8);
    assert_eq!(counts.redactions["key_value"], 4);
    assert_eq!(counts.ingested_bytes, 4 * raw.len() as u64);
    assert!(counts.written_bytes < counts.ingested_bytes);
    assert!(counts.blocked_nanos > 0);
}

#[test]
fn a_prompt_shows_at_once_and_what_follows_is_due_within_100_ms() {
    let (_dir, logs) = logs(Limits::default());
    let mut writer = logs.writer(JOB, &Secrets::new(Rules::builtin())).unwrap();
    assert_eq!(writer.tick_due(), None);
    writer.write(Stream::Stdout, b"Continue? tok").unwrap();
    assert_eq!(text(&mut logs.reader(JOB).unwrap()), "Continue? tok");
    assert_eq!(writer.tick_due(), None, "nothing waits");
    writer.write(Stream::Stdout, b" ghp").unwrap();
    if let Some(due) = writer.tick_due() {
        assert!(due <= Instant::now() + Duration::from_millis(100));
        writer.tick().unwrap();
    }
    assert_eq!(text(&mut logs.reader(JOB).unwrap()), "Continue? tok ");
    assert_eq!(writer.tick_due(), None, "a held end wakes nobody");
    writer.close().unwrap();
    assert_eq!(text(&mut logs.reader(JOB).unwrap()), "Continue? tok ghp");
}

#[test]
fn lines_come_with_their_time_and_long_ones_in_pieces() {
    let (_dir, logs) = logs(Limits::default());
    let mut writer = logs.writer(JOB, &none()).unwrap();
    writer.write(Stream::Stdout, b"half").unwrap();
    writer.tick().unwrap();
    writer.write(Stream::Stdout, b" line\nnext\n").unwrap();
    writer.write(Stream::Stderr, &[b'x'; 200_000]).unwrap();
    writer.write(Stream::Stderr, b"\nlast").unwrap();
    writer.tick().unwrap();
    writer.close().unwrap();
    let mut reader = logs.reader(JOB).unwrap();
    let end = reader.end();
    let mut lines = Vec::new();
    for item in reader.lines_with_time(0, end) {
        match item.unwrap() {
            LineItem::Line(line) => {
                assert!(line.time_us.is_some());
                assert!(line.bytes.len() < 256 * 1024);
                lines.push(line);
            }
            LineItem::Gap { .. } => panic!("no gap here"),
        }
    }
    assert_eq!(lines[0].bytes, b"half line\n");
    assert_eq!((lines[1].offset, &lines[1].bytes[..]), (10, &b"next\n"[..]));
    assert_eq!(lines[2].stream, StreamKind::Stderr);
    assert!(!lines[2].continues && lines[3].continues);
    let last = lines.last().unwrap();
    assert_eq!((&last.bytes[..], last.continues), (&b"last"[..], false));
    let sum: usize = lines.iter().map(|it| it.bytes.len()).sum();
    assert_eq!(sum as u64, end);
}

#[test]
fn names_are_checked_and_one_log_has_one_writer() {
    let (_dir, logs) = logs(Limits::default());
    for bad in ["", "../x", "A", "a/b", "a.log", &"a".repeat(65)] {
        assert!(
            matches!(logs.writer(bad, &none()), Err(LogError::BadName)),
            "{bad:?}"
        );
        assert!(matches!(logs.reader(bad), Err(LogError::BadName)));
    }
    assert!(matches!(logs.reader(JOB), Err(LogError::NotFound)));
    assert_eq!(logs.delete(JOB).unwrap(), 0);
    let writer = logs.writer(JOB, &none()).unwrap();
    assert!(matches!(logs.writer(JOB, &none()), Err(LogError::InUse)));
    assert_eq!(
        logs.delete(JOB).unwrap_err().kind(),
        std::io::ErrorKind::ResourceBusy
    );
    writer.close().unwrap();
    logs.writer(JOB, &none()).unwrap();
}

#[test]
fn files_are_for_their_owner_only() {
    let (dir, logs) = logs(Limits::new(1, 5).unwrap());
    let mut writer = logs.writer(JOB, &none()).unwrap();
    writer.write(Stream::Stdout, b"abc\n").unwrap();
    writer.close().unwrap();
    let folder = dir.path().join("logs");
    assert_eq!(
        fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let mut files = 0;
    for file in fs::read_dir(&folder).unwrap() {
        assert_eq!(
            file.unwrap().metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
        files += 1;
    }
    assert_eq!(files, 4, "head, index and two tails");
}

#[test]
fn an_idle_folder_syncs_nothing_and_a_closed_log_is_synced_once() {
    let (_dir, logs) = logs(Limits::default());
    let mut writer = logs.writer(JOB, &none()).unwrap();
    assert_eq!(logs.syncs(), 0);
    writer.write(Stream::Stdout, b"line\n").unwrap();
    writer.close().unwrap();
    // Text and index, once each, unless the second fell in between.
    assert!((2..=5).contains(&logs.syncs()));
    let deadline = Instant::now() + Duration::from_secs(30);
    // The folder's turn comes within a second; nothing comes after.
    while logs.syncs() < 3 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let after = logs.syncs();
    assert!((3..=5).contains(&after));
    logs.reader(JOB).unwrap();
    assert_eq!(logs.syncs(), after);
}

#[test]
fn the_folder_tells_whose_log_takes_how_much_and_which_is_live() {
    let (dir, logs) = logs(Limits::new(4, 12).unwrap());
    let mut writer = logs.writer(JOB, &none()).unwrap();
    writer.write(Stream::Stdout, b"head and a tail\n").unwrap();
    writer.tick().unwrap();
    logs.writer("job-2", &none()).unwrap().close().unwrap();
    fs::write(dir.path().join("logs/not.ours"), "x").unwrap();
    fs::write(dir.path().join("logs/job-1.tail.x.log"), "x").unwrap();
    let mut stored = logs.stored().unwrap();
    stored.sort_by(|a, b| a.job.cmp(&b.job));
    let seen: Vec<_> = stored.iter().map(|it| (&it.job[..], it.live)).collect();
    assert_eq!(seen, [(JOB, true), ("job-2", false)]);
    let all: u64 = stored.iter().map(|it| it.bytes).sum();
    assert_eq!(all + 2, logs.usage_bytes().unwrap());
    writer.close().unwrap();
    let bytes = stored[0].bytes;
    assert!(logs.delete(JOB).unwrap() > bytes, "with its closing record");
    let left = logs.stored().unwrap();
    assert_eq!((left.len(), &left[0].job[..]), (1, "job-2"));
}

#[test]
fn limits_that_cannot_work_are_refused() {
    assert!(Limits::new(0, 10).is_err());
    assert!(Limits::new(10, 11).is_err());
    assert!(Limits::new(10, 12).is_ok());
}

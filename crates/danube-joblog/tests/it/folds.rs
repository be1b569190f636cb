//! Marks of plays and tasks, written while a process goes on writing.

use std::fs;

use danube_joblog::{Chunk, Fold, FoldKind, Limits, Mark, Rules, Secrets, Stream, StreamKind};

use crate::{JOB, logs, none, text};

fn seen(folds: &[Fold]) -> Vec<(FoldKind, u32, u32, u64, Option<u64>)> {
    let one = |it: &Fold| (it.kind, it.number, it.attempt, it.start, it.end);
    folds.iter().map(one).collect()
}

/// A log with two tasks of which the second goes on; where each stands.
fn write(logs: &danube_joblog::JobLogs) -> [Option<u64>; 3] {
    let mut writer = logs.writer(JOB, &none()).unwrap();
    writer.mark(Mark::Attempt(1)).unwrap();
    let mut mark = |mark, behind: &[u8]| {
        let at = writer.mark_if_clear(mark).unwrap();
        writer.write(Stream::Stdout, behind).unwrap();
        writer.write(Stream::Stderr, b"e\n").unwrap();
        writer.tick().unwrap();
        at
    };
    [
        mark(Mark::Play(0), b"PLAY\n"),
        mark(Mark::Task(0), b"TASK\nok\n"),
        mark(Mark::Task(1), b"TASK\n"),
    ]
}

#[test]
fn marks_stand_behind_all_that_was_written_and_change_nothing_for_other_readers() {
    let (_dir, logs) = logs(Limits::default());
    assert_eq!(write(&logs), [Some(0), Some(7), Some(17)]);
    let mut reader = logs.reader(JOB).unwrap();
    assert_eq!(text(&mut reader), "PLAY\ne\nTASK\nok\ne\nTASK\ne\n");
    let (play, task) = (FoldKind::Play, FoldKind::Task);
    let expected = [
        (play, 0, 1, 0, None),
        (task, 0, 1, 7, Some(17)),
        (task, 1, 1, 17, None),
    ];
    assert_eq!(seen(&reader.folds(10).unwrap()), expected);
    assert_eq!(reader.folds(2).unwrap().len(), 2);
    // A batch right before a mark keeps its stream, and lines their numbers.
    let Chunk::Data { stream, .. } = reader.read(15, 9).unwrap() else {
        panic!("bytes are there");
    };
    assert_eq!(stream, StreamKind::Stderr);
    assert_eq!(reader.line_start(6).unwrap().map(|it| it.offset), Some(17));
}

#[test]
fn an_index_that_is_torn_anywhere_keeps_the_marks_before() {
    let (_dir, whole) = logs(Limits::default());
    write(&whole);
    let full = whole.reader(JOB).unwrap().folds(10).unwrap();
    let (dir, torn) = logs(Limits::default());
    write(&torn);
    let index = dir.path().join(format!("logs/{JOB}.idx"));
    let head = dir.path().join(format!("logs/{JOB}.log"));
    let (bytes, log) = (fs::read(&index).unwrap(), fs::read(&head).unwrap());
    let mut counts = Vec::new();
    for len in (0..=bytes.len()).step_by(8) {
        fs::write(&index, &bytes[..len]).unwrap();
        let before = torn.reader(JOB).unwrap().folds(10).unwrap();
        let started = |it: &Fold| (it.kind, it.number, it.start);
        let expected: Vec<_> = full.iter().map(started).take(before.len()).collect();
        assert_eq!(before.iter().map(started).collect::<Vec<_>>(), expected);
        // The next writer brings the index in order, ends what its own attempt doesn't go
        // on with, and begins to count anew.
        let mut writer = torn.writer(JOB, &none()).unwrap();
        let begins = writer.mark(Mark::Attempt(2)).unwrap();
        assert_eq!(writer.mark_if_clear(Mark::Play(0)).unwrap(), Some(begins));
        writer.close().unwrap();
        let after = torn.reader(JOB).unwrap().folds(10).unwrap();
        let (last, rest) = after.split_last().unwrap();
        assert_eq!((last.attempt, last.start, last.end), (2, begins, None));
        assert_eq!(rest.iter().map(started).collect::<Vec<_>>(), expected);
        assert!(rest.iter().all(|it| it.end.is_some()), "{rest:?}");
        counts.push(before.len());
        fs::write(&head, &log).unwrap();
    }
    assert_eq!((counts[0], counts.last()), (0, Some(&3)));
}

#[test]
fn no_mark_divides_a_value() {
    let (_dir, logs) = logs(Limits::default());
    let secrets = Secrets::new(Rules::none());
    secrets
        .register(b"first line of it\nsecond line of it")
        .unwrap();
    let mut writer = logs.writer(JOB, &secrets).unwrap();
    writer
        .write(Stream::Stdout, b"say first line of it\n")
        .unwrap();
    assert_eq!(writer.mark_if_clear(Mark::Task(0)).unwrap(), None);
    writer
        .write(Stream::Stdout, b"second line of it\n")
        .unwrap();
    let at = writer.mark_if_clear(Mark::Task(1)).unwrap();
    writer.write(Stream::Stdout, b"TASK\n").unwrap();
    writer.close().unwrap();
    let mut reader = logs.reader(JOB).unwrap();
    let folds = reader.folds(10).unwrap();
    let all = text(&mut reader);
    assert!(!all.contains("line of it"), "{all}");
    let start = usize::try_from(folds[0].start).unwrap();
    assert_eq!((folds.len(), Some(folds[0].start)), (1, at));
    assert_eq!(&all[start..], "TASK\n");
}

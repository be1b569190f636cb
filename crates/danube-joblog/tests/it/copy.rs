//! A log that is written in one place and copied to another.

use danube_joblog::{CopiedRun, LogCopy, MaskError, Piece};

use super::*;

const LIMITS: Limits = Limits {
    head_bytes: 64,
    total_bytes: 4096,
};

fn piece(offset: u64, bytes: &[u8]) -> Piece<'_> {
    Piece {
        offset,
        bytes,
        runs: &[],
        marks: &[],
        gap_to: None,
    }
}

fn shown(logs: &JobLogs) -> String {
    text(&mut logs.reader(JOB).unwrap())
}

#[test]
fn a_piece_that_comes_twice_or_in_part_again_is_there_once() {
    let (_dir, logs) = logs(LIMITS);
    let mut copy = logs.copy(JOB, 1).unwrap();
    assert_eq!(copy.append(&piece(0, b"one\ntwo\n")).unwrap(), 8);
    assert_eq!(copy.append(&piece(0, b"one\ntwo\n")).unwrap(), 8);
    assert_eq!(copy.append(&piece(4, b"two\nthree\n")).unwrap(), 14);
    // Behind a hole: the answer says from where to send.
    assert_eq!(copy.append(&piece(15, b"five\n")).unwrap(), 14);
    assert_eq!(shown(&logs), "one\ntwo\nthree\n");
    let summary = copy.close().unwrap();
    assert!(summary.complete && summary.bytes == 14);
}

#[test]
fn marks_and_streams_stand_where_the_writer_had_them() {
    let (_dir, logs) = logs(LIMITS);
    let mut first = logs.writer(JOB, &none()).unwrap();
    first.mark(Mark::Attempt(1)).unwrap();
    first.write(Stream::Stdout, b"before\n").unwrap();
    first.close().unwrap();

    let mut copy = logs.copy(JOB, 2).unwrap();
    assert_eq!(copy.base(), 7);
    let run = |stream, bytes, time_us| CopiedRun {
        stream,
        bytes,
        time_us,
    };
    let piece = Piece {
        offset: 7,
        bytes: b"out\nerr\nend\n",
        runs: &[
            run(StreamKind::Stdout, 4, 10),
            run(StreamKind::Stderr, 4, 20),
        ],
        marks: &[
            (7, Mark::StepStart(0)),
            (7, Mark::StepSpan([7; 8])),
            (15, Mark::StepEnd(0)),
            (15, Mark::StepStart(1)),
            (19, Mark::StepEnd(1)),
        ],
        gap_to: None,
    };
    for _ in 0..2 {
        assert_eq!(copy.append(&piece).unwrap(), 19);
    }
    let mut reader = logs.reader(JOB).unwrap();
    let steps: Vec<_> = reader
        .steps()
        .iter()
        .map(|it| (it.step, it.attempt, it.start, it.end, it.span_id))
        .collect();
    assert_eq!(
        steps,
        [
            (0, 2, 7, Some(15), Some([7; 8])),
            (1, 2, 15, Some(19), None)
        ]
    );
    let Chunk::Data {
        stream, time_us, ..
    } = reader.read(11, 4).unwrap()
    else {
        panic!("bytes are there");
    };
    assert_eq!((stream, time_us), (StreamKind::Stderr, Some(20)));
    assert_eq!(text(&mut reader), "before\nout\nerr\nend\n");
}

/// What is sent from wherever the copy says that it ends.
fn send_on(copy: &mut LogCopy, whole: &[u8], until: usize) {
    let from = at(copy.end());
    let piece = piece(copy.end(), &whole[from..until.max(from)]);
    copy.append(&piece).unwrap();
}

#[test]
fn a_copy_that_its_process_left_open_goes_on_and_misses_nothing() {
    let (dir, logs) = logs(LIMITS);
    let whole: Vec<u8> = (0..200_u8).collect();
    let mut copy = logs.copy(JOB, 1).unwrap();
    send_on(&mut copy, &whole, 90);
    // As after `kill -9`: never closed, and the index lost its last record.
    drop(copy);
    drop(logs);
    let folder = dir.path().join("logs");
    let index = folder.join(format!("{JOB}.idx"));
    let len = fs::metadata(&index).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&index).unwrap();
    file.set_len(len - 3).unwrap();

    let logs = JobLogs::open(&folder, LIMITS).unwrap();
    let mut copy = logs.copy(JOB, 1).unwrap();
    assert_eq!(copy.base(), 0);
    send_on(&mut copy, &whole, 200);
    let summary = copy.close().unwrap();
    assert!(summary.complete, "{summary:?}");
    let (bytes, gaps) = read_all(&mut logs.reader(JOB).unwrap(), 0, 50);
    let bytes: Vec<u8> = bytes.into_iter().map(|it| it.1).collect();
    assert!(bytes == whole && gaps.is_empty());
    // Another attempt doesn't know what the one before had still to send.
    drop(logs.copy(JOB, 2).unwrap());
    assert!(!logs.copy(JOB, 3).unwrap().close().unwrap().complete);
}

#[test]
fn what_the_writer_lost_is_a_gap_of_the_same_size() {
    let (_dir, logs) = logs(LIMITS);
    let mut copy = logs.copy(JOB, 1).unwrap();
    let lossy = Piece {
        gap_to: Some(9),
        ..piece(0, b"abc\n")
    };
    assert_eq!(copy.append(&lossy).unwrap(), 9);
    assert_eq!(copy.append(&lossy).unwrap(), 9);
    copy.append(&piece(9, b"more\n")).unwrap();
    let summary = copy.close().unwrap();
    assert_eq!((summary.complete, summary.missing_bytes), (false, 5));
    let (bytes, gaps) = read_all(&mut logs.reader(JOB).unwrap(), 0, 50);
    assert_eq!(gaps, [(4, 9)]);
    assert_eq!(bytes.len(), 9);
}

#[test]
fn a_value_that_comes_late_is_blank_in_what_is_there_and_in_what_was_under_way() {
    let (_dir, logs) = logs(LIMITS);
    let mut copy = logs.copy(JOB, 1).unwrap();
    copy.append(&piece(0, b"the hunter22 before\n")).unwrap();
    let masked = logs.mask(JOB, b"hunter22", false).unwrap();
    assert_eq!(masked.lines, 1);
    // The writer says in its own time how many lines it blanked: offsets stay.
    assert_eq!(copy.append(&piece(20, b"a hunter22 behind\n")).unwrap(), 38);
    assert!(!shown(&logs).contains("hunter22"), "{}", shown(&logs));
    assert_eq!(shown(&logs).len(), 38);
    copy.close().unwrap();
    assert!(matches!(
        logs.mask(JOB, b"hunter22", false),
        Err(MaskError::NotLive)
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_comes_in_whichever_order_the_copy_is_a_prefix_without_a_hole(
        pieces in prop::collection::vec((0..200_usize, 0..80_usize), 1..40),
        reopened in prop::collection::vec(any::<bool>(), 40),
    ) {
        let (_dir, logs) = logs(Limits { head_bytes: 64, total_bytes: 100_000 });
        let whole: Vec<u8> = (0..=255).collect();
        let mut copy = Some(logs.copy(JOB, 1).unwrap());
        for ((from, len), reopen) in pieces.into_iter().zip(reopened) {
            if reopen {
                drop(copy.take());
                copy = Some(logs.copy(JOB, 1).unwrap());
            }
            let copy = copy.as_mut().unwrap();
            let before = copy.end();
            let to = (from + len).min(whole.len());
            let end = copy.append(&piece(from as u64, &whole[from..to])).unwrap();
            let expected = if from as u64 <= before { before.max(to as u64) } else { before };
            prop_assert_eq!(end, expected);
        }
        drop(copy);
        let (bytes, gaps) = read_all(&mut logs.reader(JOB).unwrap(), 0, 50);
        let bytes: Vec<u8> = bytes.into_iter().map(|it| it.1).collect();
        prop_assert!(gaps.is_empty());
        prop_assert_eq!(&bytes[..], &whole[..bytes.len()]);
    }
}

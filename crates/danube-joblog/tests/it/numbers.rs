//! Lines by number and places by time, against a naive count.

use std::fs;

use danube_joblog::{Chunk, JobLogs, Limits, LineStart, LogReader, Mark, Stream};
use proptest::prelude::*;

use crate::{JOB, Op, at, logs, none, ops, read_all};

/// What the numbers must be, from all bytes that were ever written.
struct Model<'a> {
    bytes: &'a [u8],
    gaps: Vec<(u64, u64)>,
}

impl Model<'_> {
    fn starts(&self) -> Vec<u64> {
        let ends = self.bytes.iter().enumerate().filter(|it| *it.1 == b'\n');
        let starts = [0].into_iter().chain(ends.map(|it| it.0 as u64 + 1));
        starts.filter(|it| *it < self.bytes.len() as u64).collect()
    }

    fn gap_end(&self, offset: u64) -> Option<u64> {
        let within = |it: &&(u64, u64)| it.0 <= offset && offset < it.1;
        self.gaps.iter().find(within).map(|it| it.1)
    }

    fn start(&self, mut offset: u64) -> LineStart {
        let mut in_gap = false;
        while let Some(end) = self.gap_end(offset) {
            (offset, in_gap) = (end, true);
        }
        LineStart { offset, in_gap }
    }

    fn line_at(&self, offset: u64) -> u64 {
        let before = &self.bytes[..at(offset)];
        before.iter().filter(|b| **b == b'\n').count() as u64 + 1
    }

    fn check(&self, reader: &mut LogReader) {
        let starts = self.starts();
        let lines = starts.len() as u64;
        let ends_in_gap = self.gaps.last().is_some_and(|it| it.1 == reader.end());
        let unknown = u64::from(ends_in_gap && self.bytes.ends_with(b"\n"));
        assert_eq!(reader.line_count().unwrap(), lines + unknown);
        assert_eq!(reader.line_start(0).unwrap(), None);
        for (line, start) in (1..).zip(&starts) {
            let mut found = reader.line_start(line).unwrap().unwrap();
            if self.gaps.iter().any(|it| it.1 == *start) {
                // Whether the gap's last byte was an end of line is not known.
                found.in_gap = false;
            }
            assert_eq!(found, self.start(*start), "line {line}");
        }
        for line in [lines + 1 + unknown, lines + 2, u64::MAX] {
            assert_eq!(reader.line_start(line).unwrap(), None);
        }
        for offset in 0..=self.bytes.len() as u64 {
            let found = reader.line_at(offset).unwrap();
            let expected = self.line_at(offset);
            if self.gap_end(offset).is_some() {
                assert!(found <= expected);
            } else {
                assert_eq!(found, expected, "offset {offset}");
            }
        }
    }
}

fn check(reader: &mut LogReader, bytes: &[u8]) {
    let gaps = read_all(reader, 0, 1000).1;
    Model { bytes, gaps }.check(reader);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn numbers_stay_while_the_log_is_written_and_its_middle_goes(
        ops in ops(),
        head in 1u64..60,
        room in 2u64..60,
    ) {
        let (_dir, logs) = logs(Limits::new(head, head + room).unwrap());
        let mut writer = Some(logs.writer(JOB, &none()).unwrap());
        let mut follower = logs.reader(JOB).unwrap();
        let (mut expected, mut held) = (Vec::new(), [Vec::new(), Vec::new()]);
        for op in &ops {
            match op {
                Op::Write(stream, bytes) => {
                    writer.as_mut().unwrap().write(*stream, bytes).unwrap();
                    held[usize::from(*stream == Stream::Stderr)].extend_from_slice(bytes);
                    writer.as_mut().unwrap().tick().unwrap();
                    expected.extend(held.iter_mut().flat_map(std::mem::take));
                }
                Op::Tick => writer.as_mut().unwrap().tick().unwrap(),
                Op::Mark => {
                    writer.as_mut().unwrap().mark(Mark::Attempt(1)).unwrap();
                }
                Op::Reopen => {
                    writer.take().unwrap().close().unwrap();
                    writer = Some(logs.writer(JOB, &none()).unwrap());
                }
                Op::Crash => {
                    drop(writer.take());
                    check(&mut logs.reader(JOB).unwrap(), &expected);
                    writer = Some(logs.writer(JOB, &none()).unwrap());
                }
            }
            follower.refresh().unwrap();
            check(&mut follower, &expected);
        }
        drop(writer);
        check(&mut follower, &expected);
        check(&mut logs.reader(JOB).unwrap(), &expected);
    }
}

fn whole_log(logs: &JobLogs, lines: &[&str]) -> Vec<u8> {
    let mut writer = logs.writer(JOB, &none()).unwrap();
    for line in lines {
        writer.write(Stream::Stdout, line.as_bytes()).unwrap();
        writer.tick().unwrap();
    }
    writer.close().unwrap();
    lines.concat().into_bytes()
}

#[test]
fn numbers_come_back_from_the_text_when_the_index_is_cut_or_damaged_anywhere() {
    let (dir, logs) = logs(Limits::new(16, 80).unwrap());
    let bytes = whole_log(
        &logs,
        &["one\n\ntwo", "\n", "three\nfour\n", "five\n", "si\nx"],
    );
    let path = dir.path().join("logs/job-1.idx");
    let index = fs::read(&path).unwrap();
    for place in 0..index.len() {
        fs::write(&path, &index[..place]).unwrap();
        check(&mut logs.reader(JOB).unwrap(), &bytes);
        let mut bad = index.clone();
        bad[place] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        check(&mut logs.reader(JOB).unwrap(), &bytes);
        // And the next writer puts them into the index.
        let mut writer = logs.writer(JOB, &none()).unwrap();
        check(&mut logs.reader(JOB).unwrap(), &bytes);
        writer.write(Stream::Stdout, b"th\n").unwrap();
        writer.close().unwrap();
        let more = [&bytes[..], b"th\n"].concat();
        check(&mut logs.reader(JOB).unwrap(), &more);
        let text = dir.path().join("logs/job-1.tail.00000000000000000016.log");
        fs::write(text, &bytes[16..]).unwrap();
    }
}

#[test]
fn lines_lost_with_the_end_of_a_file_keep_their_numbers() {
    let (dir, logs) = logs(Limits::default());
    let bytes = whole_log(&logs, &["one\n", "two\n", "three\nfour\n"]);
    let mut writer = logs.writer(JOB, &none()).unwrap();
    writer.write(Stream::Stdout, b"five\n").unwrap();
    drop(writer);
    fs::write(dir.path().join("logs/job-1.log"), &bytes[..10]).unwrap();
    let bytes = [&bytes[..], b"five\n"].concat();
    check(&mut logs.reader(JOB).unwrap(), &bytes);
    let mut writer = logs.writer(JOB, &none()).unwrap();
    writer.write(Stream::Stdout, b"six\n").unwrap();
    writer.close().unwrap();
    check(
        &mut logs.reader(JOB).unwrap(),
        &[&bytes[..], b"six\n"].concat(),
    );
}

#[test]
fn a_large_log_without_an_index_is_counted_once_and_then_searched() {
    let (dir, logs) = logs(Limits::default());
    let lines = 40_000_u64;
    let text: String = (1..=lines)
        .map(|n| format!("line number {n:>10}\n"))
        .collect();
    assert!(text.len() > 3 * 256 * 1024);
    fs::write(dir.path().join("logs/job-1.log"), &text).unwrap();
    let by_reader = &mut logs.reader(JOB).unwrap();
    // With a writer the same stands in the index.
    let find = |reader: &mut LogReader| {
        assert_eq!(reader.line_count().unwrap(), lines);
        for line in [1, 2, 11_398, 11_399, 20_000, lines] {
            let offset = (line - 1) * 23;
            let start = LineStart {
                offset,
                in_gap: false,
            };
            assert_eq!(reader.line_start(line).unwrap(), Some(start));
            assert_eq!(reader.line_at(offset + 22).unwrap(), line);
        }
    };
    find(by_reader);
    logs.writer(JOB, &none()).unwrap().close().unwrap();
    find(&mut logs.reader(JOB).unwrap());
}

#[test]
fn a_time_leads_to_the_first_batch_written_then_or_later() {
    let (_dir, logs) = logs(Limits::default());
    let bytes = whole_log(&logs, &["a", "b\n", "c", "d\n", "e"]);
    let mut reader = logs.reader(JOB).unwrap();
    let (mut times, mut from) = (Vec::new(), 0);
    while let Chunk::Data {
        bytes,
        time_us: Some(time),
        offset,
        ..
    } = reader.read(from, 100).unwrap()
    {
        times.push((time, offset));
        from = offset + bytes.len() as u64;
    }
    let naive = |time: u64| {
        let first = times.iter().find(|it| it.0 >= time);
        first.map_or(bytes.len() as u64, |it| it.1)
    };
    for time in times.iter().flat_map(|it| [it.0 - 1, it.0, it.0 + 1]) {
        let time = time.max(times[0].0);
        assert_eq!(reader.offset_at_time(time).unwrap(), naive(time), "{time}");
    }
    assert_eq!(reader.offset_at_time(0).unwrap(), 0);
    assert_eq!(reader.offset_at_time(u64::MAX).unwrap(), 5 + 2);
}

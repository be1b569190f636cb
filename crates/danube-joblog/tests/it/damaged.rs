//! The test body of `fuzz/fuzz_targets/joblog_index.rs`: makes the files of a log
//! of any bytes, and reads them as anybody would.

use std::fs;
use std::path::Path;

use danube_joblog::{Chunk, JobLogs, Limits, LineItem, LogReader, Mark, Rules, Secrets, Stream};

/// Offsets that are tried beside those that the bytes ask for.
const ODD_OFFSETS: [u64; 6] = [0, 1, 31, u64::MAX / 2, u64::MAX - 1, u64::MAX];

/// Most bytes or gaps that are read of one log: its index may speak of exabytes.
const CHUNKS_MAX: usize = 4096;

/// Two exabytes: a log that ends there takes no more, but nobody panics.
const ABSURD_END: u64 = 1 << 61;

/// The job whose files are made up.
const JOB: &str = "job-1";

/// Any bytes, one after the other; zeros when there are no more.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A number that is small, near the last one, or anything at all.
    fn number(&mut self, last: u64) -> u64 {
        match self.next() {
            kind @ 0..=127 => last.wrapping_add(u64::from(kind)),
            128..=191 => u64::from(self.next()) << (self.next() % 57),
            192..=223 => last,
            _ => {
                let mut eight = [0xff; 8];
                let taken = self.take(8);
                eight[..taken.len()].copy_from_slice(taken);
                u64::from_le_bytes(eight)
            }
        }
    }
}

/// Makes the files below `dir` (emptied before) and reads them.
///
/// # Panics
/// When a reader panics, goes backwards or does not end.
pub(crate) fn check_index(dir: &Path, logs: &JobLogs, data: &[u8]) {
    for entry in fs::read_dir(dir).expect("the folder is there").flatten() {
        fs::remove_file(entry.path()).expect("an old file goes");
    }
    let mut data = Bytes(data);
    let head = usize::from(data.next());
    fs::write(dir.join("job-1.log"), vec![b'h'; head]).expect("write");
    for _ in 0..data.next() % 4 {
        let (base, len) = (data.number(head as u64), usize::from(data.next()));
        fs::write(
            dir.join(format!("job-1.tail.{base:020}.log")),
            vec![b't'; len],
        )
        .expect("write");
    }
    let index = index(&mut data);
    fs::write(dir.join("job-1.idx"), index).expect("write");

    let mut reader = logs.reader(JOB).expect("the log opens");
    let end = read_all(&mut reader);
    for from in ODD_OFFSETS {
        look_at(&mut reader, from);
    }
    let again = read_all(&mut logs.reader(JOB).expect("the log opens again"));
    assert_eq!(end, again, "the same files gave another log");
    goes_on(logs);
}

/// A header and records with good checksums, and now and then bytes that are none.
fn index(data: &mut Bytes<'_>) -> Vec<u8> {
    let mut index = Vec::new();
    if data.next() < 240 {
        index.extend_from_slice(b"DANUBEIX\x01\0\x20\0");
        index.extend_from_slice(&[0; 16]);
        index.extend_from_slice(&crc32(&index).to_le_bytes());
    }
    let mut last = 0;
    while !data.0.is_empty() {
        let kind = data.next();
        if kind >= 250 {
            let len = usize::from(data.next());
            index.extend_from_slice(data.take(len));
            continue;
        }
        let mut record = vec![1 + kind % 8, data.next() % 4, 0, 0];
        record.extend_from_slice(&u32::from(data.next()).to_le_bytes());
        last = data.number(last);
        record.extend_from_slice(&last.to_le_bytes());
        record.extend_from_slice(&data.number(last).to_le_bytes());
        let high = if kind >= 240 { data.next() } else { 0 };
        record.extend_from_slice(&u32::from(high).to_le_bytes());
        record.extend_from_slice(&crc32(&record).to_le_bytes());
        index.extend(record);
    }
    index
}

/// Reads from the beginning to the end; returns the logical end.
fn read_all(reader: &mut LogReader) -> u64 {
    let mut at = 0;
    for _ in 0..CHUNKS_MAX {
        match reader.read(at, 100).expect("the files can be read") {
            Chunk::Data { offset, bytes, .. } => {
                assert_eq!(offset, at);
                assert!((1..=100).contains(&bytes.len()));
                at += bytes.len() as u64;
            }
            Chunk::Gap { from, to, .. } => {
                assert!(from == at && to > from, "a gap from {from} to {to} at {at}");
                at = to;
            }
            Chunk::End { at: end } => {
                assert!(at <= end || at == 0);
                break;
            }
        }
        assert!(at <= reader.end(), "{at} lies behind the end");
    }
    let summary = reader.summary();
    assert_eq!(summary.bytes, reader.end());
    assert!(summary.missing_bytes <= summary.bytes);
    reader.end()
}

fn look_at(reader: &mut LogReader, from: u64) {
    let until = reader.whole_until(from);
    assert!(until >= from);
    for chunk in [reader.read(from, 1 << 16), reader.read_raw(from, 0)] {
        match chunk.expect("the files can be read") {
            Chunk::Data { offset, bytes, .. } => {
                // No file has more than a few hundred bytes.
                assert!(offset == from && !bytes.is_empty() && bytes.len() <= 4096);
            }
            Chunk::Gap {
                from: start, to, ..
            } => assert!(start == from && to > from),
            Chunk::End { at } => assert!(at <= from || from == 0),
        }
    }
    for step in reader.steps() {
        assert!(step.start <= reader.end());
        assert!(step.end.is_none_or(|it| it >= step.start));
    }
    assert!(reader.attempts().iter().all(|it| it.start <= reader.end()));
    let mut behind = from;
    for item in reader.lines_with_time(from, u64::MAX).take(CHUNKS_MAX) {
        behind = match item.expect("the files can be read") {
            LineItem::Line(line) => {
                assert!(line.offset >= behind && !line.bytes.is_empty());
                line.offset + line.bytes.len() as u64
            }
            LineItem::Gap { from, to, .. } => {
                assert!(from >= behind && to > from);
                to
            }
        };
    }
}

/// The next attempt brings the index in order, and what it writes can be read.
fn goes_on(logs: &JobLogs) {
    let secrets = Secrets::new(Rules::none());
    let mut writer = logs.writer(JOB, &secrets).expect("it opens");
    // What lies behind such an offset counts as damage, also for the next reader.
    let is_absurd = writer.end() > ABSURD_END;
    writer.mark(Mark::Attempt(9)).expect("it is marked");
    writer
        .write(Stream::Stdout, b"more\n")
        .expect("it is written");
    writer.tick().expect("it is flushed");
    let end = writer.end();
    let summary = writer.close().expect("it closes");
    if is_absurd {
        return;
    }
    assert_eq!(summary.bytes, end);
    let mut reader = logs.reader(JOB).expect("the log opens");
    assert_eq!(reader.end(), summary.bytes);
    // In two pieces where a file was full.
    let (mut seen, mut at) = (Vec::new(), summary.bytes - 5);
    while let Chunk::Data { bytes, .. } = reader.read_raw(at, 5).expect("it reads") {
        at += bytes.len() as u64;
        seen.extend(bytes);
    }
    assert_eq!(seen, b"more\n");
}

/// CRC-32 (IEEE), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc >>= 1;
            if low == 1 {
                crc ^= 0xedb8_8320;
            }
        }
    }
    !crc
}

/// Limits at which a few hundred bytes fill the head and some tails.
pub(crate) fn limits() -> Limits {
    Limits::new(256, 1024).expect("these can work")
}

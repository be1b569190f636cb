//! Finds what a power cut left of a text file that had grown and never got its bytes: NULs.
//!
//! A file system may make the new length of a file durable before what was written there.
//! NULs that the job wrote itself have the checksum of their flush.

use std::io;
use std::ops::Range;
use std::path::Path;

use crate::files::{Paths, open_existing, read_at};
use crate::format::Record;
use crate::index::Index;
use crate::layout::Layout;
use crate::text::{Seen, Text, Walk};

/// Bytes looked at at once, from the end.
const BLOCK_BYTES: u64 = 64 * 1024;

impl Index {
    /// Adds a gap for bytes that the index knows and that were never written. For a log that
    /// nobody writes.
    pub(crate) fn add_unwritten(&mut self, paths: &Paths) -> io::Result<()> {
        let Some(extent) = self.layout.extents.last().copied() else {
            return Ok(());
        };
        let mut text = Text::new(paths.clone());
        let layout = self.layout.clone();
        let mut from = extent.end;
        let mut number = self.records;
        // From the last record back to the first that has its bytes.
        while let Some(before) = number.checked_sub(1) {
            let Some(record) = self.record(before)? else {
                break;
            };
            let start = match before.checked_sub(1) {
                Some(it) => self.record(it)?.map_or(0, |it| it.offset()),
                None => 0,
            };
            number = before;
            let Record::Flush { end, sum, .. } = record else {
                continue;
            };
            if start >= extent.end.min(end) {
                // It brings nothing, or all of it is known to be lost.
                continue;
            }
            let there = start..end.min(extent.end);
            if start < extent.start || text.byte(&layout, there.end - 1)? != Some(0) {
                break;
            }
            let Some(sum) = sum else {
                // Of an earlier version: it is believed.
                break;
            };
            let looked = look(&mut text, &layout, there)?;
            if end <= extent.end && looked.sum == sum {
                break;
            }
            from = looked.written;
            if from > start {
                break;
            }
        }
        if from < extent.end {
            let (len, end) = (extent.end - from, self.layout.end);
            self.add(Record::Gap { from, len, end });
        }
        Ok(())
    }
}

/// What stands in a stretch: its checksum, and where its last byte ends that is no NUL.
struct Looked {
    sum: u32,
    written: u64,
}

fn look(text: &mut Text, layout: &Layout, range: Range<u64>) -> io::Result<Looked> {
    let mut hasher = crc32fast::Hasher::new();
    let mut written = range.start;
    text.walk(layout, range, |at, seen| {
        if let Seen::Bytes(bytes) = seen {
            hasher.update(bytes);
            if let Some(last) = bytes.iter().rposition(|it| *it != 0) {
                written = at + last as u64 + 1;
            }
        }
        Walk::On
    })?;
    Ok(Looked {
        sum: hasher.finalize(),
        written,
    })
}

/// Where the last byte of this stretch of a file ends that is no NUL: what is behind it was
/// never indexed and so never shown, and may never have been written.
pub(crate) fn written(path: &Path, stretch: Range<u64>) -> io::Result<u64> {
    let Some(file) = open_existing(path)? else {
        return Ok(stretch.start);
    };
    let mut end = stretch.end;
    while end > stretch.start {
        let at = end.saturating_sub(BLOCK_BYTES).max(stretch.start);
        let len = usize::try_from(end - at).unwrap_or(0);
        let bytes = read_at(&file, at, len)?;
        if let Some(last) = bytes.iter().rposition(|it| *it != 0) {
            return Ok(at + last as u64 + 1);
        }
        end = at;
    }
    Ok(stretch.start)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;

    use danube_redact::{Rules, Secrets};

    use crate::{Chunk, GapReason, JobLogs, Limits, LogReader, LogWriter, Stream};

    const JOB: &str = "job";

    fn logs() -> (tempfile::TempDir, JobLogs) {
        let dir = tempfile::tempdir().unwrap();
        let logs = JobLogs::open(dir.path(), Limits::default()).unwrap();
        (dir, logs)
    }

    fn writer(logs: &JobLogs) -> LogWriter {
        logs.writer(JOB, &Secrets::new(Rules::none())).unwrap()
    }

    /// A log of an attempt that died, with a flush for each of these.
    fn died(logs: &JobLogs, flushes: &[&[u8]]) {
        let mut writer = writer(logs);
        for bytes in flushes {
            writer.write(Stream::Stdout, bytes).unwrap();
            writer.tick().unwrap();
        }
    }

    /// All bytes, and where they are missing.
    fn read(reader: &mut LogReader) -> (Vec<u8>, Vec<(u64, u64)>) {
        let (mut all, mut gaps, mut at) = (Vec::new(), Vec::new(), 0);
        loop {
            match reader.read(at, 100).unwrap() {
                Chunk::Data { offset, bytes, .. } => {
                    at = offset + bytes.len() as u64;
                    all.extend(bytes);
                }
                Chunk::Gap { from, to, reason } => {
                    assert_eq!(reason, GapReason::Lost);
                    gaps.push((from, to));
                    at = to;
                }
                Chunk::End { .. } => return (all, gaps),
            }
        }
    }

    /// The text file as a power cut left it: these bytes became NULs.
    fn zero(dir: &tempfile::TempDir, from: u64, to: u64) {
        let path = dir.path().join("job.log");
        let file = File::options().write(true).open(path).unwrap();
        let zeroes = vec![0; usize::try_from(to - from).unwrap()];
        file.write_all_at(&zeroes, from).unwrap();
    }

    #[test]
    fn bytes_that_were_indexed_and_never_written_are_a_gap_wherever_they_begin() {
        let flushes: [&[u8]; 4] = [b"one\n", b"two\n", b"three\n", b"four\n"];
        let whole = flushes.concat();
        for from in 0..whole.len() as u64 {
            let (dir, logs) = logs();
            died(&logs, &flushes);
            let end = whole.len() as u64;
            zero(&dir, from, end);
            let (bytes, gaps) = read(&mut logs.reader(JOB).unwrap());
            let there = usize::try_from(from).unwrap();
            assert_eq!((bytes, gaps), (whole[..there].to_vec(), vec![(from, end)]));
            // The next attempt says so in the index, and goes on behind it.
            let mut second = writer(&logs);
            second.write(Stream::Stdout, b"again\n").unwrap();
            let summary = second.close().unwrap();
            assert_eq!(
                (summary.bytes, summary.missing_bytes, summary.complete),
                (end + 6, end - from, false)
            );
            let (bytes, gaps) = read(&mut logs.reader(JOB).unwrap());
            assert_eq!(bytes, [&whole[..there], b"again\n"].concat());
            assert_eq!(gaps, [(from, end)]);
        }
    }

    #[test]
    fn what_a_job_wrote_itself_is_kept_although_it_is_nuls() {
        let (_dir, logs) = logs();
        let flushes: [&[u8]; 3] = [b"one\n", b"two\0\0", b"\0\0\0"];
        died(&logs, &flushes);
        let (bytes, gaps) = read(&mut logs.reader(JOB).unwrap());
        assert_eq!((bytes, gaps), (flushes.concat(), vec![]));
    }

    #[test]
    fn nuls_that_nobody_was_shown_are_cut_off() {
        let (dir, logs) = logs();
        died(&logs, &[b"one\n"]);
        let path = dir.path().join("job.log");
        fs::write(&path, b"one\ntwo\n\0\0\0\0").unwrap();
        let (bytes, gaps) = read(&mut logs.reader(JOB).unwrap());
        assert_eq!((bytes.as_slice(), gaps), (&b"one\ntwo\n"[..], vec![]));
        drop(writer(&logs));
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
    }
}

//! Looks through all that is stored of a log for values, and blanks each line
//! that holds one.

use std::io;
use std::ops::Range;

use danube_redact::Secrets;
use memchr::{memchr, memrchr};

use crate::files::Paths;
use crate::journal::{Journal, MARKER, Place};
use crate::layout::{self, Layout, TextFile};
use crate::logs::Folder;
use crate::text::{Piece, Text};
use crate::types::Masked;

/// Bytes looked through at once.
const BLOCK_BYTES: usize = if cfg!(test) { 512 } else { 1024 * 1024 };

/// How much of a block is looked through again with the next, at least. A value
/// with escape sequences between its characters and the longest private key
/// block that the rules know fit in.
const OVERLAP_BYTES: usize = if cfg!(test) { 128 } else { 64 * 1024 };

/// Lines that are collected before they are blanked together: each time costs two
/// syncs, each line 16 bytes of memory.
const RANGES_MAX: usize = if cfg!(test) { 2 } else { 16 * 1024 };

/// Blanks in the files of a log what `secrets` would mask. Durable when it
/// returns. The log's writer, if there is one, is held back by the caller.
pub(crate) fn blank(
    folder: &Folder,
    paths: &Paths,
    layout: &Layout,
    secrets: &Secrets,
) -> io::Result<Masked> {
    let mut blanker = Blanker {
        paths,
        layout,
        secrets,
        text: Text::new(paths.clone()),
        journal: Journal::open(folder, paths)?,
        // A value that is part of the marker must not come back with it.
        marked: secrets.ranges(MARKER).is_empty(),
        dirty: Vec::new(),
        open: None,
    };
    blanker.remove_orphans()?;
    let mut at = 0;
    while at < layout.end {
        at = layout.gap_end(at);
        let end = layout.whole_until(at);
        blanker.scan(at..end)?;
        at = end;
    }
    blanker.journal.finish()
}

struct Blanker<'a> {
    paths: &'a Paths,
    layout: &'a Layout,
    secrets: &'a Secrets,
    text: Text,
    journal: Journal<'a>,
    marked: bool,
    /// Lines that hold a value, without their last end of line.
    dirty: Vec<Range<u64>>,
    /// Such a line that goes on behind the block, and where it begins.
    open: Option<u64>,
}

impl Blanker<'_> {
    /// Tails that nobody reads any more, but that could not be removed.
    fn remove_orphans(&self) -> io::Result<()> {
        if self.layout.tails.is_empty() {
            return Ok(());
        }
        for base in self.paths.tails()? {
            if !self.layout.tails.contains(&base) {
                std::fs::remove_file(self.paths.text(TextFile::Tail(base)))?;
            }
        }
        Ok(())
    }

    /// Looks through a stretch that is there without a gap.
    fn scan(&mut self, stretch: Range<u64>) -> io::Result<()> {
        let mut block = vec![0; BLOCK_BYTES];
        let overlap = OVERLAP_BYTES.max(self.secrets.longest_value_bytes());
        let overlap = overlap.min(BLOCK_BYTES / 2);
        // The line in which `at` lies begins at `line`; up to `seen` all is known.
        let (mut at, mut line, mut seen) = (stretch.start, stretch.start, stretch.start);
        while seen < stretch.end {
            let left = usize::try_from(stretch.end - at).unwrap_or(usize::MAX);
            let have = self.read_all(at, &mut block[..left.min(BLOCK_BYTES)])?;
            let bytes = &block[..have];
            let end = at + have as u64;
            if end <= seen {
                // Somebody cut the file; there is no more to blank.
                break;
            }
            self.look(bytes, at, line, seen);
            seen = end;
            let back = have.saturating_sub(overlap).max(1);
            let next = memrchr(b'\n', &bytes[..back]).map_or(back, |it| it + 1);
            line = memrchr(b'\n', &bytes[..next]).map_or(line, |it| at + it as u64 + 1);
            at += next as u64;
            self.join();
            if self.dirty.len() >= RANGES_MAX {
                // What the next block looks at again stays as it is for now, and
                // so do lines that belong to one that goes on.
                let to = self.open.map_or(at, |it| it.min(at));
                let ready = self.dirty.partition_point(|it| it.end <= to);
                self.commit(ready)?;
            }
        }
        if let Some(from) = self.open.take() {
            self.dirty.push(from..seen);
        }
        self.join();
        self.commit(self.dirty.len())
    }

    fn read_all(&mut self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut have = 0;
        while have < buf.len() {
            match self
                .text
                .read(self.layout, at + have as u64, &mut buf[have..])?
            {
                Piece::Bytes(n) => have += n,
                _ => break,
            }
        }
        Ok(have)
    }

    /// Notes the lines of a block, which begins at `at`, that hold a value.
    fn look(&mut self, bytes: &[u8], at: u64, line: u64, seen: u64) {
        if let Some(from) = self.open {
            let fresh = usize::try_from(seen - at).unwrap_or(0).min(bytes.len());
            if let Some(end) = memchr(b'\n', &bytes[fresh..]) {
                self.dirty.push(from..seen + end as u64);
                self.open = None;
            }
        }
        for range in self.secrets.ranges(bytes) {
            let from = memrchr(b'\n', &bytes[..range.start]);
            let from = from.map_or(line, |it| at + it as u64 + 1);
            let last = range.end - 1;
            match memchr(b'\n', &bytes[last..]) {
                Some(end) => self.dirty.push(from..at + (last + end) as u64),
                None => self.open = Some(self.open.map_or(from, |it| it.min(from))),
            }
        }
    }

    /// Sorts the lines, and makes one range of those that follow each other.
    fn join(&mut self) {
        self.dirty.sort_unstable_by_key(|it| it.start);
        self.dirty.dedup_by(|next, last| {
            let follows = next.start <= last.end + 1;
            if follows {
                last.end = last.end.max(next.end);
            }
            follows
        });
    }

    /// Blanks the first `count` ranges.
    fn commit(&mut self, count: usize) -> io::Result<()> {
        let mut places = Vec::new();
        for range in self.dirty.drain(..count) {
            let mut at = range.start;
            while at < range.end {
                let layout::Place::In(extent) = self.layout.place(at) else {
                    break;
                };
                let to = range.end.min(extent.end);
                let text = &mut self.text;
                let before = match at.checked_sub(1) {
                    Some(before) if at > range.start => text.byte(self.layout, before)?,
                    _ => Some(b'\n'),
                };
                let behind = text.byte(self.layout, to)?;
                places.push(Place {
                    file: extent.file,
                    from: extent.at + (at - extent.start),
                    to: extent.at + (to - extent.start),
                    begins: before == Some(b'\n'),
                    ends: behind == Some(b'\n'),
                    marked: self.marked,
                });
                at = to;
            }
        }
        self.journal.blank(&places)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use danube_redact::Rules;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::types::{Chunk, LogError};
    use crate::{JobLogs, Limits, LogReader, MaskError, Refused, Stream};

    const JOB: &str = "job";
    const VALUE: &[u8] = b"s3cr3t-Value";
    const TWO_LINES: &[u8] = b"first-half-of\nsecond-half!";

    fn dir() -> TempDir {
        let dir = tempfile::tempdir_in("/dev/shm");
        dir.or_else(|_| tempfile::tempdir()).unwrap()
    }

    fn only(value: &[u8]) -> Secrets {
        let secrets = Secrets::new(Rules::none());
        secrets.register(value).unwrap();
        secrets
    }

    /// Stretches without a gap, by their offset.
    fn stretches(reader: &mut LogReader) -> Vec<(u64, Vec<u8>)> {
        let (mut at, mut all) = (0, vec![(0, Vec::new())]);
        loop {
            match reader.read_raw(at, 1000).unwrap() {
                Chunk::Data { bytes, .. } => {
                    at += bytes.len() as u64;
                    all.last_mut().unwrap().1.extend(bytes);
                }
                Chunk::Gap { to, .. } => {
                    at = to;
                    all.push((at, Vec::new()));
                }
                Chunk::End { .. } => return all,
            }
        }
    }

    /// The same, line by line and byte by byte.
    fn blanked(bytes: &[u8], secrets: &Secrets) -> (Vec<u8>, Masked) {
        let ranges = secrets.ranges(bytes);
        let (mut out, mut masked) = (Vec::new(), Masked::default());
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            let (from, to) = (out.len(), out.len() + line.len());
            let text = match line.strip_suffix(b"\n") {
                Some(text) => text.strip_suffix(b"\r").unwrap_or(text),
                None => line,
            };
            let hit = ranges.iter().any(|it| it.start < to && from < it.end);
            if !hit || text.is_empty() {
                out.extend_from_slice(line);
                continue;
            }
            masked.lines += 1;
            masked.bytes += text.len() as u64;
            let marker = if text.len() < MARKER.len() {
                b""
            } else {
                MARKER
            };
            out.extend_from_slice(marker);
            out.resize(from + text.len(), b' ');
            out.extend_from_slice(&line[text.len()..]);
        }
        (out, masked)
    }

    /// A marker that a file's border cuts off is shorter there.
    fn without_markers(bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        while let Some(at) = memchr::memmem::find(&bytes, MARKER) {
            bytes[at..at + MARKER.len()].fill(b' ');
        }
        bytes
    }

    fn no_file_holds(dir: &TempDir, secrets: &Secrets) {
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            assert!(secrets.ranges(&bytes).is_empty(), "{}", path.display());
        }
    }

    fn parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let part = prop_oneof![
            4 => Just(VALUE.to_vec()),
            2 => Just(b"czNjcjN0LVZhbHVl".to_vec()),
            2 => Just(b"7333637233742d56616c7565".to_vec()),
            2 => Just(b"s3cr\x1b[1m3t-V\x1b[0malue".to_vec()),
            1 => Just(VALUE[..7].to_vec()),
            1 => Just(TWO_LINES.to_vec()),
            1 => Just(b"first-half-of\r\nsecond-half!".to_vec()),
            6 => Just(b"other text ".to_vec()),
            2 => Just(vec![b'x'; 150]),
            6 => Just(b"\n".to_vec()),
            2 => Just(b"\r\n".to_vec()),
            1 => Just(b"\r".to_vec()),
            1 => Just(b"\x1b[32m".to_vec()),
        ];
        prop::collection::vec(part, 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_late_value_is_gone_from_every_file_and_all_else_stays(
            parts in parts(),
            head in 1u64..1500,
            room in 2u64..1500,
            two_lines in any::<bool>(),
            live in any::<bool>(),
        ) {
            let dir = dir();
            let logs = JobLogs::open(dir.path(), Limits::new(head, head + room).unwrap()).unwrap();
            let mut writer = logs.writer(JOB, &Secrets::new(Rules::none())).unwrap();
            for part in &parts {
                writer.write(Stream::Stdout, part).unwrap();
            }
            writer.tick().unwrap();
            let mut reader = logs.reader(JOB).unwrap();
            let before = stretches(&mut reader);
            let end = reader.end();

            let value = if two_lines { TWO_LINES } else { VALUE };
            let secrets = only(value);
            let (mut writer, masked) = if live {
                (Some(writer), logs.mask(JOB, value, false).unwrap())
            } else {
                writer.close().unwrap();
                (None, logs.blank(JOB, &secrets).unwrap())
            };

            no_file_holds(&dir, &secrets);
            reader.refresh().unwrap();
            let mut after = stretches(&mut reader);
            let mut sum = Masked::default();
            let kept = |all: &[(u64, Vec<u8>)]| all.iter().map(|it| it.0).collect::<Vec<_>>();
            if kept(&after) != kept(&before) {
                // The note pushed an old tail out; the files are clean all the same.
                return Ok(());
            }
            let note = after.last_mut().unwrap();
            let note = note.1.split_off(usize::try_from(end - note.0).unwrap());
            let noted = live && masked.lines > 0;
            prop_assert_eq!(note.ends_with(b"blanked\n"), noted);
            prop_assert_eq!(note.is_empty(), !noted);
            for ((from, before), (at, after)) in before.iter().zip(&after) {
                prop_assert_eq!(from, at);
                let (expected, masked) = blanked(before, &secrets);
                sum.lines += masked.lines;
                sum.bytes += masked.bytes;
                prop_assert_eq!(without_markers(after), without_markers(&expected));
            }
            prop_assert_eq!(masked, sum);
            // Once more finds nothing, and new output is masked as it comes.
            drop(writer.take());
            prop_assert_eq!(logs.blank(JOB, &secrets).unwrap(), Masked::default());
        }
    }

    #[test]
    fn a_crash_at_any_byte_leaves_each_line_whole_or_blank_and_the_rest_can_be_done() {
        let text = b"a\ns3cr3t-Value 1\nplain\nlong s3cr3t-Value 2\r\nplain s3cr3t-Value".to_vec();
        let text = [&text[..], &vec![b'-'; 300], b"\ns3cr3t-Value\nend\n"].concat();
        let secrets = only(VALUE);
        let (expected, all) = blanked(&text, &secrets);
        let mut broken = 0;
        for room in (0..700).step_by(3) {
            let dir = dir();
            let logs = JobLogs::open(dir.path(), Limits::new(200, 10_000).unwrap()).unwrap();
            logs.folder().killed.store(true, Ordering::Relaxed);
            let mut writer = logs.writer(JOB, &Secrets::new(Rules::none())).unwrap();
            writer.write(Stream::Stdout, &text).unwrap();
            writer.tick().unwrap();
            *logs.folder().room.lock().unwrap() = Some(room);
            match logs.mask(JOB, VALUE, false) {
                Ok(masked) => assert_eq!(masked, all),
                Err(MaskError::Log(LogError::Io { .. })) => broken += 1,
                Err(other) => panic!("{other}"),
            }
            drop((writer, logs));

            let logs = JobLogs::open(dir.path(), Limits::new(200, 10_000).unwrap()).unwrap();
            let seen = stretches(&mut logs.reader(JOB).unwrap()).remove(0).1;
            let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
                let bytes = without_markers(bytes);
                bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
            };
            let (old, new) = (lines(&text), lines(&expected));
            for (index, line) in lines(&seen).iter().enumerate().take(old.len() - 1) {
                assert!(*line == old[index] || *line == new[index], "room {room}");
            }
            logs.blank(JOB, &secrets).unwrap();
            no_file_holds(&dir, &secrets);
            let seen = stretches(&mut logs.reader(JOB).unwrap()).remove(0).1;
            assert!(without_markers(&seen).starts_with(&without_markers(&expected)));
        }
        assert!(broken > 100, "{broken}");
    }

    #[test]
    fn a_value_is_masked_from_then_on_and_the_log_says_so() {
        let dir = dir();
        let logs = JobLogs::open(dir.path(), Limits::default()).unwrap();
        let missing = logs.mask(JOB, VALUE, false).unwrap_err();
        assert!(matches!(missing, MaskError::NotLive));
        let mut writer = logs.writer(JOB, &Secrets::new(Rules::none())).unwrap();
        let mut progress = logs.progress(JOB).unwrap();
        // The second line still waits when the value comes.
        writer
            .write(Stream::Stdout, b"a s3cr3t-Value here\n")
            .unwrap();
        writer.write(Stream::Stderr, b"and s3cr3t-Value").unwrap();
        progress.borrow_and_update();
        let refused = logs.mask(JOB, b"short1", false).unwrap_err();
        assert!(matches!(
            refused,
            MaskError::Refused(Refused::TooShort { .. })
        ));
        let masked = logs.mask(JOB, VALUE, false).unwrap();
        assert_eq!((masked.lines, masked.bytes), (2, 35));
        assert!(progress.has_changed().unwrap());
        writer
            .write(Stream::Stdout, b"later s3cr3t-Value\n")
            .unwrap();
        assert_eq!(logs.mask(JOB, b"x1y2z3", true).unwrap(), Masked::default());
        assert!(matches!(
            logs.blank(JOB, &only(VALUE)),
            Err(LogError::InUse)
        ));
        writer.close().unwrap();
        let text = stretches(&mut logs.reader(JOB).unwrap()).remove(0).1;
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "[redacted line]    \n[redacted line] \n\
             [danube] a value was masked late: 2 lines above were blanked\n\
             later [redacted]\n"
        );
        no_file_holds(&dir, &only(VALUE));
        assert!(logs.reader(JOB).unwrap().summary().complete);
        assert!(matches!(
            logs.blank("none", &only(VALUE)),
            Err(LogError::NotFound)
        ));
    }

    #[test]
    fn what_a_full_disk_did_not_take_is_blanked_before_it_is_written() {
        let dir = dir();
        let logs = JobLogs::open(dir.path(), Limits::new(1000, 2000).unwrap()).unwrap();
        let mut writer = logs.writer(JOB, &Secrets::new(Rules::none())).unwrap();
        writer.write(Stream::Stdout, b"before\n").unwrap();
        *logs.folder().room.lock().unwrap() = Some(30);
        let line = b"waits: s3cr3t-Value\nplain\n";
        let full = writer
            .write(Stream::Stdout, line)
            .and_then(|()| writer.tick());
        assert!(full.is_err());
        assert!(matches!(
            logs.mask(JOB, VALUE, false).unwrap_err(),
            MaskError::Log(_)
        ));
        no_file_holds(&dir, &only(VALUE));
        *logs.folder().room.lock().unwrap() = None;
        writer.close().unwrap();
        no_file_holds(&dir, &only(VALUE));
        let text = stretches(&mut logs.reader(JOB).unwrap()).remove(0).1;
        assert_eq!(text, b"before\n[redacted line]    \nplain\n");
    }

    #[test]
    fn a_marker_that_would_bring_the_value_back_is_left_out() {
        let dir = dir();
        let logs = JobLogs::open(dir.path(), Limits::default()).unwrap();
        let mut writer = logs.writer(JOB, &Secrets::new(Rules::none())).unwrap();
        writer
            .write(Stream::Stdout, b"a line that is redacted\nplain\n")
            .unwrap();
        assert_eq!(logs.mask(JOB, b"redacted", false).unwrap().lines, 1);
        logs.mask(JOB, b"were blanked", false).unwrap();
        writer.close().unwrap();
        no_file_holds(&dir, &only(b"redacted"));
    }

    /// What is blanked of a log with this text, and how it looks then.
    fn blanked_log(text: &[u8], value: &[u8]) -> (Masked, Vec<u8>) {
        let dir = dir();
        let logs = JobLogs::open(dir.path(), Limits::default()).unwrap();
        let mut writer = logs.writer(JOB, &Secrets::new(Rules::none())).unwrap();
        writer.write(Stream::Stdout, text).unwrap();
        writer.close().unwrap();
        let masked = logs.blank(JOB, &only(value)).unwrap();
        let seen = stretches(&mut logs.reader(JOB).unwrap()).remove(0).1;
        (masked, seen)
    }

    #[test]
    fn a_value_is_found_wherever_a_line_longer_than_a_block_is_cut() {
        for before in BLOCK_BYTES - VALUE.len()..=BLOCK_BYTES {
            let text = [
                &vec![b'-'; before],
                VALUE,
                &vec![b'-'; BLOCK_BYTES],
                b"\nend",
            ]
            .concat();
            let (masked, seen) = blanked_log(&text, VALUE);
            let expected = blanked(&text, &only(VALUE));
            assert_eq!((seen, masked), expected, "{before}");
        }
    }

    #[test]
    fn a_line_that_two_values_share_counts_once_wherever_a_block_ends() {
        // The last line is longer than the overlap.
        let shared = b"first-half-of\nsecond-half! and first-half-of\nsecond-half!";
        let shared = [&shared[..], &[b'-'; 2 * OVERLAP_BYTES]].concat();
        // Enough that are apart for a block to be blanked before the next is seen.
        let apart = [TWO_LINES, b"\nplain\n"].concat().repeat(RANGES_MAX + 1);
        for before in 0..BLOCK_BYTES {
            let dots = vec![b'.'; before];
            let text = [&apart, &dots[..], b"\n", &shared].concat();
            let (masked, seen) = blanked_log(&text, TWO_LINES);
            assert_eq!((seen, masked), blanked(&text, &only(TWO_LINES)), "{before}");
        }
    }
}

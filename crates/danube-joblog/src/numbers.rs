//! Finds lines by number and places by time, in O(log n): the index says in
//! which batch, and only that is looked through.

use std::io;

use crate::index::Stretch;
use crate::layout::Place;
use crate::reader::LogReader;
use crate::text::{Seen, Walk, line_ends};
use crate::types::LogError;

/// Where a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineStart {
    /// Logical offset of its first byte that is there.
    pub offset: u64,
    /// Its beginning is gone: `offset` is the end of the gap in which it lay. Also
    /// of the line behind a gap, when nobody can tell whether it began before.
    pub in_gap: bool,
}

/// The ends of line up to some offsets, where the index doesn't know them.
pub(crate) struct Points {
    from: u64,
    to: u64,
    points: Vec<(u64, u64)>,
}

impl LogReader {
    /// Where the line with this number begins, counted from 1. Numbers are logical
    /// like offsets: lines that were truncated count, bytes that were given up
    /// hold none, and a line keeps its number for good. `None` past the end.
    ///
    /// # Errors
    /// What the system says.
    pub fn line_start(&mut self, line: u64) -> Result<Option<LineStart>, LogError> {
        let Some(ends) = line.checked_sub(1) else {
            return Ok(None);
        };
        let error = LogError::io("read job log");
        if ends > self.line_ends().map_err(&error)? {
            self.refresh()?;
        }
        self.start_behind(ends).map_err(&error)
    }

    /// The number of the line that holds the byte at `offset`; at the end of the
    /// log or behind, of the line that the next byte will belong to. In a gap, of
    /// the line in which the missing batch begins.
    ///
    /// # Errors
    /// What the system says.
    pub fn line_at(&mut self, offset: u64) -> Result<u64, LogError> {
        if offset > self.end() {
            self.refresh()?;
        }
        let ends = self.line_ends_before(offset);
        Ok(ends.map_err(LogError::io("read job log"))? + 1)
    }

    /// Lines so far, as far as this reader knows the log. An unfinished last line
    /// counts.
    ///
    /// # Errors
    /// What the system says.
    pub fn line_count(&mut self) -> Result<u64, LogError> {
        self.count_all().map_err(LogError::io("read job log"))
    }

    /// The first offset, in the order of the log, that was written at `time_us`
    /// (Unix time in microseconds) or later; the end if nothing was. If the clock
    /// was set back meanwhile, that is where it came to `time_us` first. Bytes of
    /// unknown time count as written with those before them.
    ///
    /// # Errors
    /// What the system says.
    pub fn offset_at_time(&mut self, time_us: u64) -> Result<u64, LogError> {
        let error = LogError::io("read job log index");
        let mut found = self.index.offset_at_time(time_us).map_err(&error)?;
        if found.is_none() {
            self.refresh()?;
            found = self.index.offset_at_time(time_us).map_err(&error)?;
        }
        Ok(found.unwrap_or(self.end()))
    }

    fn count_all(&mut self) -> io::Result<u64> {
        let Some(last) = self.end().checked_sub(1) else {
            return Ok(0);
        };
        let whole = self.text.byte(&self.index.layout, last)? == Some(b'\n');
        Ok(self.line_ends()? + u64::from(!whole))
    }

    /// All ends of line.
    fn line_ends(&mut self) -> io::Result<u64> {
        let layout = &self.index.layout;
        if layout.counted_to == layout.end {
            return Ok(layout.totals.lines);
        }
        Ok(self.points()?.last().map_or(0, |it| it.1))
    }

    fn points(&mut self) -> io::Result<&[(u64, u64)]> {
        let (from, to) = (self.index.layout.counted_to, self.end());
        let known = self.points.take();
        let points = match known.filter(|it| (it.from, it.to) == (from, to)) {
            Some(known) => known,
            None => Points {
                from,
                to,
                points: self.index.points(&mut self.text)?,
            },
        };
        Ok(&self.points.insert(points).points)
    }

    /// Where the line begins that has `ends` ends of line before it.
    fn start_behind(&mut self, ends: u64) -> io::Result<Option<LineStart>> {
        if ends == 0 {
            return Ok((self.end() > 0).then(|| self.first_there(0, false)));
        }
        if ends > self.line_ends()? {
            return Ok(None);
        }
        let stretch = if ends <= self.index.layout.totals.lines {
            self.index.stretch(|_, totals| totals.lines >= ends)?
        } else {
            let points = self.points()?;
            between(points, points.partition_point(|it| it.1 < ends))
        };
        let Some(stretch) = stretch else {
            return Ok(None);
        };
        let (offset, in_gap) = self.behind_end(stretch, ends - stretch.before)?;
        let begins = in_gap || offset < self.end();
        Ok(begins.then(|| self.first_there(offset, in_gap)))
    }

    /// The first offset from `offset` on at which a byte is there.
    fn first_there(&self, offset: u64, in_gap: bool) -> LineStart {
        let there = self.index.layout.gap_end(offset);
        LineStart {
            offset: there,
            in_gap: in_gap || there > offset,
        }
    }

    /// The offset behind the end of line number `wanted` of a stretch, and
    /// whether that lies in a gap.
    fn behind_end(&mut self, stretch: Stretch, wanted: u64) -> io::Result<(u64, bool)> {
        let mut hidden = self.hidden(stretch)?;
        let (mut left, mut found) = (wanted, (stretch.to, false));
        let (text, layout) = (&mut self.text, &self.index.layout);
        text.walk(layout, stretch.from..stretch.to, |at, seen| {
            let ends = match seen {
                Seen::Bytes(bytes) => {
                    let ends = line_ends(bytes);
                    if left <= ends {
                        let nth = usize::try_from(left - 1).unwrap_or(usize::MAX);
                        let end = memchr::memchr_iter(b'\n', bytes).nth(nth);
                        found = (at + end.map_or(0, |it| it as u64 + 1), false);
                        return Walk::Enough;
                    }
                    ends
                }
                Seen::Gap { to } => {
                    if left <= hidden {
                        found = (to, true);
                        return Walk::Enough;
                    }
                    std::mem::take(&mut hidden)
                }
            };
            left -= ends;
            Walk::On
        })?;
        Ok(found)
    }

    /// The ends of line that a stretch had and that are gone. A stretch has one
    /// gap at most, but for files that were cut by hand.
    fn hidden(&mut self, stretch: Stretch) -> io::Result<u64> {
        let layout = &self.index.layout;
        if layout.whole_until(stretch.from) >= stretch.to {
            // A tail may have gone since the layout was read.
            let last = stretch.to.saturating_sub(1);
            let first = self.text.byte(layout, stretch.from)?;
            if first.is_some() && self.text.byte(layout, last)?.is_some() {
                return Ok(0);
            }
        }
        let range = stretch.from..stretch.to;
        let seen = self.text.count_lines(&self.index.layout, range)?;
        Ok(stretch.lines.saturating_sub(seen))
    }

    fn line_ends_before(&mut self, offset: u64) -> io::Result<u64> {
        if offset >= self.end() {
            return self.line_ends();
        }
        let stretch = if offset < self.index.layout.counted_to {
            self.index.stretch(|end, _| end > offset)?
        } else {
            let points = self.points()?;
            between(points, points.partition_point(|it| it.0 <= offset))
        };
        let Some(stretch) = stretch else {
            return self.line_ends();
        };
        let mut hidden = self.hidden(stretch)?;
        let mut ends = stretch.before;
        let (text, layout) = (&mut self.text, &self.index.layout);
        // In a gap itself nothing is known but where it begins.
        let in_gap = matches!(layout.place(offset), Place::Gap { .. });
        text.walk(layout, stretch.from..offset, |_, seen| {
            match seen {
                Seen::Bytes(bytes) => ends += line_ends(bytes),
                Seen::Gap { to } if to == offset && in_gap => {}
                Seen::Gap { .. } => ends += std::mem::take(&mut hidden),
            }
            Walk::On
        })?;
        Ok(ends)
    }
}

/// The stretch between the point before `end` and that one.
fn between(points: &[(u64, u64)], end: usize) -> Option<Stretch> {
    let (from, before) = *points.get(end.checked_sub(1)?)?;
    let (to, lines) = *points.get(end)?;
    Some(Stretch {
        from,
        to,
        before,
        lines: lines - before,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use danube_redact::{Rules, Secrets};

    use super::*;
    use crate::format::{Record, Totals, header, header_v1};
    use crate::types::{Chunk, Mark, StreamKind};
    use crate::{JobLogs, Limits, LogWriter, Stream};

    const JOB: &str = "job";

    fn logs() -> (tempfile::TempDir, JobLogs) {
        // In memory where there is such a place: a sync takes its time.
        let dir = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let logs = JobLogs::open(dir.path(), Limits::new(40, 200).unwrap()).unwrap();
        (dir, logs)
    }

    fn writer(logs: &JobLogs) -> LogWriter {
        logs.writer(JOB, &Secrets::new(Rules::none())).unwrap()
    }

    fn flush(end: u64, time: u64) -> Record {
        Record::Flush {
            end,
            time_us: Some(time),
            stream: StreamKind::Stdout,
            sum: None,
        }
    }

    /// Compares with a count of the text, where nothing is missing.
    fn check(reader: &mut LogReader) {
        let mut bytes = Vec::new();
        while let Chunk::Data { bytes: more, .. } = reader.read(bytes.len() as u64, 1000).unwrap() {
            bytes.extend_from_slice(&more);
        }
        assert_eq!(bytes.len() as u64, reader.end());
        let mut start = 0;
        let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
        assert_eq!(reader.line_count().unwrap(), lines.len() as u64);
        for (number, line) in (1..).zip(lines) {
            let found = reader.line_start(number).unwrap().unwrap();
            assert_eq!((found.offset, found.in_gap), (start, false));
            assert_eq!(reader.line_at(start).unwrap(), number);
            start += line.len() as u64;
            assert_eq!(reader.line_at(start - 1).unwrap(), number);
        }
    }

    #[test]
    fn after_a_crash_at_any_write_the_numbers_fit_the_text() {
        for room in (0..700).step_by(7) {
            let (_dir, logs) = logs();
            let mut first = writer(&logs);
            *logs.folder().room.lock().unwrap() = Some(room);
            // As after kill -9: nothing is tidied up.
            logs.folder().killed.store(true, Ordering::Relaxed);
            for n in 0..8 {
                let line = format!("line\nno {n}\n\nand a half");
                let written = first.write(Stream::Stdout, line.as_bytes());
                if written.and_then(|()| first.tick()).is_err() {
                    break;
                }
            }
            drop(first);
            *logs.folder().room.lock().unwrap() = None;
            check(&mut logs.reader(JOB).unwrap());
            let mut second = writer(&logs);
            check(&mut logs.reader(JOB).unwrap());
            second.write(Stream::Stdout, b"again\n").unwrap();
            second.close().unwrap();
            check(&mut logs.reader(JOB).unwrap());
        }
    }

    #[test]
    fn a_clock_that_was_set_back_leads_to_where_a_time_came_first() {
        let (dir, logs) = logs();
        std::fs::write(dir.path().join("job.log"), "abcdefghij").unwrap();
        let mut peak_us = 0;
        let mut index = header(1).to_vec();
        for (end, time) in [(2, 100), (4, 200), (6, 50), (7, 150), (8, 300), (9, 120)] {
            peak_us = peak_us.max(time);
            let totals = Totals { lines: 0, peak_us };
            index.extend_from_slice(&flush(end, time).encode(totals));
        }
        std::fs::write(dir.path().join("job.idx"), index).unwrap();
        let mut reader = logs.reader(JOB).unwrap();
        for (time, offset) in [
            (0, 0),
            (50, 0),
            (100, 0),
            (101, 2),
            (150, 2),
            (200, 2),
            (201, 7),
            (300, 7),
            (301, 10),
        ] {
            assert_eq!(reader.offset_at_time(time).unwrap(), offset, "{time}");
        }
    }

    #[test]
    fn an_index_that_claims_exabytes_costs_no_more_than_what_is_there() {
        let (dir, logs) = logs();
        std::fs::write(dir.path().join("job.log"), "one\ntwo\n").unwrap();
        let end = 1 << 61;
        let mut index = header_v1().to_vec();
        for record in [
            flush(8, 10),
            flush(end, 20),
            Record::Close { end, time_us: None },
        ] {
            index.extend_from_slice(&record.encode_v1());
        }
        std::fs::write(dir.path().join("job.idx"), index).unwrap();
        let mut reader = logs.reader(JOB).unwrap();
        // Two lines, and what is missing counts as one that has no end.
        assert_eq!(reader.line_count().unwrap(), 3);
    }

    #[test]
    fn an_index_of_version_1_is_read_and_rewritten_by_the_next_writer() {
        let (dir, logs) = logs();
        std::fs::write(dir.path().join("job.log"), "one\ntwo\nthree\nfour").unwrap();
        let records = [
            Record::Open {
                at: 0,
                time_us: Some(5),
            },
            Record::Mark {
                mark: Mark::StepStart(3),
                at: 0,
                time_us: Some(6),
            },
            flush(8, 10),
            flush(14, 20),
            flush(18, 30),
            Record::Close {
                end: 18,
                time_us: Some(40),
            },
        ];
        let mut index = header_v1().to_vec();
        for record in &records {
            index.extend_from_slice(&record.encode_v1());
        }
        std::fs::write(dir.path().join("job.idx"), index).unwrap();
        let as_it_was = |reader: &mut LogReader| {
            check(reader);
            assert_eq!(reader.steps()[0].step, 3);
            assert_eq!(reader.offset_at_time(11).unwrap(), 8);
            assert_eq!(reader.offset_at_time(30).unwrap(), 14);
            let Chunk::Data { time_us, .. } = reader.read(15, 9).unwrap() else {
                panic!("no data");
            };
            assert_eq!(time_us, Some(30));
        };
        let mut early = logs.reader(JOB).unwrap();
        assert!(early.summary().complete);
        as_it_was(&mut early);
        let mut writer = writer(&logs);
        writer.write(Stream::Stdout, b"\nfive\n").unwrap();
        early.refresh().unwrap();
        assert_eq!(early.line_count().unwrap(), 5);
        as_it_was(&mut early);
        assert!(writer.close().unwrap().complete);
        let mut reader = logs.reader(JOB).unwrap();
        as_it_was(&mut reader);
        assert_eq!(reader.index.version, crate::format::Version::V2);
        assert!(!dir.path().join("job.idx.new").exists());
    }
}

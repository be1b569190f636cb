//! Reads an index file: the layout it adds up to, single records by number, and
//! what has to be added when the writer died.

use std::fs::File;
use std::io;
use std::ops::Range;

use crate::files::{Paths, open_existing, read_at};
use crate::format::{Entry, RECORD_BYTES, Record, Totals, Version, version_of};
use crate::layout::{Layout, Place, TextFile};
use crate::text::Text;
use crate::types::StreamKind;
use crate::unwritten::written;

/// No log ends behind this offset, four exabytes, or has as many lines. A record
/// or a file's name that says so is damaged, and believing it would overflow the
/// sums made with it.
const OFFSET_MAX: u64 = 1 << 62;

/// Records read at once to find one: little more than a page.
const BLOCK_RECORDS: usize = 128;

/// Records read at once where all are read.
const READ_RECORDS: usize = 2048;

/// Text counted between two points where nobody has counted it before. It bounds
/// what is read again to find one line.
const POINT_BYTES: u64 = 256 * 1024;

/// An index as far as it has been read.
pub(crate) struct Index {
    file: Option<File>,
    pub(crate) version: Version,
    /// Valid records in the file, all in `layout`.
    pub(crate) records: u64,
    /// Bytes follow that are no records.
    pub(crate) torn: bool,
    /// What recovery adds behind the records of the file.
    pub(crate) added: Vec<Record>,
    pub(crate) layout: Layout,
    block: Vec<u8>,
    block_first: u64,
}

impl Index {
    /// Reads the index as it is.
    pub(crate) fn load(paths: &Paths) -> io::Result<Self> {
        let mut index = Self {
            file: None,
            version: Version::V2,
            records: 0,
            torn: false,
            added: Vec::new(),
            layout: Layout::new(),
            block: Vec::new(),
            block_first: 0,
        };
        index.read_on(paths)?;
        Ok(index)
    }

    /// Bytes of the file up to the end of its last valid record; none without a header.
    pub(crate) fn file_end(&self) -> Option<u64> {
        let has_header = self.file.is_some() && !(self.torn && self.records == 0);
        has_header.then(|| (self.records + 1) * self.version.record_bytes() as u64)
    }

    /// Reads what was appended since.
    pub(crate) fn read_on(&mut self, paths: &Paths) -> io::Result<()> {
        if self.file.is_none() {
            self.file = open_existing(&paths.index())?;
        }
        let Some(file) = &self.file else {
            return Ok(());
        };
        self.torn = false;
        if self.records == 0 {
            let Some(version) = version_of(&read_at(file, 0, RECORD_BYTES)?) else {
                self.torn = true;
                return Ok(());
            };
            self.version = version;
        }
        let size = self.version.record_bytes();
        loop {
            let at = (self.records + 1) * size as u64;
            let bytes = read_at(file, at, READ_RECORDS * size)?;
            for bytes in bytes.chunks(size) {
                let entry = Entry::decode(self.version, bytes).filter(can_be);
                if !entry.is_some_and(|it| self.layout.apply_entry(&it)) {
                    self.torn = true;
                    return Ok(());
                }
                self.records += 1;
            }
            if bytes.len() < READ_RECORDS * size {
                return Ok(());
            }
        }
    }

    /// Compares the index with the text files and adds what is missing: bytes
    /// written behind the last record, files the index does not know, and gaps
    /// for bytes it knows that are not there. For a log that nobody writes.
    pub(crate) fn recover(&mut self, paths: &Paths) -> io::Result<()> {
        if self.layout.closed && !self.torn {
            return Ok(());
        }
        for extent in self.layout.extents.clone() {
            let len = text_len(paths, extent.file)?;
            let have = len.saturating_sub(extent.at).min(extent.end - extent.start);
            let from = extent.start + have;
            if from < extent.end {
                let end = self.layout.end;
                self.add(Record::Gap {
                    from,
                    len: extent.end - from,
                    end,
                });
            }
        }
        self.add_unwritten(paths)?;
        self.add_unindexed(paths)?;
        if self.layout.end == 0 {
            // A tail begins where the head is full, so an empty head has none.
            // Every new log comes by here: it must not read the whole folder.
            return Ok(());
        }
        for base in paths.tails()? {
            if base >= self.layout.end && self.layout.file != TextFile::Tail(base) {
                self.add(Record::Segment { base });
                self.add_unindexed(paths)?;
            }
        }
        Ok(())
    }

    fn add_unindexed(&mut self, paths: &Paths) -> io::Result<()> {
        let len = text_len(paths, self.layout.file)?;
        let more = len.saturating_sub(self.layout.file_at);
        if more > 0 {
            let path = paths.text(self.layout.file);
            let more = written(&path, self.layout.file_at..len)? - self.layout.file_at;
            self.add(Record::Flush {
                end: self.layout.end + more,
                time_us: None,
                stream: StreamKind::Mixed,
                sum: None,
            });
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, record: Record) {
        if record.offset() <= OFFSET_MAX && self.layout.apply(&record) {
            self.added.push(record);
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.records + self.added.len() as u64
    }

    /// The record with this number, counted from 0.
    pub(crate) fn record(&mut self, number: u64) -> io::Result<Option<Record>> {
        if let Some(added) = number.checked_sub(self.records) {
            let added = usize::try_from(added).ok();
            return Ok(added.and_then(|it| self.added.get(it)).copied());
        }
        Ok(self.entry(number)?.map(|it| it.record))
    }

    /// The record of the file with this number, counted from 0.
    fn entry(&mut self, number: u64) -> io::Result<Option<Entry>> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        if number >= self.records {
            return Ok(None);
        }
        let size = self.version.record_bytes();
        let first = number - number % BLOCK_RECORDS as u64;
        let at = usize::try_from(number - first).unwrap_or(0) * size;
        if self.block_first != first || self.block.len() < at + size {
            let left = usize::try_from(self.records - first).unwrap_or(usize::MAX);
            let len = left.min(BLOCK_RECORDS) * size;
            self.block = read_at(file, (first + 1) * size as u64, len)?;
            self.block_first = first;
        }
        let bytes = self.block.get(at..at + size);
        Ok(bytes.and_then(|it| Entry::decode(self.version, it)))
    }

    /// The number of the first record that reaches behind `offset`. `near` is a
    /// guess.
    pub(crate) fn first_behind(&mut self, offset: u64, near: u64) -> io::Result<u64> {
        for guess in [near, near + 1] {
            if self.reaches(guess, offset)? && (guess == 0 || !self.reaches(guess - 1, offset)?) {
                return Ok(guess);
            }
        }
        let all = self.len();
        self.search(all, |it, number| it.reaches(number, offset))
    }

    fn reaches(&mut self, number: u64, offset: u64) -> io::Result<bool> {
        Ok(self.record(number)?.is_some_and(|it| it.offset() > offset))
    }

    /// The first of `count` records for which `holds` is true, which it stays
    /// for all behind.
    fn search(
        &mut self,
        count: u64,
        mut holds: impl FnMut(&mut Self, u64) -> io::Result<bool>,
    ) -> io::Result<u64> {
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(self, middle)? {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }

    /// The bytes of the file's first record whose totals fit, which those of all
    /// behind do too. `None` when none does.
    pub(crate) fn stretch(
        &mut self,
        fits: impl Fn(u64, Totals) -> bool,
    ) -> io::Result<Option<Stretch>> {
        let number = self.search(self.records, |it, number| {
            Ok(it
                .totals(number)?
                .is_some_and(|(offset, totals)| fits(offset, totals)))
        })?;
        let Some((to, totals)) = self.totals(number)? else {
            return Ok(None);
        };
        let before = match number.checked_sub(1) {
            Some(before) => self.totals(before)?,
            None => None,
        };
        let (from, before) = before.map_or((0, 0), |(offset, it)| (offset, it.lines));
        Ok(Some(Stretch {
            from,
            to,
            before,
            lines: totals.lines - before,
        }))
    }

    /// Where a record of the file ends, and its totals.
    fn totals(&mut self, number: u64) -> io::Result<Option<(u64, Totals)>> {
        let entry = self.entry(number)?;
        Ok(entry.and_then(|it| Some((it.record.offset(), it.totals?))))
    }

    /// The offset at which the first record with a time of `time_us` or later
    /// begins. Without totals all records are looked at.
    pub(crate) fn offset_at_time(&mut self, time_us: u64) -> io::Result<Option<u64>> {
        if self.version == Version::V2 {
            let stretch = self.stretch(|_, totals| totals.peak_us >= time_us)?;
            return Ok(stretch.map(|it| it.from));
        }
        let mut before = 0;
        for number in 0..self.records {
            let Some(record) = self.record(number)? else {
                break;
            };
            if record.time_us().is_some_and(|it| it >= time_us) {
                return Ok(Some(before));
            }
            before = record.offset();
        }
        Ok(None)
    }

    /// Counts the text behind the last totals: points at most [`POINT_BYTES`]
    /// apart, each with the ends of line up to there.
    pub(crate) fn points(&self, text: &mut Text) -> io::Result<Vec<(u64, u64)>> {
        let layout = &self.layout;
        let (mut at, mut lines) = (layout.counted_to, layout.totals.lines);
        let mut points = vec![(at, lines)];
        while at < layout.end {
            let to = match layout.place(at) {
                Place::In(it) => point_behind(layout, text, at..it.end)?,
                Place::Gap { to, .. } => to,
                Place::End => break,
            };
            lines += text.count_lines(layout, at..to)?;
            at = to;
            points.push((at, lines));
        }
        Ok(points)
    }

    /// Shows the records from `first` on with their totals, counted from the
    /// text. Bytes of unknown time come in pieces, so that a line in them is
    /// found as fast as elsewhere.
    pub(crate) fn recount(
        &mut self,
        text: &mut Text,
        first: u64,
        mut put: impl FnMut(&Record, Totals) -> io::Result<()>,
    ) -> io::Result<Totals> {
        let mut totals = self.layout.totals;
        let mut at = self.layout.counted_to;
        for number in first..self.len() {
            let Some(record) = self.record(number)? else {
                break;
            };
            if let Record::Flush {
                end,
                time_us,
                stream,
                sum,
            } = record
            {
                while at < end {
                    let to = match time_us {
                        Some(_) => end,
                        None => point_behind(&self.layout, text, at..end)?,
                    };
                    totals.lines += text.count_lines(&self.layout, at..to)?;
                    totals.peak_us = totals.peak_us.max(time_us.unwrap_or(0));
                    at = to;
                    let piece = Record::Flush {
                        end: at,
                        time_us,
                        stream,
                        sum,
                    };
                    put(&piece, totals)?;
                }
            } else {
                totals.peak_us = totals.peak_us.max(record.time_us().unwrap_or(0));
                at = record.offset();
                put(&record, totals)?;
            }
        }
        Ok(totals)
    }
}

/// Bytes `from..to` of the log, and the ends of line before and in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) before: u64,
    pub(crate) lines: u64,
}

/// Where the next point is in a stretch: what an index says is there and isn't
/// has none inside, however long it would be.
fn point_behind(layout: &Layout, text: &mut Text, stretch: Range<u64>) -> io::Result<u64> {
    let there = text.byte(layout, stretch.start)?.is_some();
    let next = stretch.end.min(stretch.start + POINT_BYTES);
    Ok(if there { next } else { stretch.end })
}

fn text_len(paths: &Paths, file: TextFile) -> io::Result<u64> {
    match std::fs::metadata(paths.text(file)) {
        Ok(it) => Ok(it.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Whether an entry doesn't say what no log can be.
fn can_be(entry: &Entry) -> bool {
    let lines = entry.totals.map_or(0, |it| it.lines);
    entry.record.offset() <= OFFSET_MAX && lines <= OFFSET_MAX
}

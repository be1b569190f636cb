//! Reads an index file: the layout it adds up to, single records by number, and
//! what has to be added when the writer died.

use std::fs::File;
use std::io;

use crate::files::{Paths, open_existing, read_at};
use crate::format::{RECORD_BYTES, Record, is_header};
use crate::layout::{Layout, TextFile};
use crate::types::StreamKind;

/// No log ends behind this offset: four exabytes. A record or a file's name that
/// says so is damaged, and believing it would overflow the sums made with it.
const OFFSET_MAX: u64 = 1 << 62;

/// Records read at once: one page.
const BLOCK_RECORDS: usize = 128;
const BLOCK_BYTES: usize = BLOCK_RECORDS * RECORD_BYTES;

/// An index as far as it has been read.
pub(crate) struct Index {
    file: Option<File>,
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
            records: 0,
            torn: false,
            added: Vec::new(),
            layout: Layout::new(),
            block: Vec::new(),
            block_first: 0,
        };
        index.read_on(paths, |_| {})?;
        Ok(index)
    }

    /// Reads what was appended since, and shows each new record to `seen`.
    pub(crate) fn read_on(
        &mut self,
        paths: &Paths,
        mut seen: impl FnMut(&Record),
    ) -> io::Result<()> {
        if self.file.is_none() {
            self.file = open_existing(&paths.index())?;
        }
        let Some(file) = &self.file else {
            return Ok(());
        };
        self.torn = false;
        if self.records == 0 && !is_header(&read_at(file, 0, RECORD_BYTES)?) {
            self.torn = true;
            return Ok(());
        }
        loop {
            let at = (self.records + 1) * RECORD_BYTES as u64;
            let bytes = read_at(file, at, BLOCK_BYTES)?;
            for bytes in bytes.chunks(RECORD_BYTES) {
                let record = Record::decode(bytes)
                    .filter(|it| it.offset() <= OFFSET_MAX && self.layout.apply(it));
                let Some(record) = record else {
                    self.torn = true;
                    return Ok(());
                };
                seen(&record);
                self.records += 1;
            }
            if bytes.len() < BLOCK_BYTES {
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
            self.add(Record::Flush {
                end: self.layout.end + more,
                time_us: None,
                stream: StreamKind::Mixed,
            });
        }
        Ok(())
    }

    fn add(&mut self, record: Record) {
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
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let within = |it: &Self| {
            let after = usize::try_from(number.checked_sub(it.block_first)?).ok()?;
            let at = after.checked_mul(RECORD_BYTES)?;
            it.block
                .get(at..at.checked_add(RECORD_BYTES)?)
                .map(Record::decode)
        };
        if let Some(record) = within(self) {
            return Ok(record);
        }
        self.block_first = number - number % BLOCK_RECORDS as u64;
        let at = (self.block_first + 1) * RECORD_BYTES as u64;
        let left = usize::try_from(self.records - self.block_first).unwrap_or(usize::MAX);
        self.block = read_at(file, at, left.min(BLOCK_RECORDS) * RECORD_BYTES)?;
        Ok(within(self).flatten())
    }

    /// The number of the first record that reaches behind `offset`. `near` is a
    /// guess.
    pub(crate) fn first_behind(&mut self, offset: u64, near: u64) -> io::Result<u64> {
        for guess in [near, near + 1] {
            if self.reaches(guess, offset)? && (guess == 0 || !self.reaches(guess - 1, offset)?) {
                return Ok(guess);
            }
        }
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.reaches(middle, offset)? {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }

    fn reaches(&mut self, number: u64, offset: u64) -> io::Result<bool> {
        Ok(self.record(number)?.is_some_and(|it| it.offset() > offset))
    }
}

fn text_len(paths: &Paths, file: TextFile) -> io::Result<u64> {
    match std::fs::metadata(paths.text(file)) {
        Ok(it) => Ok(it.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

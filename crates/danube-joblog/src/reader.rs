//! Reads one job's log at any logical offset, while it is written and after.

use std::io;
use std::sync::Arc;

use crate::files::Paths;
use crate::format::{Record, Version};
use crate::index::Index;
use crate::layout::Place;
use crate::lines::Lines;
use crate::logs::Folder;
use crate::numbers::Points;
use crate::text::{Piece, Text};
use crate::types::{AttemptStart, Chunk, GapReason, LogError, StepRange, StreamKind, Summary};

/// Reads one job's log. Blocks for the disk only; never waits for the job.
///
/// To follow a live log: `read` until [`Chunk::End`], wait for the progress of
/// [`JobLogs::progress`](crate::JobLogs::progress) to change, and read on.
pub struct LogReader {
    folder: Arc<Folder>,
    job: String,
    paths: Paths,
    pub(crate) index: Index,
    pub(crate) text: Text,
    pub(crate) points: Option<Points>,
    /// The record found last; the next is often the one behind.
    near: u64,
}

impl LogReader {
    pub(crate) fn open(folder: &Arc<Folder>, job: &str) -> Result<Self, LogError> {
        let error = LogError::io("open job log");
        let paths = Paths::new(&folder.dir, job)?;
        let mut text = Text::new(paths.clone());
        if !text.open_head().map_err(&error)? {
            return Err(LogError::NotFound);
        }
        let index = load(folder, job, &paths).map_err(&error)?;
        Ok(Self {
            folder: Arc::clone(folder),
            job: job.to_owned(),
            paths,
            index,
            text,
            points: None,
            near: 0,
        })
    }

    /// The logical end, as far as this reader knows.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.index.layout.end
    }

    /// The first offset from `from` on at which bytes are missing or the log ends;
    /// `from` itself when nothing is there.
    #[must_use]
    pub fn whole_until(&self, from: u64) -> u64 {
        self.index.layout.whole_until(from)
    }

    /// Whether the log is closed and whole, and what is missing.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.index.layout.summary()
    }

    /// Learns what has been appended since. `read` does it by itself when asked
    /// for an offset past the known end.
    ///
    /// # Errors
    /// What the system says.
    pub fn refresh(&mut self) -> Result<(), LogError> {
        self.learn().map_err(LogError::io("read job log index"))
    }

    fn learn(&mut self) -> io::Result<()> {
        let live = self.folder.is_live(&self.job);
        // A writer makes a new file of an index of version 1.
        let recovered = !self.index.added.is_empty();
        if live && !recovered && self.index.version == Version::V2 {
            return self.index.read_on(&self.paths);
        }
        if !live && !recovered {
            self.index.read_on(&self.paths)?;
            if self.index.layout.closed && !self.index.torn {
                return Ok(());
            }
        }
        // Nobody writes it any more, or somebody does again: what this reader
        // made up from the files may be in the index by now.
        self.index = load(&self.folder, &self.job, &self.paths)?;
        Ok(())
    }

    /// The next piece from the logical offset `from` on: at most `max` bytes and
    /// never more than one batch of one stream, so that stream and time are exact.
    /// `max` 0 counts as 1.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&mut self, from: u64, max: usize) -> Result<Chunk, LogError> {
        self.chunk(from, max, true)
    }

    /// As `read`, but as much as is there up to `max`; the stream is then `Mixed`
    /// and the time not known. For ranges and downloads.
    ///
    /// # Errors
    /// What the system says.
    pub fn read_raw(&mut self, from: u64, max: usize) -> Result<Chunk, LogError> {
        self.chunk(from, max, false)
    }

    fn chunk(&mut self, from: u64, max: usize, exact: bool) -> Result<Chunk, LogError> {
        if from >= self.end() {
            self.refresh()?;
        }
        let read = self
            .try_chunk(from, max, exact)
            .map_err(LogError::io("read job log"))?;
        if let Some(chunk) = read {
            return Ok(chunk);
        }
        // A tail went while we looked.
        self.refresh()?;
        let read = self
            .try_chunk(from, max, exact)
            .map_err(LogError::io("read job log"))?;
        Ok(read.unwrap_or(Chunk::Gap {
            from,
            to: self.index.layout.piece_end(from),
            reason: GapReason::Lost,
        }))
    }

    fn try_chunk(&mut self, from: u64, max: usize, exact: bool) -> io::Result<Option<Chunk>> {
        let extent = match self.index.layout.place(from) {
            Place::End => return Ok(Some(Chunk::End { at: self.end() })),
            Place::Gap { to, reason } => return Ok(Some(Chunk::Gap { from, to, reason })),
            Place::In(extent) => extent,
        };
        let (mut to, mut stream, mut time_us) = (extent.end, StreamKind::Mixed, None);
        if exact {
            self.near = self.index.first_behind(from, self.near)?;
            let record = self.index.record(self.near)?;
            if let Some(Record::Flush {
                end,
                time_us: time,
                stream: kind,
                ..
            }) = record
            {
                (to, stream, time_us) = (to.min(end), kind, time);
            }
        }
        let len = usize::try_from(to - from)
            .unwrap_or(usize::MAX)
            .min(max.max(1));
        let mut bytes = vec![0; len];
        match self.text.read_in(extent, from, &mut bytes)? {
            Piece::Bytes(have) => bytes.truncate(have),
            _ => return Ok(None),
        }
        Ok(Some(Chunk::Data {
            offset: from,
            bytes,
            stream,
            time_us,
        }))
    }

    /// Where each step's output lies, in the order in which they began.
    #[must_use]
    pub fn steps(&self) -> Vec<StepRange> {
        self.index.layout.steps.clone()
    }

    /// Where each attempt begins.
    #[must_use]
    pub fn attempts(&self) -> Vec<AttemptStart> {
        self.index.layout.attempts.clone()
    }

    /// The lines between two logical offsets with their times, one after the
    /// other in constant memory. `from` should be the start of a line.
    pub fn lines_with_time(&mut self, from: u64, to: u64) -> Lines<'_> {
        Lines::new(self, from, to)
    }
}

/// The index as it is while somebody writes, else with what recovery adds.
fn load(folder: &Folder, job: &str, paths: &Paths) -> io::Result<Index> {
    let mut index = Index::load(paths)?;
    if folder.is_live(job) {
        return Ok(index);
    }
    // A writer may have closed it between.
    index.read_on(paths)?;
    index.recover(paths)?;
    if folder.is_live(job) {
        // A writer came meanwhile and brings the index in order itself.
        return Index::load(paths);
    }
    Ok(index)
}

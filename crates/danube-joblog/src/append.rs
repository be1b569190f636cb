//! Appends redacted bytes to a log's text files and says so in its index.
//!
//! Bytes are in the log once their index record is. Text is written at a known
//! place of its file, so a write that went wrong half-way is simply written
//! again over itself, and readers never look behind the last record.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::files::{Paths, open_private};
use crate::format::{RECORD_BYTES, Record, header};
use crate::index::Index;
use crate::layout::{Layout, TextFile};
use crate::logs::Folder;
use crate::sync::Tracked;
use crate::types::{LogError, Progress, StreamKind, Summary};

/// Most changes between stdout and stderr that one batch records; with more it
/// counts as mixed, so that the index stays small beside the text.
const RUNS_MAX: usize = 64;

/// Changes that even the smallest batch records.
const RUNS_MIN: usize = 8;

/// Bytes of text that allow for one more: as many as a record has. A program
/// that alternates its streams byte by byte must not make an index that is
/// larger than its log.
const BYTES_A_RUN: usize = 32;

/// Where bytes came from, in order: so many from here, so many from there.
pub(crate) type Runs = VecDeque<(StreamKind, usize)>;

/// The files of a log that is being written.
pub(crate) struct Appender {
    folder: Arc<Folder>,
    paths: Paths,
    text: Arc<Tracked>,
    /// Text files that were full, until they are durable.
    full: Vec<Arc<Tracked>>,
    index: Arc<Tracked>,
    records: u64,
    layout: Layout,
    progress: watch::Sender<Progress>,
    sync_errors: Arc<AtomicU64>,
    blocked_nanos: u64,
}

impl Appender {
    /// Opens the files, recovers what an earlier writer left, and says in the
    /// index that the log is open.
    pub(crate) fn open(
        folder: &Arc<Folder>,
        paths: Paths,
        progress: watch::Sender<Progress>,
    ) -> io::Result<Self> {
        let existed = paths.text(TextFile::Head).exists();
        let mut known = Index::load(&paths)?;
        known.recover(&paths)?;
        let layout = known.layout.clone();

        let sync_errors = Arc::new(AtomicU64::new(0));
        let open = |path: PathBuf| open_private(&path).map(|it| Tracked::new(it, &sync_errors));
        // The head is made first: it is what says that there is a log.
        let head = open(paths.text(TextFile::Head))?;
        let text = match layout.file {
            TextFile::Head => head,
            tail @ TextFile::Tail(_) => open(paths.text(tail))?,
        };
        let index = open(paths.index())?;
        let mut appender = Self {
            folder: Arc::clone(folder),
            paths,
            text,
            full: Vec::new(),
            index,
            records: known.records,
            layout,
            progress,
            sync_errors,
            blocked_nanos: 0,
        };
        appender.repair_index(&known, existed)?;
        appender.show_progress();
        Ok(appender)
    }

    /// Brings the index file to what recovery found.
    fn repair_index(&mut self, known: &Index, existed: bool) -> io::Result<()> {
        let place = index_place(known.records);
        if known.records == 0 {
            self.index.file.write_all_at(&header(now_us()), 0)?;
        }
        // What is torn goes before anything is appended in its place.
        self.index.file.set_len(place)?;
        let end = self.layout.end;
        let mut opening = Vec::new();
        if existed && !self.layout.closed {
            // The writer before died with output that nobody will see.
            let (from, len) = (end, 0);
            opening.push(Record::Gap { from, len, end });
        }
        let time_us = Some(now_us());
        opening.push(Record::Open { at: end, time_us });
        for record in &opening {
            self.layout.apply(record);
        }
        let records = [&known.added[..], &opening].concat();
        let bytes: Vec<u8> = records.iter().flat_map(Record::encode).collect();
        self.index.file.write_all_at(&bytes, place)?;
        self.records += records.len() as u64;
        Ok(())
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Nanoseconds spent waiting for the disk.
    pub(crate) fn blocked_nanos(&self) -> u64 {
        self.blocked_nanos
    }

    /// Background syncs that went wrong.
    pub(crate) fn sync_errors(&self) -> u64 {
        self.sync_errors.load(Ordering::Relaxed)
    }

    /// Appends as much of `bytes` as fits in the current file, takes it off
    /// `runs`, and returns how much that was.
    pub(crate) fn append_text(&mut self, bytes: &[u8], runs: &mut Runs) -> Result<usize, LogError> {
        if self.room() == 0 {
            self.next_file()
                .map_err(LogError::io("open job log tail"))?;
        }
        let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        let text = Arc::clone(&self.text);
        self.disk(&text, bytes, self.layout.file_at)
            .map_err(LogError::io("write job log"))?;
        let records = self.records_for(bytes.len(), runs);
        self.append(&records)?;
        take_runs(bytes.len(), runs);
        Ok(bytes.len())
    }

    /// Appends records to the index and shows readers the new end.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<(), LogError> {
        let bytes: Vec<u8> = records.iter().flat_map(Record::encode).collect();
        let index = Arc::clone(&self.index);
        self.disk(&index, &bytes, index_place(self.records))
            .map_err(LogError::io("write job log index"))?;
        self.records += records.len() as u64;
        for record in records {
            let fits = self.layout.apply(record);
            debug_assert!(fits, "{record:?}");
        }
        self.show_progress();
        Ok(())
    }

    /// Makes all durable and closes the log.
    pub(crate) fn close(&mut self) -> Result<Summary, LogError> {
        let error = LogError::io("sync job log");
        for file in self.full.iter().chain([&self.text]) {
            file.sync_now(&self.folder.syncer).map_err(&error)?;
        }
        let end = self.layout.end;
        let time_us = Some(now_us());
        self.append(&[Record::Close { end, time_us }])?;
        self.index.sync_now(&self.folder.syncer).map_err(&error)?;
        Ok(self.layout.summary())
    }

    fn room(&self) -> u64 {
        let limits = self.folder.limits;
        let full = match self.layout.file {
            TextFile::Head => limits.head_bytes,
            TextFile::Tail(_) => limits.segment_bytes(),
        };
        full.saturating_sub(self.layout.file_at)
    }

    /// Goes on in a new tail file, and lets the oldest of three go.
    fn next_file(&mut self) -> io::Result<()> {
        let base = self.layout.end;
        let file = open_private(&self.paths.text(TextFile::Tail(base)))?;
        let oldest = match self.layout.tails[..] {
            [oldest, _] => Some(oldest),
            _ => None,
        };
        self.append(&[Record::Segment { base }])
            .map_err(|error| match error {
                LogError::Io { source, .. } => source,
                other => io::Error::other(other),
            })?;
        let next = Tracked::new(file, &self.sync_errors);
        let last = std::mem::replace(&mut self.text, next);
        self.full.push(last);
        // Older ones have been durable or deleted for long.
        if self.full.len() > 2 {
            self.full.remove(0);
        }
        if let Some(oldest) = oldest {
            // If it stays, nobody reads it; deleting the log finds it.
            let _ = std::fs::remove_file(self.paths.text(TextFile::Tail(oldest)));
        }
        Ok(())
    }

    /// The index records for the next `len` bytes.
    fn records_for(&self, len: usize, runs: &Runs) -> Vec<Record> {
        let time_us = Some(now_us());
        let mut end = self.layout.end;
        let mut left = len;
        let mut records = Vec::new();
        for &(stream, run) in runs {
            let run = left.min(run);
            left -= run;
            end += run as u64;
            records.push(Record::Flush {
                end,
                time_us,
                stream,
            });
            if left == 0 {
                break;
            }
        }
        if records.len() > RUNS_MAX.min(RUNS_MIN + len / BYTES_A_RUN) {
            let stream = StreamKind::Mixed;
            records = vec![Record::Flush {
                end,
                time_us,
                stream,
            }];
        }
        records
    }

    /// Writes at a place; after an error the file is as before.
    fn disk(&mut self, file: &Arc<Tracked>, bytes: &[u8], at: u64) -> io::Result<()> {
        let began = Instant::now();
        let written = self.write_all_at(file, bytes, at);
        let nanos = began.elapsed().as_nanos();
        self.blocked_nanos += u64::try_from(nanos).unwrap_or(u64::MAX);
        match written {
            Ok(()) => self.folder.syncer.wrote(file),
            Err(_) => self.cut_back(file, at),
        }
        written
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests make the disk full here")]
    fn write_all_at(&self, file: &Tracked, bytes: &[u8], at: u64) -> io::Result<()> {
        file.file.write_all_at(bytes, at)
    }

    #[cfg(test)]
    fn write_all_at(&self, file: &Tracked, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut room = self.folder.room.lock().unwrap();
        let fits = room.unwrap_or(usize::MAX).min(bytes.len());
        *room = room.map(|it| it - fits);
        file.file.write_all_at(&bytes[..fits], at)?;
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Takes a torn write out of a file. A courtesy to those who read the plain
    /// file: the next try writes over it, and recovery cuts it off.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests leave it torn"))]
    fn cut_back(&self, file: &Tracked, at: u64) {
        #[cfg(test)]
        if self.folder.killed.load(Ordering::Relaxed) {
            return;
        }
        let _ = file.file.set_len(at);
    }

    fn show_progress(&self) {
        let end = self.layout.end;
        self.progress.send_if_modified(|it| {
            let moved = it.end != end;
            it.end = end;
            moved
        });
    }
}

fn take_runs(len: usize, runs: &mut Runs) {
    let mut left = len;
    while let Some((_, run)) = runs.front_mut() {
        if *run > left {
            *run -= left;
            break;
        }
        left -= *run;
        runs.pop_front();
    }
}

/// Where the record with this number stands in the index file.
fn index_place(record: u64) -> u64 {
    (record + 1) * RECORD_BYTES as u64
}

pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

//! Appends redacted bytes to a log's text files and says so in its index.
//!
//! Bytes are in the log once their index record is. Text is written at a known
//! place of its file, so a write that went wrong half-way is simply written
//! again over itself, and readers never look behind the last record.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use danube_redact::Secrets;
use tokio::sync::watch;

use crate::blank::blank;
use crate::files::{Paths, open_private};
use crate::format::{Entry, RECORD_BYTES, Record, Version, header};
use crate::index::Index;
use crate::layout::{Layout, TextFile};
use crate::logs::Folder;
use crate::sync::Tracked;
use crate::text::{Text, line_ends};
use crate::types::{LogError, Masked, Progress, StreamKind, Summary};

/// Most changes between stdout and stderr that one batch records; with more it
/// counts as mixed, so that the index stays small beside the text.
const RUNS_MAX: usize = 64;

/// Changes that even the smallest batch records.
const RUNS_MIN: usize = 8;

/// Bytes of text that allow for one more: as many as a record has. A program
/// that alternates its streams byte by byte must not make an index that is
/// larger than its log.
const BYTES_A_RUN: usize = RECORD_BYTES;

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
    /// The last byte of the log is an end of line, or there is none.
    ends_line: bool,
    /// Reused from batch to batch.
    entries: Vec<Entry>,
    encoded: Vec<u8>,
}

impl Appender {
    /// Opens the files, recovers what an earlier writer left, and says in the
    /// index that the log is open. With `goes_on`, what that attempt wrote last is
    /// sent again by whoever has it: nothing is missing behind it.
    pub(crate) fn open(
        folder: &Arc<Folder>,
        paths: Paths,
        progress: watch::Sender<Progress>,
        goes_on: Option<u32>,
    ) -> io::Result<Self> {
        let existed = paths.text(TextFile::Head).exists();
        let mut known = Index::load(&paths)?;
        known.recover(&paths)?;

        let sync_errors = Arc::new(AtomicU64::new(0));
        let open = |path: PathBuf| open_private(&path).map(|it| Tracked::new(it, &sync_errors));
        if !existed {
            folder.made_file();
        }
        // The head is made first: it is what says that there is a log.
        let head = open(paths.text(TextFile::Head))?;
        let text = match known.layout.file {
            TextFile::Head => head,
            tail @ TextFile::Tail(_) => open(paths.text(tail))?,
        };
        if known.version == Version::V1 {
            rewrite(&mut known, &paths)?;
        }
        let index = open(paths.index())?;
        let mut appender = Self {
            folder: Arc::clone(folder),
            paths,
            text,
            full: Vec::new(),
            index,
            records: known.records,
            layout: known.layout.clone(),
            progress,
            sync_errors,
            blocked_nanos: 0,
            ends_line: true,
            entries: Vec::new(),
            encoded: Vec::new(),
        };
        let last = known.layout.attempts.last().map(|it| it.attempt);
        let is_resumed = goes_on.is_some() && last == goes_on;
        appender.repair_index(&mut known, existed && !is_resumed)?;
        if appender.text.file.metadata()?.len() > appender.layout.file_at {
            // What a power cut left behind all that is known.
            appender.cut_unindexed()?;
        }
        appender.show_progress();
        Ok(appender)
    }

    /// Brings the index file to what recovery found.
    fn repair_index(&mut self, known: &mut Index, may_miss: bool) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut place = index_place(known.records);
        if known.records == 0 {
            bytes.extend_from_slice(&header(now_us()));
            place = 0;
        }
        if known.torn {
            // What is torn goes before anything is appended in its place.
            self.index.file.set_len(place)?;
        }
        let mut records = known.records;
        let mut text = Text::new(self.paths.clone());
        let first = known.records;
        self.layout.totals = known.recount(&mut text, first, |record, totals| {
            bytes.extend_from_slice(&record.encode(totals));
            records += 1;
            Ok(())
        })?;
        self.layout.counted_to = self.layout.end;
        let end = self.layout.end;
        if let Some(last) = end.checked_sub(1) {
            self.ends_line = text.byte(&self.layout, last)? == Some(b'\n');
        }
        let time_us = Some(now_us());
        let crack = Record::Gap {
            from: end,
            len: 0,
            end,
        };
        let opening = Record::Open { at: end, time_us };
        // The writer before died with output that nobody will see.
        let cracked = may_miss && !self.layout.closed;
        for record in cracked.then_some(crack).into_iter().chain([opening]) {
            let totals = self.layout.totals_with(&record, 0);
            bytes.extend_from_slice(&record.encode(totals));
            let fits = self.layout.apply_entry(&Entry {
                record,
                totals: Some(totals),
            });
            debug_assert!(fits, "{record:?}");
            records += 1;
        }
        self.folder.write_all_at(&self.index.file, &bytes, place)?;
        self.records = records;
        Ok(())
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn ends_line(&self) -> bool {
        self.ends_line
    }

    /// Takes text out of the current file that the index doesn't know: the rest
    /// of a write that went wrong.
    pub(crate) fn cut_unindexed(&self) -> io::Result<()> {
        self.text.file.set_len(self.layout.file_at)
    }

    /// Blanks what is stored of the values of `secrets`.
    pub(crate) fn blank(&mut self, secrets: &Secrets) -> io::Result<Masked> {
        blank(&self.folder, &self.paths, &self.layout, secrets)
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
        self.append_text_of(bytes, runs, now_us())
    }

    /// The same for bytes that came at an earlier time.
    pub(crate) fn append_text_of(
        &mut self,
        bytes: &[u8],
        runs: &mut Runs,
        time_us: u64,
    ) -> Result<usize, LogError> {
        if self.room() == 0 {
            self.next_file()
                .map_err(LogError::io("open job log tail"))?;
        }
        let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        let text = Arc::clone(&self.text);
        self.disk(&text, bytes, self.layout.file_at)
            .map_err(LogError::io("write job log"))?;
        self.enter_flushes(bytes, runs, time_us);
        self.append_entered()?;
        self.ends_line = bytes.last() == Some(&b'\n');
        take_runs(bytes.len(), runs);
        Ok(bytes.len())
    }

    /// Appends a record that brings no text to the index.
    pub(crate) fn append(&mut self, record: Record) -> Result<(), LogError> {
        self.entries.clear();
        let totals = Some(self.layout.totals_with(&record, 0));
        self.entries.push(Entry { record, totals });
        self.append_entered()
    }

    /// Appends `entries` to the index and shows readers the new end.
    fn append_entered(&mut self) -> Result<(), LogError> {
        self.encoded.clear();
        for Entry { record, totals } in &self.entries {
            let totals = totals.unwrap_or_default();
            self.encoded.extend_from_slice(&record.encode(totals));
        }
        let index = Arc::clone(&self.index);
        let encoded = std::mem::take(&mut self.encoded);
        let written = self.disk(&index, &encoded, index_place(self.records));
        self.encoded = encoded;
        written.map_err(LogError::io("write job log index"))?;
        self.records += self.entries.len() as u64;
        for entry in &self.entries {
            let fits = self.layout.apply_entry(entry);
            debug_assert!(fits, "{entry:?}");
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
        self.append(Record::Close { end, time_us })?;
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
        self.folder.made_file();
        let oldest = match self.layout.tails[..] {
            [oldest, _] => Some(oldest),
            _ => None,
        };
        self.append(Record::Segment { base })
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

    /// Fills `entries` with what the index says of the next bytes.
    fn enter_flushes(&mut self, bytes: &[u8], runs: &Runs, time_us: u64) {
        let time_us = Some(time_us);
        self.entries.clear();
        let (mut at, mut lines) = (0, 0);
        let start = self.layout.end;
        let mut enter = |stream: StreamKind, len: usize| {
            let piece = &bytes[at..at + len];
            lines += line_ends(piece);
            at += len;
            let record = Record::Flush {
                end: start + at as u64,
                time_us,
                stream,
                sum: Some(crc32fast::hash(piece)),
            };
            let totals = Some(self.layout.totals_with(&record, lines));
            self.entries.push(Entry { record, totals });
        };
        let runs_max = RUNS_MAX.min(RUNS_MIN + bytes.len() / BYTES_A_RUN);
        if runs_within(bytes.len(), runs) > runs_max {
            enter(StreamKind::Mixed, bytes.len());
            return;
        }
        let mut left = bytes.len();
        for &(stream, run) in runs {
            let run = left.min(run);
            enter(stream, run);
            left -= run;
            if left == 0 {
                break;
            }
        }
    }

    /// Writes at a place; after an error the file is as before.
    fn disk(&mut self, file: &Arc<Tracked>, bytes: &[u8], at: u64) -> io::Result<()> {
        let began = Instant::now();
        let written = self.folder.write_all_at(&file.file, bytes, at);
        let nanos = began.elapsed().as_nanos();
        self.blocked_nanos += u64::try_from(nanos).unwrap_or(u64::MAX);
        match written {
            Ok(()) => self.folder.syncer.wrote(file),
            Err(_) => self.cut_back(file, at),
        }
        written
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

/// How many runs the next `len` bytes take part in.
fn runs_within(len: usize, runs: &Runs) -> usize {
    let mut before = 0;
    let within = runs.iter().take_while(|(_, run)| {
        let begins = before < len;
        before += run;
        begins
    });
    within.count()
}

/// Makes an index of this version from one of an earlier version. A crash leaves
/// the one or the other.
fn rewrite(known: &mut Index, paths: &Paths) -> io::Result<()> {
    let path = paths.new_index();
    let file = open_private(&path)?;
    file.set_len(0)?;
    let mut out = BufWriter::new(&file);
    out.write_all(&header(now_us()))?;
    let mut records = 0;
    let mut text = Text::new(paths.clone());
    let totals = known.recount(&mut text, 0, |record, totals| {
        records += 1;
        out.write_all(&record.encode(totals))
    })?;
    out.flush()?;
    drop(out);
    file.sync_data()?;
    std::fs::rename(&path, paths.index())?;
    known.records = records;
    known.added.clear();
    known.torn = false;
    known.version = Version::V2;
    known.layout.totals = totals;
    known.layout.counted_to = known.layout.end;
    Ok(())
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

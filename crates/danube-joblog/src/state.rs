//! What a log's writer holds: redactors, what waits, and the files. It sits behind
//! one lock, so that a value can be masked late from another thread.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_redact::{Counts, Redactor, Refused, Rules, Secrets};
use tokio::sync::watch;

use crate::append::{Appender, Runs, now_us};
use crate::files::Paths;
use crate::format::Record;
use crate::journal::blank_lines;
use crate::layout::Layout;
use crate::logs::Folder;
use crate::types::{LogCounts, LogError, Mark, Masked, Progress, Stream, StreamKind, Summary};

/// A batch is written at this size: the knee of the cost of `write(2)`.
const BATCH_BYTES: usize = 64 * 1024;

/// Memory for what waits that is kept from batch to batch. A batch takes less than
/// two of them; one huge batch must not keep its memory for the rest of the job.
const PENDING_BYTES_KEPT: usize = 4 * BATCH_BYTES;

/// How long to wait before a disk that said no is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// Batches are at least this far apart, unless they are full, and output does not
/// wait longer, complete line or not. The first output after a pause is written at
/// once.
const BATCH_EVERY: Duration = Duration::from_millis(5);

pub(crate) struct LogState {
    secrets: Secrets,
    stdout: Redactor,
    stderr: Redactor,
    files: Appender,
    /// Redacted bytes that are not in the log yet, from `done` on.
    pending: Vec<u8>,
    done: usize,
    runs: Runs,
    /// Bytes given up that the index does not say yet.
    given_up: u64,
    /// The last write went wrong; its bytes are pending.
    stuck: Option<io::ErrorKind>,
    /// When that was.
    stuck_since: Option<Instant>,
    /// Output came since the redactors were last asked for all they can give.
    fresh: bool,
    /// Where output came from last.
    last: Stream,
    last_batch: Option<Instant>,
    counts: LogCounts,
    /// Nothing more comes.
    closed: bool,
    /// It is written elsewhere, and this is a copy.
    copied: Option<Copied>,
}

/// What is known of a log that another process writes.
#[derive(Default)]
struct Copied {
    /// Values came late: what was under way may hold them.
    has_late: bool,
}

impl LogState {
    pub(crate) fn open(
        folder: &Arc<Folder>,
        paths: Paths,
        progress: watch::Sender<Progress>,
        secrets: &Secrets,
    ) -> io::Result<Self> {
        let files = Appender::open(folder, paths, progress, None)?;
        Ok(Self::of(files, secrets))
    }

    /// Opens a log that another process writes, of which `attempt` may have come in
    /// part already.
    pub(crate) fn open_copy(
        folder: &Arc<Folder>,
        paths: Paths,
        progress: watch::Sender<Progress>,
        attempt: u32,
    ) -> io::Result<Self> {
        let files = Appender::open(folder, paths, progress, Some(attempt))?;
        Ok(Self {
            copied: Some(Copied::default()),
            ..Self::of(files, &Secrets::new(Rules::none()))
        })
    }

    fn of(files: Appender, secrets: &Secrets) -> Self {
        Self {
            secrets: secrets.clone(),
            stdout: Redactor::new(secrets),
            stderr: Redactor::new(secrets),
            files,
            pending: Vec::new(),
            done: 0,
            runs: Runs::new(),
            given_up: 0,
            stuck: None,
            stuck_since: None,
            fresh: false,
            last: Stream::Stdout,
            last_batch: None,
            counts: LogCounts::default(),
            closed: false,
            copied: None,
        }
    }

    pub(crate) fn write(&mut self, stream: Stream, raw: &[u8]) -> Result<(), LogError> {
        if let Some(kind) = self.stuck {
            return Err(LogError::RetryFirst { kind });
        }
        self.counts.ingested_bytes += raw.len() as u64;
        let other = std::mem::replace(&mut self.last, stream);
        if other != stream && self.fresh {
            // What came first on the other stream comes first in the log.
            self.redact(other, Redactor::flush_partial);
        }
        let mut written = Ok(());
        for part in raw.chunks(BATCH_BYTES) {
            self.redact(stream, |redactor, out| redactor.push(part, out));
            // After an error the rest is kept too, or it would be lost.
            if self.waiting() >= BATCH_BYTES && written.is_ok() {
                written = self.note(Self::flush_full);
            }
        }
        self.fresh |= !raw.is_empty();
        written?;
        if self.fresh && self.last_batch.is_none_or(|it| it.elapsed() >= BATCH_EVERY) {
            self.tick()?;
        }
        Ok(())
    }

    pub(crate) fn tick(&mut self) -> Result<(), LogError> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.redact(stream, Redactor::flush_partial);
        }
        // What the redactors still hold can only move on with more output.
        self.fresh = false;
        self.last_batch = Some(Instant::now());
        self.note(Self::flush)
    }

    pub(crate) fn tick_due(&self) -> Option<Instant> {
        if let Some(since) = self.stuck_since {
            return Some(since + RETRY_EVERY);
        }
        let last = self
            .last_batch
            .filter(|_| self.fresh || self.waiting() > 0)?;
        Some(last + BATCH_EVERY)
    }

    pub(crate) fn mark(&mut self, mark: Mark) -> Result<u64, LogError> {
        self.finish_redactors();
        self.fresh = false;
        self.note(Self::flush)?;
        let at = self.files.layout().end;
        let time_us = Some(now_us());
        self.files.append(Record::Mark { mark, at, time_us })?;
        Ok(at)
    }

    pub(crate) fn mark_if_clear(&mut self, mark: Mark) -> Result<Option<u64>, LogError> {
        self.tick()?;
        if self.stdout.held_bytes() > 0 {
            return Ok(None);
        }
        let at = self.files.layout().end;
        let time_us = Some(now_us());
        self.files.append(Record::Mark { mark, at, time_us })?;
        Ok(Some(at))
    }

    pub(crate) fn end(&self) -> u64 {
        self.files.layout().end
    }

    pub(crate) fn skip_pending(&mut self) -> u64 {
        let skipped = self.waiting() as u64;
        self.given_up += skipped;
        self.pending.clear();
        self.done = 0;
        self.runs.clear();
        (self.stuck, self.stuck_since) = (None, None);
        skipped
    }

    pub(crate) fn counts(&self) -> LogCounts {
        LogCounts {
            missing_bytes: self.files.layout().missing_bytes() + self.given_up,
            blocked_nanos: self.files.blocked_nanos(),
            sync_errors: self.files.sync_errors(),
            ..self.counts.clone()
        }
    }

    pub(crate) fn close(&mut self) -> Result<Summary, LogError> {
        self.finish_redactors();
        self.flush()?;
        self.files.close()
    }

    /// Nothing more comes from this writer.
    pub(crate) fn end_all(&mut self) {
        self.closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Puts a new value, which alone is in `only`, under the lock between what
    /// came before and what comes: what waits is written, as far as it can be told
    /// from the beginning of a secret, and what the disk did not take is blanked
    /// in memory. `Ok` holds what the disk said.
    pub(crate) fn take_value(
        &mut self,
        only: &Secrets,
        register: impl FnOnce(&Secrets) -> Result<(), Refused>,
    ) -> Result<Result<(), LogError>, Refused> {
        let mut flushed = self.tick();
        register(&self.secrets)?;
        if let Some(copied) = &mut self.copied {
            copied.has_late = true;
        }
        if self.waiting() > 0 {
            blank_lines(&mut self.pending[self.done..], only);
            let cut = self.files.cut_unindexed();
            flushed = flushed.and(cut.map_err(LogError::io("cut job log")));
        }
        Ok(flushed)
    }

    /// Whether another process writes the log: then its notes come from there, and
    /// offsets here follow those there.
    pub(crate) fn is_copy(&self) -> bool {
        self.copied.is_some()
    }

    /// Appends bytes that were redacted where they were written. After an error the
    /// log ends where it says, and the rest may be appended again.
    pub(crate) fn append_copied(
        &mut self,
        bytes: &[u8],
        (stream, time_us): (StreamKind, u64),
    ) -> Result<(), LogError> {
        let mut blanked = Vec::new();
        let mut rest = bytes;
        if self.copied.as_ref().is_some_and(|it| it.has_late) {
            blanked.extend_from_slice(bytes);
            blank_lines(&mut blanked, &self.secrets);
            rest = &blanked;
        }
        while !rest.is_empty() {
            let mut runs = Runs::from([(stream, rest.len())]);
            let len = self.files.append_text_of(rest, &mut runs, time_us)?;
            self.counts.written_bytes += len as u64;
            rest = &rest[len..];
        }
        Ok(())
    }

    /// Says that the writer has no bytes up to `to` either.
    pub(crate) fn append_gap(&mut self, to: u64) -> Result<(), LogError> {
        let from = self.end();
        let len = to.saturating_sub(from);
        if len == 0 {
            return Ok(());
        }
        self.files.append(Record::Gap { from, len, end: to })
    }

    /// What the index knows: where the attempt's part begins, and its steps.
    pub(crate) fn layout(&self) -> &Layout {
        self.files.layout()
    }

    /// Blanks what is stored of the values of `only`.
    pub(crate) fn blank(&mut self, only: &Secrets) -> io::Result<Masked> {
        self.files.blank(only)
    }

    /// Says in the log that lines were blanked. What goes wrong is tried again
    /// like any output.
    pub(crate) fn note_blanked(&mut self, lines: u64) {
        let (what, were) = if lines == 1 {
            ("line", "was")
        } else {
            ("lines", "were")
        };
        let note =
            format!("[danube] a value was masked late: {lines} {what} above {were} blanked\n");
        let before = self.pending.len();
        let ends_line = match self.pending[self.done..].last() {
            Some(last) => *last == b'\n',
            None => self.files.ends_line(),
        };
        if !ends_line {
            self.pending.push(b'\n');
        }
        // A value may be a part even of this.
        let note = self.secrets.redact_bytes(note.as_bytes());
        self.pending.extend_from_slice(&note);
        self.runs
            .push_back((StreamKind::Mixed, self.pending.len() - before));
        if self.stuck.is_none() {
            // It is remembered as stuck.
            let _ = self.note(Self::flush);
        }
    }

    fn finish_redactors(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.redact(stream, Redactor::finish);
        }
    }

    /// Lets a stream's redactor put out into `pending`.
    fn redact(&mut self, stream: Stream, put: impl FnOnce(&mut Redactor, &mut Vec<u8>)) {
        let before = self.pending.len();
        let redactor = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        put(redactor, &mut self.pending);
        add_counts(&mut self.counts.redactions, redactor.take_counts());
        let len = self.pending.len() - before;
        match self.runs.back_mut() {
            _ if len == 0 => {}
            Some((last, run)) if *last == stream.into() => *run += len,
            _ => self.runs.push_back((stream.into(), len)),
        }
    }

    fn waiting(&self) -> usize {
        self.pending.len() - self.done
    }

    /// Remembers how a write went.
    fn note(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let written = write(self);
        self.stuck = match &written {
            Err(error) if self.waiting() > 0 => error.io_kind(),
            _ => None,
        };
        self.stuck_since = self.stuck.map(|_| Instant::now());
        written
    }

    /// Appends all that waits.
    fn flush(&mut self) -> Result<(), LogError> {
        self.flush_until(self.pending.len())
    }

    /// Appends full batches of what waits, each to a place in the file that is a
    /// multiple of its size: the page cache takes those most cheaply.
    fn flush_full(&mut self) -> Result<(), LogError> {
        let batch = BATCH_BYTES as u64;
        let end = self.files.layout().file_at + self.waiting() as u64;
        let over = usize::try_from(end % batch).unwrap_or(0);
        self.flush_until(self.pending.len().saturating_sub(over).max(self.done))
    }

    fn flush_until(&mut self, until: usize) -> Result<(), LogError> {
        self.own_up()?;
        if self.done == until {
            return Ok(());
        }
        while self.done < until {
            let rest = &self.pending[self.done..until];
            let len = self.files.append_text(rest, &mut self.runs)?;
            self.done += len;
            self.counts.written_bytes += len as u64;
        }
        self.pending.drain(..self.done);
        self.done = 0;
        self.pending.shrink_to(PENDING_BYTES_KEPT);
        self.counts.flushes += 1;
        self.last_batch = Some(Instant::now());
        Ok(())
    }

    /// Says in the index what was given up.
    fn own_up(&mut self) -> Result<(), LogError> {
        if self.given_up > 0 {
            let (from, len) = (self.files.layout().end, self.given_up);
            let end = from + len;
            self.files.append(Record::Gap { from, len, end })?;
            self.given_up = 0;
        }
        Ok(())
    }
}

fn add_counts(sum: &mut Counts, more: Counts) {
    for (rule, count) in more {
        *sum.entry(rule).or_insert(0) += count;
    }
}

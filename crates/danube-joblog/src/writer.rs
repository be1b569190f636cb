//! Writes one job's log: redacts, batches, and hands on to the files.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_redact::{Counts, Redactor, Secrets};
use tokio::sync::watch;

use crate::append::{Appender, Runs, now_us};
use crate::files::Paths;
use crate::format::Record;
use crate::logs::Folder;
use crate::types::{LogCounts, LogError, Mark, Progress, Stream, Summary};

/// A batch is written at this size: the knee of the cost of `write(2)`.
const BATCH_BYTES: usize = 64 * 1024;

/// Output does not wait longer than this, complete line or not.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Batches are at least this far apart, unless they are full. The first output
/// after a pause is written at once.
const BATCH_EVERY: Duration = Duration::from_millis(5);

/// Writes one job's log. Owned by the job's thread; its calls block while the
/// disk is slow, which is what holds the job back.
pub struct LogWriter {
    folder: Arc<Folder>,
    job: String,
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
    waiting_since: Option<Instant>,
    last_flush: Option<Instant>,
    progress: watch::Sender<Progress>,
    counts: LogCounts,
}

impl LogWriter {
    pub(crate) fn open(
        folder: &Arc<Folder>,
        job: &str,
        secrets: &Secrets,
    ) -> Result<Self, LogError> {
        let paths = Paths::new(&folder.dir, job)?;
        let progress = folder.begin(job)?;
        let files = Appender::open(folder, paths, progress.clone()).map_err(|error| {
            folder.end(job);
            progress.send_modify(|it| it.closed = true);
            LogError::io("open job log")(error)
        })?;
        Ok(Self {
            folder: Arc::clone(folder),
            job: job.to_owned(),
            stdout: Redactor::new(secrets),
            stderr: Redactor::new(secrets),
            files,
            pending: Vec::new(),
            done: 0,
            runs: Runs::new(),
            given_up: 0,
            stuck: None,
            waiting_since: None,
            last_flush: None,
            progress,
            counts: LogCounts::default(),
        })
    }

    /// Takes output of the job. Blocks while the disk is slow.
    ///
    /// # Errors
    /// When the disk says no. The bytes are kept: `tick` tries again, and further
    /// output is refused (`RetryFirst`) until that or `skip_pending` was called.
    pub fn write(&mut self, stream: Stream, raw: &[u8]) -> Result<(), LogError> {
        if let Some(kind) = self.stuck {
            return Err(LogError::RetryFirst { kind });
        }
        self.counts.ingested_bytes += raw.len() as u64;
        let mut written = Ok(());
        for part in raw.chunks(BATCH_BYTES) {
            self.redact(stream, |redactor, out| redactor.push(part, out));
            // After an error the rest is kept too, or it would be lost.
            if self.waiting() >= BATCH_BYTES && written.is_ok() {
                written = self.note(Self::flush);
            }
        }
        written?;
        if self.waiting() > 0 && self.last_flush.is_none_or(|it| it.elapsed() >= BATCH_EVERY) {
            self.note(Self::flush)?;
        }
        let held = self.stdout.held_bytes() + self.stderr.held_bytes();
        if self.waiting() + held == 0 {
            self.waiting_since = None;
        } else if self.waiting_since.is_none() {
            self.waiting_since = Some(Instant::now());
        }
        Ok(())
    }

    /// Writes what waits: call it when [`LogWriter::tick_due`] says, and after an
    /// error to try again.
    ///
    /// # Errors
    /// When the disk (still) says no.
    pub fn tick(&mut self) -> Result<(), LogError> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.redact(stream, Redactor::flush_partial);
        }
        self.note(Self::flush)?;
        // What the redactors still hold can only move on with more output.
        self.waiting_since = None;
        Ok(())
    }

    /// When to call [`LogWriter::tick`]: at most 100 ms after output came, `None`
    /// when nothing waits.
    #[must_use]
    pub fn tick_due(&self) -> Option<Instant> {
        let latest = self.waiting_since? + WAIT_MAX;
        let batch = self.last_flush.map(|it| it + BATCH_EVERY);
        match batch {
            Some(batch) if self.waiting() > 0 && self.stuck.is_none() => Some(batch.min(latest)),
            _ => Some(latest),
        }
    }

    /// Writes all output so far (nothing of it can become part of a secret
    /// later: a mark is a border) and then the mark. Returns its logical offset.
    ///
    /// # Errors
    /// When the disk says no; call it again.
    pub fn mark(&mut self, mark: Mark) -> Result<u64, LogError> {
        self.finish_redactors();
        self.note(Self::flush)?;
        self.waiting_since = None;
        let at = self.files.layout().end;
        let time_us = Some(now_us());
        self.files.append(Record::Mark { mark, at, time_us })?;
        Ok(at)
    }

    /// The logical offset at which the log ends now, for its readers.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.files.layout().end
    }

    /// Gives up the bytes that could not be written, so that the job may go on;
    /// the log says where they are missing. Returns how many there were.
    pub fn skip_pending(&mut self) -> u64 {
        let skipped = self.waiting() as u64;
        self.given_up += skipped;
        self.pending.clear();
        self.done = 0;
        self.runs.clear();
        self.stuck = None;
        self.waiting_since = None;
        skipped
    }

    /// What has been done so far.
    #[must_use]
    pub fn counts(&self) -> LogCounts {
        LogCounts {
            missing_bytes: self.files.layout().missing_bytes() + self.given_up,
            blocked_nanos: self.files.blocked_nanos(),
            sync_errors: self.files.sync_errors(),
            ..self.counts.clone()
        }
    }

    /// Writes the rest, makes the log durable and marks it as closed.
    ///
    /// # Errors
    /// When the disk says no. The log is then as after a crash: what is in it
    /// can be read, and it is not complete.
    pub fn close(mut self) -> Result<Summary, LogError> {
        self.finish_redactors();
        self.flush()?;
        self.files.close()
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
        if self.stuck.is_some() {
            self.waiting_since = Some(Instant::now());
        }
        written
    }

    /// Appends all that waits.
    fn flush(&mut self) -> Result<(), LogError> {
        self.own_up()?;
        if self.waiting() == 0 {
            return Ok(());
        }
        while self.waiting() > 0 {
            let rest = &self.pending[self.done..];
            let len = self.files.append_text(rest, &mut self.runs)?;
            self.done += len;
            self.counts.written_bytes += len as u64;
        }
        self.pending.clear();
        self.done = 0;
        // One huge batch must not keep its memory for the rest of the job.
        self.pending.shrink_to(2 * BATCH_BYTES);
        self.counts.flushes += 1;
        self.last_flush = Some(Instant::now());
        self.waiting_since = None;
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

impl Drop for LogWriter {
    /// Followers hear that nothing more comes. Without `close` the log stays
    /// without its closing record, and so incomplete.
    fn drop(&mut self) {
        self.folder.end(&self.job);
        self.progress.send_modify(|it| it.closed = true);
    }
}

fn add_counts(sum: &mut Counts, more: Counts) {
    for (rule, count) in more {
        *sum.entry(rule).or_insert(0) += count;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use danube_redact::Rules;

    use super::*;
    use crate::{Chunk, GapReason, JobLogs, Limits};

    const JOB: &str = "job";

    fn logs() -> (tempfile::TempDir, JobLogs) {
        let dir = tempfile::tempdir().unwrap();
        let logs = JobLogs::open(dir.path(), Limits::new(40, 200).unwrap()).unwrap();
        (dir, logs)
    }

    fn writer(logs: &JobLogs) -> LogWriter {
        logs.writer(JOB, &Secrets::new(Rules::none())).unwrap()
    }

    fn read(logs: &JobLogs) -> (String, Vec<(u64, u64)>) {
        let mut reader = logs.reader(JOB).unwrap();
        let (mut text, mut gaps, mut at) = (String::new(), Vec::new(), 0);
        loop {
            match reader.read(at, 1000).unwrap() {
                Chunk::Data { offset, bytes, .. } => {
                    at = offset + bytes.len() as u64;
                    text.push_str(std::str::from_utf8(&bytes).unwrap());
                }
                Chunk::Gap { from, to, reason } => {
                    assert_eq!(reason, GapReason::Lost);
                    gaps.push((from, to));
                    at = to;
                }
                Chunk::End { .. } => return (text, gaps),
            }
        }
    }

    /// Fills the disk after `room` more bytes, then makes room again.
    fn full_at(room: usize) -> bool {
        let (_dir, logs) = logs();
        let mut writer = writer(&logs);
        writer.write(Stream::Stdout, b"before\n").unwrap();
        *logs.folder().room.lock().unwrap() = Some(room);
        let mut expected = "before\n".to_owned();
        let mut hit = false;
        for n in 0..12 {
            let line = format!("line number {n}\n");
            expected.push_str(&line);
            let mut written = writer.write(Stream::Stdout, line.as_bytes());
            if written.is_ok() {
                written = writer.tick();
            }
            let Err(error) = written else { continue };
            hit = true;
            assert_eq!(error.io_kind(), Some(io::ErrorKind::StorageFull));
            let refused = writer.write(Stream::Stdout, b"x").unwrap_err();
            assert!(matches!(refused, LogError::RetryFirst { .. }), "{refused}");
            assert!(writer.tick_due().is_some());
            assert!(writer.tick().is_err());
            // What readers see meanwhile is whole lines of what was written.
            let (seen, gaps) = read(&logs);
            assert!(expected.starts_with(&seen) && gaps.is_empty(), "{seen:?}");
            *logs.folder().room.lock().unwrap() = None;
            writer.tick().unwrap();
        }
        *logs.folder().room.lock().unwrap() = None;
        writer.tick().unwrap();
        assert_eq!(read(&logs), (expected, vec![]));
        assert!(writer.close().unwrap().complete);
        hit
    }

    #[test]
    fn a_full_disk_loses_nothing_at_whichever_byte_it_fills() {
        // Steps of 7 bytes meet every place in a line and in a record.
        let hits = (0..560).step_by(7).filter(|room| full_at(*room)).count();
        assert_eq!(hits, 80);
    }

    #[test]
    fn what_is_given_up_is_a_gap_and_the_log_goes_on() {
        let (_dir, logs) = logs();
        let mut writer = writer(&logs);
        writer.write(Stream::Stdout, b"before\n").unwrap();
        *logs.folder().room.lock().unwrap() = Some(3);
        let error = writer
            .write(Stream::Stdout, b"lost 1\n")
            .and_then(|()| writer.tick());
        assert_eq!(
            error.unwrap_err().io_kind(),
            Some(io::ErrorKind::StorageFull)
        );
        assert_eq!(writer.skip_pending(), 7);
        assert_eq!(writer.counts().missing_bytes, 7);
        // Still full: the gap cannot be recorded yet either.
        let error = writer
            .write(Stream::Stderr, b"lost 2\n")
            .and_then(|()| writer.tick());
        assert!(error.is_err());
        assert_eq!(writer.skip_pending(), 7);
        *logs.folder().room.lock().unwrap() = None;
        writer.write(Stream::Stdout, b"after\n").unwrap();
        let summary = writer.close().unwrap();
        assert_eq!(
            (summary.bytes, summary.missing_bytes, summary.complete),
            (27, 14, false)
        );
        assert_eq!(read(&logs), ("before\nafter\n".into(), vec![(7, 21)]));
    }

    #[test]
    fn a_log_torn_at_any_write_is_recovered_whole() {
        for room in (0..400).step_by(5) {
            let (_dir, logs) = logs();
            let mut first = writer(&logs);
            *logs.folder().room.lock().unwrap() = Some(room);
            // As after kill -9: nothing is tidied up.
            logs.folder().killed.store(true, Ordering::Relaxed);
            let mut expected = String::new();
            for n in 0..8 {
                let line = format!("line number {n}\n");
                expected.push_str(&line);
                if first
                    .write(Stream::Stdout, line.as_bytes())
                    .and_then(|()| first.tick())
                    .is_err()
                {
                    break;
                }
            }
            drop(first);
            *logs.folder().room.lock().unwrap() = None;
            let mut second = writer(&logs);
            let from = second.mark(Mark::Attempt(2)).unwrap();
            second.write(Stream::Stdout, b"again\n").unwrap();
            assert!(!second.close().unwrap().complete);
            let (text, gaps) = read(&logs);
            let (before, after) = text.split_at(usize::try_from(from).unwrap());
            assert!(expected.starts_with(before), "room {room}: {text:?}");
            assert!(expected.len() - before.len() <= "line number 0\n".len());
            assert_eq!((after, gaps), ("again\n", vec![]), "room {room}");
        }
    }
}

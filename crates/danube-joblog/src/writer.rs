//! Writes one job's log: the handle of the job's thread.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use danube_redact::Secrets;
use tokio::sync::watch;

use crate::files::Paths;
use crate::logs::Folder;
use crate::state::LogState;
use crate::types::{LogCounts, LogError, Mark, Progress, Stream, Summary};

/// Writes one job's log. Owned by the job's thread; its calls block while the
/// disk is slow, which is what holds the job back, and while a value is masked
/// late ([`JobLogs::mask`](crate::JobLogs::mask)).
pub struct LogWriter {
    folder: Arc<Folder>,
    job: String,
    state: Arc<Mutex<LogState>>,
    progress: watch::Sender<Progress>,
}

impl LogWriter {
    pub(crate) fn open(
        folder: &Arc<Folder>,
        job: &str,
        secrets: &Secrets,
    ) -> Result<Self, LogError> {
        Self::open_with(folder, job, |paths, progress| {
            LogState::open(folder, paths, progress, secrets)
        })
    }

    pub(crate) fn open_with(
        folder: &Arc<Folder>,
        job: &str,
        open: impl FnOnce(Paths, watch::Sender<Progress>) -> io::Result<LogState>,
    ) -> Result<Self, LogError> {
        let paths = Paths::new(&folder.dir, job)?;
        let progress = folder.begin(job)?;
        let opened = open(paths, progress.clone());
        let state = opened.map_err(|error| {
            folder.end(job);
            progress.send_modify(|it| it.closed = true);
            LogError::io("open job log")(error)
        })?;
        let state = Arc::new(Mutex::new(state));
        folder.attach(job, &state);
        Ok(Self {
            folder: Arc::clone(folder),
            job: job.to_owned(),
            state,
            progress,
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, LogState> {
        // Nobody else holds it but to mask a value.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes output of the job. Blocks while the disk is slow.
    ///
    /// # Errors
    /// When the disk says no. The bytes are kept: `tick` tries again, and further
    /// output is refused (`RetryFirst`) until that or `skip_pending` was called.
    pub fn write(&mut self, stream: Stream, raw: &[u8]) -> Result<(), LogError> {
        self.state().write(stream, raw)
    }

    /// Writes what waits: call it when [`LogWriter::tick_due`] says, and after an
    /// error to try again.
    ///
    /// # Errors
    /// When the disk (still) says no.
    pub fn tick(&mut self) -> Result<(), LogError> {
        self.state().tick()
    }

    /// When to call [`LogWriter::tick`]: a few milliseconds after output came, 100
    /// after an error; `None` when nothing waits.
    #[must_use]
    pub fn tick_due(&self) -> Option<Instant> {
        self.state().tick_due()
    }

    /// Writes all output so far (nothing of it can become part of a secret
    /// later: a mark is a border) and then the mark. Returns its logical offset.
    ///
    /// # Errors
    /// When the disk says no; call it again.
    pub fn mark(&mut self, mark: Mark) -> Result<u64, LogError> {
        self.state().mark(mark)
    }

    /// Writes all of stdout so far and then the mark, in the midst of what a process
    /// writes. `None`, and no mark, where some of it may yet become part of a secret:
    /// unlike [`LogWriter::mark`] this is no border.
    ///
    /// # Errors
    /// When the disk says no; `tick` tries the output again, the mark is forgotten.
    pub fn mark_if_clear(&mut self, mark: Mark) -> Result<Option<u64>, LogError> {
        self.state().mark_if_clear(mark)
    }

    /// The logical offset at which the log ends now, for its readers.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.state().end()
    }

    /// Gives up the bytes that could not be written, so that the job may go on;
    /// the log says where they are missing. Returns how many there were.
    pub fn skip_pending(&mut self) -> u64 {
        self.state().skip_pending()
    }

    /// What has been done so far.
    #[must_use]
    pub fn counts(&self) -> LogCounts {
        self.state().counts()
    }

    /// Writes the rest, makes the log durable and marks it as closed.
    ///
    /// # Errors
    /// When the disk says no. The log is then as after a crash: what is in it
    /// can be read, and it is not complete.
    pub fn close(self) -> Result<Summary, LogError> {
        self.state().close()
    }
}

impl Drop for LogWriter {
    /// Followers hear that nothing more comes. Without `close` the log stays
    /// without its closing record, and so incomplete.
    fn drop(&mut self) {
        self.state().end_all();
        self.folder.end(&self.job);
        self.progress.send_modify(|it| it.closed = true);
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

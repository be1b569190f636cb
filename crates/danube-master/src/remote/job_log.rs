//! The master's copy of a log that is written elsewhere.

use std::sync::{Mutex, MutexGuard, PoisonError};

use danube_joblog::{JobLogs, LogCopy, LogError, Piece, Summary};
use danube_model::Attempt;

/// One attempt's copy.
pub(super) struct JobLog {
    attempt: Attempt,
    slot: Mutex<Slot>,
}

enum Slot {
    /// Opened when it is needed: by the claim, or by the first piece after a restart.
    Unopened,
    Open(LogCopy),
    /// Closed for good, with what it holds; or left as it was.
    Ended(Option<Summary>),
}

/// Why a piece or the end of a log isn't taken.
#[derive(Debug)]
pub(super) enum Untaken {
    /// The attempt is over.
    Ended,
    /// The log ends here, and more was to come.
    Short(u64),
    /// The disk said no.
    Disk(LogError),
}

impl JobLog {
    pub(super) fn new(attempt: Attempt) -> Self {
        Self {
            attempt,
            slot: Mutex::new(Slot::Unopened),
        }
    }

    /// Where the attempt's first byte stands.
    pub(super) fn base(&self, logs: &JobLogs) -> Result<u64, Untaken> {
        let mut slot = self.lock();
        self.open(&mut slot, logs).map(|copy| copy.base())
    }

    /// Appends a piece; where the log ends then, and by how much it grew.
    pub(super) fn append(&self, logs: &JobLogs, piece: &Piece<'_>) -> Result<(u64, u64), Untaken> {
        let mut slot = self.lock();
        let copy = self.open(&mut slot, logs)?;
        let before = copy.end();
        let end = copy.append(piece).map_err(Untaken::Disk)?;
        Ok((end, end - before))
    }

    /// Closes the log, if it has come whole. Twice is once.
    pub(super) fn close(&self, logs: &JobLogs, end: u64) -> Result<Summary, Untaken> {
        let mut slot = self.lock();
        if let Slot::Ended(Some(summary)) = &*slot {
            return Ok(*summary);
        }
        let copy = self.open(&mut slot, logs)?;
        if copy.end() != end {
            return Err(Untaken::Short(copy.end()));
        }
        let Slot::Open(copy) = std::mem::replace(&mut *slot, Slot::Unopened) else {
            return Err(Untaken::Ended);
        };
        let summary = copy.close().map_err(Untaken::Disk)?;
        *slot = Slot::Ended(Some(summary));
        Ok(summary)
    }

    /// Leaves the log as it is, for whoever has the job next. Waits for a piece that is
    /// being appended.
    pub(super) fn end(&self) {
        let mut slot = self.lock();
        if !matches!(*slot, Slot::Ended(_)) {
            *slot = Slot::Ended(None);
        }
    }

    fn open<'a>(&self, slot: &'a mut Slot, logs: &JobLogs) -> Result<&'a mut LogCopy, Untaken> {
        if matches!(slot, Slot::Unopened) {
            let job = self.attempt.job.to_string();
            let copy = logs.copy(&job, self.attempt.number);
            *slot = Slot::Open(copy.map_err(Untaken::Disk)?);
        }
        match slot {
            Slot::Open(copy) => Ok(copy),
            _ => Err(Untaken::Ended),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        // A panic on the way leaves a log that is opened again.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

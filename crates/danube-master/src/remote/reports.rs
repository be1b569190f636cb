//! What a worker elsewhere reports of an attempt. All of it may block.

use danube_joblog::{LogError, Piece};
use danube_model::credential::{Credential, SecretText};
use danube_model::playbook::{Progress, RunRecord};
use danube_model::{Attempt, Cause, Ended, State, Step};
use danube_worker::{Dispatch, ReportError, Traced};

use super::job_log::Untaken;
use super::{Peer, Remote};

/// Why a report isn't taken.
#[derive(Debug)]
pub(crate) enum Unreported {
    /// The job is somebody else's, or was never this worker's.
    Fenced,
    /// The log hasn't come whole: it ends here.
    LogIsShort(u64),
    /// No room on the disk.
    NoSpace,
    /// Not now.
    Unavailable,
    /// Trying again can't help.
    Broken,
}

impl From<ReportError> for Unreported {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Fenced => Self::Fenced,
            ReportError::Unavailable(_) => Self::Unavailable,
            ReportError::Broken(_) => Self::Broken,
        }
    }
}

impl From<Untaken> for Unreported {
    fn from(why: Untaken) -> Self {
        match why {
            Untaken::Ended => Self::Fenced,
            Untaken::Short(end) => Self::LogIsShort(end),
            Untaken::Disk(error) if error.io_kind() == Some(std::io::ErrorKind::StorageFull) => {
                Self::NoSpace
            }
            // Somebody blanks it after the attempt before.
            Untaken::Disk(LogError::InUse | _) => Self::Unavailable,
        }
    }
}

impl Remote {
    /// Opens the copy of the attempt's log and says where its first byte stands.
    pub(crate) fn open_log(&self, attempt: Attempt) -> Result<u64, Unreported> {
        let log = self.log_of(attempt).ok_or(Unreported::Fenced)?;
        let base = log.base(&self.logs)?;
        self.dispatch.phases.touch(attempt.job);
        Ok(base)
    }

    /// Appends a piece of the log; where the log ends then.
    pub(crate) fn append(
        &self,
        peer: &Peer,
        attempt: Attempt,
        piece: &Piece<'_>,
    ) -> Result<u64, Unreported> {
        let was_known = self.runs(attempt.job);
        self.require(peer, attempt)?;
        let log = self.log_of(attempt).ok_or(Unreported::Fenced)?;
        let (end, grown) = log.append(&self.logs, piece)?;
        self.dispatch.signals.log_bytes_ingested_total.add(grown);
        if !was_known || !piece.marks.is_empty() {
            // Whoever waits for the log, or for a step in it, reads from here.
            self.dispatch.phases.touch(attempt.job);
        }
        Ok(end)
    }

    pub(crate) fn started(
        &self,
        peer: &Peer,
        attempt: Attempt,
        steps: &[Step],
    ) -> Result<(), Unreported> {
        self.require(peer, attempt)?;
        Ok(self.dispatch.started(attempt, steps)?)
    }

    pub(crate) fn step(
        &self,
        peer: &Peer,
        attempt: Attempt,
        (index, step): (usize, &Step),
    ) -> Result<(), Unreported> {
        self.require(peer, attempt)?;
        Ok(self.dispatch.step(attempt, index, step)?)
    }

    pub(crate) fn played(
        &self,
        peer: &Peer,
        attempt: Attempt,
        (records, progress): (Vec<RunRecord>, Progress),
    ) -> Result<(), Unreported> {
        self.require(peer, attempt)?;
        self.dispatch.played(attempt, records, &progress);
        Ok(())
    }

    /// The credentials that the attempt's job names; why there are none, otherwise.
    pub(crate) fn credentials(
        &self,
        peer: &Peer,
        attempt: Attempt,
        names: Vec<String>,
    ) -> Result<Result<Vec<Credential>, String>, Unreported> {
        self.require(peer, attempt)?;
        match self.dispatch.credentials(attempt, names) {
            Ok(given) => Ok(Ok(given)),
            Err(ReportError::Fenced) => Err(Unreported::Fenced),
            Err(ReportError::Unavailable(why) | ReportError::Broken(why)) => Ok(Err(why)),
        }
    }

    /// The secrets that a step of the attempt's job asks for; why there are none, otherwise.
    pub(crate) fn secrets(
        &self,
        peer: &Peer,
        attempt: Attempt,
        names: Vec<String>,
    ) -> Result<Result<Vec<(String, SecretText)>, String>, Unreported> {
        self.require(peer, attempt)?;
        match self.dispatch.secrets(attempt, names) {
            Ok(given) => {
                self.know(attempt, &given);
                Ok(Ok(given))
            }
            Err(ReportError::Fenced) => Err(Unreported::Fenced),
            Err(ReportError::Unavailable(_)) => Err(Unreported::Unavailable),
            Err(ReportError::Broken(why)) => Ok(Err(why)),
        }
    }

    pub(crate) fn finalizing(&self, peer: &Peer, attempt: Attempt) -> Result<(), Unreported> {
        self.require(peer, attempt)?;
        self.dispatch.finalizing(attempt);
        Ok(())
    }

    /// The attempt has ended, with its spans if they came along. A report that was taken
    /// before is answered as it was then.
    pub(crate) fn finish(
        &self,
        peer: &Peer,
        attempt: Attempt,
        (ended, traced): (Ended, Option<Traced>),
    ) -> Result<(), Unreported> {
        if self.is_done(peer, attempt, &ended.cause)? {
            self.end(attempt);
            return Ok(());
        }
        self.require(peer, attempt)?;
        let traced = traced.filter(|it| self.is_in_trace(it));
        let log = self.log_of(attempt).ok_or(Unreported::Fenced)?;
        let summary = log.close(&self.logs, ended.log_bytes)?;
        let ended = Ended {
            log_bytes: summary.bytes,
            log_complete: summary.complete && ended.log_complete,
            log_missing_bytes: summary.missing_bytes,
            ..ended
        };
        if let Some(traced) = &traced {
            self.dispatch.ends(traced);
        }
        let answer = self.dispatch.finish(attempt, &ended);
        self.over(attempt, traced, &answer);
        Ok(answer?)
    }

    /// The worker leaves. `log_end`: where the log would end if all of it had come.
    pub(crate) fn hand_back(
        &self,
        peer: &Peer,
        attempt: Attempt,
        (reason, may_have_run): (&str, bool),
        (log_end, traced): (u64, Option<Traced>),
    ) -> Result<(), Unreported> {
        self.require(peer, attempt)?;
        let traced = traced.filter(|it| self.is_in_trace(it));
        let log = self.log_of(attempt).ok_or(Unreported::Fenced)?;
        // What hasn't come by now is missing: the log says so when it is opened next.
        let _ = log.close(&self.logs, log_end);
        log.end();
        if let Some(traced) = &traced {
            self.dispatch.ends(traced);
        }
        let answer = self.dispatch.hand_back(attempt, reason, may_have_run);
        self.over(attempt, traced, &answer);
        Ok(answer?)
    }

    /// A job that was given and never reached its worker goes back; nothing was run.
    pub(crate) fn take_back(&self, attempt: Attempt, reason: &str) {
        if let Some(log) = self.log_of(attempt) {
            if let Ok(base) = log.base(&self.logs) {
                let _ = log.close(&self.logs, base);
            }
            log.end();
        }
        let answer = self.dispatch.hand_back(attempt, reason, false);
        // Otherwise its lease lapses.
        if answer.is_ok() {
            self.end(attempt);
        }
    }

    fn over(&self, attempt: Attempt, traced: Option<Traced>, answer: &Result<(), ReportError>) {
        match answer {
            Ok(()) | Err(ReportError::Fenced) => {
                self.end(attempt);
                if let Some(traced) = traced {
                    self.dispatch.ended(traced, answer.is_ok());
                }
            }
            Err(ReportError::Unavailable(_) | ReportError::Broken(_)) => {}
        }
    }

    pub(super) fn require(&self, peer: &Peer, attempt: Attempt) -> Result<(), Unreported> {
        match self.holds(peer, attempt) {
            Ok(true) => {
                self.leases().renew(&[attempt], std::time::Instant::now());
                Ok(())
            }
            Ok(false) => Err(Unreported::Fenced),
            Err(_) => Err(Unreported::Unavailable),
        }
    }

    /// Whether this very end was taken before, from this worker: then its answer was lost.
    fn is_done(&self, peer: &Peer, attempt: Attempt, cause: &Cause) -> Result<bool, Unreported> {
        let ended = match cause {
            Cause::Succeeded => State::Success,
            Cause::Failed(_) => State::Failure,
            Cause::TimedOut => State::Timeout,
            Cause::Stopped => State::Cancelled,
            _ => return Ok(false),
        };
        let job = self.dispatch.store.job(attempt.job);
        let job = job.map_err(|_| Unreported::Unavailable)?;
        Ok(job.is_some_and(|it| {
            it.state == ended
                && it.attempt == attempt.number
                && it.worker_id.as_deref() == Some(&peer.worker)
                && !self.leases().holds(attempt)
        }))
    }
}

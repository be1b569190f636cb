//! What a worker needs of whoever hands out the jobs.

use std::any::Any;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixListener;

use danube_model::credential::{Credential, SecretText};
use danube_model::playbook::{Progress, RunRecord};
use danube_model::{Attempt, Ended, Order, Step, Timestamp};

use crate::token::{JobToken, TokenHash};
use crate::trace::Traced;

/// One job to run, and the right to run it.
#[derive(Debug, Clone)]
pub struct Work {
    /// The lease: results under an older fence are refused.
    pub attempt: Attempt,
    /// What to do.
    pub order: Order,
    /// W3C trace context of the job: that of its first attempt's span.
    pub traceparent: String,
    /// Since when it waited.
    pub queued_at: Timestamp,
    /// Where this worker's log of it begins in the job's log, when another process
    /// keeps that: reports count from there. Else 0.
    pub log_base: u64,
    /// The attempt's token, where whoever hands out the job has made it; else the worker
    /// makes one.
    pub token: Option<JobToken>,
}

impl Work {
    /// Whether one of its steps is a program that asks for others.
    #[must_use]
    pub fn has_coordinator(&self) -> bool {
        let pipeline = self.order.task.pipeline();
        pipeline.is_some_and(|it| it.steps.iter().any(|step| step.coordinates))
    }
}

/// Takes reports. The master implements it over its store; calls may block,
/// for they come from the job's own thread.
pub trait Dispatch: Send + Sync + 'static {
    /// The first step is about to begin.
    ///
    /// # Errors
    /// [`ReportError::Fenced`] when the lease is gone: the job must stop.
    fn started(&self, attempt: Attempt, steps: &[Step]) -> Result<(), ReportError>;

    /// A step began or ended.
    ///
    /// # Errors
    /// As for [`Dispatch::started`].
    fn step(&self, attempt: Attempt, index: usize, step: &Step) -> Result<(), ReportError>;

    /// What the attempt's playbook did since the last report, and what all of it adds up
    /// to. A report that is lost is made good by the next.
    fn played(&self, _attempt: Attempt, _records: Vec<RunRecord>, _progress: &Progress) {}

    /// The credentials with these names, all of them or none. That the job was given them
    /// is written down before this returns.
    ///
    /// # Errors
    /// As for [`Dispatch::finish`]; the text of any other than `Fenced` says which
    /// credential can't be given.
    fn credentials(
        &self,
        _attempt: Attempt,
        _names: Vec<String>,
    ) -> Result<Vec<Credential>, ReportError> {
        Err(ReportError::Broken(
            "there are no credentials here".to_owned(),
        ))
    }

    /// The secrets with these names, all of them or none. That the job was given them is
    /// told before this returns.
    ///
    /// # Errors
    /// As for [`Dispatch::credentials`].
    fn secrets(
        &self,
        _attempt: Attempt,
        _names: Vec<String>,
    ) -> Result<Vec<(String, SecretText)>, ReportError> {
        Err(ReportError::Broken(
            "there are no secrets here: a server keeps them".to_owned(),
        ))
    }

    /// Keeps a file that a step left, as `danube artifact upload` from that step would.
    ///
    /// # Errors
    /// [`Unkept`] says what became of it.
    fn keep(&self, _attempt: Attempt, _leaving: &Leaving<'_>) -> Result<[u8; 32], Unkept> {
        Err(Unkept::Nowhere)
    }

    /// Serves what processes of a job without network call at this socket, until what is
    /// returned is dropped.
    ///
    /// # Errors
    /// When the system refuses, or there is no server here.
    fn relay(&self, _door: Door) -> io::Result<Opened> {
        Err(io::Error::other("there is no server here to call"))
    }

    /// No step follows: what is left is to clear away and to report.
    fn finalizing(&self, _attempt: Attempt) {}

    /// The attempt has ended. Returns once that is durable.
    ///
    /// # Errors
    /// [`ReportError::Fenced`]: somebody else has the job now; nothing changed.
    /// [`ReportError::Unavailable`]: try again later.
    /// [`ReportError::Broken`]: trying again can't help.
    fn finish(&self, attempt: Attempt, ended: &Ended) -> Result<(), ReportError>;

    /// The worker leaves and couldn't finish. `may_have_run`: a step has begun,
    /// so that a job that runs at most once must not run again.
    ///
    /// # Errors
    /// As for [`Dispatch::finish`].
    fn hand_back(
        &self,
        attempt: Attempt,
        reason: &str,
        may_have_run: bool,
    ) -> Result<(), ReportError>;

    /// The attempt is about to be reported; these are its spans. Written down first, so
    /// that whoever sees the end finds them.
    fn ends(&self, _traced: &Traced) {}

    /// The report was taken, or somebody else has the job and what was written of the
    /// attempt isn't what counts.
    fn ended(&self, _traced: Traced, _is_taken: bool) {}

    /// The worker has room for one job more.
    fn freed(&self);
}

/// A socket that is served for as long as this lives.
pub type Opened = Box<dyn Any + Send>;

/// A socket in the sandbox of a job without network.
pub struct Door {
    /// It.
    pub listener: UnixListener,
    /// Whose it is.
    pub attempt: Attempt,
    /// The tokens of that attempt.
    pub tokens: Vec<TokenHash>,
}

impl Door {
    /// Whether this is one of the attempt's tokens.
    #[must_use]
    pub fn opens_to(&self, token: &str) -> bool {
        // All are compared, so that the time says nothing of which one it was.
        let fits = self.tokens.iter().map(|it| it.fits(token));
        fits.fold(false, |all, it| all | it)
    }
}

/// A file that a step left and that is to be kept.
pub struct Leaving<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The step that left it.
    pub step: &'a str,
    /// What the job shows to the server.
    pub token: &'a JobToken,
    /// It, read from its beginning.
    pub file: &'a File,
    /// How long it is.
    pub bytes: u64,
    /// Whether nobody waits for it any more: then it is given up.
    pub is_over: &'a dyn Fn() -> bool,
}

/// Why a file isn't kept.
#[derive(Debug, thiserror::Error)]
pub enum Unkept {
    /// The lease is gone.
    #[error("the lease is gone")]
    Fenced,
    /// The job was stopped meanwhile.
    #[error("the job was stopped")]
    Stopped,
    /// It can't be kept now: try again.
    #[error("{0}")]
    Away(String),
    /// It isn't taken, and trying again can't help.
    #[error("{0}")]
    Refused(String),
    /// It can't be read.
    #[error("read it: {0}")]
    Unread(#[from] io::Error),
    /// Nobody keeps files here.
    #[error("there is no server here that keeps files")]
    Nowhere,
}

/// Why a report wasn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The lease is gone.
    #[error("the lease is gone")]
    Fenced,
    /// The store can't take it now.
    #[error("report: {0}")]
    Unavailable(String),
    /// The store can't take it at all; the lease will lapse.
    #[error("report: {0}")]
    Broken(String),
}

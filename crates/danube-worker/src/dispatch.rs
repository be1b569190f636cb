//! What a worker needs of whoever hands out the jobs.

use danube_model::credential::Credential;
use danube_model::playbook::{Progress, RunRecord};
use danube_model::{Attempt, Ended, Order, Step, Timestamp};

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

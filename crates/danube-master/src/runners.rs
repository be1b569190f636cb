//! Who runs a job: the worker in this process, or one on another machine.

use danube_model::coordinator::{Call, CallAnswer};
use danube_model::{Attempt, JobId};
use danube_worker::Bearer;
use tokio::sync::oneshot;

use crate::app::App;

impl App {
    /// Has the job stopped, wherever it runs; `false` when nobody runs it now.
    pub(crate) fn cancel(&self, job: JobId) -> bool {
        self.worker.cancel(job) || self.remote.cancel(job)
    }

    /// Whether this is the token of the job's attempt that runs now.
    pub(crate) fn knows(&self, job: JobId, token: &str) -> bool {
        self.worker.knows(job, token) || self.remote.knows(job, token)
    }

    /// Whose token this is, of the attempts that run now.
    pub(crate) fn bearer(&self, token: &str) -> Option<Bearer> {
        let here = self.worker.bearer(token);
        here.or_else(|| self.remote.bearer(token))
    }

    /// Has the worker that holds the attempt do what its coordinator asks for; none when
    /// nobody runs it any more.
    pub(crate) fn ask(
        &self,
        attempt: Attempt,
        call: Call,
    ) -> Option<oneshot::Receiver<CallAnswer>> {
        let (to, answer) = oneshot::channel();
        if let Some(calls) = self.worker.calls(attempt) {
            // Whoever asked may have left.
            calls.ask(call, Box::new(move |answer| drop(to.send(answer))));
            return Some(answer);
        }
        self.remote.ask(attempt, call, to).then_some(answer)
    }

    /// Has what writes the job's log keep a value out from now on.
    pub(crate) fn keep_out(&self, job: JobId, value: &str) -> KeptOut {
        if let Some(secrets) = self.worker.secrets(job) {
            // For a log that is opened in a moment; a refused value was refused before.
            let _ = secrets.register_short(value.as_bytes());
            return KeptOut::Here;
        }
        match self.remote.mask(job, value) {
            Some((attempt, values)) => KeptOut::Elsewhere { attempt, values },
            None => KeptOut::Nowhere,
        }
    }

    /// Whether somebody runs the job, as far as this process knows.
    pub(crate) fn is_run(&self, job: JobId) -> bool {
        self.worker.secrets(job).is_some() || self.remote.runs(job)
    }
}

/// Where a late value is kept out of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeptOut {
    /// By the worker in this process, from now on.
    Here,
    /// By a worker on another machine, once it keeps so many late values out.
    Elsewhere {
        /// Of this attempt.
        attempt: Attempt,
        /// So many.
        values: usize,
    },
    /// Nobody runs the job.
    Nowhere,
}

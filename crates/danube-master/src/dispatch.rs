//! What the worker inside the master reports to: the store.

use std::sync::Arc;
use std::time::Duration;

use danube_model::{Attempt, Cause, Ended, Job, Step};
use danube_signals::Signals;
use danube_store::{Store, StoreError};
use danube_worker::{Dispatch, ReportError, Traced};

use crate::app::Phases;
use crate::runs::Runs;
use crate::schedule::{Bell, Leases};
use crate::tell::{self, Why};
use crate::trace::Traces;

/// Turns reports into writes, and durable writes into signals.
pub(crate) struct LocalDispatch {
    pub(crate) store: Store,
    pub(crate) traces: Traces,
    pub(crate) leases: Arc<Leases>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) phases: Arc<Phases>,
    pub(crate) runs: Arc<Runs>,
    pub(crate) signals: Signals,
}

impl Dispatch for LocalDispatch {
    // Progress isn't waited for: it rides with the next commit, and the report
    // at the end holds all of it. Only the store's refusals of the end count.

    fn started(&self, attempt: Attempt, steps: &[Step]) -> Result<(), ReportError> {
        if let Some(claim) = self.runs.begins(attempt) {
            tell::started(&self.signals, &claim);
        }
        drop(self.store.started(attempt, steps.to_vec()));
        // The log is open now: whoever waits for its first byte reads from here.
        self.phases.touch(attempt.job);
        Ok(())
    }

    fn step(&self, attempt: Attempt, index: usize, step: &Step) -> Result<(), ReportError> {
        drop(self.store.step(attempt, index, step.clone()));
        // Whoever follows this step, or waits for it, finds its mark in the log.
        self.phases.touch(attempt.job);
        Ok(())
    }

    fn finalizing(&self, attempt: Attempt) {
        self.runs.finalizes(attempt);
    }

    fn finish(&self, attempt: Attempt, ended: &Ended) -> Result<(), ReportError> {
        let why = Why {
            failed: match ended.cause {
                Cause::Failed(reason) => Some(reason),
                _ => None,
            },
            timeout: ended.timeout_seconds.map(Duration::from_secs),
        };
        let answer = self.store.finish(attempt, ended.clone()).wait();
        self.told(attempt, answer, why)
    }

    fn hand_back(
        &self,
        attempt: Attempt,
        reason: &str,
        may_have_run: bool,
    ) -> Result<(), ReportError> {
        self.told(
            attempt,
            self.store.hand_back(attempt, reason, may_have_run).wait(),
            Why::default(),
        )
    }

    fn ends(&self, traced: &Traced) {
        self.traces.write(traced);
    }

    fn ended(&self, traced: Traced, is_taken: bool) {
        if is_taken {
            self.traces.export(&traced);
        } else {
            self.traces.rewrite(traced.attempt);
        }
    }

    fn freed(&self) {
        self.bell.ring();
    }
}

impl LocalDispatch {
    /// What follows from the store's answer to the report that ends a lease.
    fn told(
        &self,
        attempt: Attempt,
        answer: Result<Job, StoreError>,
        why: Why,
    ) -> Result<(), ReportError> {
        match answer {
            Ok(job) => tell::moved(&self.signals, &job, why),
            Err(error) => {
                let refused = report_error(error);
                if refused != ReportError::Fenced {
                    return Err(refused);
                }
                // Somebody else has it, or an answer was lost on the way.
                self.leases.end(attempt);
                self.phases.touch(attempt.job);
                return Err(refused);
            }
        }
        self.leases.end(attempt);
        self.phases.touch(attempt.job);
        Ok(())
    }
}

fn report_error(error: StoreError) -> ReportError {
    match error {
        // A refusal will not become a yes: the table of moves has spoken.
        StoreError::Fenced { .. }
        | StoreError::Refused(_)
        | StoreError::NoJob(_)
        | StoreError::Closed => ReportError::Fenced,
        StoreError::Internal(_) | StoreError::Corrupt(_) => ReportError::Broken(error.to_string()),
        other => ReportError::Unavailable(other.to_string()),
    }
}

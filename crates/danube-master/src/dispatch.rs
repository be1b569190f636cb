//! What the worker inside the master reports to: the store.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use danube_model::credential::{Credential, SecretText};
use danube_model::playbook::{Progress, RunRecord};
use danube_model::{Attempt, Cause, Ended, Job, State, Step};
use danube_signals::Signals;
use danube_store::{Store, StoreError};
use danube_worker::{Dispatch, Door, Leaving, Opened, ReportError, Traced, Unkept};

use crate::app::Phases;
use crate::artifacts::Artifacts;
use crate::bell::Bell;
use crate::credentials;
use crate::feed::Desk;
use crate::relays::Relays;
use crate::runs::Runs;
use crate::schedule::Leases;
use crate::secrets::{self, Vault};
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
    pub(crate) feed: Arc<Desk>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) artifacts: Artifacts,
    pub(crate) relays: Arc<Relays>,
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

    fn played(&self, attempt: Attempt, records: Vec<RunRecord>, progress: &Progress) {
        drop(self.store.report(attempt, records, progress.clone()));
        self.phases.touch(attempt.job);
    }

    fn credentials(
        &self,
        attempt: Attempt,
        names: Vec<String>,
    ) -> Result<Vec<Credential>, ReportError> {
        credentials::resolve(&self.store, &self.signals, attempt, names).map_err(report_error)
    }

    fn secrets(
        &self,
        attempt: Attempt,
        names: Vec<String>,
    ) -> Result<Vec<(String, SecretText)>, ReportError> {
        let given = self.vault.give(&self.store, attempt, &names);
        secrets::all_or_none(given.map_err(report_error)?).map_err(ReportError::Broken)
    }

    fn keep(&self, attempt: Attempt, leaving: &Leaving<'_>) -> Result<[u8; 32], Unkept> {
        self.artifacts.take(&self.store, attempt, leaving)
    }

    fn relay(&self, door: Door) -> io::Result<Opened> {
        self.relays.serve(door)
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
        let answer = answer.or_else(|error| {
            done_before((&self.store, &self.leases), attempt, &ended.cause, error)
        });
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
                // Somebody else has it.
                self.leases.end(attempt);
                self.phases.touch(attempt.job);
                return Err(refused);
            }
        }
        self.leases.end(attempt);
        self.phases.touch(attempt.job);
        // Its queue may have had no room: whoever looked at the commit still saw the lease.
        if self.store.counts().pending > 0 {
            self.bell.ring();
            self.feed.bell.ring();
        }
        Ok(())
    }
}

/// A report that is refused may have been taken before, when its answer was lost on the
/// way: the job is as it says, and nobody has ended the lease. Then it is told now.
fn done_before(
    (store, leases): (&Store, &Leases),
    attempt: Attempt,
    cause: &Cause,
    refusal: StoreError,
) -> Result<Job, StoreError> {
    if !matches!(refusal, StoreError::Fenced { .. }) || !leases.holds(attempt) {
        return Err(refusal);
    }
    let ended = match cause {
        Cause::Succeeded => State::Success,
        Cause::Failed(_) => State::Failure,
        Cause::TimedOut => State::Timeout,
        Cause::Stopped => State::Cancelled,
        _ => return Err(refusal),
    };
    match store.job(attempt.job) {
        Ok(Some(job)) if job.state == ended && job.attempt == attempt.number => Ok(job),
        _ => Err(refusal),
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Instant;

    use danube_model::spec::{Limits, Pipeline, Queueing, Shell};
    use danube_model::{JobId, Order, Task, Trace, Trigger};
    use danube_store::{Assignment, NewJob, Options};

    use super::*;
    use crate::schedule::Of;

    fn new_job() -> NewJob {
        NewJob {
            id: JobId::new(),
            order: Order {
                task: Task::Pipeline(Pipeline {
                    name: "p".to_owned(),
                    repository: None,
                    git_ref: None,
                    max_duration_seconds: 60,
                    parameters: None,
                    env: BTreeMap::new(),
                    shell: Shell::Sh,
                    retry_on_lost: true,
                    limits: Limits::default(),
                    secrets: BTreeSet::new(),
                    queueing: Queueing::default(),
                    steps: Vec::new(),
                }),
                git_ref: None,
                parameters: BTreeMap::new(),
                masks: Vec::new(),
                trace: Trace::default(),
                forge: None,
            },
            trigger: Trigger::Api,
            submitted_by: "me".to_owned(),
            owner: "1".to_owned(),
            trace_id: String::new(),
            traceparent: String::new(),
            retry_on_lost: true,
            queue: "default".to_owned(),
            idempotency: None,
            callback: None,
            subject: None,
        }
    }

    fn ended(cause: Cause) -> Ended {
        Ended {
            cause,
            exit_code: Some(0),
            reason: None,
            timeout_seconds: None,
            steps: Vec::new(),
            log_bytes: 0,
            log_complete: true,
            log_missing_bytes: 0,
        }
    }

    #[test]
    fn an_end_whose_answer_was_lost_is_known_by_the_repeated_report_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let leases = Leases::default();
        let job = store.submit(new_job()).wait().unwrap().job.id;
        let worker = "w".to_owned();
        let claims = store.claim(vec![Assignment { job, worker }]).wait();
        let attempt = claims.unwrap().claimed[0].attempt;
        let of = Of {
            worker: "w",
            queue: "default",
            team: "",
            pipeline: "p",
        };
        leases.begin(attempt, of, Instant::now());
        let report = |cause: &Cause| {
            let answer = store.finish(attempt, ended(cause.clone())).wait();
            answer.or_else(|error| done_before((&store, &leases), attempt, cause, error))
        };
        // Taken, and nobody heard of it.
        store
            .finish(attempt, ended(Cause::Succeeded))
            .wait()
            .unwrap();
        let is_refused = |cause: &Cause| matches!(report(cause), Err(StoreError::Fenced { .. }));
        assert!(is_refused(&Cause::TimedOut), "it isn't so");
        assert_eq!(report(&Cause::Succeeded).unwrap().state, State::Success);
        leases.end(attempt);
        assert!(is_refused(&Cause::Succeeded), "it was told");
    }
}

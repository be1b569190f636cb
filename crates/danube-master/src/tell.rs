//! Tells what became of a job, in the one place where that is known to be
//! durable and to happen once.

use std::time::Duration;

use danube_model::{FailReason, Job, State, StepStatus, Timestamp};
use danube_signals::{
    JobCancelled, JobCompleted, JobFailed, JobResult, JobRetried, JobSpans, JobStarted,
    JobTimedOut, RunEnd, RunError, Signals, SourceType, SystemError, job_span,
};
use danube_worker::trace::context_of;

use crate::runs::Claim;

/// What the job's record doesn't say of the end of an attempt.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Why {
    /// Why it failed.
    pub(crate) failed: Option<FailReason>,
    /// The limit that it passed.
    pub(crate) timeout: Option<Duration>,
}

impl Why {
    /// Its worker is gone.
    pub(crate) const WORKER_LOST: Self = Self {
        failed: Some(FailReason::WorkerLost),
        timeout: None,
    };
}

/// The span of work for the job's latest attempt: what is told within shows its ids, in
/// whichever thread and for whomever that is done.
pub(crate) fn span(job: &Job) -> tracing::Span {
    let job_id = job.id.to_string();
    let spans = JobSpans {
        job_id: &job_id,
        context: context_of(&job.traceparent),
    };
    job_span(&job_id, &spans.attempt(job.attempt))
}

/// A worker begins to run the job.
pub(crate) fn started(signals: &Signals, claim: &Claim) {
    let Claim { job, queued_at } = claim;
    signals.emit(JobStarted {
        job_id: &job.id.to_string(),
        pipeline: Some(&job.pipeline),
        trigger_type: Some(job.trigger.as_str()),
        trigger_ref: job.trigger_ref.as_deref(),
        user: Some(&job.submitted_by),
        source_type: job.playbook.as_ref().map(|it| &*it.source_type),
        worker_id: job.worker_id.as_deref(),
        queue_wait: between(*queued_at, Timestamp::now()),
    });
}

/// The store moved the job after its worker reported or was lost.
pub(crate) fn moved(signals: &Signals, job: &Job, why: Why) {
    let _in_job = span(job).entered();
    let id = job.id.to_string();
    let reason = job.reason.as_deref();
    // One that may run once and was handed back gives no reason of its own.
    let failed = match job.state {
        State::Failure => Some(why.failed.unwrap_or(FailReason::WorkerLost)),
        _ => why.failed,
    };
    if let Some(error) = failed.and_then(system_error) {
        signals.system_error(error);
    }
    let status = match job.state {
        State::Success => JobResult::Success,
        State::Failure => {
            signals.emit(JobFailed {
                job_id: &id,
                error_type: failed.map_or("", FailReason::as_str),
                error_message: reason.unwrap_or_default(),
                retry_count: u64::from(job.attempt.saturating_sub(1)),
                is_playbook: job.playbook.is_some(),
            });
            JobResult::Failure
        }
        State::Timeout => {
            signals.emit(JobTimedOut {
                job_id: &id,
                step: job
                    .steps
                    .iter()
                    .find(|it| it.status == StepStatus::Timeout)
                    .map(|it| it.name.as_str()),
                timeout_seconds: why.timeout,
                pipeline: &job.pipeline,
            });
            JobResult::Timeout
        }
        State::Cancelled => {
            signals.emit(JobCancelled {
                job_id: &id,
                user: job.cancelled_by.as_deref(),
                reason,
            });
            JobResult::Cancelled
        }
        State::Pending => {
            signals.emit(JobRetried {
                job_id: &id,
                attempt: u64::from(job.attempt) + 1,
                reason: reason.unwrap_or_default(),
                pipeline: &job.pipeline,
                error: failed.map(error),
            });
            return;
        }
        State::Scheduling | State::Running => return,
    };
    signals.emit(JobCompleted {
        job_id: &id,
        status,
        duration_seconds: job.duration_seconds().map(Duration::from_secs_f64),
        pipeline: &job.pipeline,
        playbook: source_type(job),
        max_rss_bytes: job.steps.iter().filter_map(|it| it.max_rss_bytes).max(),
        run: RunEnd {
            error: failed.map(error),
            errors: &errors(job, failed),
            age: between(job.created_at, job.finished_at.unwrap_or(job.created_at)),
            finalizing: finalizing(job, failed),
        },
    });
}

/// What of it is an error of the system; others are told with the rescue, or are the job's own.
fn system_error(reason: FailReason) -> Option<SystemError> {
    match reason {
        FailReason::SetupFailed => Some(SystemError::SetupFailed),
        FailReason::LogFailed => Some(SystemError::LogWriteFailed),
        _ => None,
    }
}

/// The type of a playbook job's source.
pub(crate) fn source_type(job: &Job) -> Option<SourceType> {
    SourceType::named(&job.playbook.as_ref()?.source_type)
}

/// Every error that the last attempt met. What ended a job beside its steps is one
/// of its own; a step that failed, or may fail, is one each.
fn errors(job: &Job, failed: Option<FailReason>) -> Vec<RunError> {
    let fatal = match job.state {
        State::Timeout => Some(RunError::Timeout),
        _ => failed.map(error),
    };
    let mut errors: Vec<RunError> = Vec::new();
    for step in &job.steps {
        match step.status {
            StepStatus::Failure => errors.push(RunError::StepFailed),
            StepStatus::Timeout => errors.push(RunError::Timeout),
            _ => {}
        }
    }
    let ran = job
        .steps
        .iter()
        .rfind(|it| !matches!(it.status, StepStatus::Skipped | StepStatus::Pending));
    let by_step =
        ran.is_some_and(|it| matches!(it.status, StepStatus::Failure | StepStatus::Timeout));
    if let Some(fatal) = fatal {
        if by_step && fatal != RunError::WorkerLost {
            // The same error, under the name that says more.
            errors.pop();
        }
        errors.push(fatal);
    }
    errors
}

fn error(reason: FailReason) -> RunError {
    match reason {
        FailReason::StepFailed
        | FailReason::TaskFailed
        | FailReason::HostUnreachable
        | FailReason::PlaybookInvalid
        | FailReason::VaultFailed
        | FailReason::ArtifactFailed => RunError::StepFailed,
        FailReason::SourceFailed => RunError::SourceFailed,
        FailReason::CredentialFailed => RunError::SetupFailed,
        FailReason::SetupFailed => RunError::SetupFailed,
        FailReason::LogFailed => RunError::LogFailed,
        FailReason::WorkerLost => RunError::WorkerLost,
    }
}

/// The time between the last step's end and the job's own, where a worker was there
/// to spend it.
fn finalizing(job: &Job, failed: Option<FailReason>) -> Option<Duration> {
    job.started_at?;
    if failed == Some(FailReason::WorkerLost) {
        return None;
    }
    let last = job.steps.iter().filter_map(|it| it.finished_at).max()?;
    Some(between(last, job.finished_at?))
}

/// None where a clock went back.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from_secs_f64(to.seconds_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use danube_model::{JobId, Kind, Step, Trigger};
    use danube_signals::{BuildInfo, Limits};

    use super::*;

    fn job(state: State, steps: &[StepStatus]) -> Job {
        let step = |status: &StepStatus| Step {
            status: *status,
            finished_at: Some(Timestamp::from_millis(4_000)),
            ..Step::pending("s")
        };
        Job {
            id: JobId::new(),
            kind: Kind::Pipeline,
            pipeline: "p".to_owned(),
            state,
            trigger: Trigger::Api,
            trigger_ref: None,
            submitted_by: "me".to_owned(),
            queue: "default".to_owned(),
            attempt: 1,
            retry_of: None,
            created_at: Timestamp::from_millis(1_000),
            started_at: Some(Timestamp::from_millis(2_000)),
            finished_at: Some(Timestamp::from_millis(5_000)),
            exit_code: None,
            reason: None,
            worker_id: None,
            trace_id: String::new(),
            traceparent: String::new(),
            cancel_asked: false,
            cancelled_by: None,
            log_bytes: 0,
            log_complete: None,
            log_missing_bytes: 0,
            log_deleted_at: None,
            playbook: None,
            steps: steps.iter().map(step).collect(),
        }
    }

    #[test]
    fn each_error_of_a_run_is_counted_once_under_the_name_that_says_most() {
        use FailReason::{SetupFailed, SourceFailed, StepFailed, WorkerLost};
        use StepStatus::{Cancelled, Failure, Skipped, Success, Timeout};
        let check = |state, steps: &[StepStatus], failed, expected: &[RunError]| {
            assert_eq!(errors(&job(state, steps), failed), expected, "{steps:?}");
        };
        let fails = [Failure, Failure, Skipped];
        let twice = [RunError::StepFailed, RunError::StepFailed];
        check(State::Success, &[Success, Success], None, &[]);
        check(State::Success, &[Failure, Success], None, &twice[..1]);
        check(State::Success, &[Failure], None, &twice[..1]);
        check(State::Failure, &fails, Some(StepFailed), &twice);
        let cloning = [RunError::SourceFailed];
        check(State::Failure, &[Failure], Some(SourceFailed), &cloning);
        let making = [RunError::SetupFailed];
        check(State::Failure, &[Failure], Some(SetupFailed), &making);
        check(State::Failure, &[Skipped], Some(SetupFailed), &making);
        let late = [RunError::StepFailed, RunError::Timeout];
        check(State::Timeout, &[Failure, Timeout], None, &late);
        check(State::Cancelled, &[Success, Cancelled], None, &[]);
        let lost = [RunError::StepFailed, RunError::WorkerLost];
        check(
            State::Failure,
            &[Failure, Cancelled],
            Some(WorkerLost),
            &lost,
        );
    }

    /// What the signals show after one end.
    fn shown(job: &Job, why: Why) -> impl Fn(&str) -> Option<f64> + use<> {
        let signals = Signals::new(BuildInfo::default(), Limits::default());
        moved(&signals, job, why);
        move |selector| signals.registry().value(selector)
    }

    #[test]
    fn a_run_s_time_is_split_where_its_last_step_ended() {
        let value = shown(&job(State::Success, &[StepStatus::Success]), Why::default());
        let sum = |state: &str, result: &str| {
            value(&format!(
                "cicd_pipeline_run_duration_seconds_sum{{cicd_pipeline_name=\"p\",\
                 cicd_pipeline_run_state=\"{state}\",cicd_pipeline_result=\"{result}\",error_type=\"\"}}"
            ))
        };
        assert_eq!(sum("executing", "success"), Some(2.0));
        assert_eq!(sum("finalizing", ""), Some(1.0));
        assert_eq!(sum("pending", ""), None);
    }

    #[test]
    fn a_run_whose_worker_was_lost_is_the_system_s_error() {
        let job = job(State::Failure, &[StepStatus::Cancelled]);
        let value = shown(&job, Why::WORKER_LOST);
        let count = |state: &str, rest: &str| {
            value(&format!(
                "cicd_pipeline_run_duration_seconds_count{{cicd_pipeline_name=\"p\",\
                 cicd_pipeline_run_state=\"{state}\",{rest}}}"
            ))
        };
        let error = "cicd_pipeline_result=\"error\",error_type=\"worker_lost\"";
        assert_eq!(count("executing", error), Some(1.0));
        let none = "cicd_pipeline_result=\"\",error_type=\"\"";
        assert_eq!(count("finalizing", none), None);
    }

    #[test]
    fn a_job_that_goes_back_is_told_as_retried_and_not_as_ended() {
        let value = shown(&job(State::Pending, &[]), Why::WORKER_LOST);
        let errors =
            "cicd_pipeline_run_errors_total{cicd_pipeline_name=\"p\",error_type=\"worker_lost\"}";
        assert_eq!(value(errors), Some(1.0));
        let ended = "danube_jobs_total{status=\"failure\",pipeline=\"p\"}";
        assert_eq!(value(ended), None);
    }
}

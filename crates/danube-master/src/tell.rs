//! Tells what became of a job, in the one place where that is known to be
//! durable and to happen once.

use std::time::Duration;

use danube_model::{FailReason, Job, State, Timestamp};
use danube_signals::{
    JobCancelled, JobCompleted, JobFailed, JobResult, JobRetried, JobStarted, JobTimedOut, Signals,
    job_span,
};
use danube_telemetry::TraceContext;

/// The span of work for a job, under the context that is stored with it.
pub(crate) fn span(job: &Job, traceparent: &str) -> tracing::Span {
    let context = TraceContext::parse(traceparent).unwrap_or_else(TraceContext::random);
    job_span(&job.id.to_string(), &context)
}

/// A worker has the job.
pub(crate) fn started(signals: &Signals, job: &Job, worker: &str) {
    signals.emit(JobStarted {
        job_id: &job.id.to_string(),
        pipeline: Some(&job.pipeline),
        trigger_type: Some(job.trigger.as_str()),
        trigger_ref: job.trigger_ref.as_deref(),
        user: Some(&job.submitted_by),
        source_type: None,
        worker_id: Some(worker),
        queue_wait: Duration::from_secs_f64(Timestamp::now().seconds_since(job.created_at)),
    });
}

/// The store moved the job after its worker reported or was lost.
pub(crate) fn moved(signals: &Signals, job: &Job, failed: Option<FailReason>) {
    let id = job.id.to_string();
    let reason = job.reason.as_deref();
    let seconds = job.duration_seconds().map(Duration::from_secs_f64);
    let status = match job.state {
        State::Success => JobResult::Success,
        State::Failure => {
            signals.emit(JobFailed {
                job_id: &id,
                error_type: failed.unwrap_or(FailReason::WorkerLost).as_str(),
                error_message: reason.unwrap_or_default(),
                retry_count: u64::from(job.attempt.saturating_sub(1)),
            });
            JobResult::Failure
        }
        State::Timeout => {
            signals.emit(JobTimedOut {
                job_id: &id,
                step: job
                    .steps
                    .iter()
                    .find(|it| it.status == danube_model::StepStatus::Timeout)
                    .map(|it| it.name.as_str()),
                timeout_seconds: seconds.unwrap_or_default(),
                pipeline: &job.pipeline,
            });
            JobResult::Timeout
        }
        State::Cancelled => {
            signals.emit(JobCancelled {
                job_id: &id,
                user: None,
                reason,
            });
            JobResult::Cancelled
        }
        State::Pending => {
            signals.emit(JobRetried {
                job_id: &id,
                attempt: u64::from(job.attempt) + 1,
                reason: reason.unwrap_or_default(),
            });
            return;
        }
        State::Scheduling | State::Running => return,
    };
    signals.emit(JobCompleted {
        job_id: &id,
        status,
        duration_seconds: seconds,
        pipeline: &job.pipeline,
        max_rss_bytes: job.steps.iter().filter_map(|it| it.max_rss_bytes).max(),
    });
}

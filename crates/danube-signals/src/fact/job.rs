//! Facts about jobs and their steps.

use std::time::Duration;

use danube_telemetry::LabelEnum;

use super::{Millis, fact};
use crate::labels::{
    JobResult, PlaybookResult, RunError, RunResult, RunState, SourceType, SystemError,
};
use crate::signals::Signals;

fact! {
    /// A job was accepted and is durable.
    JobSubmitted<'a> = "job_submitted", INFO, "danube.api",
        of playbooks "ansible_api.api" if |it| it.playbook.is_some();
    {
        job_id: &'a str,
        /// `pipeline`, `spec`, `retry` (the order of an ended job) or the type of a
        /// playbook's source.
        source_type: &'a str,
        /// Name of the key, never the key.
        api_key_name: Option<&'a str>,
    }
    also {
        /// The type of its source, of a playbook job.
        playbook: Option<SourceType>,
    }
    metrics |fact, signals| {
        if let Some(source_type) = fact.playbook {
            signals.playbook_jobs_submitted_total.at(source_type).inc();
        }
    }
}

fact! {
    /// A pipeline was triggered, by a person or by something that happened.
    PipelineTriggered<'a> = "pipeline_triggered", INFO, "danube.orchestrator";
    {
        pipeline: &'a str,
        trigger_type: &'a str,
        trigger_ref: Option<&'a str>,
        user: Option<&'a str>,
    }
    also {}
    metrics |fact, signals| {
        signals.expect_runs(fact.pipeline);
    }
}

fact! {
    /// A worker began to run a job.
    JobStarted<'a> = "job_started", INFO, "danube.orchestrator",
        of playbooks "ansible_api.worker" if |it| it.source_type.is_some();
    {
        job_id: &'a str,
        pipeline: Option<&'a str>,
        trigger_type: Option<&'a str>,
        trigger_ref: Option<&'a str>,
        user: Option<&'a str>,
        /// Of a playbook job.
        source_type: Option<&'a str>,
        worker_id: Option<&'a str>,
    }
    also {
        /// Time since the job was submitted, or since it went back to the queue.
        queue_wait: Duration,
    }
    metrics |fact, signals| {
        signals.job_queue_wait_seconds.observe_duration(fact.queue_wait);
        let pipeline = fact.pipeline.unwrap_or_default();
        run_time(signals, pipeline, (RunState::Pending, fact.queue_wait), None);
    }
}

fact! {
    /// A job was given a credential.
    CredentialAccessed<'a> = "credential_accessed", INFO, "ansible_api.worker";
    {
        /// Its name, never its values.
        credential_name: &'a str,
        job_id: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A job was given a secret.
    SecretAccessed<'a> = "secret_accessed", INFO, "danube.orchestrator";
    {
        /// Its name, never its value.
        secret_key: &'a str,
        pipeline: &'a str,
        job_id: &'a str,
        /// Name of the key that submitted the job.
        user: &'a str,
    }
    also {}
    metrics |fact, signals| {
        signals.secret_requests_total.with([fact.pipeline, fact.secret_key]).inc();
    }
}

fact! {
    /// A job asked for a secret and didn't get it.
    SecretAccessFailed<'a> = "secret_access_failed", WARN, "danube.orchestrator";
    {
        secret_key: &'a str,
        pipeline: &'a str,
        job_id: &'a str,
        reason: &'a str,
        /// Name of the key that submitted the job.
        user: &'a str,
    }
    also {}
    metrics |fact, signals| {
        signals.secret_requests_total.with([fact.pipeline, fact.secret_key]).inc();
    }
}

/// The end of a job as the conventions for pipeline runs see it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunEnd<'a> {
    /// What kind of error it was, of a failure.
    pub error: Option<RunError>,
    /// Every error that its last attempt met, those that it got over included.
    pub errors: &'a [RunError],
    /// Time since it was submitted.
    pub age: Duration,
    /// Of `duration_seconds`, the time after the last step's end; none where no step
    /// ran or its worker was lost.
    pub finalizing: Option<Duration>,
}

fact! {
    /// A job reached its final state, whichever it is. Told exactly once for each job.
    JobCompleted<'a> = "job_completed", INFO, "danube.orchestrator",
        of playbooks "ansible_api.worker" if |it| it.playbook.is_some();
    {
        job_id: &'a str,
        status: JobResult,
        /// From start to end; nothing for a job that never started.
        duration_seconds: Option<Duration>,
    }
    also {
        pipeline: &'a str,
        /// The type of its source, of a playbook job.
        playbook: Option<SourceType>,
        max_rss_bytes: Option<u64>,
        run: RunEnd<'a>,
    }
    metrics |fact, signals| {
        if let Some(source_type) = fact.playbook {
            ended_playbook(signals, source_type, (fact.status, fact.duration_seconds));
        }
        signals.jobs_total.with([fact.pipeline]).at(fact.status).inc();
        ended_run(fact, signals);
        run_errors(signals, fact.pipeline, fact.run.errors);
        if let Some(time) = fact.duration_seconds {
            signals.job_duration_seconds.with([fact.pipeline]).observe_duration(time);
        }
        if let Some(bytes) = fact.max_rss_bytes {
            signals.job_max_rss_bytes.with([fact.pipeline]).set_u64(bytes);
        }
    }
}

fact! {
    /// A job ended in failure; `job_completed` is told as well.
    JobFailed<'a> = "job_failed", ERROR, "danube.orchestrator",
        of playbooks "ansible_api.worker" if |it| it.is_playbook;
    {
        job_id: &'a str,
        error_type: &'a str,
        error_message: &'a str,
        /// How often the system has run the job again.
        retry_count: u64,
    }
    also {
        is_playbook: bool,
    }
    metrics |_, _| {}
}

fact! {
    /// A job goes back to the queue for another attempt.
    JobRetried<'a> = "job_retried", INFO, "danube.orchestrator";
    {
        job_id: &'a str,
        /// Number of the attempt to come.
        attempt: u64,
        reason: &'a str,
    }
    also {
        pipeline: &'a str,
        /// What ended the attempt before, where that was an error.
        error: Option<RunError>,
    }
    metrics |fact, signals| {
        run_errors(signals, fact.pipeline, fact.error.as_slice());
    }
}

fact! {
    /// A job was cancelled; `job_completed` is told as well.
    JobCancelled<'a> = "job_cancelled", INFO, "danube.orchestrator";
    {
        job_id: &'a str,
        user: Option<&'a str>,
        reason: Option<&'a str>,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A job was stopped because its time was up; `job_completed` is told as well.
    JobTimedOut<'a> = "job_timed_out", WARN, "danube.orchestrator";
    {
        job_id: &'a str,
        /// The step that was running.
        step: Option<&'a str>,
        /// The limit that was passed: the step's own or the job's.
        timeout_seconds: Option<Duration>,
    }
    also {
        pipeline: &'a str,
    }
    metrics |fact, signals| {
        signals.job_timeouts_total.with([fact.pipeline]).inc();
    }
}

fact! {
    /// A job was taken back from a worker that fell silent.
    JobOrphanRescued<'a> = "job_orphan_rescued", WARN, "danube.orchestrator";
    {
        job_id: &'a str,
        worker_id: Option<&'a str>,
        /// Number of the attempt that was lost.
        attempt: u64,
    }
    also {}
    metrics |_, signals| {
        signals.orphaned_jobs_rescued_total.inc();
        signals.system_error(SystemError::WorkerLost);
    }
}

fact! {
    /// A step began.
    StepStarted<'a> = "step_started", INFO, "danube.worker";
    {
        job_id: &'a str,
        step: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A step ended, well or not.
    StepCompleted<'a> = "step_completed", INFO, "danube.worker";
    {
        job_id: &'a str,
        step: &'a str,
        /// Nothing where a signal ended it.
        exit_code: Option<i32>,
        duration_seconds: Duration,
    }
    also {
        pipeline: &'a str,
        /// Nothing where no process was made, so that none took any time.
        cpu_seconds: Option<f64>,
    }
    metrics |fact, signals| {
        if let Some(seconds) = fact.cpu_seconds {
            signals.step_duration_seconds.with([fact.pipeline]).observe_duration(fact.duration_seconds);
            signals.job_cpu_seconds_total.with([fact.pipeline]).add(seconds);
        }
    }
}

fact! {
    /// A worker looked for Ansible, which playbook jobs need.
    AnsibleChecked<'a> = "ansible_checked", INFO, "ansible_api.worker";
    {
        worker_id: &'a str,
        /// Of ansible-core, where there is one that can be used.
        version: Option<&'a str>,
        /// Why there is none.
        error: Option<&'a str>,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A job's output could not be written; the job is held back until it can.
    LogWriteFailed<'a> = "log_write_failed", WARN, "danube.worker";
    {
        job_id: &'a str,
        error: &'a str,
    }
    also {
        /// It was told before of the same failure.
        is_again: bool,
    }
    metrics |fact, signals| {
        if !fact.is_again {
            signals.system_error(SystemError::LogWriteFailed);
        }
    }
}

fact! {
    /// A workspace could not be removed whole; what is left goes at the next start.
    WorkspaceLeft<'a> = "workspace_left", WARN, "danube.worker";
    {
        job_id: &'a str,
        error: &'a str,
    }
    also {}
    metrics |_, signals| {
        signals.system_error(SystemError::WorkspaceLeft);
    }
}

fact! {
    /// A worker that was asked to stop holds no more jobs.
    WorkerDrained<'a> = "worker_drained", INFO, "danube.worker";
    {
        worker_id: &'a str,
        /// Jobs that were not done in time and went back to the queue.
        jobs_handed_back: u64,
        duration_seconds: Duration,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A worker on another machine found its master, at its start or again.
    WorkerConnected<'a> = "worker_connected", INFO, "danube.worker";
    {
        worker_id: &'a str,
        /// The master's address.
        server: &'a str,
        jobs_at_once: u64,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A worker on another machine doesn't reach its master; what it runs goes on.
    WorkerDisconnected<'a> = "worker_disconnected", WARN, "danube.worker";
    {
        /// None before the master has said it.
        worker_id: Option<&'a str>,
        /// The master's address.
        server: &'a str,
        error: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A worker on another machine, or a coordinator, called the master.
    RpcCall<'a> = "rpc_call", DEBUG, "danube.worker";
    {
        /// The last part of the call's path.
        method: &'a str,
        /// A wait for news, or for a step, included.
        duration_ms: Millis,
    }
    also {}
    metrics |_, _| {}
}

/// Observes the time that a run spent in a state; with the result, if it was set there.
fn run_time(
    signals: &Signals,
    pipeline: &str,
    (state, time): (RunState, Duration),
    result: Option<(RunResult, Option<RunError>)>,
) {
    // An empty label is one that isn't there.
    let (result, error) = match result {
        None => ("", ""),
        Some((result, error)) => (result.as_str(), error.map_or("", LabelEnum::as_str)),
    };
    signals
        .cicd_pipeline_run_duration_seconds
        .with([pipeline, state.as_str(), result, error])
        .observe_duration(time);
}

fn run_errors(signals: &Signals, pipeline: &str, errors: &[RunError]) {
    let cells = signals.cicd_pipeline_run_errors_total.with([pipeline]);
    for error in errors {
        cells.at(*error).inc();
    }
}

/// What the playbooks' own families hear of an end, in their document's words.
fn ended_playbook(
    signals: &Signals,
    source_type: SourceType,
    (status, ran): (JobResult, Option<Duration>),
) {
    let result = match status {
        JobResult::Success => PlaybookResult::Success,
        JobResult::Failure | JobResult::Timeout => PlaybookResult::Failed,
        JobResult::Cancelled => PlaybookResult::Cancelled,
    };
    signals.playbook_jobs_completed_total.at(result).inc();
    if let Some(ran) = ran {
        let times = &signals.playbook_job_duration_seconds;
        times.at(source_type).observe_duration(ran);
    }
}

/// The times of a run that has ended. Each run has one series with its result: that of
/// `executing`, or of `pending` where nothing was run.
fn ended_run(fact: &JobCompleted<'_>, signals: &Signals) {
    let result = match fact.status {
        JobResult::Success => RunResult::Success,
        JobResult::Timeout => RunResult::Timeout,
        JobResult::Cancelled => RunResult::Cancellation,
        JobResult::Failure => match fact.run.error {
            Some(RunError::StepFailed | RunError::SourceFailed) => RunResult::Failure,
            _ => RunResult::Error,
        },
    };
    let error = match fact.status {
        JobResult::Failure => fact.run.error,
        JobResult::Timeout => Some(RunError::Timeout),
        JobResult::Success | JobResult::Cancelled => None,
    };
    let result = Some((result, error));
    let Some(ran) = fact.duration_seconds else {
        run_time(
            signals,
            fact.pipeline,
            (RunState::Pending, fact.run.age),
            result,
        );
        return;
    };
    let finalizing = fact.run.finalizing.unwrap_or_default();
    let executing = ran.saturating_sub(finalizing);
    run_time(
        signals,
        fact.pipeline,
        (RunState::Executing, executing),
        result,
    );
    if fact.run.finalizing.is_some() {
        run_time(
            signals,
            fact.pipeline,
            (RunState::Finalizing, finalizing),
            None,
        );
    }
}

//! Facts about jobs and their steps.

use std::time::Duration;

use super::fact;
use crate::labels::JobResult;

fact! {
    /// A job was accepted and is durable.
    JobSubmitted<'a> = "job_submitted", INFO, "danube.api";
    {
        job_id: &'a str,
        /// `pipeline`, `spec` or the type of a playbook's source.
        source_type: &'a str,
        /// Name of the key, never the key.
        api_key_name: Option<&'a str>,
    }
    also {}
    metrics |_, _| {}
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
    metrics |_, _| {}
}

fact! {
    /// A worker began to run a job.
    JobStarted<'a> = "job_started", INFO, "danube.orchestrator";
    {
        job_id: &'a str,
        pipeline: Option<&'a str>,
        trigger_type: Option<&'a str>,
        trigger_ref: Option<&'a str>,
        user: Option<&'a str>,
        source_type: Option<&'a str>,
        worker_id: Option<&'a str>,
    }
    also {
        /// Time since the job was submitted, or since it went back to the queue.
        queue_wait: Duration,
    }
    metrics |fact, signals| {
        signals.job_queue_wait_seconds.observe_duration(fact.queue_wait);
    }
}

fact! {
    /// A job reached its final state, whichever it is. Told exactly once for each job.
    JobCompleted<'a> = "job_completed", INFO, "danube.orchestrator";
    {
        job_id: &'a str,
        status: JobResult,
        /// From start to end; nothing for a job that never started.
        duration_seconds: Option<Duration>,
    }
    also {
        pipeline: &'a str,
        max_rss_bytes: Option<u64>,
    }
    metrics |fact, signals| {
        signals.jobs_total.with([fact.pipeline]).at(fact.status).inc();
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
        fails with |fact| fact.error_type;
    {
        job_id: &'a str,
        error_type: &'a str,
        error_message: &'a str,
        /// How often the system has run the job again.
        retry_count: u64,
    }
    also {}
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
    also {}
    metrics |_, _| {}
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
    JobTimedOut<'a> = "job_timed_out", WARN, "danube.orchestrator",
        fails with |_| "timeout";
    {
        job_id: &'a str,
        /// The step that was running.
        step: Option<&'a str>,
        timeout_seconds: Duration,
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
    JobOrphanRescued<'a> = "job_orphan_rescued", WARN, "danube.orchestrator",
        fails with |_| "worker_lost";
    {
        job_id: &'a str,
        worker_id: Option<&'a str>,
        /// Number of the attempt that was lost.
        attempt: u64,
    }
    also {}
    metrics |_, signals| {
        signals.orphaned_jobs_rescued_total.inc();
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
        cpu_seconds: Option<f64>,
    }
    metrics |fact, signals| {
        signals.step_duration_seconds.with([fact.pipeline]).observe_duration(fact.duration_seconds);
        if let Some(seconds) = fact.cpu_seconds {
            signals.job_cpu_seconds_total.with([fact.pipeline]).add(seconds);
        }
    }
}

fact! {
    /// A job's output could not be written; the job is held back until it can.
    LogWriteFailed<'a> = "log_write_failed", WARN, "danube.worker";
    {
        job_id: &'a str,
        error: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A workspace could not be removed whole; what is left goes at the next start.
    WorkspaceLeft<'a> = "workspace_left", WARN, "danube.worker";
    {
        job_id: &'a str,
        error: &'a str,
    }
    also {}
    metrics |_, _| {}
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

//! The metric families that are recorded, each with the type that records it.

use danube_telemetry::{
    Closed, Counter, Expiring, FamilyDecl, FloatCounter, FloatGauge, Gauge, Histogram, Open,
    Registry, Single, Striped,
};

use crate::labels::{
    BlueprintChange, Check, DbOperation, DeniedResource, DiskKind, DroppedSignal, HealResult,
    JobResult, LoginResult, LoopName, Outcome, PlaybookResult, RedisCommand, RunError, RunState,
    SourceType, SseDropReason, Truth, WorkerState,
};

/// Buckets of a job's time, in seconds.
const JOB: &[f64] = &[
    1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0,
];

/// Buckets of waits and steps: those of a job, with finer ones before.
const WAIT: &[f64] = &[
    0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0,
];

/// Buckets of a call's time, in seconds.
pub(crate) const CALL: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Buckets of a request's time where the playbook API's document gives them, in seconds.
const REQUEST: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Buckets of a playbook job's time, as its document gives them, in seconds.
const PLAYBOOK: &[f64] = &[10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// Most series of pipeline runs by state, result and error: about four for each of a
/// thousand pipelines.
const RUN_SERIES_MAX: usize = 4_000;

/// Buckets of a blueprint sync's time, in seconds.
const SYNC: &[f64] = &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// Buckets of an SQL statement's time, in seconds.
const QUERY: &[f64] = &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

macro_rules! families {
    ($($field:ident: $type:ty = $kind:ident($name:literal, $help:literal $(, $buckets:ident)?)
        { $($more:tt)* } recorded $recorded:literal;)*) => {
        /// The recorded families, one field each.
        pub struct Families {
            $(#[doc = $help] pub $field: $type,)*
        }

        /// Declarations of the recorded families; what refers to one that isn't there
        /// doesn't compile.
        #[expect(non_upper_case_globals, reason = "named as the metrics are")]
        pub(crate) mod declared {
            use super::*;
            $(#[doc = $help] pub static $field: FamilyDecl =
                FamilyDecl::$kind($name, $help $(, $buckets)?) $($more)*;)*
        }

        /// Declarations in the order of the fields, and where each is recorded.
        pub(crate) static LIVE: &[(&FamilyDecl, &str)] = &[$((&declared::$field, $recorded),)*];

        impl Families {
            pub(crate) fn new(registry: &Registry) -> Self {
                let mut declared = LIVE.iter();
                let mut next = || declared.next().expect("one declaration for each field").0;
                Self { $($field: registry.add(next()),)* }
            }
        }
    };
}

families! {
    jobs_total: Open<1, JobResult, Counter> =
        counter("danube.jobs", "Jobs that reached their final state.")
        { .unit("{job}").closed::<JobResult>("status").bounded("pipeline") }
        recorded "a job reaches its final state";
    job_duration_seconds: Open<1, (), Histogram> =
        histogram("danube.job.duration", "Time from a job's start to its final state.", JOB)
        { .bounded("pipeline") }
        recorded "a job reaches its final state";
    active_jobs: Single<Gauge> =
        gauge("danube.active_jobs", "Jobs that are scheduling or running now.")
        { .unit("{job}") }
        recorded "each commit that moves a job; counted anew at start";
    job_queue_size: Single<Gauge> =
        gauge("danube.job.queue_size", "Jobs that are pending now.")
        { .unit("{job}") }
        recorded "each commit that moves a job; counted anew at start";
    job_timeouts_total: Open<1, (), Counter> =
        counter("danube.job.timeouts", "Jobs that were stopped because their time was up.")
        { .unit("{job}").bounded("pipeline") }
        recorded "a job is stopped for time";
    job_queue_wait_seconds: Single<Histogram> =
        histogram("danube.job.queue_wait", "Time from when a job came into the queue to its start.", WAIT)
        {}
        recorded "an attempt begins to run";
    step_duration_seconds: Open<1, (), Histogram> =
        histogram("danube.step.duration", "Time that a step ran.", WAIT)
        { .bounded("pipeline") }
        recorded "a step ends";
    job_cpu_seconds_total: Open<1, (), FloatCounter> =
        counter("danube.job.cpu", "CPU time that the steps of jobs used.")
        { .unit("s").bounded("pipeline") }
        recorded "a step ends";
    job_max_rss_bytes: Open<1, (), Gauge> =
        gauge("danube.job.max_rss", "Peak memory of the pipeline's latest finished job.")
        { .unit("By").bounded("pipeline").when_set() }
        recorded "a job reaches its final state";
    orphaned_jobs_rescued_total: Single<Counter> =
        counter("danube.orphaned_jobs_rescued", "Jobs taken back from a worker that fell silent.")
        { .unit("{job}") }
        recorded "a lease runs out";
    workers_active: Single<Gauge> =
        gauge("danube.workers_active", "Workers that are heard from.")
        { .unit("{worker}") }
        recorded "counted at each scrape";
    db_queries_total: Striped<DbOperation> =
        counter("danube.db.queries", "SQL statements that were run.")
        { .unit("{query}").closed::<DbOperation>("operation") }
        recorded "every statement, by SQLite's hook";
    db_query_duration_seconds: Closed<DbOperation, Histogram> =
        histogram("danube.db.query.duration", "Time that an SQL statement took.", QUERY)
        { .closed::<DbOperation>("operation") }
        recorded "every statement, by SQLite's hook";
    http_client_request_duration_seconds: Closed<Outcome, Histogram> =
        histogram("danube.http.client.request.duration", "Time of a request to an address from outside, to the head of its answer: webhooks and sources.", CALL)
        { .closed::<Outcome>("outcome") }
        recorded "the one client for such addresses; an answer of any status is a success";
    redis_call_duration_seconds: Closed<RedisCommand, Histogram> =
        histogram("danube.redis.call.duration", "Time until Redis answered; a reader's wait for jobs isn't in it.", QUERY)
        { .closed::<RedisCommand>("command") }
        recorded "every call of Redis, in its one layer";
    redis_call_errors_total: Closed<RedisCommand, Counter> =
        counter("danube.redis.call.errors", "Calls of Redis that failed or had no answer in time.")
        { .unit("{error}").closed::<RedisCommand>("command") }
        recorded "every call of Redis, in its one layer";
    db_connections_active: Single<Gauge> =
        gauge("danube.db.connections_active", "Database connections in use.")
        { .unit("{connection}") }
        recorded "a connection is taken or given back";
    db_lock_wait_seconds_total: Single<FloatCounter> =
        counter("danube.db.lock_wait", "Time waited for the right to write to the database, beyond what a turn takes when all is well.")
        { .unit("s") }
        recorded "SQLite's busy handler, and what a request waits longer than 100 ms for our own writer";
    secret_requests_total: Open<2, (), Counter> =
        counter("danube.secret.requests", "Secrets that jobs asked for.")
        { .unit("{request}").bounded("pipeline").bounded("secret_key") }
        recorded "a job asks for a secret, whether it gets it or not";
    secret_cache_hits_total: Single<Counter> =
        counter("danube.secret.cache_hits", "Secrets found in the cache.")
        { .unit("{hit}") }
        recorded "a job asks again for what it was given";
    secret_cache_misses_total: Single<Counter> =
        counter("danube.secret.cache_misses", "Secrets not found in the cache.")
        { .unit("{miss}") }
        recorded "a job asks for what it wasn't given yet";
    log_bytes_written_total: Expiring<Counter> =
        counter("danube.log.written", "Bytes appended to a job's log.")
        { .unit("By").named("danube_log_bytes_written_total").expiring("job_id") }
        recorded "a job log is appended to; the series goes 5 minutes after the job's end";
    log_bytes_ingested_total: Single<Counter> =
        counter("danube.log.ingested", "Bytes appended to all job logs together.")
        { .unit("By").named("danube_log_bytes_ingested_total") }
        recorded "a job log is appended to";
    log_redactions_total: Open<1, (), Counter> =
        counter("danube.log.redactions", "Values that were masked in job logs.")
        { .unit("{value}").bounded("rule") }
        recorded "a job log is appended to";
    log_ingest_blocked_seconds_total: Single<FloatCounter> =
        counter("danube.log.ingest_blocked", "Time that jobs were held back because their log could not be written faster.")
        { .unit("s") }
        recorded "a job log is appended to";
    sse_clients_active: Single<Gauge> =
        gauge("danube.sse.clients_active", "Open event streams (SSE) of job logs.")
        { .unit("{client}") }
        recorded "a stream begins or ends";
    sse_messages_sent_total: Single<Counter> =
        counter("danube.sse.messages_sent", "Events sent to those who follow a job log by SSE.")
        { .unit("{message}") }
        recorded "an event is sent; a heartbeat is none";
    sse_clients_dropped_total: Closed<SseDropReason, Counter> =
        counter("danube.sse.clients_dropped", "Event streams (SSE) that the server ended before their log had.")
        { .unit("{client}").closed::<SseDropReason>("reason") }
        recorded "a stream is refused, cut or given up; not when its client leaves by itself";
    auth_logins_total: Closed<LoginResult, Counter> =
        counter("danube.auth.logins", "Attempts to log in.")
        { .unit("{login}").closed::<LoginResult>("status") }
        recorded "a login succeeds or fails";
    auth_permission_denied_total: Closed<DeniedResource, Counter> =
        counter("danube.auth.permission_denied", "Requests that were denied for want of a permission.")
        { .unit("{request}").closed::<DeniedResource>("resource") }
        recorded "a permission is denied";
    auth_active_sessions: Single<Gauge> =
        gauge("danube.auth.active_sessions", "Sessions that are open now.")
        { .unit("{session}") }
        recorded "counted at each scrape";
    http_request_duration_seconds: Open<3, (), Histogram> =
        histogram("danube.http.request.duration", "Time from the head of an HTTP request to the head of its answer.", CALL)
        { .sparse("method").bounded("route").sparse("status") }
        recorded "one layer around all routes; 499 when the client left before the answer; without the wait of a submit with `sync`";
    rpc_requests_total: Open<2, (), Counter> =
        counter("danube.rpc.requests", "Calls of workers elsewhere, and of coordinators, at the master.")
        { .unit("{request}").sparse("method").sparse("status") }
        recorded "one layer around all routes";
    rpc_request_duration_seconds: Open<1, (), Histogram> =
        histogram("danube.rpc.request.duration", "Time from the head of such a call to the head of its answer; how long a worker waits for news, or a coordinator for a long step, isn't in it.", CALL)
        { .sparse("method") }
        recorded "one layer around all routes";
    api_request_duration_seconds: Open<3, (), Histogram> =
        histogram("ansible_api.request.duration", "Time from the head of an API request (/api/) to the head of its answer.", REQUEST)
        { .sparse("method").bounded("endpoint").sparse("status_code") }
        recorded "the same layer, for routes below `/api/` alone";
    blueprint_sync_total: Closed<Outcome, Counter> =
        counter("danube.blueprint.sync", "Syncs of the blueprint.")
        { .unit("{sync}").closed::<Outcome>("status") }
        recorded "a sync has ended; one that finds nothing new is a success";
    blueprint_sync_last_success: Single<Gauge> =
        gauge("danube.blueprint.sync.last_success", "Last sync that worked, Unix time.")
        { .unit("s").named("danube_blueprint_sync_last_success").when_set() }
        recorded "a sync has succeeded; at the start, when the blueprint in force was taken";
    blueprint_sync_duration_seconds: Single<Histogram> =
        histogram("danube.blueprint.sync.duration", "Time of a blueprint sync.", SYNC) {}
        recorded "a sync has ended";
    blueprint_changes_applied_total: Closed<BlueprintChange, Counter> =
        counter("danube.blueprint.changes_applied", "Changes taken from the blueprint.")
        { .unit("{change}").closed::<BlueprintChange>("type") }
        recorded "a blueprint is in force: each pipeline, user and team that was added, changed or removed";
    registry_pulls_total: Open<1, (), Counter> =
        counter("danube.registry.pulls", "Images pulled from the registry.")
        { .unit("{pull}").bounded("image") }
        recorded "the registry's notifications: a GET of an image's manifest";
    registry_pushes_total: Open<1, (), Counter> =
        counter("danube.registry.pushes", "Images pushed to the registry.")
        { .unit("{push}").bounded("image") }
        recorded "the registry's notifications: an image's manifest was put there";
    registry_storage_bytes: Single<Gauge> =
        gauge("danube.registry.storage", "Bytes of all images of the registry; what they share counts once.")
        { .unit("By") }
        recorded "each look at the registry: at the start, every hour, and when the reaper runs";
    disk_usage_bytes: Closed<DiskKind, Gauge> =
        gauge("danube.disk.usage", "Disk space that is used, by what uses it.")
        { .unit("By").closed::<DiskKind>("kind") }
        recorded "the database with each disk check, logs and artifacts every 5 minutes";
    disk_free_ratio: Single<FloatGauge> =
        gauge("danube.disk.free", "Free share of the disk that holds the data directory.")
        { .unit("1").when_set() }
        recorded "measured by the disk check";
    health_check_status: Closed<Check, FloatGauge> =
        gauge("danube.health_check.status", "Result of a health check: 1 ok, 0.5 degraded or stale, 0 failed.")
        { .closed::<Check>("check").when_set() }
        recorded "a check that is configured has run";
    health_check_consecutive_failures: Closed<Check, Gauge> =
        gauge("danube.health_check.consecutive_failures", "Failures of a health check in a row.")
        { .unit("{failure}").closed::<Check>("check").when_set() }
        recorded "a check that is configured has run";
    self_heal_total: Closed<(Check, HealResult), Counter> =
        counter("danube.self_heal", "Attempts to heal a failed part.")
        { .unit("{attempt}").closed::<Check>("check").closed::<HealResult>("result") }
        recorded "an attempt to heal has ended, or would have been made";
    loop_silent_seconds: Closed<LoopName, FloatGauge> =
        gauge("danube.loop.silent", "For how long a loop of this process has given no sign of life; at rest each gives one a second.")
        { .unit("s").closed::<LoopName>("loop").when_set() }
        recorded "the watchdog looks, twice a second";
    telemetry_dropped_total: Closed<DroppedSignal, Counter> =
        counter("danube.telemetry.dropped", "Log lines, metric points and spans that were lost on the way out.")
        { .unit("{item}").closed::<DroppedSignal>("signal") }
        recorded "the log's buffer is full, or a collector doesn't take what it is sent";
    playbook_webhook_deliveries_total: Closed<Truth, Counter> =
        counter("ansible_api.webhook_deliveries", "Attempts to deliver a webhook of a playbook job.")
        { .unit("{delivery}").closed::<Truth>("success") }
        recorded "an attempt was answered, or failed, and its job was a playbook";
    webhook_deliveries_total: Closed<Truth, Counter> =
        counter("danube.webhook.deliveries", "Attempts to deliver a webhook.")
        { .unit("{delivery}").closed::<Truth>("success") }
        recorded "an attempt was answered, or failed";
    cicd_pipeline_run_duration_seconds: Open<4, (), Histogram> =
        histogram("cicd.pipeline.run.duration", "Time that a pipeline run spent in a state.", WAIT)
        { .bounded("cicd.pipeline.name").sparse("cicd.pipeline.run.state").sparse("cicd.pipeline.result")
            .sparse("error.type").series_max(RUN_SERIES_MAX) }
        recorded "pending when an attempt begins to run, executing and finalizing at the job's end; the state in which the result was set has it";
    cicd_pipeline_run_active: Open<1, RunState, Gauge> =
        gauge("cicd.pipeline.run.active", "Pipeline runs that are active now.")
        { .unit("{run}").bounded("cicd.pipeline.name").closed::<RunState>("cicd.pipeline.run.state") }
        recorded "each commit that moves a job, and when its last step has ended; counted anew at start";
    cicd_pipeline_run_errors_total: Open<1, RunError, Counter> =
        counter("cicd.pipeline.run.errors", "Errors in pipeline runs: failed steps, also those that may fail, and what else ended an attempt.")
        { .unit("{error}").bounded("cicd.pipeline.name").closed::<RunError>("error.type") }
        recorded "a job reaches its final state, or loses its worker";
    cicd_worker_count: Closed<WorkerState, Gauge> =
        gauge("cicd.worker.count", "Workers by state.")
        // `_count` is the histograms' own: promtool refuses it.
        { .unit("{count}").named("cicd_workers").closed::<WorkerState>("cicd.worker.state") }
        recorded "counted at each scrape";
    cicd_system_errors_total: Open<2, (), Counter> =
        counter("cicd.system.errors", "Errors of the system itself, by the part that had them.")
        { .unit("{error}").sparse("cicd.system.component").sparse("error.type") }
        recorded "a part can't do its work";
    playbook_jobs_submitted_total: Closed<SourceType, Counter> =
        counter("ansible_api.jobs_submitted", "Playbook jobs submitted.")
        { .unit("{job}").closed::<SourceType>("source_type") }
        recorded "a playbook job is accepted";
    playbook_jobs_completed_total: Closed<PlaybookResult, Counter> =
        counter("ansible_api.jobs_completed", "Playbook jobs that ended.")
        { .unit("{job}").closed::<PlaybookResult>("status") }
        recorded "a playbook job reaches its final state; one that timed out has failed";
    playbook_job_duration_seconds: Closed<SourceType, Histogram> =
        histogram("ansible_api.job.duration", "Time of a playbook job.", PLAYBOOK)
        { .closed::<SourceType>("source_type") }
        recorded "a playbook job reaches its final state";
    playbook_queue_length: Open<1, (), Gauge> =
        gauge("ansible_api.queue_length", "Playbook jobs that wait.")
        { .unit("{job}").bounded("queue_name") }
        recorded "each commit that moves a playbook job; counted anew at start";
    playbook_active_workers: Single<Gauge> =
        gauge("ansible_api.active_workers", "Workers that take playbook jobs.")
        { .unit("{worker}") }
        recorded "counted at each scrape: those that are heard from and have an Ansible";
    playbook_active_jobs: Single<Gauge> =
        gauge("ansible_api.active_jobs", "Playbook jobs that run now.")
        { .unit("{job}") }
        recorded "each commit that moves a playbook job; counted anew at start";
    telemetry_scrape_duration_seconds: Single<Histogram> =
        histogram("danube.telemetry.scrape.duration", "Time that writing the metrics for a scrape took.", CALL) {}
        recorded "a scrape is written";
    telemetry_scrape_bytes: Single<Gauge> =
        gauge("danube.telemetry.scrape.size", "Size of the latest scrape before compression.")
        { .unit("By").named("danube_telemetry_scrape_bytes") }
        recorded "a scrape is written";
    telemetry_series: Single<Gauge> =
        gauge("danube.telemetry.series", "Series in the latest scrape, a histogram counted as one.")
        { .unit("{series}") }
        recorded "a scrape is written";
    build_info: Open<2, (), Gauge> =
        info("danube.build", "Version and commit of the running build.")
        { .bounded("version").bounded("commit") }
        recorded "at start";
}

/// Counts what the limits on series turned away; the registry keeps it itself.
pub(crate) static OVERFLOW: (FamilyDecl, &str) = (
    FamilyDecl::counter(
        "danube.metrics.series_overflow",
        "Times that a label value was recorded as __other__ because its family was full.",
    )
    .unit("{series}")
    .bounded("family"),
    "a family with open labels is full",
);

//! The metric families that are recorded, each with the type that records it.

use danube_telemetry::{
    Closed, Counter, Expiring, FamilyDecl, FloatCounter, FloatGauge, Gauge, Histogram, Open,
    Registry, Single,
};

use crate::labels::{
    Check, DbOperation, DeniedResource, DiskKind, DroppedSignal, JobResult, LoginResult,
    SseDropReason,
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

/// Buckets of an SQL statement's time, in seconds.
const QUERY: &[f64] = &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

macro_rules! families {
    ($($field:ident: $type:ty = $kind:ident($name:literal, $help:literal $(, $buckets:ident)?)
        { $($more:tt)* } recorded $recorded:literal;)*) => {
        /// The recorded families, one field each.
        pub struct Families {
            $(#[doc = concat!("`", $name, "`: ", $help)] pub $field: $type,)*
        }

        /// Declarations in the order of the fields, and where each is recorded.
        pub(crate) static LIVE: &[(FamilyDecl, &str)] = &[
            $((FamilyDecl::$kind($name, $help $(, $buckets)?) $($more)*, $recorded),)*
        ];

        impl Families {
            pub(crate) fn new(registry: &Registry) -> Self {
                let mut declared = LIVE.iter();
                let mut next = || &declared.next().expect("one declaration for each field").0;
                Self { $($field: registry.add(next()),)* }
            }
        }
    };
}

families! {
    jobs_total: Open<1, JobResult, Counter> =
        counter("danube_jobs_total", "Jobs that reached their final state.")
        { .closed::<JobResult>("status").bounded("pipeline") }
        recorded "a job reaches its final state";
    job_duration_seconds: Open<1, (), Histogram> =
        histogram("danube_job_duration_seconds", "Time from a job's start to its final state.", JOB)
        { .bounded("pipeline") }
        recorded "a job reaches its final state";
    active_jobs: Single<Gauge> =
        gauge("danube_active_jobs", "Jobs that are scheduling or running now.") {}
        recorded "counted in the store at each scrape";
    job_queue_size: Single<Gauge> =
        gauge("danube_job_queue_size", "Jobs that are pending now.") {}
        recorded "counted in the store at each scrape";
    job_timeouts_total: Open<1, (), Counter> =
        counter("danube_job_timeouts_total", "Jobs that were stopped because their time was up.")
        { .bounded("pipeline") }
        recorded "a job is stopped for time";
    job_queue_wait_seconds: Single<Histogram> =
        histogram("danube_job_queue_wait_seconds", "Time from a job's submission to its start.", WAIT) {}
        recorded "a job starts";
    step_duration_seconds: Open<1, (), Histogram> =
        histogram("danube_step_duration_seconds", "Time that a step ran.", WAIT)
        { .bounded("pipeline") }
        recorded "a step ends";
    job_cpu_seconds_total: Open<1, (), FloatCounter> =
        counter("danube_job_cpu_seconds_total", "CPU time that the steps of jobs used.")
        { .bounded("pipeline").unit("seconds") }
        recorded "a step ends";
    job_max_rss_bytes: Open<1, (), Gauge> =
        gauge("danube_job_max_rss_bytes", "Peak memory of the pipeline's latest finished job.")
        { .bounded("pipeline").unit("bytes").when_set() }
        recorded "a job reaches its final state";
    orphaned_jobs_rescued_total: Single<Counter> =
        counter("danube_orphaned_jobs_rescued_total", "Jobs taken back from a worker that fell silent.") {}
        recorded "a lease runs out";
    workers_active: Single<Gauge> =
        gauge("danube_workers_active", "Workers that are heard from.") {}
        recorded "counted in the store at each scrape";
    db_queries_total: Closed<DbOperation, Counter> =
        counter("danube_db_queries_total", "SQL statements that were run.")
        { .closed::<DbOperation>("operation") }
        recorded "every statement, by SQLite's hook";
    db_query_duration_seconds: Closed<DbOperation, Histogram> =
        histogram("danube_db_query_duration_seconds", "Time that an SQL statement took.", QUERY)
        { .closed::<DbOperation>("operation") }
        recorded "every statement, by SQLite's hook";
    db_connections_active: Single<Gauge> =
        gauge("danube_db_connections_active", "Database connections in use.") {}
        recorded "a connection is taken or given back";
    db_lock_wait_seconds_total: Single<FloatCounter> =
        counter("danube_db_lock_wait_seconds_total", "Time waited for the right to write to the database.")
        { .unit("seconds") }
        recorded "SQLite's busy handler and the wait for our own writer";
    log_bytes_written_total: Expiring<Counter> =
        counter("danube_log_bytes_written_total", "Bytes appended to a job's log.")
        { .expiring("job_id") }
        recorded "a job log is appended to; the series goes 5 minutes after the job's end";
    log_bytes_ingested_total: Single<Counter> =
        counter("danube_log_bytes_ingested_total", "Bytes appended to all job logs together.") {}
        recorded "a job log is appended to";
    log_redactions_total: Open<1, (), Counter> =
        counter("danube_log_redactions_total", "Values that were masked in job logs.")
        { .bounded("rule") }
        recorded "a job log is appended to";
    log_ingest_blocked_seconds_total: Single<FloatCounter> =
        counter("danube_log_ingest_blocked_seconds_total", "Time that jobs were held back because their log could not be written faster.")
        { .unit("seconds") }
        recorded "a job log is appended to";
    sse_clients_active: Single<Gauge> =
        gauge("danube_sse_clients_active", "Open followers of job logs.") {}
        recorded "a follower comes or goes";
    sse_messages_sent_total: Single<Counter> =
        counter("danube_sse_messages_sent_total", "Messages sent to followers.") {}
        recorded "a message is sent";
    sse_clients_dropped_total: Closed<SseDropReason, Counter> =
        counter("danube_sse_clients_dropped_total", "Followers that were sent away.")
        { .closed::<SseDropReason>("reason") }
        recorded "a follower is sent away";
    auth_logins_total: Closed<LoginResult, Counter> =
        counter("danube_auth_logins_total", "Attempts to log in.")
        { .closed::<LoginResult>("status") }
        recorded "a login succeeds or fails";
    auth_permission_denied_total: Closed<DeniedResource, Counter> =
        counter("danube_auth_permission_denied_total", "Requests that were denied for want of a permission.")
        { .closed::<DeniedResource>("resource") }
        recorded "a permission is denied";
    http_request_duration_seconds: Open<3, (), Histogram> =
        histogram("danube_http_request_duration_seconds", "Time that an HTTP request took.", CALL)
        { .sparse("method").bounded("route").sparse("status") }
        recorded "one layer around all routes";
    disk_usage_bytes: Closed<DiskKind, Gauge> =
        gauge("danube_disk_usage_bytes", "Disk space that is used, by what uses it.")
        { .closed::<DiskKind>("kind").unit("bytes") }
        recorded "measured by the disk check";
    disk_free_ratio: Single<FloatGauge> =
        gauge("danube_disk_free_ratio", "Free share of the disk that holds the data directory.")
        { .unit("ratio").when_set() }
        recorded "measured by the disk check";
    health_check_status: Closed<Check, FloatGauge> =
        gauge("danube_health_check_status", "Result of a health check: 1 ok, 0.5 degraded or stale, 0 failed.")
        { .closed::<Check>("check").when_set() }
        recorded "a check that is configured has run";
    health_check_consecutive_failures: Closed<Check, Gauge> =
        gauge("danube_health_check_consecutive_failures", "Failures of a health check in a row.")
        { .closed::<Check>("check").when_set() }
        recorded "a check that is configured has run";
    telemetry_dropped_total: Closed<DroppedSignal, Counter> =
        counter("danube_telemetry_dropped_total", "Log lines, metric points and spans that were lost on the way out.")
        { .closed::<DroppedSignal>("signal") }
        recorded "the log's buffer is full";
    build_info: Open<2, (), Gauge> =
        info("danube_build_info", "Version and commit of the running build.")
        { .bounded("version").bounded("commit") }
        recorded "at start";
}

/// Counts what the limits on series turned away; the registry keeps it itself.
pub(crate) static OVERFLOW: [(FamilyDecl, &str); 1] = [(
    FamilyDecl::counter(
        "danube_metrics_series_overflow_total",
        "Times that a label value was recorded as __other__ because its family was full.",
    )
    .bounded("family"),
    "a family with open labels is full",
)];

//! The panels themselves, by dashboard.

use danube_telemetry::FamilyDecl;
use danube_telemetry::metric::process;
use danube_telemetry::query::{
    Expr, Selector, Window, buckets, mean, quantile, ratio_beyond, series,
};

use super::{Dashboard, Panel, Query, Unit};
use crate::family;

/// What jobs are counted over: they are few and take long.
const HOUR: Window = Window::minutes(60);

/// What fits what is drawn.
const PANEL: Window = Window::Panel;

fn panel(
    (dashboard, unit): (Dashboard, Unit),
    (name, title): (&'static str, &'static str),
    description: &'static str,
    queries: Vec<Query>,
) -> Panel {
    Panel {
        name,
        dashboard,
        title,
        description,
        unit,
        queries,
    }
}

fn query(legend: &'static str, expr: Expr) -> Query {
    Query { legend, expr }
}

/// The three quantiles of a histogram, all its labels together.
fn quantiles(family: &'static FamilyDecl, window: Window) -> Vec<Query> {
    [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)]
        .map(|(legend, q)| query(legend, quantile(q, buckets(family), window, &[])))
        .to_vec()
}

/// The share of those whose `label` is `value` in all of the family.
pub(crate) fn share(
    family: &'static FamilyDecl,
    label: &'static str,
    value: &'static str,
    window: Window,
) -> Expr {
    share_beyond(0.0, (family, label, value), window)
}

/// The same where all of the family is more than `few`.
pub(crate) fn share_beyond(
    few: f64,
    (family, label, value): (&'static FamilyDecl, &'static str, &'static str),
    window: Window,
) -> Expr {
    ratio_beyond(
        few,
        series(family).with(label, value).increase(window).sum(),
        series(family).increase(window).sum(),
    )
}

/// A family of the process itself, by its Prometheus name.
fn process(name: &str) -> Selector {
    let found = process::FAMILIES.iter().find(|it| it.name() == name);
    series(found.expect("the process has these families")).ours()
}

pub(super) fn job_overview() -> Vec<Panel> {
    let dashboard = Dashboard::JobOverview;
    vec![
        panel(
            (dashboard, Unit::Count),
            ("jobs_per_hour", "Jobs per hour"),
            "Jobs that ended in the hour before, by how they ended.",
            vec![query(
                "{{status}}",
                series(&family::jobs_total)
                    .increase(HOUR)
                    .sum_by(&["status"]),
            )],
        ),
        panel(
            (dashboard, Unit::Ratio),
            ("job_success_rate", "Success rate"),
            "Share of the jobs of the hour before that succeeded. Empty while none ended.",
            vec![query(
                "success",
                share(&family::jobs_total, "status", "success", HOUR),
            )],
        ),
        panel(
            (dashboard, Unit::Seconds),
            ("job_duration_average", "Average duration"),
            "Mean time from start to end of the jobs of the hour before. Empty while none ended.",
            vec![query(
                "average",
                mean(&family::job_duration_seconds, HOUR, &[]),
            )],
        ),
        panel(
            (dashboard, Unit::Count),
            ("active_jobs", "Active jobs"),
            "Jobs that run, and jobs that wait for their turn.",
            vec![
                query("running", series(&family::active_jobs).now().sum()),
                query("pending", series(&family::job_queue_size).now().sum()),
            ],
        ),
    ]
}

pub(super) fn performance() -> Vec<Panel> {
    let dashboard = Dashboard::Performance;
    vec![
        panel(
            (dashboard, Unit::PerSecond),
            ("rpc_rate", "RPC rate"),
            "Calls of workers elsewhere and of coordinators, by method.",
            vec![query(
                "{{method}}",
                series(&family::rpc_requests_total)
                    .rate(PANEL)
                    .sum_by(&["method"]),
            )],
        ),
        panel(
            (dashboard, Unit::Seconds),
            ("k8s_latency", "Kubernetes latency"),
            "Time of calls of the Kubernetes API.",
            quantiles(&family::k8s_api_call_duration_seconds, PANEL),
        ),
        panel(
            (dashboard, Unit::Seconds),
            ("db_latency", "Database latency"),
            "Time of SQL statements. A p99 that grows while p50 stays is a disk that is slow to sync.",
            quantiles(&family::db_query_duration_seconds, PANEL),
        ),
        panel(
            (dashboard, Unit::BytesPerSecond),
            ("log_throughput", "Log throughput"),
            "Output that jobs write to their logs.",
            vec![query(
                "written",
                series(&family::log_bytes_ingested_total).rate(PANEL).sum(),
            )],
        ),
    ]
}

pub(super) fn errors() -> Vec<Panel> {
    let dashboard = Dashboard::Errors;
    vec![
        panel(
            (dashboard, Unit::Count),
            ("failed_jobs", "Failed jobs by pipeline"),
            "Jobs that failed in the hour before, by pipeline. Pipelines without any aren't drawn.",
            vec![query(
                "{{pipeline}}",
                series(&family::jobs_total)
                    .with("status", "failure")
                    .increase(HOUR)
                    .sum_by(&["pipeline"])
                    .above(0.0),
            )],
        ),
        panel(
            (dashboard, Unit::PerSecond),
            ("k8s_errors", "Kubernetes errors"),
            "Calls of the Kubernetes API that failed, by operation.",
            vec![query(
                "{{operation}}",
                series(&family::k8s_api_calls_total)
                    .with("status", "error")
                    .rate(PANEL)
                    .sum_by(&["operation"]),
            )],
        ),
        panel(
            (dashboard, Unit::Seconds),
            ("db_lock_waits", "Lock waits"),
            "Seconds that writers waited for the database in each second, beyond the 100 ms that a turn may take; 1 is one writer that always waits.",
            vec![query(
                "waited",
                series(&family::db_lock_wait_seconds_total)
                    .rate(PANEL)
                    .sum(),
            )],
        ),
        panel(
            (dashboard, Unit::Count),
            ("blueprint_sync_failures", "Sync failures"),
            "Syncs of the blueprint that failed in the hour before.",
            vec![query(
                "failed",
                series(&family::blueprint_sync_total)
                    .with("status", "error")
                    .increase(HOUR)
                    .sum(),
            )],
        ),
    ]
}

pub(super) fn capacity() -> Vec<Panel> {
    let dashboard = Dashboard::Capacity;
    vec![
        panel(
            (dashboard, Unit::Count),
            ("pods", "Pods"),
            "Pods that belong to Danube, by namespace.",
            vec![query(
                "{{namespace}}",
                series(&family::k8s_pods_active)
                    .now()
                    .sum_by(&["namespace"]),
            )],
        ),
        panel(
            (dashboard, Unit::Bytes),
            ("disk_usage", "Disk by kind"),
            "Disk space that Danube uses, by what uses it.",
            vec![query(
                "{{kind}}",
                series(&family::disk_usage_bytes).now().sum_by(&["kind"]),
            )],
        ),
        panel(
            (dashboard, Unit::Ratio),
            ("disk_free", "Disk free"),
            "Free share of the disk that holds the data directory. Under 10 % an alert fires.",
            vec![query(
                "free",
                series(&family::disk_free_ratio).now().min_by(&[]),
            )],
        ),
        panel(
            (dashboard, Unit::Bytes),
            ("memory", "Memory"),
            "Resident memory of the server, and the peak of the largest of the pipelines' latest jobs.",
            vec![
                query(
                    "server",
                    process("process_resident_memory_bytes").now().sum(),
                ),
                query(
                    "largest job",
                    series(&family::job_max_rss_bytes).now().max_by(&[]),
                ),
            ],
        ),
        panel(
            (dashboard, Unit::Cores),
            ("cpu", "CPU"),
            "Processors that the server keeps busy, and those that jobs did: a job's time is added when its step ends.",
            vec![
                query(
                    "server",
                    process("process_cpu_seconds_total").rate(PANEL).sum(),
                ),
                query(
                    "jobs",
                    series(&family::job_cpu_seconds_total).rate(PANEL).sum(),
                ),
            ],
        ),
    ]
}

pub(super) fn playbooks() -> Vec<Panel> {
    let dashboard = Dashboard::Playbooks;
    vec![
        panel(
            (dashboard, Unit::PerMinute),
            ("playbook_jobs_per_minute", "Jobs per minute"),
            "Playbook jobs that were submitted, by where their playbooks come from.",
            vec![query(
                "{{source_type}}",
                series(&family::playbook_jobs_submitted_total)
                    .rate(PANEL)
                    .sum_by(&["source_type"])
                    .times(60.0),
            )],
        ),
        panel(
            (dashboard, Unit::Ratio),
            ("playbook_success_rate", "Success rate"),
            "Share of the playbook jobs of the hour before that succeeded. Empty while none ended.",
            vec![query(
                "success",
                share(
                    &family::playbook_jobs_completed_total,
                    "status",
                    "success",
                    HOUR,
                ),
            )],
        ),
        panel(
            (dashboard, Unit::Count),
            ("playbook_queue_depth", "Queue depth"),
            "Playbook jobs that wait, by queue. Above 100 for 5 minutes an alert fires.",
            vec![query(
                "{{queue_name}}",
                series(&family::playbook_queue_length)
                    .now()
                    .sum_by(&["queue_name"]),
            )],
        ),
        panel(
            (dashboard, Unit::Seconds),
            ("playbook_duration", "Duration"),
            "Time of the playbook jobs of the hour before.",
            quantiles(&family::playbook_job_duration_seconds, HOUR),
        ),
        panel(
            (dashboard, Unit::Count),
            ("playbook_workers", "Active workers"),
            "Workers that take playbook jobs.",
            vec![query(
                "workers",
                series(&family::playbook_active_workers).now().sum(),
            )],
        ),
        panel(
            (dashboard, Unit::Seconds),
            ("api_latency", "API p95"),
            "95 of 100 requests of the API are answered within this time.",
            vec![query(
                "p95",
                quantile(
                    0.95,
                    buckets(&family::api_request_duration_seconds),
                    PANEL,
                    &[],
                ),
            )],
        ),
    ]
}

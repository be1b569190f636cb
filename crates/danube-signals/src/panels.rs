//! The panels of the dashboards: what is drawn, from which families, and how to read it.

use std::sync::LazyLock;

use danube_telemetry::FamilyDecl;
use danube_telemetry::metric::process;
use danube_telemetry::query::{
    Expr, GRAFANA_WINDOW, Selector, Window, buckets, mean, quantile, ratio, series,
};

use crate::declared::{State, state_of};
use crate::family;

/// A dashboard: panels that are looked at together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dashboard {
    /// How many jobs, how well, how long.
    JobOverview,
    /// How fast the parts are.
    Performance,
    /// What goes wrong.
    Errors,
    /// What is used up.
    Capacity,
    /// Playbook jobs and the API in front of them.
    Playbooks,
}

impl Dashboard {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 5] = [
        Self::JobOverview,
        Self::Performance,
        Self::Errors,
        Self::Capacity,
        Self::Playbooks,
    ];

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::JobOverview => "Job overview",
            Self::Performance => "Performance",
            Self::Errors => "Errors",
            Self::Capacity => "Capacity",
            Self::Playbooks => "Playbooks",
        }
    }

    /// For machines and file names, in `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JobOverview => "job_overview",
            Self::Performance => "performance",
            Self::Errors => "errors",
            Self::Capacity => "capacity",
            Self::Playbooks => "playbooks",
        }
    }
}

/// What a panel's or an alert's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Things a second.
    PerSecond,
    /// Things a minute.
    PerMinute,
    /// A share, from 0 to 1.
    Ratio,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// Processors that are busy.
    Cores,
    /// 1 for yes, 0 for no.
    Flag,
}

impl Unit {
    /// For machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::PerSecond => "per_second",
            Self::PerMinute => "per_minute",
            Self::Ratio => "ratio",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes_per_second",
            Self::Cores => "cores",
            Self::Flag => "flag",
        }
    }

    /// Grafana's id of it.
    pub const fn grafana(self) -> &'static str {
        match self {
            Self::Count | Self::Cores => "short",
            Self::PerSecond => "ops",
            Self::PerMinute => "opm",
            Self::Ratio => "percentunit",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "Bps",
            Self::Flag => "bool",
        }
    }
}

/// One question of a panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Name of its lines; `{{label}}` stands for a label's value, as in Grafana.
    pub legend: &'static str,
    /// The question.
    pub expr: Expr,
}

impl Query {
    /// The question as Grafana asks it.
    pub fn grafana(&self) -> String {
        self.expr.promql(GRAFANA_WINDOW)
    }

    /// The legend of a line with these labels.
    pub fn legend_of(&self, labels: &[(String, String)]) -> String {
        let mut out = self.legend.to_owned();
        for (name, value) in labels {
            out = out.replace(&format!("{{{{{name}}}}}"), value);
        }
        out
    }
}

/// A panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Name in the API, in `snake_case`.
    pub name: &'static str,
    /// Where it is shown.
    pub dashboard: Dashboard,
    /// For people.
    pub title: &'static str,
    /// What it says and how to read it.
    pub description: &'static str,
    /// What its numbers are.
    pub unit: Unit,
    /// What it draws.
    pub queries: Vec<Query>,
}

impl Panel {
    /// Whether it can show something: live when all its families are.
    pub fn state(&self) -> State {
        let families = self.queries.iter().flat_map(|it| it.expr.families());
        state_of(families)
    }
}

/// All panels, by dashboard and in the order in which they are shown.
pub fn panels() -> &'static [Panel] {
    static ALL: LazyLock<Vec<Panel>> = LazyLock::new(|| {
        [
            job_overview(),
            performance(),
            errors(),
            capacity(),
            playbooks(),
        ]
        .concat()
    });
    &ALL
}

/// The panel of this name.
pub fn panel(name: &str) -> Option<&'static Panel> {
    panels().iter().find(|it| it.name == name)
}

/// What jobs are counted over: they are few and take long.
const HOUR: Window = Window::minutes(60);

/// What fits what is drawn.
const PANEL: Window = Window::Panel;

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
    ratio(
        series(family).with(label, value).increase(window).sum(),
        series(family).increase(window).sum(),
    )
}

/// A family of the process itself, by its Prometheus name.
fn process(name: &str) -> Selector {
    let found = process::FAMILIES.iter().find(|it| it.name() == name);
    series(found.expect("the process has these families")).ours()
}

fn job_overview() -> Vec<Panel> {
    let dashboard = Dashboard::JobOverview;
    vec![
        Panel {
            name: "jobs_per_hour",
            dashboard,
            title: "Jobs per hour",
            description: "Jobs that ended in the hour before, by how they ended.",
            unit: Unit::Count,
            queries: vec![query(
                "{{status}}",
                series(&family::jobs_total)
                    .increase(HOUR)
                    .sum_by(&["status"]),
            )],
        },
        Panel {
            name: "job_success_rate",
            dashboard,
            title: "Success rate",
            description: "Share of the jobs of the hour before that succeeded. Empty while none ended.",
            unit: Unit::Ratio,
            queries: vec![query(
                "success",
                share(&family::jobs_total, "status", "success", HOUR),
            )],
        },
        Panel {
            name: "job_duration_average",
            dashboard,
            title: "Average duration",
            description: "Mean time from start to end of the jobs of the hour before. Empty while none ended.",
            unit: Unit::Seconds,
            queries: vec![query(
                "average",
                mean(&family::job_duration_seconds, HOUR, &[]),
            )],
        },
        Panel {
            name: "active_jobs",
            dashboard,
            title: "Active jobs",
            description: "Jobs that run, and jobs that wait for their turn.",
            unit: Unit::Count,
            queries: vec![
                query("running", series(&family::active_jobs).now().sum()),
                query("pending", series(&family::job_queue_size).now().sum()),
            ],
        },
    ]
}

fn performance() -> Vec<Panel> {
    let dashboard = Dashboard::Performance;
    vec![
        Panel {
            name: "rpc_rate",
            dashboard,
            title: "RPC rate",
            description: "Calls between workers and master, by method.",
            unit: Unit::PerSecond,
            queries: vec![query(
                "{{method}}",
                series(&family::rpc_requests_total)
                    .rate(PANEL)
                    .sum_by(&["method"]),
            )],
        },
        Panel {
            name: "k8s_latency",
            dashboard,
            title: "Kubernetes latency",
            description: "Time of calls of the Kubernetes API.",
            unit: Unit::Seconds,
            queries: quantiles(&family::k8s_api_call_duration_seconds, PANEL),
        },
        Panel {
            name: "db_latency",
            dashboard,
            title: "Database latency",
            description: "Time of SQL statements. A p99 that grows while p50 stays is a disk that is slow to sync.",
            unit: Unit::Seconds,
            queries: quantiles(&family::db_query_duration_seconds, PANEL),
        },
        Panel {
            name: "log_throughput",
            dashboard,
            title: "Log throughput",
            description: "Output that jobs write to their logs.",
            unit: Unit::BytesPerSecond,
            queries: vec![query(
                "written",
                series(&family::log_bytes_ingested_total).rate(PANEL).sum(),
            )],
        },
    ]
}

fn errors() -> Vec<Panel> {
    let dashboard = Dashboard::Errors;
    vec![
        Panel {
            name: "failed_jobs",
            dashboard,
            title: "Failed jobs by pipeline",
            description: "Jobs that failed in the hour before, by pipeline.",
            unit: Unit::Count,
            queries: vec![query(
                "{{pipeline}}",
                series(&family::jobs_total)
                    .with("status", "failure")
                    .increase(HOUR)
                    .sum_by(&["pipeline"]),
            )],
        },
        Panel {
            name: "k8s_errors",
            dashboard,
            title: "Kubernetes errors",
            description: "Calls of the Kubernetes API that failed, by operation.",
            unit: Unit::PerSecond,
            queries: vec![query(
                "{{operation}}",
                series(&family::k8s_api_calls_total)
                    .with("status", "error")
                    .rate(PANEL)
                    .sum_by(&["operation"]),
            )],
        },
        Panel {
            name: "db_lock_waits",
            dashboard,
            title: "Lock waits",
            description: "Seconds that writers waited for the database in each second; 1 is one writer that always waits.",
            unit: Unit::Seconds,
            queries: vec![query(
                "waited",
                series(&family::db_lock_wait_seconds_total)
                    .rate(PANEL)
                    .sum(),
            )],
        },
        Panel {
            name: "blueprint_sync_failures",
            dashboard,
            title: "Sync failures",
            description: "Syncs of the blueprint that failed in the hour before.",
            unit: Unit::Count,
            queries: vec![query(
                "failed",
                series(&family::blueprint_sync_total)
                    .with("status", "error")
                    .increase(HOUR)
                    .sum(),
            )],
        },
    ]
}

fn capacity() -> Vec<Panel> {
    let dashboard = Dashboard::Capacity;
    vec![
        Panel {
            name: "pods",
            dashboard,
            title: "Pods",
            description: "Pods that belong to Danube, by namespace.",
            unit: Unit::Count,
            queries: vec![query(
                "{{namespace}}",
                series(&family::k8s_pods_active)
                    .now()
                    .sum_by(&["namespace"]),
            )],
        },
        Panel {
            name: "disk_usage",
            dashboard,
            title: "Disk by kind",
            description: "Disk space that Danube uses, by what uses it.",
            unit: Unit::Bytes,
            queries: vec![query(
                "{{kind}}",
                series(&family::disk_usage_bytes).now().sum_by(&["kind"]),
            )],
        },
        Panel {
            name: "disk_free",
            dashboard,
            title: "Disk free",
            description: "Free share of the disk that holds the data directory. Under 10 % an alert fires.",
            unit: Unit::Ratio,
            queries: vec![query(
                "free",
                series(&family::disk_free_ratio).now().min_by(&[]),
            )],
        },
        Panel {
            name: "memory",
            dashboard,
            title: "Memory",
            description: "Resident memory of the server, and the peak of the largest of the pipelines' latest jobs.",
            unit: Unit::Bytes,
            queries: vec![
                query(
                    "server",
                    process("process_resident_memory_bytes").now().sum(),
                ),
                query(
                    "largest job",
                    series(&family::job_max_rss_bytes).now().max_by(&[]),
                ),
            ],
        },
        Panel {
            name: "cpu",
            dashboard,
            title: "CPU",
            description: "Processors that the server keeps busy, and those that jobs did: a job's time is added when its step ends.",
            unit: Unit::Cores,
            queries: vec![
                query(
                    "server",
                    process("process_cpu_seconds_total").rate(PANEL).sum(),
                ),
                query(
                    "jobs",
                    series(&family::job_cpu_seconds_total).rate(PANEL).sum(),
                ),
            ],
        },
    ]
}

fn playbooks() -> Vec<Panel> {
    let dashboard = Dashboard::Playbooks;
    vec![
        Panel {
            name: "playbook_jobs_per_minute",
            dashboard,
            title: "Jobs per minute",
            description: "Playbook jobs that ended, by how they ended.",
            unit: Unit::PerMinute,
            queries: vec![query(
                "{{status}}",
                series(&family::playbook_jobs_completed_total)
                    .rate(PANEL)
                    .sum_by(&["status"])
                    .times(60.0),
            )],
        },
        Panel {
            name: "playbook_success_rate",
            dashboard,
            title: "Success rate",
            description: "Share of the playbook jobs of the hour before that succeeded. Empty while none ended.",
            unit: Unit::Ratio,
            queries: vec![query(
                "success",
                share(
                    &family::playbook_jobs_completed_total,
                    "status",
                    "success",
                    HOUR,
                ),
            )],
        },
        Panel {
            name: "playbook_queue_depth",
            dashboard,
            title: "Queue depth",
            description: "Playbook jobs that wait, by queue. Above 100 for 5 minutes an alert fires.",
            unit: Unit::Count,
            queries: vec![query(
                "{{queue_name}}",
                series(&family::playbook_queue_length)
                    .now()
                    .sum_by(&["queue_name"]),
            )],
        },
        Panel {
            name: "playbook_duration",
            dashboard,
            title: "Duration",
            description: "Time of the playbook jobs of the hour before.",
            unit: Unit::Seconds,
            queries: quantiles(&family::playbook_job_duration_seconds, HOUR),
        },
        Panel {
            name: "playbook_workers",
            dashboard,
            title: "Active workers",
            description: "Workers that take playbook jobs.",
            unit: Unit::Count,
            queries: vec![query(
                "workers",
                series(&family::playbook_active_workers).now().sum(),
            )],
        },
        Panel {
            name: "api_latency",
            dashboard,
            title: "API p95",
            description: "95 of 100 requests of the API are answered within this time.",
            unit: Unit::Seconds,
            queries: vec![query(
                "p95",
                quantile(
                    0.95,
                    buckets(&family::api_request_duration_seconds),
                    PANEL,
                    &[],
                ),
            )],
        },
    ]
}

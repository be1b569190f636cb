//! The one table of options.

pub(crate) use super::row::{Machine, Preset, Row};
use super::value::{Kind, Value};

/// A section of the file and what it is about.
pub(crate) const SECTIONS: &[(&str, &str)] = &[
    ("server", "Where the server listens and what it keeps"),
    ("pipelines", "Pipelines that can be submitted by name"),
    ("queue", "How jobs are handed out"),
    ("steps", "What every step gets, and what it may use"),
    ("log", "How much of a job's log is kept"),
    ("retention", "How long things are kept"),
    ("redaction", "What is taken out of job logs beside secrets"),
    ("sources", "Where jobs may get their sources from"),
    (
        "observability",
        "The server's own log, its metrics and what watches them, and where all of it goes",
    ),
];

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;
const DAY_SECONDS: u64 = 24 * 3_600;

/// A lease must outlive a heartbeat and a slow disk; renewal is at a third of it.
const LEASE_SECONDS_MIN: u64 = 3;

/// Every option, in the order in which people read them.
pub(crate) const ROWS: &[Row] = &[
    Row {
        key: "server.data_dir",
        kind: Kind::Path,
        preset: Preset::Made {
            says: "/var/lib/danube as root, else $XDG_DATA_HOME/danube or ~/.local/share/danube",
            make: |it| it.usual_data_dir.clone().map(Value::Path),
        },
        flag: "data-dir",
        short_variable: None,
        help: "Directory for everything that must survive: database, logs, keys",
        example: "\"/srv/danube\"",
    },
    Row {
        key: "server.listen",
        kind: Kind::Address,
        preset: Preset::Fixed("127.0.0.1:8080"),
        flag: "listen",
        short_variable: None,
        help: "Address and port to listen on; with port 0 a free one is chosen",
        example: "\"127.0.0.1:9090\"",
    },
    Row {
        key: "server.insecure_http",
        kind: Kind::Bool,
        preset: Preset::Fixed("false"),
        flag: "insecure-http",
        short_variable: None,
        help: "Allow an address that others can reach, although keys then travel in clear",
        example: "true",
    },
    Row {
        key: "server.public_url",
        kind: Kind::Url,
        preset: Preset::Unset,
        flag: "public-url",
        short_variable: None,
        help: "Address under which others reach the server, for links",
        example: "\"https://ci.example.org\"",
    },
    Row {
        key: "server.body_bytes_max",
        kind: Kind::Bytes { min: KIB, max: GIB },
        preset: Preset::Fixed("10MiB"),
        flag: "body-bytes-max",
        short_variable: None,
        help: "Largest body of a request",
        example: "\"20MiB\"",
    },
    Row {
        key: "server.client_silence_seconds",
        kind: Kind::Seconds {
            min: 1,
            max: DAY_SECONDS,
        },
        preset: Preset::Fixed("120"),
        flag: "client-silence",
        short_variable: None,
        help: "How long a client may take no byte of its answer, or its machine be silent, before its connection is closed",
        example: "300",
    },
    Row {
        key: "server.grace_seconds",
        kind: Kind::Seconds {
            min: 0,
            max: DAY_SECONDS,
        },
        preset: Preset::Fixed("30"),
        flag: "grace",
        short_variable: None,
        help: "How long running jobs may go on after SIGTERM, and a cancelled one before it is killed",
        example: "60",
    },
    Row {
        key: "pipelines.dir",
        kind: Kind::Path,
        preset: Preset::Made {
            says: "`pipelines` in the data directory",
            make: |it| {
                it.data_dir
                    .as_ref()
                    .map(|dir| Value::Path(dir.join("pipelines")))
            },
        },
        flag: "pipelines",
        short_variable: None,
        help: "Directory of pipeline files (*.yaml, *.yml, *.json)",
        example: "\"/etc/danube/pipelines\"",
    },
    Row {
        key: "queue.lease_seconds",
        kind: Kind::Seconds {
            min: LEASE_SECONDS_MIN,
            max: 3_600,
        },
        preset: Preset::Fixed("30"),
        flag: "lease",
        short_variable: None,
        help: "How long a worker may be silent before its jobs are given to others",
        example: "60",
    },
    Row {
        key: "queue.jobs_at_once",
        kind: Kind::Count { min: 0, max: 4_096 },
        preset: Preset::Made {
            says: "twice the number of processors",
            make: |it| Some(Value::Number(it.cores.saturating_mul(2).clamp(1, 4_096))),
        },
        flag: "jobs-at-once",
        short_variable: None,
        help: "Jobs that run at once in this process; 0 runs none here",
        example: "4",
    },
    Row {
        key: "steps.path",
        kind: Kind::Text,
        preset: Preset::Fixed("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        flag: "step-path",
        short_variable: None,
        help: "PATH of every step; nothing of the server's own environment reaches a step",
        example: "\"/opt/tools/bin:/usr/bin:/bin\"",
    },
    Row {
        key: "steps.uid_base",
        kind: Kind::Count {
            min: 1,
            max: (u32::MAX - 65_536) as u64,
        },
        preset: Preset::Fixed("1900000000"),
        flag: "uid-base",
        short_variable: None,
        help: "First of the 65,536 user ids that jobs run under when the server is root; nobody else may use them",
        example: "2000000000",
    },
    Row {
        key: "steps.network",
        kind: Kind::Bool,
        preset: Preset::Fixed("true"),
        flag: "step-network",
        short_variable: None,
        help: "Whether steps reach the network",
        example: "false",
    },
    Row {
        key: "steps.allow_unisolated",
        kind: Kind::Bool,
        preset: Preset::Fixed("false"),
        flag: "allow-unisolated",
        short_variable: None,
        help: "Run jobs even where the kernel allows no isolation at all",
        example: "true",
    },
    Row {
        key: "steps.memory_bytes",
        kind: Kind::Bytes {
            min: MIB,
            max: 1_024 * TIB,
        },
        preset: Preset::Unset,
        flag: "step-memory",
        short_variable: None,
        help: "Memory of all processes of a step together; a pipeline may ask for less",
        example: "\"4GiB\"",
    },
    Row {
        key: "steps.cpu_cores",
        kind: Kind::Cores,
        preset: Preset::Unset,
        flag: "step-cpu-cores",
        short_variable: None,
        help: "Processors that a step may use; a pipeline may ask for less",
        example: "1.5",
    },
    Row {
        key: "steps.processes",
        kind: Kind::Count {
            min: 1,
            max: 4_000_000,
        },
        preset: Preset::Fixed("4096"),
        flag: "step-processes",
        short_variable: None,
        help: "Processes and threads of a step; a pipeline may ask for less",
        example: "512",
    },
    Row {
        key: "steps.open_files",
        kind: Kind::Count {
            min: 16,
            max: 1 << 30,
        },
        preset: Preset::Fixed("65536"),
        flag: "step-open-files",
        short_variable: None,
        help: "Open files of one process of a step; a pipeline may ask for less",
        example: "1024",
    },
    Row {
        key: "log.head_bytes",
        kind: Kind::Bytes {
            min: KIB,
            max: 16 * TIB,
        },
        preset: Preset::Fixed("512MiB"),
        flag: "log-head",
        short_variable: None,
        help: "Bytes of a job's log that are always kept from its beginning",
        example: "\"64MiB\"",
    },
    Row {
        key: "log.total_bytes",
        kind: Kind::Bytes {
            min: 2 * KIB,
            max: 16 * TIB,
        },
        preset: Preset::Fixed("1GiB"),
        flag: "log-total",
        short_variable: None,
        help: "Bytes of a job's log in all: its beginning and its newest part",
        example: "\"128MiB\"",
    },
    Row {
        key: "retention.logs_days",
        kind: Kind::Count {
            min: 0,
            max: 36_500,
        },
        preset: Preset::Fixed("30"),
        flag: "logs-days",
        short_variable: None,
        help: "Days after which the log of an ended job is deleted; 0 keeps logs for ever",
        example: "90",
    },
    Row {
        key: "retention.logs_max_bytes",
        kind: Kind::Bytes {
            min: 0,
            max: 1_024 * TIB,
        },
        preset: Preset::Fixed("0"),
        flag: "logs-max-bytes",
        short_variable: None,
        help: "Bytes of all logs together, above which those that ended first are deleted; 0 sets no limit",
        example: "\"50GiB\"",
    },
    Row {
        key: "redaction.email",
        kind: Kind::Bool,
        preset: Preset::Fixed("false"),
        flag: "redact-email",
        short_variable: None,
        help: "Take e-mail addresses out of job logs; commit authors have them",
        example: "true",
    },
    Row {
        key: "redaction.rules",
        kind: Kind::Rules,
        preset: Preset::Unset,
        flag: "redact-rules",
        short_variable: None,
        help: "Rules of your own for what else is taken out of job logs and the server's log; docs/redaction.md \
               tells how to write one",
        example: "[{ id = \"acme_key\", keyword = \"ACME-\", pattern = 'ACME-[A-Z0-9]{12}' }]",
    },
    Row {
        key: "sources.allow_paths",
        kind: Kind::Paths,
        preset: Preset::Unset,
        flag: "allow-path",
        short_variable: None,
        help: "Directories from which file:// repositories may be cloned",
        example: "[\"/srv/git\"]",
    },
    Row {
        key: "observability.log_level",
        kind: Kind::Level,
        preset: Preset::Fixed("info"),
        flag: "log-level",
        short_variable: Some("DANUBE_LOG_LEVEL"),
        help: "Level of the server's log: off, error, warning, info, debug or trace, also by logger",
        example: "\"info,danube.api=debug\"",
    },
    Row {
        key: "observability.log_format",
        kind: Kind::Word(&["auto", "json", "text"]),
        preset: Preset::Fixed("auto"),
        flag: "log-format",
        short_variable: Some("DANUBE_LOG_FORMAT"),
        help: "Form of the server's log: json, text, or auto for text on a terminal and JSON elsewhere",
        example: "\"json\"",
    },
    Row {
        key: "observability.otel_endpoint",
        kind: Kind::Collector,
        preset: Preset::Unset,
        flag: "otel-endpoint",
        short_variable: None,
        help: "OpenTelemetry collector to which metrics, logs and traces are sent; over HTTP /v1/metrics and so on are \
               added to it",
        example: "\"http://127.0.0.1:4317\"",
    },
    Row {
        key: "observability.otel_protocol",
        kind: Kind::Word(&["grpc", "http/protobuf"]),
        preset: Preset::Fixed("grpc"),
        flag: "otel-protocol",
        short_variable: None,
        help: "How the collector is spoken to",
        example: "\"http/protobuf\"",
    },
    Row {
        key: "observability.otel_headers",
        kind: Kind::Headers,
        preset: Preset::Unset,
        flag: "otel-header",
        short_variable: None,
        help: "Headers for the collector, whose values are never shown; a flag or variable of others can be seen, so \
               keep secrets in the file",
        example: "[\"authorization: Bearer YOUR-KEY\"]",
    },
    Row {
        key: "observability.metrics_enabled",
        kind: Kind::Bool,
        preset: Preset::Fixed("true"),
        flag: "metrics",
        short_variable: None,
        help: "Show metrics at /metrics and send them to the collector",
        example: "false",
    },
    Row {
        key: "observability.metrics_interval_seconds",
        kind: Kind::Seconds { min: 1, max: 3_600 },
        preset: Preset::Fixed("60"),
        flag: "metrics-interval",
        short_variable: None,
        help: "Time between two pushes of the metrics to the collector",
        example: "15",
    },
    Row {
        key: "observability.traces_enabled",
        kind: Kind::Bool,
        preset: Preset::Fixed("true"),
        flag: "traces",
        short_variable: None,
        help: "Send traces to the collector",
        example: "false",
    },
    Row {
        key: "observability.traces_sample_percent",
        kind: Kind::Count { min: 0, max: 100 },
        preset: Preset::Fixed("100"),
        flag: "traces-sample-percent",
        short_variable: None,
        help: "Share of jobs' traces that goes to the collector; failed and slow ones always go",
        example: "10",
    },
    Row {
        key: "observability.traces_slow_seconds",
        kind: Kind::Seconds {
            min: 1,
            max: 31_536_000,
        },
        preset: Preset::Fixed("60"),
        flag: "traces-slow",
        short_variable: None,
        help: "From here on a job is slow, and its trace goes to the collector whatever the share",
        example: "600",
    },
    Row {
        key: "observability.logs_enabled",
        kind: Kind::Bool,
        preset: Preset::Fixed("true"),
        flag: "logs",
        short_variable: None,
        help: "Send the server's own log to the collector",
        example: "false",
    },
    Row {
        key: "observability.job_logs_enabled",
        kind: Kind::Bool,
        preset: Preset::Fixed("false"),
        flag: "job-logs",
        short_variable: None,
        help: "Send the logs of jobs to the collector, redacted as they are stored",
        example: "true",
    },
    Row {
        key: "observability.history_interval_seconds",
        kind: Kind::Seconds { min: 1, max: 15 },
        preset: Preset::Fixed("15"),
        flag: "history-interval",
        short_variable: None,
        help: "How often metrics are sampled for panels and alerts",
        example: "5",
    },
    Row {
        key: "observability.workers_expected",
        kind: Kind::Count {
            min: 0,
            max: 100_000,
        },
        preset: Preset::Fixed("1"),
        flag: "workers-expected",
        short_variable: None,
        help: "Workers below which an alert fires",
        example: "2",
    },
    Row {
        key: "observability.alertmanager_url",
        kind: Kind::Url,
        preset: Preset::Unset,
        flag: "alertmanager-url",
        short_variable: None,
        help: "Address of an Alertmanager that is told of alerts that fire and are over",
        example: "\"http://alertmanager:9093\"",
    },
];

/// The place of an option in [`ROWS`].
pub(crate) fn index(key: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.key == key)
}

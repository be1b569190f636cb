//! The one table of options. Most sections have files of their own.

mod blueprint;
mod forges;
mod health;
mod observability;
mod others;
mod registry;
mod signin;

pub(crate) use super::row::{Machine, Preset, Row};
pub(crate) use super::sections::SECTIONS;
use blueprint::BLUEPRINT;
use forges::FORGES;
use health::HEALTH;
use observability::OBSERVABILITY;
use others::OTHERS;
use registry::REGISTRY;
use signin::SIGN_IN;

use super::size::{GIB, KIB, MIB, TIB};
use super::value::{DAY_SECONDS, Kind, Value};

/// A lease must outlive a heartbeat and a slow disk; renewal is at a third of it.
const LEASE_SECONDS_MIN: u64 = 3;

/// Every option, in the order in which people read them.
pub(crate) const ROWS: &[Row] = &joined::<
    {
        WORK.len()
            + OTHERS.len()
            + BLUEPRINT.len()
            + REGISTRY.len()
            + FORGES.len()
            + SIGN_IN.len()
            + HEALTH.len()
            + OBSERVABILITY.len()
    },
>([
    WORK,
    OTHERS,
    BLUEPRINT,
    REGISTRY,
    FORGES,
    SIGN_IN,
    HEALTH,
    OBSERVABILITY,
]);

/// Options of the server and its jobs.
const WORK: &[Row] = &[
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
        key: "queue.max_pending",
        kind: Kind::Count {
            min: 1,
            max: 10_000_000,
        },
        preset: Preset::Fixed("1000000"),
        flag: "max-pending",
        short_variable: None,
        help: "Jobs that may wait, all together; one more is refused with 429",
        example: "100000",
    },
    Row {
        key: "queue.queues",
        kind: Kind::Queues,
        preset: Preset::Unset,
        flag: "queue",
        short_variable: None,
        help: "Queues beside `default` that jobs may wait in; those with a higher priority go first, and jobs_at_once bounds how many of one run on all workers together",
        example: "[\"deploy:priority=10:jobs_at_once=2\", \"night:priority=-10\"]",
    },
    Row {
        key: "queue.url",
        kind: Kind::Redis,
        preset: Preset::Unset,
        flag: "queue-url",
        short_variable: None,
        help: "Redis that carries which job waits to workers elsewhere, for the master and for `danube worker` alike; without it they ask the master",
        example: "\"redis://127.0.0.1:6379/0\"",
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
        key: "steps.nursery_socket",
        kind: Kind::Path,
        preset: Preset::Unset,
        flag: "nursery-socket",
        short_variable: None,
        help: "Socket of a unit of its own that starts the steps, so that none of the server's restrictions is theirs; see docs/systemd.md",
        example: "\"/run/danube/jobs.sock\"",
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
        key: "artifacts.file_max_bytes",
        kind: Kind::Bytes { min: 1, max: TIB },
        preset: Preset::Fixed("1GiB"),
        flag: "artifact-max-bytes",
        short_variable: None,
        help: "Bytes of one artifact, a file that a job leaves; larger ones are refused",
        example: "\"4GiB\"",
    },
    Row {
        key: "artifacts.job_max_bytes",
        kind: Kind::Bytes {
            min: 1,
            max: 16 * TIB,
        },
        preset: Preset::Fixed("4GiB"),
        flag: "artifacts-max-bytes",
        short_variable: None,
        help: "Bytes of all artifacts of a job together; what would be more is refused",
        example: "\"16GiB\"",
    },
    Row {
        key: "retention.artifacts_days",
        kind: Kind::Count {
            min: 0,
            max: 36_500,
        },
        preset: Preset::Fixed("30"),
        flag: "artifacts-days",
        short_variable: None,
        help: "Days after which an artifact of an ended job is deleted; 0 keeps artifacts for ever",
        example: "90",
    },
    Row {
        key: "retention.images_days",
        kind: Kind::Count {
            min: 0,
            max: 36_500,
        },
        preset: Preset::Fixed("0"),
        flag: "images-days",
        short_variable: None,
        help: "Days after which an image of the registry is deleted that nobody pushes or pulls; 0 keeps images for ever",
        example: "90",
    },
    Row {
        key: "retention.artifacts_max_bytes",
        kind: Kind::Bytes {
            min: 0,
            max: 1_024 * TIB,
        },
        preset: Preset::Fixed("0"),
        flag: "artifacts-total-max-bytes",
        short_variable: None,
        help: "Bytes of the artifacts of all jobs, above which the oldest of ended jobs are deleted; 0 sets no limit",
        example: "\"200GiB\"",
    },
    Row {
        key: "retention.disk_free_percent",
        kind: Kind::Count { min: 0, max: 90 },
        preset: Preset::Fixed("0"),
        flag: "disk-free-percent",
        short_variable: None,
        help: "Share of the disk that is kept free by deleting the logs that ended first, also before their time; 0 keeps \
               them",
        example: "10",
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
];

/// The parts of the table, one after the other.
const fn joined<const ROWS: usize>(parts: [&[Row]; 8]) -> [Row; ROWS] {
    let mut all = [parts[0][0]; ROWS];
    let (mut part, mut row, mut place) = (0, 0, 0);
    while part < parts.len() {
        if row < parts[part].len() {
            all[place] = parts[part][row];
            (row, place) = (row + 1, place + 1);
        } else {
            (part, row) = (part + 1, 0);
        }
    }
    all
}

/// The place of an option in [`ROWS`].
pub(crate) fn index(key: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.key == key)
}

//! The spans of what a playbook does: one a play, one a task, its results on hosts as
//! events. They hang below the step `run_playbook`.

use danube_telemetry::trace::pair;
use danube_telemetry::trace::proto::{Event, KeyValue, Span};

use super::attempt::{AttemptTrace, STEP, Stretch, below, failed};
use super::declared::SpanDecl;

/// Tasks of an attempt that have spans of their own: a trace is drawn, and beyond this it
/// is a wall. The results of the others are in the job's events.
pub const TASK_SPANS_MAX: usize = 5_000;

/// Hosts whose results are events of a task's span: what OpenTelemetry's own limit is.
pub const HOST_EVENTS_MAX: usize = 128;

/// What is made here.
pub(super) const SPANS: &[SpanDecl] = &[
    SpanDecl {
        name: "worker.execute",
        kind: "internal",
        attributes: EXECUTE,
        about: "an attempt at a playbook job",
    },
    step("fetch_source", "until the source is there"),
    step("resolve_credentials", "until the credentials are there"),
    step("run_playbook", "while Ansible runs"),
    SpanDecl {
        name: "upload_logs",
        kind: "internal",
        attributes: &["job.id"],
        about: "a playbook job's log, from the playbook's end until all of it is stored",
    },
    SpanDecl {
        name: "play <name>",
        kind: "internal",
        attributes: &["job.id", "ansible.play.name", "danube.spans.left_out"],
        about: "a play of the playbook",
    },
    SpanDecl {
        name: "task <name>",
        kind: "internal",
        attributes: &[
            "job.id",
            "ansible.task.name",
            "code.file.path",
            "ansible.task.hosts",
            "ansible.task.hosts_failed",
            "error.type",
        ],
        about: "a task; an event `host_result` for each of its hosts, the first 128 of them",
    },
];

/// What `worker.execute` says: what other attempts do, and that it is what the second
/// document calls `ansible_job_execute`.
const EXECUTE: &[&str] = &[
    "job.id",
    "source.type",
    "job.status",
    "worker.id",
    "danube.job.attempt",
    "danube.job.queue_wait_seconds",
    "cicd.pipeline.name",
    "cicd.pipeline.run.id",
    "cicd.pipeline.result",
    "vcs.repository.url.full",
    "vcs.ref.head.name",
    "vcs.ref.head.revision",
    "ansible_job_execute",
    "error.type",
    "danube.span.unfinished",
];

const fn step(name: &'static str, about: &'static str) -> SpanDecl {
    SpanDecl {
        name,
        kind: "internal",
        attributes: STEP,
        about,
    }
}

/// What a playbook job's trace has beside its steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlaybookTrace {
    /// Its plays.
    pub plays: Vec<PlayTrace>,
    /// While the rest of its log was stored.
    pub uploaded: Option<Stretch>,
}

/// A play.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayTrace {
    /// Its name.
    pub name: String,
    /// From its first task to its last.
    pub time: Stretch,
    /// Its tasks, as far as they have spans.
    pub tasks: Vec<TaskTrace>,
    /// How many have none.
    pub tasks_left_out: u64,
}

/// A task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskTrace {
    /// Its name.
    pub name: String,
    /// File and line.
    pub path: Option<String>,
    /// From its beginning to its last result.
    pub time: Stretch,
    /// How many hosts there were.
    pub hosts: u64,
    /// On how many of them it failed.
    pub hosts_failed: u64,
    /// The first results.
    pub results: Vec<ResultTrace>,
}

/// How a task ended on a host.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultTrace {
    /// Nanoseconds since 1970.
    pub at: u64,
    /// The host.
    pub host: String,
    /// How, in one word.
    pub status: &'static str,
}

impl AttemptTrace {
    /// The spans of plays and tasks, below the step that runs the playbook.
    pub(super) fn plays(&self, of: &PlaybookTrace, step: u32, out: &mut Vec<Span>) {
        let ids = self.ids();
        let step = ids.step(self.number, step).span_id;
        let mut tasks = 0;
        for (index, play) in (0..).zip(&of.plays) {
            let id = ids.play(self.number, index);
            let mut attributes = vec![
                pair("job.id", &*self.job_id),
                pair("ansible.play.name", &*play.name),
            ];
            if play.tasks_left_out > 0 {
                let left_out = signed(play.tasks_left_out);
                attributes.push(pair("danube.spans.left_out", left_out));
            }
            let name = format!("play {}", play.name);
            out.push(self.part(name, (id, step), play.time, attributes));
            for task in &play.tasks {
                let own = ids.task(self.number, tasks);
                out.push(self.task(task, (own, id)));
                tasks += 1;
            }
        }
    }

    fn task(&self, task: &TaskTrace, ids: ([u8; 8], [u8; 8])) -> Span {
        let mut attributes = vec![
            pair("job.id", &*self.job_id),
            pair("ansible.task.name", &*task.name),
        ];
        let path = task.path.as_deref();
        attributes.extend(path.map(|it| pair("code.file.path", it)));
        attributes.push(pair("ansible.task.hosts", signed(task.hosts)));
        let has_failed = task.hosts_failed > 0;
        if has_failed {
            let failed = signed(task.hosts_failed);
            attributes.push(pair("ansible.task.hosts_failed", failed));
            attributes.push(pair("error.type", "task_failed"));
        }
        let results = task.results.iter();
        Span {
            events: results.map(host_result).collect(),
            status: has_failed.then(|| failed("")),
            ..self.part(format!("task {}", task.name), ids, task.time, attributes)
        }
    }

    /// The span of the log's last part.
    pub(super) fn upload(&self, time: Stretch) -> Span {
        let ids = self.ids();
        let id = ids.below(self.number, b"upload_logs", 0);
        let parent = ids.attempt(self.number).span_id;
        let attributes = vec![pair("job.id", &*self.job_id)];
        self.part("upload_logs".to_owned(), (id, parent), time, attributes)
    }

    fn part(
        &self,
        name: String,
        (id, parent): ([u8; 8], [u8; 8]),
        time: Stretch,
        attributes: Vec<KeyValue>,
    ) -> Span {
        let span = Span {
            name,
            span_id: id.to_vec(),
            attributes,
            ..self.made(time)
        };
        below(span, Some(parent), false)
    }
}

fn host_result(it: &ResultTrace) -> Event {
    Event {
        time_unix_nano: it.at,
        name: "host_result".to_owned(),
        attributes: vec![
            pair("ansible.host", &*it.host),
            pair("ansible.status", it.status),
        ],
        dropped_attributes_count: 0,
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

//! The spans of an attempt at a job, as they are drawn: `Job <short id>` with its
//! workspace, its steps and their processes. They are a function of what is known of the
//! attempt, ids included: made again from stored state, they are the same spans.

use danube_telemetry::TraceContext;
use danube_telemetry::context::SAMPLED;
use danube_telemetry::trace::ids::derived;
use danube_telemetry::trace::pair;
use danube_telemetry::trace::proto::{
    KeyValue, Link, Span, SpanFlags, SpanKind, Status, StatusCode,
};

use super::declared::SpanDecl;
use super::playbook::PlaybookTrace;

/// What the span of an attempt says.
const JOB: &[&str] = &[
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
    "error.type",
    "danube.span.unfinished",
];

/// What the span of a step says.
pub(super) const STEP: &[&str] = &[
    "job.id",
    "cicd.pipeline.task.name",
    "cicd.pipeline.task.run.id",
    "cicd.pipeline.task.run.result",
    "danube.log.start",
    "danube.log.end",
    "error.type",
    "danube.span.unfinished",
];

/// What is made here.
pub(super) const SPANS: &[SpanDecl] = &[
    SpanDecl {
        name: "Job <short id>",
        kind: "internal",
        attributes: JOB,
        about: "an attempt at a job",
    },
    workspace("Create workspace", "before the first step"),
    SpanDecl {
        name: "Execute step <name>",
        kind: "internal",
        attributes: STEP,
        about: "a step, the clone included",
    },
    SpanDecl {
        name: "HTTP/2 RunStep",
        kind: "client",
        attributes: &["job.id", "rpc.method", "error.type"],
        about: "while a coordinator waited for a step that it asked for",
    },
    SpanDecl {
        name: "Run process",
        kind: "internal",
        attributes: &[
            "job.id",
            "process.exit.code",
            "error.type",
            "danube.span.unfinished",
        ],
        about: "the step's process, without its sandbox",
    },
    workspace("Remove workspace", "after the last step"),
];

const fn workspace(name: &'static str, about: &'static str) -> SpanDecl {
    SpanDecl {
        name,
        kind: "internal",
        attributes: &["job.id"],
        about,
    }
}

/// A stretch of time, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// From.
    pub began: u64,
    /// To.
    pub ended: u64,
}

/// The ids of a job's spans, from what is stored with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobSpans<'a> {
    /// The job.
    pub job_id: &'a str,
    /// The context that is stored with it: that of its first attempt.
    pub context: TraceContext,
}

impl JobSpans<'_> {
    /// The context of an attempt: what its log lines show.
    #[must_use]
    pub fn attempt(&self, number: u32) -> TraceContext {
        if number <= 1 {
            return self.context;
        }
        let parts: [&[u8]; 3] = [self.job_id.as_bytes(), b"attempt", &number.to_be_bytes()];
        TraceContext {
            span_id: derived(&self.context.trace_id, &parts),
            ..self.context
        }
    }

    /// The context of a step: what its processes are given.
    #[must_use]
    pub fn step(&self, attempt: u32, index: u32) -> TraceContext {
        TraceContext {
            span_id: self.below(attempt, b"step", index),
            ..self.context
        }
    }

    /// The span of the call by which a coordinator had a step run.
    #[must_use]
    pub fn call(&self, attempt: u32, index: u32) -> [u8; 8] {
        self.below(attempt, b"call", index)
    }

    /// The span of a play.
    #[must_use]
    pub fn play(&self, attempt: u32, index: u32) -> [u8; 8] {
        self.below(attempt, b"play", index)
    }

    /// The span of a task, counted over all plays of the attempt.
    #[must_use]
    pub fn task(&self, attempt: u32, index: u32) -> [u8; 8] {
        self.below(attempt, b"task", index)
    }

    pub(super) fn below(&self, attempt: u32, what: &[u8], index: u32) -> [u8; 8] {
        let parts: [&[u8]; 4] = [
            self.job_id.as_bytes(),
            &attempt.to_be_bytes(),
            what,
            &index.to_be_bytes(),
        ];
        derived(&self.context.trace_id, &parts)
    }
}

/// What is known of an attempt at a job.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptTrace {
    /// The job.
    pub job_id: String,
    /// The same as people write it.
    pub short_id: String,
    /// The context that is stored with the job.
    pub context: TraceContext,
    /// The span of the request that submitted it.
    pub parent: Option<[u8; 8]>,
    /// Which attempt, from 1.
    pub number: u32,
    /// The attempt before, or the job that this one runs again.
    pub follows: Option<TraceContext>,
    /// The pipeline.
    pub pipeline: String,
    /// How the job was asked for.
    pub source_type: String,
    /// Who ran it.
    pub worker: String,
    /// Where its source comes from.
    pub source: Source,
    /// Since when it waited for a worker, in nanoseconds since 1970.
    pub queued: u64,
    /// From its lease to its report.
    pub time: Stretch,
    /// It goes on: what is open ends now.
    pub is_unfinished: bool,
    /// While its workspace was made.
    pub created: Option<Stretch>,
    /// While its workspace was removed.
    pub removed: Option<Stretch>,
    /// Its steps that began.
    pub steps: Vec<StepTrace>,
    /// How it ended.
    pub end: RunOutcome,
    /// Why, for people; redacted.
    pub reason: Option<String>,
    /// What a playbook did; none of a pipeline's job. Its spans are drawn otherwise.
    pub playbook: Option<PlaybookTrace>,
}

/// Where a job's source comes from, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// The repository, as it was asked for.
    pub repository: Option<String>,
    /// Branch, tag or commit, as it was asked for.
    pub git_ref: Option<String>,
    /// The commit that was cloned.
    pub revision: Option<String>,
}

/// How an attempt ended, in the words of three vocabularies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunOutcome {
    /// The job's status.
    pub status: &'static str,
    /// `cicd.pipeline.result`
    pub result: &'static str,
    /// What went wrong: one word of a few.
    pub error_type: Option<&'static str>,
}

/// What is known of a step that began.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTrace {
    /// Its place in the job, the clone included.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// From its beginning to its end.
    pub time: Stretch,
    /// While its process was there, as far as that is known.
    pub process: Option<Stretch>,
    /// While its coordinator waited for it; none where nobody did.
    pub call: Option<Stretch>,
    /// It goes on.
    pub is_unfinished: bool,
    /// The status of the step.
    pub status: &'static str,
    /// Exit code.
    pub exit_code: Option<i32>,
    /// Where its output stands in the job's log, from and to.
    pub log: (Option<u64>, Option<u64>),
}

impl StepTrace {
    /// `cicd.pipeline.task.run.result`, and what went wrong.
    /// Of one that goes on nothing went wrong yet.
    fn result(&self) -> (&'static str, Option<&'static str>) {
        match self.status {
            _ if self.is_unfinished => ("", None),
            "success" => ("success", None),
            "timeout" => ("timeout", Some("timeout")),
            "cancelled" => ("cancellation", None),
            "skipped" => ("skip", None),
            _ => ("failure", Some("step_failed")),
        }
    }
}

impl AttemptTrace {
    /// The ids of its spans.
    #[must_use]
    pub fn ids(&self) -> JobSpans<'_> {
        JobSpans {
            job_id: &self.job_id,
            context: self.context,
        }
    }

    /// All its spans, the job's first.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = vec![self.job()];
        if let Some(playbook) = &self.playbook {
            self.playbook_parts(playbook, &mut spans);
            return spans;
        }
        spans.extend(self.created.map(|it| self.phase("Create workspace", it)));
        for step in &self.steps {
            spans.push(self.step(step));
            spans.extend(step.call.map(|it| self.call(step, it)));
            spans.extend(step.process.map(|it| self.process(step, it)));
        }
        spans.extend(self.removed.map(|it| self.phase("Remove workspace", it)));
        spans
    }

    /// What hangs below `worker.execute`: the steps by their own names, the playbook's
    /// plays, the log.
    fn playbook_parts(&self, playbook: &PlaybookTrace, spans: &mut Vec<Span>) {
        for step in &self.steps {
            spans.push(Span {
                name: step.name.clone(),
                ..self.step(step)
            });
        }
        let last = self.steps.last().map_or(0, |it| it.index);
        self.plays(playbook, last, spans);
        spans.extend(playbook.uploaded.map(|it| self.upload(it)));
    }

    fn job(&self) -> Span {
        let RunOutcome {
            status,
            result,
            error_type,
        } = self.end;
        let Source {
            repository,
            git_ref,
            revision,
        } = &self.source;
        let waited = self.time.began.saturating_sub(self.queued);
        let mut attributes = vec![
            pair("job.id", &*self.job_id),
            pair("source.type", &*self.source_type),
            pair("job.status", status),
            pair("worker.id", &*self.worker),
            pair("danube.job.attempt", i64::from(self.number)),
            pair("danube.job.queue_wait_seconds", seconds(waited)),
            pair("cicd.pipeline.name", &*self.pipeline),
            pair("cicd.pipeline.run.id", &*self.job_id),
        ];
        if !self.is_unfinished {
            attributes.push(pair("cicd.pipeline.result", result));
        }
        let optional = [
            ("vcs.repository.url.full", repository),
            ("vcs.ref.head.name", git_ref),
            ("vcs.ref.head.revision", revision),
        ];
        for (key, value) in optional {
            attributes.extend(value.as_deref().map(|it| pair(key, it)));
        }
        if self.playbook.is_some() {
            // For whoever looks for the name that the second document gives it.
            attributes.push(pair("ansible_job_execute", true));
        }
        mark(&mut attributes, error_type, self.is_unfinished);
        let name = match self.playbook {
            Some(_) => "worker.execute".to_owned(),
            None => format!("Job {}", self.short_id),
        };
        let span = Span {
            name,
            attributes,
            status: error_type.map(|_| failed(self.reason.as_deref().unwrap_or_default())),
            links: self.follows.iter().map(link).collect(),
            ..self.made(self.time)
        };
        let span = Span {
            span_id: self.ids().attempt(self.number).span_id.to_vec(),
            ..span
        };
        // The request has its own process, as whoever draws it sees it.
        below(span, self.parent, true)
    }

    fn phase(&self, name: &str, time: Stretch) -> Span {
        let ids = self.ids();
        let span = Span {
            name: name.to_owned(),
            span_id: ids.below(self.number, name.as_bytes(), 0).to_vec(),
            attributes: vec![pair("job.id", &*self.job_id)],
            ..self.made(time)
        };
        below(span, Some(ids.attempt(self.number).span_id), false)
    }

    fn step(&self, step: &StepTrace) -> Span {
        let ids = self.ids();
        let (result, error_type) = step.result();
        let run = format!("{}/{}/{}", self.job_id, self.number, step.index);
        let mut attributes = vec![
            pair("job.id", &*self.job_id),
            pair("cicd.pipeline.task.name", &*step.name),
            pair("cicd.pipeline.task.run.id", run),
        ];
        if !step.is_unfinished {
            attributes.push(pair("cicd.pipeline.task.run.result", result));
        }
        let offset = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
        let (from, to) = step.log;
        attributes.extend(from.map(|it| pair("danube.log.start", offset(it))));
        attributes.extend(to.map(|it| pair("danube.log.end", offset(it))));
        mark(&mut attributes, error_type, step.is_unfinished);
        let span = Span {
            name: format!("Execute step {}", step.name),
            span_id: ids.step(self.number, step.index).span_id.to_vec(),
            attributes,
            status: error_type.map(|_| failed("")),
            ..self.made(step.time)
        };
        below(span, Some(ids.attempt(self.number).span_id), false)
    }

    fn call(&self, step: &StepTrace, time: Stretch) -> Span {
        let ids = self.ids();
        let (_, error_type) = step.result();
        let mut attributes = vec![
            pair("job.id", &*self.job_id),
            pair("rpc.method", "run-step"),
        ];
        mark(&mut attributes, error_type, false);
        let span = Span {
            name: "HTTP/2 RunStep".to_owned(),
            span_id: ids.call(self.number, step.index).to_vec(),
            attributes,
            kind: SpanKind::Client.into(),
            ..self.made(time)
        };
        below(span, Some(ids.step(self.number, step.index).span_id), false)
    }

    fn process(&self, step: &StepTrace, time: Stretch) -> Span {
        let ids = self.ids();
        let (_, error_type) = step.result();
        let code = step.exit_code.map(i64::from);
        let mut attributes = vec![pair("job.id", &*self.job_id)];
        attributes.extend(code.map(|it| pair("process.exit.code", it)));
        mark(&mut attributes, error_type, step.is_unfinished);
        let span = Span {
            name: "Run process".to_owned(),
            span_id: ids.below(self.number, b"process", step.index).to_vec(),
            attributes,
            status: error_type.map(|_| failed("")),
            ..self.made(time)
        };
        below(span, Some(ids.step(self.number, step.index).span_id), false)
    }

    pub(super) fn made(&self, time: Stretch) -> Span {
        Span {
            trace_id: self.context.trace_id.to_vec(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: time.began,
            // A clock that was set back makes no span that ends before it begins.
            end_time_unix_nano: time.ended.max(time.began),
            ..Span::default()
        }
    }
}

/// What both a failure and an open end say.
fn mark(attributes: &mut Vec<KeyValue>, error_type: Option<&str>, is_unfinished: bool) {
    attributes.extend(error_type.map(|it| pair("error.type", it)));
    if is_unfinished {
        attributes.push(pair("danube.span.unfinished", true));
    }
}

pub(super) fn failed(message: &str) -> Status {
    Status {
        message: message.to_owned(),
        code: StatusCode::Error.into(),
    }
}

fn link(to: &TraceContext) -> Link {
    Link {
        trace_id: to.trace_id.to_vec(),
        span_id: to.span_id.to_vec(),
        flags: u32::from(to.flags),
        ..Link::default()
    }
}

/// The span below its parent, with the flags that say where that is.
pub(super) fn below(span: Span, parent: Option<[u8; 8]>, is_remote: bool) -> Span {
    let mut flags = u32::from(SAMPLED) | SpanFlags::ContextHasIsRemoteMask as u32;
    if is_remote && parent.is_some() {
        flags |= SpanFlags::ContextIsRemoteMask as u32;
    }
    Span {
        parent_span_id: parent.map_or_else(Vec::new, |it| it.to_vec()),
        flags,
        ..span
    }
}

fn seconds(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64()
}

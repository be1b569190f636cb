//! The record of a job, as plain data.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::playbook::source::without_secrets;
use crate::playbook::{Playbook, Progress};
use crate::spec::{Limits, Pipeline};
use crate::{FromForge, JobId, State, Timestamp, Trace};

/// What kind of work a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Steps of a pipeline.
    Pipeline,
    /// An Ansible playbook.
    Playbook,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Pipeline, Self::Playbook];

    /// The name on the wire and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Playbook => "playbook",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// What made a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// Somebody submitted it over the API.
    Api,
    /// Somebody asked to run an ended job again.
    Retry,
    /// The demo submitted it.
    Demo,
    /// Its time had come.
    Cron,
    /// A forge told of a push, or of a request to merge.
    Webhook,
}

impl Trigger {
    /// Every trigger.
    pub const ALL: [Self; 5] = [
        Self::Api,
        Self::Retry,
        Self::Demo,
        Self::Cron,
        Self::Webhook,
    ];

    /// The name on the wire and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Retry => "retry",
            Self::Demo => "demo",
            Self::Cron => "cron",
            Self::Webhook => "webhook",
        }
    }

    /// The trigger with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// One job as its readers see it. What it was asked to do (spec, parameters,
/// values to mask) isn't here: that may hold secrets and is kept sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What kind of work it is.
    pub kind: Kind,
    /// The pipeline's name.
    pub pipeline: String,
    /// Where it is in its life.
    pub state: State,
    /// What made it.
    pub trigger: Trigger,
    /// The branch, tag or commit that was asked for.
    pub trigger_ref: Option<String>,
    /// The name of the API key that submitted it.
    pub submitted_by: String,
    /// The queue that it waits or waited in.
    pub queue: String,
    /// How many times it has been started by the system; 0 before the first claim.
    pub attempt: u32,
    /// The job that a person retried.
    pub retry_of: Option<JobId>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its latest attempt began to run.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The exit code that decided: of the failed step, or 0.
    pub exit_code: Option<i32>,
    /// Why it is where it is, for people; without secrets.
    pub reason: Option<String>,
    /// Who holds or held it.
    pub worker_id: Option<String>,
    /// Hexadecimal W3C trace id.
    pub trace_id: String,
    /// W3C `traceparent` of its first attempt's span, in the trace of `trace_id`.
    pub traceparent: String,
    /// Somebody asked to cancel it while it ran.
    pub cancel_asked: bool,
    /// The name of the API key that asked to cancel it while it ran.
    pub cancelled_by: Option<String>,
    /// Bytes of its log when it ended (live ones are asked of the log itself).
    pub log_bytes: u64,
    /// Whether the log holds everything that the job wrote.
    pub log_complete: Option<bool>,
    /// Bytes that the log is known to miss.
    pub log_missing_bytes: u64,
    /// When its log was deleted.
    pub log_deleted_at: Option<Timestamp>,
    /// Its steps of the latest attempt, in order; empty in lists.
    pub steps: Vec<Step>,
    /// What a playbook job has beside that; none of a pipeline's.
    pub playbook: Option<PlaybookJob>,
}

/// What a reader sees of a playbook job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaybookJob {
    /// The type of its source: `playbook`, `inline`, …
    pub source_type: String,
    /// Where the playbook comes from, as it may be shown.
    pub source: String,
    /// What its latest attempt has done; none in lists, and before it has begun.
    pub progress: Option<Progress>,
}

impl Job {
    /// Its state as clients are shown it.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        self.state.shown(self.kind)
    }

    /// Seconds from its start to its end.
    #[must_use]
    pub fn duration_seconds(&self) -> Option<f64> {
        Some(self.finished_at?.seconds_since(self.started_at?))
    }
}

/// What a job is asked to do. May hold secrets in any of its texts, so it is
/// sealed at rest, and `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The work itself. Stands in the sealed text under the name of its kind.
    #[serde(flatten)]
    pub task: Task,
    /// The branch, tag or commit to clone.
    pub git_ref: Option<String>,
    /// Parameters, defaults filled in.
    pub parameters: BTreeMap<String, String>,
    /// Values to keep out of the log and of everything else that is told.
    pub masks: Vec<String>,
    /// Where the job stands in its trace.
    #[serde(default)]
    pub trace: Trace,
    /// What a forge asked for, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge: Option<FromForge>,
}

impl Order {
    /// Whether it may have no secrets and no credentials: it runs what a stranger wrote.
    #[must_use]
    pub fn is_untrusted(&self) -> bool {
        self.forge.as_ref().is_some_and(FromForge::is_untrusted)
    }

    /// What is fetched: the commit that is known, or what was asked for.
    #[must_use]
    pub fn commit(&self) -> Option<&str> {
        self.forge.as_ref().map(|it| &*it.commit)
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Order")
            .field("kind", &self.task.kind())
            .field("masks", &self.masks.len())
            .finish_non_exhaustive()
    }
}

/// The work of a job: what is run.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// The steps of a checked pipeline.
    Pipeline(Pipeline),
    /// A checked playbook.
    Playbook(Playbook),
}

impl Task {
    /// What kind of work it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Pipeline(_) => Kind::Pipeline,
            Self::Playbook(_) => Kind::Playbook,
        }
    }

    /// The pipeline's name; all playbooks count as one, `playbook`, for the name is a
    /// label of metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Pipeline(it) => &it.name,
            Self::Playbook(_) => Kind::Playbook.as_str(),
        }
    }

    /// The pipeline, if it is one.
    #[must_use]
    pub fn pipeline(&self) -> Option<&Pipeline> {
        match self {
            Self::Pipeline(it) => Some(it),
            Self::Playbook(_) => None,
        }
    }

    /// The playbook, if it is one.
    #[must_use]
    pub fn playbook(&self) -> Option<&Playbook> {
        match self {
            Self::Pipeline(_) => None,
            Self::Playbook(it) => Some(it),
        }
    }

    /// Whether it names secrets or credentials, which its steps could tell on.
    #[must_use]
    pub fn opens_secrets(&self) -> bool {
        match self {
            Self::Pipeline(it) => !it.secrets.is_empty(),
            Self::Playbook(it) => !it.credentials.is_empty(),
        }
    }

    /// Where its source is cloned from, as it may be shown.
    #[must_use]
    pub fn repository(&self) -> Option<String> {
        match self {
            Self::Pipeline(it) => it.repository.clone(),
            Self::Playbook(it) => it.source.repository().map(without_secrets),
        }
    }

    /// Seconds that the whole job may take.
    #[must_use]
    pub fn max_duration_seconds(&self) -> u64 {
        match self {
            Self::Pipeline(it) => it.max_duration_seconds,
            Self::Playbook(it) => it.max_duration_seconds(),
        }
    }

    /// What its processes may use of the machine; a playbook gets what the operator sets.
    #[must_use]
    pub fn limits(&self) -> Limits {
        match self {
            Self::Pipeline(it) => it.limits.clone(),
            Self::Playbook(_) => Limits::default(),
        }
    }
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// Not begun.
    Pending,
    /// Runs now.
    Running,
    /// Ended with exit code 0.
    Success,
    /// Ended otherwise.
    Failure,
    /// Stopped for its own or the job's time.
    Timeout,
    /// Stopped because somebody asked, or its worker was lost.
    Cancelled,
    /// Never begun, because the job ended before it.
    Skipped,
}

impl StepStatus {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Success,
        Self::Failure,
        Self::Timeout,
        Self::Cancelled,
        Self::Skipped,
    ];

    /// The name on the wire and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// The status with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// One step of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name; unique in its job.
    pub name: String,
    /// Where it is.
    pub status: StepStatus,
    /// Its exit code; `128 + n` when signal n ended it, as shells count.
    pub exit_code: Option<i32>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Logical log offset where its output begins.
    pub log_start: Option<u64>,
    /// Logical log offset after its output.
    pub log_end: Option<u64>,
    /// CPU seconds of all its processes, user and system.
    pub cpu_seconds: Option<f64>,
    /// Largest resident memory of one of its processes.
    pub max_rss_bytes: Option<u64>,
}

impl Step {
    /// A step that hasn't begun.
    #[must_use]
    pub fn pending(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            status: StepStatus::Pending,
            exit_code: None,
            started_at: None,
            finished_at: None,
            log_start: None,
            log_end: None,
            cpu_seconds: None,
            max_rss_bytes: None,
        }
    }
}

/// One line of a job's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// From which state; none for the submit itself.
    pub from: Option<State>,
    /// To which state.
    pub to: State,
    /// The cause's name ([`crate::Cause::as_str`]), or `submitted`.
    pub cause: String,
    /// The attempt it belongs to.
    pub attempt: u32,
    /// Who did it: a key's name or a worker's id.
    pub by: String,
    /// More for people; without secrets.
    pub detail: Option<String>,
}

/// A worker's right to a job: results under an older fence change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Which job.
    pub job: JobId,
    /// The fencing number of the lease.
    pub fence: u64,
    /// How many times the job has been started, this time included.
    pub number: u32,
}

/// How an attempt ended, as its worker reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// `Succeeded`, `Failed`, `TimedOut` or `Stopped`.
    pub cause: crate::Cause,
    /// The exit code that decided, if one did.
    pub exit_code: Option<i32>,
    /// Why, for people; already redacted. Of a stopped job: where it was
    /// stopped ("while step x ran"); who asked, the store knows.
    pub reason: Option<String>,
    /// The limit that was passed, of an attempt that timed out.
    pub timeout_seconds: Option<u64>,
    /// Every step in its final state.
    pub steps: Vec<Step>,
    /// The log's logical end.
    pub log_bytes: u64,
    /// Whether the log holds everything that the job wrote.
    pub log_complete: bool,
    /// Bytes that the log is known to miss.
    pub log_missing_bytes: u64,
}

/// One page of a list, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; none on the last.
    pub next_cursor: Option<String>,
}

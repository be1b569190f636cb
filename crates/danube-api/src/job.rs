//! Jobs as clients see them.

use std::collections::BTreeMap;

use danube_model::{Job, Kind, State, Step, Timestamp, Transition};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

use crate::ForgeView;
use crate::playbook::{HostView, ProgressView};

/// The body of a submit, as documented. The server checks it field by field
/// and reports every mistake; clients may use this type to write one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(examples(
    json!({"spec": {"name": "hello", "steps": [{"name": "say", "run": "echo hello"}]}}),
    json!({
        "source": {"type": "inline", "playbook": "- hosts: all\n  tasks:\n    - ansible.builtin.ping:\n"},
        "inventory": {"type": "inline", "hosts": ["web1.example.org"]},
        "extra_vars": {"version": "1.2"},
        "options": {"tags": ["deploy"], "check": true},
        "queue": "default",
    }),
))]
pub struct Submit {
    /// The name of a pipeline that the server knows. Either this, or `spec`, or `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// A whole pipeline: `name`, `steps`, `repository`, `env`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub spec: Option<serde_json::Value>,
    /// Where a playbook comes from: `{"type": "playbook|role|nexus|archive|inline|local", …}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub source: Option<serde_json::Value>,
    /// On which hosts it runs: `{"type": "inline|source|git", …}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub inventory: Option<serde_json::Value>,
    /// The names of its credentials: `{"ssh", "password", "become", "vault": […], "git", "nexus"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub credentials: Option<serde_json::Value>,
    /// Variables that win over all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub extra_vars: Option<serde_json::Value>,
    /// `{"tags", "skip_tags", "limit", "check", "diff", "verbosity", "forks", "timeout_seconds"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub options: Option<serde_json::Value>,
    /// The branch, tag or commit to run.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = git_ref)]
    pub git_ref: Option<String>,
    /// Given to the steps as `DANUBE_PARAM_<NAME>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = parameters)]
    pub parameters: BTreeMap<String, String>,
    /// Values to keep out of the log, each at least 8 characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<String>>)]
    pub mask: Vec<String>,
    /// Take values of 6 and 7 characters too, although they will hide other text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_short_masks: Option<bool>,
    /// The queue to wait in; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = queue)]
    pub queue: Option<String>,
    /// Whether the job runs again when its worker is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_on_lost: Option<bool>,
    /// Where the job's end is told; kept sealed, and shown without its query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
}

/// Text that needs no quotes, as in a YAML file.
fn plain_text(description: &str) -> ObjectBuilder {
    let kinds = [Type::String, Type::Number, Type::Boolean, Type::Null];
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter(kinds))
        .description(Some(description))
}

fn git_ref() -> ObjectBuilder {
    plain_text("The branch, tag or commit to run; what isn't text is taken as it is written.")
}

fn queue() -> ObjectBuilder {
    plain_text("The queue to wait in; `default` when absent.")
}

fn parameters() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .additional_properties(Some(plain_text(
            "What isn't text is taken as it is written.",
        )))
        .description(Some("Given to the steps as `DANUBE_PARAM_<NAME>`."))
}

/// One job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// The whole id.
    pub id: String,
    /// Eight characters for people.
    pub short_id: String,
    /// `pipeline` or `playbook`.
    pub kind: String,
    /// The pipeline's name; `playbook` of all playbook jobs.
    pub pipeline: String,
    /// `pending scheduling running success failure timeout cancelled`; a playbook job shows
    /// `failed` for `failure`.
    pub status: String,
    /// What made it: `api`, `retry`, `demo`, `cron`, `webhook`.
    pub trigger_type: String,
    /// The branch, tag or commit that was asked for.
    pub trigger_ref: Option<String>,
    /// The name of the key that submitted it.
    pub submitted_by: String,
    /// The queue that it waits or waited in.
    #[serde(default)]
    pub queue: String,
    /// How many times the system has started it.
    pub attempt: u32,
    /// The job that a person retried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<String>,
    /// RFC 3339, UTC.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its latest attempt began to run.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// Seconds from start to end.
    pub duration_seconds: Option<f64>,
    /// The exit code that decided.
    pub exit_code: Option<i32>,
    /// Why it is where it is.
    pub reason: Option<String>,
    /// Somebody asked to cancel it, and its worker is stopping it.
    pub cancel_requested: bool,
    /// Who holds or held it.
    pub worker_id: Option<String>,
    /// Hexadecimal W3C trace id.
    pub trace_id: String,
    /// Bytes of its log so far.
    pub log_bytes: u64,
    /// Whether the log holds everything that the job wrote; null while it runs.
    pub log_complete: Option<bool>,
    /// Bytes that the log is known to miss.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_missing_bytes: u64,
    /// When its log was deleted; absent while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub log_deleted_at: Option<Timestamp>,
    /// Where it comes from, if a forge asked for it; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge: Option<ForgeView>,
    /// What whoever submitted it should know; only in the answer to the submit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The type of a playbook job's source: `playbook role nexus archive inline local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_type: Option<String>,
    /// Where a playbook comes from, without anything that could be secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The commit that was fetched in the latest attempt, where its source is a git repository;
    /// known from its first play on, absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_commit: Option<String>,
    /// What a playbook has done so far, in its latest attempt; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressView>,
    /// The same by host; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<HostView>>,
    /// The steps of the latest attempt; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<StepView>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// One step of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// `pending running success failure timeout cancelled skipped`.
    pub status: String,
    /// Its exit code; 128 + n when signal n ended it.
    pub exit_code: Option<i32>,
    /// When it began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// Logical offset in the log where its output begins.
    pub log_start: Option<u64>,
    /// Logical offset after its output.
    pub log_end: Option<u64>,
    /// CPU seconds of all its processes.
    pub cpu_seconds: Option<f64>,
    /// Largest resident memory of one of its processes.
    pub max_rss_bytes: Option<u64>,
}

impl From<Step> for StepView {
    fn from(step: Step) -> Self {
        Self {
            name: step.name,
            status: step.status.as_str().to_owned(),
            exit_code: step.exit_code,
            started_at: step.started_at,
            finished_at: step.finished_at,
            log_start: step.log_start,
            log_end: step.log_end,
            cpu_seconds: step.cpu_seconds,
            max_rss_bytes: step.max_rss_bytes,
        }
    }
}

impl JobView {
    /// The job as it is shown in a list: without steps.
    #[must_use]
    pub fn brief(job: Job) -> Self {
        Self {
            steps: None,
            source_commit: None,
            progress: None,
            hosts: None,
            ..Self::whole(job)
        }
    }

    /// The job with its steps.
    #[must_use]
    pub fn whole(job: Job) -> Self {
        let playbook = job.playbook.as_ref();
        let progress = playbook.and_then(|it| it.progress.as_ref());
        Self {
            status: job.status().to_owned(),
            source_type: playbook.map(|it| it.source_type.clone()),
            source: playbook.map(|it| it.source.clone()),
            source_commit: progress.and_then(|it| it.commit.clone()),
            progress: progress.map(ProgressView::from),
            hosts: progress.map(HostView::all),
            duration_seconds: job.duration_seconds(),
            id: job.id.to_string(),
            short_id: job.id.short(),
            kind: job.kind.as_str().to_owned(),
            pipeline: job.pipeline,
            trigger_type: job.trigger.as_str().to_owned(),
            trigger_ref: job.trigger_ref,
            submitted_by: job.submitted_by,
            queue: job.queue,
            attempt: job.attempt,
            retry_of: job.retry_of.map(|id| id.to_string()),
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            exit_code: job.exit_code,
            reason: job.reason,
            cancel_requested: job.cancel_asked && !job.state.is_terminal(),
            worker_id: job.worker_id,
            trace_id: job.trace_id,
            log_bytes: job.log_bytes,
            log_complete: job.log_complete,
            log_missing_bytes: job.log_missing_bytes,
            log_deleted_at: job.log_deleted_at,
            forge: None,
            warnings: Vec::new(),
            steps: Some(job.steps.into_iter().map(StepView::from).collect()),
        }
    }

    /// The state, when this program knows it.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        State::parse(&self.status)
    }
}

/// One page of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobList {
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// Give it as `cursor` to read on; null on the last page.
    pub next_cursor: Option<String>,
}

/// Everything that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryView {
    /// Oldest first.
    pub transitions: Vec<TransitionView>,
}

/// One change of state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TransitionView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// From which status; null for the submit.
    pub from: Option<String>,
    /// To which status.
    pub to: String,
    /// Why: `submitted claimed started succeeded failed timed_out cancel_asked stopped handed_back lease_lost`.
    pub cause: String,
    /// The attempt it belongs to.
    pub attempt: u32,
    /// A key's name or a worker's id.
    pub by: String,
    /// More, for people.
    pub detail: Option<String>,
}

impl TransitionView {
    /// One change of a job of this kind.
    #[must_use]
    pub fn new(kind: Kind, it: Transition) -> Self {
        Self {
            at: it.at,
            from: it.from.map(|state| state.shown(kind).to_owned()),
            to: it.to.shown(kind).to_owned(),
            cause: it.cause,
            attempt: it.attempt,
            by: it.by,
            detail: it.detail,
        }
    }
}

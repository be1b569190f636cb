//! What forges and whoever asks about their jobs are answered.

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What came of a forge's webhook. It stands in the list of deliveries that the forge shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookTaken {
    /// `started`, `waiting` (not all could be started: it is, as soon as there is room), `repeated`
    /// (it came before: `jobs` are those of then), `ignored`, or `ping`.
    pub outcome: String,
    /// The jobs.
    pub jobs: Vec<String>,
    /// Pipelines that start when fewer jobs wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// The server looks at its blueprint now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub syncs_blueprint: bool,
    /// Why nothing was started, or not all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// Why something was started whose files aren't known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Where a job comes from that a forge asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForgeView {
    /// `github`, `gitlab` or `gitea`.
    pub kind: String,
    /// The name of its credential.
    pub name: String,
    /// The repository there.
    pub repository: String,
    /// The commit that is fetched.
    pub commit: String,
    /// The number of the pull or merge request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The commit comes from a fork.
    pub is_fork: bool,
    /// Who said that it may have what its pipeline may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Why the forge couldn't be told how the job stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_error: Option<String>,
}

/// How a job stands, which its forge doesn't know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForgeStatus {
    /// The job.
    pub job_id: String,
    /// Its pipeline.
    pub pipeline: String,
    /// How it stands.
    pub job_status: String,
    /// `github`, `gitlab` or `gitea`.
    pub kind: String,
    /// The name of the forge's credential.
    pub name: String,
    /// The repository there.
    pub repository: String,
    /// The commit whose status it is.
    pub commit: String,
    /// `pending` while it is to be told, `failed` once it was given up.
    pub status: String,
    /// Attempts since there was something new to tell.
    pub attempts: u32,
    /// When the next is made.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// Why the last came to nothing.
    pub error: Option<String>,
}

/// A page of what forges weren't told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForgeStatusList {
    /// That of the newest job first.
    pub statuses: Vec<ForgeStatus>,
    /// Where the next page begins; null on the last.
    pub next_cursor: Option<String>,
}

//! What forges and whoever asks about their jobs are answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What came of a forge's webhook. It stands in the list of deliveries that the forge shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookTaken {
    /// `started`, `repeated` (it came before: `jobs` are those of then), `ignored`, or `ping`.
    pub outcome: String,
    /// The jobs.
    pub jobs: Vec<String>,
    /// The server looks at its blueprint now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub syncs_blueprint: bool,
    /// Why nothing was started, or not all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
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

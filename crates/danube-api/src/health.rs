//! Whether the server lives and takes work, on the wire.

use std::collections::BTreeMap;

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// That the process lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthView {
    /// `ok`, or `failed` when only a restart helps.
    pub status: String,
    /// The loops of the process that have stalled; there when it is `failed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stalled: Vec<String>,
    /// When it answered.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
}

/// Whether the server takes work, in the order in which the documents show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReadyView {
    /// `ready` or `not_ready`.
    pub status: String,
    /// Each check with its latest result: `ok`, `degraded`, `stale`, `failed` or `disabled`.
    pub checks: BTreeMap<String, String>,
    /// When it answered.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
}

/// What is known of the server's health, for people and for pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealthReport {
    /// `ready` or `not_ready`.
    pub status: String,
    /// The server takes no more work and will end.
    pub is_stopping: bool,
    /// What is done about trouble: `auto`, `dry_run` or `off`.
    pub healing: String,
    /// The checks whose part is there.
    pub checks: Vec<CheckView>,
    /// When it answered.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
}

/// A health check and what it found last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckView {
    /// Its name.
    pub name: String,
    /// `ok`, `degraded`, `stale` (it should have answered long ago), `failed` or `disabled`.
    pub status: String,
    /// What is wrong, and what to do; empty when nothing is.
    pub message: String,
    /// Whether the server isn't ready while it fails.
    pub gates_readiness: bool,
    /// How often in a row it has failed or was degraded.
    pub consecutive_failures: u64,
    /// When it answered last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub checked_at: Option<Timestamp>,
    /// How long ago.
    pub age_seconds: Option<f64>,
    /// How long it took.
    pub duration_seconds: Option<f64>,
    /// How often it runs while all is well.
    pub period_seconds: f64,
    /// How long it may take.
    pub deadline_seconds: f64,
    /// What may be tried when it finds trouble.
    pub healing: Option<HealView>,
}

/// What may be tried, and how that went last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealView {
    /// Its name.
    pub action: String,
    /// The settings say that nobody is to touch it.
    pub hands_off: bool,
    /// `success`, `error` or `dry_run`.
    pub last_result: Option<String>,
    /// What was done, or why it didn't work.
    pub last_detail: Option<String>,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_at: Option<Timestamp>,
}

/// What the reaper deleted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReapView {
    /// Logs of ended jobs.
    pub logs_deleted: u64,
    /// Traces whose log was gone.
    pub traces_deleted: u64,
    /// Workspaces of jobs that had ended.
    pub workspaces_deleted: u64,
    /// Artifacts that had their time, or whose file was gone.
    #[serde(default)]
    pub artifacts_deleted: u64,
    /// Images of the registry that nobody used for long enough.
    #[serde(default)]
    pub images_deleted: u64,
    /// Bytes that are free again.
    pub bytes_freed: u64,
    /// Nothing was deleted: this is what would be.
    pub dry_run: bool,
    /// How long it took.
    pub duration_seconds: f64,
}

//! Workers on other machines, as they are made, listed and revoked.

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A worker to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"name": "builder-1"})))]
pub struct NewWorker {
    /// Its name, shown wherever the worker did something.
    pub name: String,
}

/// A worker that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewWorkerView {
    /// Its token. It is shown this once; the server keeps a hash.
    pub token: String,
    /// What is known of it from now on.
    #[serde(flatten)]
    pub about: WorkerView,
}

/// What is known of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerView {
    /// Its name.
    pub name: String,
    /// The first characters of its token, for recognising it.
    pub prefix: String,
    /// Jobs that it runs now.
    pub jobs: u64,
    /// It was heard of within its lease.
    pub is_connected: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its token was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// When it was last heard of, within a minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen_at: Option<Timestamp>,
}

/// Every worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerList {
    /// Oldest first.
    pub workers: Vec<WorkerView>,
}

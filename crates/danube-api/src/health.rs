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

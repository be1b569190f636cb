//! Files that jobs leave.

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A file that a job left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactView {
    /// What the job calls it: a path without `.`, `..` and empty parts.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// The step that left it, if that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The attempt that left it.
    pub attempt: u32,
    /// Since when it is there.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// What a job left, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactList {
    /// All of it.
    pub artifacts: Vec<ArtifactView>,
}

//! Files that jobs leave.

use danube_model::{JobId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a job leaves a file from one of its steps, below the server's address.
#[must_use]
pub fn artifact_path(job: JobId, name: &str, step: &str) -> String {
    let (name, step) = (escape(name), escape(step));
    format!("/api/v1/jobs/{job}/artifacts/{name}?step={step}")
}

/// Percent-encodes everything but RFC 3986's unreserved characters: a segment of a path, or a value
/// in a query.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

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
    /// Whether somebody said that it is kept: neither its time nor the size of all ends it.
    #[serde(default)]
    pub is_kept: bool,
    /// The same, because the blueprint says so of the job; shown in lists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept_by_blueprint: bool,
}

/// How long artifacts of a job are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepArtifacts {
    /// Whether they are kept until this is false again, whatever the settings say.
    pub keep: bool,
    /// Which; without it, all that the job left so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What a job left, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactList {
    /// All of it.
    pub artifacts: Vec<ArtifactView>,
}

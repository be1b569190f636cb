//! The blueprint that a server follows.

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the blueprint stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlueprintView {
    /// Its repository; absent when none is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The branch that is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit that is in force; absent when none was ever taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When that was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub synced_at: Option<Timestamp>,
    /// When its repository was last looked at and all was well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success: Option<Timestamp>,
    /// Why the last look came to nothing; absent when it was good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<BlueprintError>,
    /// Names of the pipelines that it declares.
    pub pipelines: Vec<String>,
    /// Names of the users.
    pub users: Vec<String>,
    /// Names of the teams.
    pub teams: Vec<String>,
    /// Settings that it makes.
    #[serde(default)]
    pub settings: Vec<BlueprintSetting>,
}

/// A setting of the server that the blueprint makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlueprintSetting {
    /// The server's name for it.
    pub key: String,
    /// What the blueprint says.
    pub value: serde_json::Value,
    /// Whether that counts: what flags, environment or file say goes before.
    pub in_force: bool,
}

/// Why a look at the repository came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlueprintError {
    /// Since when that is so.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The commit that is wrong; absent when there was none to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// What is wrong, in a sentence.
    pub message: String,
    /// Every mistake of its files, a thousand at most.
    pub mistakes: Vec<BlueprintMistake>,
}

/// A mistake in a file of the blueprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlueprintMistake {
    /// The file, from the top of the repository.
    pub file: String,
    /// Line, from 1; absent when the whole file is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Column in characters, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// Stable; programs branch on it.
    pub code: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl BlueprintMistake {
    /// `pipelines/a.yaml:7:3`
    #[must_use]
    pub fn place(&self) -> String {
        match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", self.file),
            _ => self.file.clone(),
        }
    }
}

/// What a sync that was asked for came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlueprintSynced {
    /// The commit that is in force.
    pub commit: String,
    /// What it changed; nothing where it was in force before.
    pub changes: Vec<BlueprintChangeView>,
    /// How many pipelines it declares.
    pub pipelines: u64,
    /// How many users.
    pub users: u64,
    /// How many teams.
    pub teams: u64,
}

/// Something that a blueprint changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlueprintChangeView {
    /// `config`, `user`, `team` or `pipeline`.
    pub part: String,
    /// `added`, `changed` or `removed`.
    pub kind: String,
    /// Its name; empty for the settings.
    pub name: String,
}

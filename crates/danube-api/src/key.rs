//! API keys on the wire.

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for a new key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"name": "deploy bot", "role": "member"})))]
pub struct NewKey {
    /// Its name, shown wherever the key did something.
    pub name: String,
    /// `viewer` reads, `member` submits and cancels too, `admin` does everything.
    pub role: String,
}

/// A key that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewKeyView {
    /// The key itself. It is shown this once; the server keeps a hash.
    pub key: String,
    /// What is known of it from now on.
    #[serde(flatten)]
    pub about: KeyView,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// Its id, for revoking.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `viewer`, `member` or `admin`.
    pub role: String,
    /// Its first characters, for recognising it.
    pub prefix: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

/// Every key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// Oldest first.
    pub keys: Vec<KeyView>,
}

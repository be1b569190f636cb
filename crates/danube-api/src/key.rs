//! API keys on the wire.

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for a new key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"name": "deploy bot", "role": "member"}), json!({"name": "web ci 2026", "role": "member", "expires_at": "2999-12-31T00:00:00.000Z", "account": "web ci", "pipelines": ["web-*"]})))]
pub struct NewKey {
    /// Its name, shown wherever the key did something.
    pub name: String,
    /// `viewer` reads, `member` submits and cancels too, `admin` does everything.
    pub role: String,
    /// When it is good no more; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// The service account in whose name it acts. Its jobs, webhooks and idempotency keys
    /// are the account's, whichever of its keys was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Patterns of the pipelines that it reaches, in which `*` stands for any text; all, and
    /// the server, when absent. To such a key everything else isn't there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 32)]
    pub pipelines: Option<Vec<String>>,
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
    /// When it is good no more.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Whether that time has come.
    #[serde(default)]
    pub is_expired: bool,
    /// The service account in whose name it acts.
    #[serde(default)]
    pub account: Option<String>,
    /// Patterns of the pipelines that it reaches; all when absent.
    #[serde(default)]
    pub pipelines: Option<Vec<String>>,
}

/// Every key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// Oldest first.
    pub keys: Vec<KeyView>,
}

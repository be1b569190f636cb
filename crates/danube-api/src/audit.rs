//! The audit log on the wire.

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Entries of a page, when nobody says how many.
pub const AUDIT_PAGE_DEFAULT: u32 = 100;

/// Entries of a page at most.
pub const AUDIT_PAGE_MAX: u32 = 1_000;

/// What an entry says: the JSON in [`AuditRow::entry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When it was put down.
    pub time: Timestamp,
    /// What.
    #[serde(flatten)]
    pub fact: AuditFact,
}

/// One of the two halves of what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AuditFact {
    /// Somebody asked for something, and may.
    Asked {
        /// The name of the key.
        user: String,
        /// What stays the same of it whatever it is called.
        key: String,
        /// The request's method.
        method: String,
        /// Its path, without a query.
        path: String,
        /// Its trace, 32 hexadecimal digits.
        trace_id: String,
    },
    /// It was answered. Without this the server ended meanwhile.
    Answered {
        /// The number of the entry that it was asked with.
        to: u64,
        /// The HTTP status: below 400 it was done.
        status: u16,
        /// What was made, where the path doesn't say so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<String>,
    },
}

/// An entry with what binds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditRow {
    /// Its number: from 1, none left out.
    pub seq: u64,
    /// What it says: JSON, as it was hashed.
    pub entry: String,
    /// SHA-256 of the hash before it, its number (8 bytes, big-endian) and its text; 64
    /// hexadecimal digits.
    pub hash: String,
}

/// Entries of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    /// Oldest first.
    pub entries: Vec<AuditRow>,
    /// The last entry that there is, `NUMBER:HASH`.
    pub head: String,
}

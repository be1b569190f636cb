//! The data of the events of `GET …/logs/stream` (server-sent events).
//!
//! `id:` of every event is the logical byte offset after it, so a client that
//! sends it back as `Last-Event-ID` reads on without loss or repetition.

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An event of a live stream, as server-sent events have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamEvent {
    /// Its name; each name has data of its own kind.
    pub event: String,
    /// Where to read on: sent back as `Last-Event-ID`.
    pub id: String,
    /// JSON: of `log` a `LogEvent`, of `gap` and `truncated` a `GapEvent`, of `end` an
    /// `EndEvent`; of the others what `GET …/events` lists.
    #[schema(content_media_type = "application/json")]
    pub data: String,
}

/// Event `log`: bytes of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEvent {
    /// Logical offset of the first byte.
    pub offset: u64,
    /// The bytes, where they are UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes in base64, where they aren't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// `base64` when that field holds the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// `stdout`, `stderr` or `mixed`.
    pub stream: String,
    /// When they were written; null when a crash took the index.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub time: Option<Timestamp>,
}

/// Event `gap` (lost by a fault) or `truncated` (past the size limit).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GapEvent {
    /// First offset that is missing.
    pub from: u64,
    /// First offset that is there again.
    pub to: u64,
    /// `to - from`.
    pub missing_bytes: u64,
}

/// Event `end`: the job has ended and nothing will follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndEvent {
    /// The job's final status.
    pub status: String,
    /// The log's logical end.
    pub offset: u64,
    /// Whether the log holds everything that the job wrote.
    pub log_complete: Option<bool>,
}

/// What the plays and tasks of a playbook wrote: stretches that a viewer may fold away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogFolds {
    /// In the order in which they began; the tasks of a play stand behind it.
    pub folds: Vec<FoldView>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoldView {
    /// A play, or a task of the play before it.
    pub kind: FoldKind,
    /// Which of its kind in this attempt, counted from 0; a task's is the `task` of the
    /// `host_result` events.
    pub number: u32,
    /// Its name; null before it is known, a moment later.
    pub name: Option<String>,
    /// The attempt it belongs to.
    pub attempt: u32,
    /// Logical offset of its first byte, where its title stands.
    pub start: u64,
    /// Logical offset behind its last byte; null while it goes on.
    pub end: Option<u64>,
}

/// What is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FoldKind {
    /// A play.
    Play,
    /// A task.
    Task,
}

/// The answer to a log's deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogDeleted {
    /// Bytes that are free again.
    pub bytes_freed: u64,
}

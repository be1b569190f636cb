//! What the loops of the server do, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Every long-lived task, the threads, and the runtime that tasks share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskList {
    /// The loops, by name.
    pub tasks: Vec<TaskView>,
    /// The threads of the process by name, as the kernel counts them.
    pub threads: Vec<ThreadView>,
    /// What runs those tasks that have no thread of their own.
    pub runtime: RuntimeView,
}

/// A loop of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskView {
    /// Which.
    pub name: String,
    /// `thread`, or `task` where it shares threads with others.
    pub kind: String,
    /// `working`, `waiting`, `ended` or `panicked`.
    pub state: String,
    /// Since so many seconds: its last progress.
    pub for_seconds: f64,
    /// It was registered so many seconds ago.
    pub age_seconds: f64,
    /// Rounds that it began; polls, for a task.
    pub rounds: u64,
    /// How long the last one took that is over.
    pub last_round_seconds: Option<f64>,
    /// How long the longest one took.
    pub longest_round_seconds: Option<f64>,
}

/// All threads of one name; those of single jobs count as `job`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ThreadView {
    /// Their name.
    pub name: String,
    /// How many there are.
    pub count: u64,
    /// How many of them run or could run.
    pub running: u64,
    /// Processor time that they took so far.
    pub cpu_seconds: f64,
}

/// The runtime of the tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuntimeView {
    /// Threads that run tasks.
    pub workers: u64,
    /// Tasks that haven't ended: connections, requests, loops.
    pub alive_tasks: u64,
    /// Tasks that wait for a thread.
    pub queued_tasks: u64,
}

//! Wire types, error codes and the Rust client of Danube's HTTP API.
//!
//! What the server writes and what a client reads are the same types, and the
//! OpenAPI document is generated from them.

mod code;
mod job;
mod key;
mod log;
mod problem;

#[cfg(feature = "client")]
pub mod client;

pub use code::Code;
pub use job::{HistoryView, JobList, JobView, StepView, Submit, TransitionView};
pub use key::{KeyList, KeyView, NewKey, NewKeyView};
pub use log::{EndEvent, GapEvent, LogEvent};
pub use problem::{FieldProblem, PROBLEM_TYPE, Problem};

/// Where the jobs are, below the server's address.
pub const JOBS_PATH: &str = "/api/v1/jobs";

/// The header that says at which logical offset a log's text begins.
pub const LOG_OFFSET_HEADER: &str = "danube-log-offset";

/// Where the API keys are.
pub const KEYS_PATH: &str = "/api/v1/api-keys";

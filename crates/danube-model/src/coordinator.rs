//! What a coordinator asks for: a pipeline's own program, while it runs as a step of its job.
//!
//! Plain data on its way from the program through the master to the worker that holds the
//! job, and back. It may hold secrets: `Debug` shows nothing of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::StepStatus;
use crate::spec::Shell;

/// Characters of a request's id: a UUID, or what a program makes up.
const REQUEST_ID_CHARS_MAX: usize = 64;

/// One thing that a coordinator wants done where its job is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Run a step.
    Step(Box<StepCall>),
    /// Note how it goes.
    Status(StatusCall),
}

impl Call {
    /// What tells this call from others of its job; a repeated one has the same.
    #[must_use]
    pub fn request_id(&self) -> &str {
        match self {
            Self::Step(it) => &it.request_id,
            Self::Status(it) => &it.request_id,
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Call({})", self.request_id())
    }
}

/// A step that a coordinator wants run.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCall {
    /// Made by the caller.
    pub request_id: String,
    /// What the step is called; no step of its job has that name.
    pub name: String,
    /// What it runs.
    pub command: CallCommand,
    /// Variables beside those of its pipeline.
    pub env: BTreeMap<String, String>,
    /// Variables that hold a secret, with their values.
    pub secrets: BTreeMap<String, String>,
    /// Seconds that it may take.
    pub timeout_seconds: Option<u64>,
    /// Whether its standard output is answered.
    pub capture: bool,
}

/// What a called step runs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallCommand {
    /// A program and its arguments.
    Argv(Vec<String>),
    /// A script for a shell; the pipeline's when none is named.
    Script(String, Option<Shell>),
}

/// What a coordinator says of itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusCall {
    /// Made by the caller.
    pub request_id: String,
    /// How it goes.
    pub status: Reported,
    /// The same for people.
    pub message: String,
}

/// How a coordinator says that it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reported {
    /// It goes on.
    Running,
    /// It has what it wanted.
    Success,
    /// The job is a failure, however its program ends.
    Failure,
}

/// What became of a call.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallAnswer {
    /// The step was run.
    Step(StepAnswer),
    /// It is noted.
    Noted,
    /// It wasn't done.
    Refused(CallRefusal),
}

/// How a called step ended.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepAnswer {
    /// Its place in the job.
    pub index: u32,
    /// Where it ended.
    pub status: StepStatus,
    /// Its exit code; `128 + n` when signal n ended it, none when it was stopped.
    pub exit_code: Option<i32>,
    /// Its standard output, where that was wanted, in base64.
    pub output: Option<String>,
    /// There was more of it.
    pub truncated: bool,
}

/// Why a call wasn't done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CallRefusal {
    /// A step has this name.
    #[error("a step of this job has that name already; each has a name of its own")]
    NameTaken,
    /// There are as many steps as there may be.
    #[error("the job has as many steps as it may have")]
    TooManySteps,
    /// As many calls wait as may.
    #[error("too many calls of this job wait for their answer")]
    TooMany,
    /// It was answered, and what it was isn't known any more.
    #[error("this call was answered long ago")]
    AnsweredBefore,
    /// The coordinator has ended.
    #[error("the job's coordinator has ended")]
    Ended,
}

/// Whether this can tell one call from others.
#[must_use]
pub fn is_request_id(text: &str) -> bool {
    let allowed = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    !text.is_empty() && text.len() <= REQUEST_ID_CHARS_MAX && text.bytes().all(allowed)
}

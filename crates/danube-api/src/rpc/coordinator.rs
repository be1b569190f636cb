//! What the worker that holds a job and the master say of its coordinator, and what the
//! coordinator itself is answered.

use danube_model::StepStatus;
use danube_model::coordinator::{Call, CallAnswer};
use serde::{Deserialize, Serialize};

use super::Lease;
use crate::Problem;
use crate::artifact::escape;

/// Where a coordinator has a step run.
pub const RUN_STEP_PATH: &str = "/rpc/run-step";

/// Where it asks for a secret.
pub const GET_SECRET_PATH: &str = "/rpc/get-secret";

/// Where it says how it goes.
pub const REPORT_STATUS_PATH: &str = "/rpc/report-status";

/// Where a job leaves a file; its name stands in the query.
pub const UPLOAD_ARTIFACT_PATH: &str = "/rpc/upload-artifact";

/// Where a value is kept out of a job's log from now on.
#[must_use]
pub fn mask_path(job: &str) -> String {
    format!("{}/{job}/mask", crate::JOBS_PATH)
}

/// The path and query that say what an uploaded file is called, and which step sends it.
#[must_use]
pub fn upload_path(name: &str, step: Option<&str>) -> String {
    let name = escape(name);
    let step = step.map_or_else(String::new, |it| format!("&step={}", escape(it)));
    format!("{UPLOAD_ARTIFACT_PATH}?name={name}{step}")
}

/// Where a worker waits for what the coordinator of its job asks for.
pub const CALLS_PATH: &str = "/rpc/calls";

/// Where it tells what became of that.
pub const ANSWER_PATH: &str = "/rpc/answer";

/// A worker waits for calls of its job's coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallsWanted {
    /// Of which attempt.
    pub lease: Lease,
    /// Those that it has already: they aren't told again.
    pub heard: Vec<String>,
}

/// What the coordinator asks for. Holds secrets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallsAnswer {
    /// In order.
    pub calls: Vec<Call>,
}

/// What became of a call. Holds what the step wrote: there is no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct CallAnswered {
    /// Of which attempt.
    pub lease: Lease,
    /// Of which call.
    pub request_id: String,
    /// What became of it.
    pub answer: CallAnswer,
}

/// How a step ended that a coordinator asked for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRun {
    /// Its name.
    pub name: String,
    /// Its place in the job.
    pub index: u32,
    /// `success`, `failure`, `timeout` or `cancelled`.
    pub status: StepStatus,
    /// Its exit code; none when it was stopped.
    pub exit_code: Option<i32>,
    /// Its standard output in base64, where that was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_base64: Option<String>,
    /// There was more of it.
    #[serde(default)]
    pub truncated: bool,
}

/// A secret's value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretGiven {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// That something is noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {}

/// The body of an answer whose head came before it was known how it goes: what was asked
/// for, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateProblem {
    /// Why.
    pub problem: Problem,
}

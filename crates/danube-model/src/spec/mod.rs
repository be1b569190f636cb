//! What a pipeline is to do: the steps and their surroundings.
//!
//! [`parse_file`] reads what a person wrote (YAML or JSON, with an envelope);
//! [`read_request`] reads the `spec` of a submit. Both go through the same
//! check, which finds every mistake in one pass.

mod ansible;
mod artifacts;
mod check;
mod document;
mod fields;
mod parameters;
mod queueing;
mod repository;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use check::{Head, parse_file, read_envelope, read_limits, read_request, take_pipeline};
pub use document::{Node, Value};
pub use fields::{Fields, is_name, is_near, is_variable_name};
pub use parameters::{Parameter, ParameterType, WrongParameter};
pub use queueing::{Queueing, Superseded};
pub use repository::{Repository, is_git_ref};

/// The version of the file format.
pub const API_VERSION: &str = "danube.dev/v1";

/// A checked pipeline. It can't be wrong: only the check makes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Where its source is cloned from; none for no source.
    pub repository: Option<String>,
    /// The branch, tag or commit when the submit names none.
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
    /// Seconds that the whole job may take.
    pub max_duration_seconds: u64,
    /// Parameters that a submit may set; `None` accepts any.
    pub parameters: Option<BTreeMap<String, Parameter>>,
    /// Variables of every step.
    pub env: BTreeMap<String, String>,
    /// The shell of every step that names none.
    pub shell: Shell,
    /// Run again when the worker is lost.
    pub retry_on_lost: bool,
    /// What its steps may use of the machine.
    pub limits: Limits,
    /// Names of the secrets that its jobs may have.
    #[serde(default)]
    pub secrets: BTreeSet<String>,
    /// How its jobs wait for their turn.
    #[serde(flatten)]
    pub queueing: Queueing,
    /// At least one; names are unique.
    pub steps: Vec<Step>,
}

impl Pipeline {
    /// The parameters of a run: what was given over what is declared.
    ///
    /// # Errors
    /// Everything that is wrong with what was given, where any are declared.
    pub fn with_parameters(
        &self,
        given: BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Vec<WrongParameter>> {
        match &self.parameters {
            None => Ok(given),
            Some(declared) => parameters::of_run(declared, given),
        }
    }
}

/// One command of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in its pipeline.
    pub name: String,
    /// The script.
    pub run: String,
    /// Its own variables; they win over the pipeline's.
    pub env: BTreeMap<String, String>,
    /// Variables that hold a secret, with its name. They win over all others.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// Its own shell.
    pub shell: Option<Shell>,
    /// Seconds that it may take.
    pub timeout_seconds: Option<u64>,
    /// Whether the job goes on, and may succeed, when it fails.
    pub continue_on_error: bool,
    /// Which of its files are kept: patterns as [`crate::Globs`] has them.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// It is the pipeline's own program, which may ask for more steps while it runs. Nobody
    /// may submit such a step, so that of others isn't written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub coordinates: bool,
}

/// How a script is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shell {
    /// `/bin/sh -eu -c`
    #[default]
    Sh,
    /// `bash -euo pipefail -c`
    Bash,
}

/// What each step of a pipeline may use of the machine; `None` is the
/// operator's setting.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Resident memory of all processes together.
    pub memory_bytes: Option<u64>,
    /// Processor cores.
    pub cpu_cores: Option<f64>,
    /// Processes and threads at once.
    pub processes: Option<u64>,
    /// Open files of one process.
    pub open_files: Option<u64>,
}

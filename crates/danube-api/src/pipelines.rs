//! The pipelines that a server knows by name, on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All that the caller reaches, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PipelineList {
    /// Each once.
    pub pipelines: Vec<PipelineView>,
}

/// A pipeline, with what whoever starts it may be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PipelineView {
    /// The name to submit it by.
    pub name: String,
    /// `blueprint` or `directory`.
    pub source: String,
    /// The file that declares it.
    pub file: String,
    /// Whether people may start it.
    pub manual: bool,
    /// The branch, tag or commit when a submit names none.
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
    /// What a submit may set, by name; null where it may set anything.
    pub parameters: Option<BTreeMap<String, ParameterView>>,
    /// How many of its jobs run at once; null for any number.
    pub concurrency: Option<u32>,
    /// How many of its jobs may wait; null for as many as the server lets.
    pub max_pending: Option<u32>,
    /// The team whose share of the workers its jobs take.
    pub team: Option<String>,
}

/// What a submit may set of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParameterView {
    /// What it is for.
    pub description: Option<String>,
    /// `text`, `number` or `boolean`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether a submit has to give it: it has no default.
    pub required: bool,
    /// What it is when a submit doesn't say.
    pub default: Option<String>,
    /// The values that there are; any when empty.
    pub choices: Vec<String>,
    /// Whether its value is kept out of logs and of everything else that is told.
    pub secret: bool,
}

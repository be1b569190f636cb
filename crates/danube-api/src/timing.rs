//! What took the time of pipelines, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of `GET /api/v1/pipelines/timing`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimingList {
    /// The slowest first, by the median of the whole; those without a run that counts come
    /// last. Each has the parts `whole` and `queue` only.
    pub pipelines: Vec<PipelineTiming>,
    /// There are more pipelines than these.
    pub is_cut: bool,
}

/// What took the time of a pipeline over its latest runs: the answer of
/// `GET /api/v1/pipelines/{name}/timing`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PipelineTiming {
    /// Its name.
    pub pipeline: String,
    /// Runs that were counted: those that ended by themselves, well or not, after their first
    /// step began. As many as were asked for, if there are so many.
    pub runs: usize,
    /// Runs before these, to compare with; as many, if there are so many.
    pub runs_before: usize,
    /// Older runs were left out, because reading them would have taken too long.
    pub is_cut: bool,
    /// The whole, then what took most of it. Empty when no run counts.
    pub parts: Vec<PartTiming>,
}

/// How long a part of the runs took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PartTiming {
    /// `whole` (from the submit to the end), `queue` (waiting for a worker), `stage` (what the
    /// server does around the steps) or `step`.
    pub kind: String,
    /// Of a step its own; of a stage `prepare`, `clean up` or `lost attempts`; else the kind.
    pub name: String,
    /// Counted runs that have this part.
    pub runs: usize,
    /// Seconds that half of them stayed below or at: the nearest rank, so always a value that
    /// was seen.
    pub p50_seconds: f64,
    /// The same for 95 of 100.
    pub p95_seconds: f64,
    /// Its share of the time of all counted runs together, from 0 to 1.
    pub share: f64,
    /// `p50_seconds` over the runs before. Null when none of them has this part.
    pub p50_before_seconds: Option<f64>,
    /// By how much `p50_seconds` grew since then, in percent. Null when either side has fewer
    /// than 3 runs, or when it took no time before.
    pub change_percent: Option<f64>,
}

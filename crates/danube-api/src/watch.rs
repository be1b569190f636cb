//! Panels and alerts on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of `GET /api/v1/panels`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PanelList {
    /// By dashboard, in the order in which they are shown.
    pub panels: Vec<PanelView>,
    /// How much history there is to draw from.
    pub history: HistoryHeld,
}

/// A panel, without its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PanelView {
    /// Its name, in `snake_case`.
    pub name: String,
    /// Where it is shown: `job_overview`, `performance`, `errors`, `capacity`, `playbooks`.
    pub dashboard: String,
    /// For people.
    pub title: String,
    /// What it says and how to read it.
    pub description: String,
    /// `count`, `per_second`, `per_minute`, `ratio`, `seconds`, `bytes`,
    /// `bytes_per_second`, `cores` or `flag`.
    pub unit: String,
    /// `live`, or `not_yet` when a part that it shows isn't there.
    pub state: String,
    /// That part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// What it draws.
    pub queries: Vec<PanelQuery>,
}

/// One question of a panel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PanelQuery {
    /// Name of its lines; `{{label}}` stands for a label's value.
    pub legend: String,
    /// The question as Grafana asks Prometheus.
    pub promql: String,
}

/// How much history there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryHeld {
    /// Series that are kept.
    pub series: u64,
    /// Their bytes in memory.
    pub bytes: u64,
    /// Samples of each series, at most.
    pub samples: u64,
    /// Samples that were left out because there were too many series.
    pub left_out: u64,
}

/// The answer of `GET /api/v1/panels/{name}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PanelData {
    /// The panel.
    #[serde(flatten)]
    pub panel: PanelView,
    /// First step, RFC 3339.
    pub from: String,
    /// Last step at most, RFC 3339.
    pub to: String,
    /// Seconds between two steps.
    pub step_seconds: u64,
    /// Seconds that stand for `$__rate_interval`.
    pub window_seconds: u64,
    /// The lines. Steps without a value have no point.
    pub series: Vec<PanelLine>,
}

/// A line of a panel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PanelLine {
    /// Its name.
    pub legend: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Unix time in seconds, and the value.
    pub points: Vec<(f64, f64)>,
}

/// The answer of `GET /api/v1/alerts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertList {
    /// What fires, then what is about to; the critical ones first.
    pub alerts: Vec<AlertView>,
}

/// An alert that fires or is about to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertView {
    /// Its name, in `snake_case`.
    pub name: String,
    /// `critical` or `warning`.
    pub severity: String,
    /// `firing`, or `pending` while its condition hasn't held long enough.
    pub state: String,
    /// Since when its condition holds, RFC 3339.
    pub since: String,
    /// Which of them, where there may be several.
    pub labels: BTreeMap<String, String>,
    /// The latest value. Absent when it is no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What the value is; see [`PanelView::unit`].
    pub unit: String,
    /// What is wrong, in a few words.
    pub summary: String,
    /// What that means and where to look first.
    pub description: String,
    /// Its page in the documentation.
    pub runbook: String,
    /// The condition, for Prometheus.
    pub promql: String,
}

//! The dashboards: the panels drawn from the server's own history of its metrics.

use askama::Template;
use danube_api::{HistoryHeld, PanelData};
use danube_model::Timestamp;
use serde::Serialize;

use crate::chart::Chart;
use crate::chart::unit::Unit;
use crate::{Page, Shell, Tab};

/// A stretch of time that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// As the address says it.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Its length.
    pub seconds: u64,
}

/// What a dashboard may show; the history is no longer than the last of them.
pub const RANGES: [Range; 4] = [
    Range {
        name: "15m",
        title: "15 minutes",
        seconds: 900,
    },
    RANGE_DEFAULT,
    Range {
        name: "6h",
        title: "6 hours",
        seconds: 21_600,
    },
    Range {
        name: "24h",
        title: "24 hours",
        seconds: 86_400,
    },
];

/// What it shows when nobody says.
pub const RANGE_DEFAULT: Range = Range {
    name: "1h",
    title: "1 hour",
    seconds: 3_600,
};

/// The range of this name, or the usual one where there is none.
#[must_use]
pub fn range(name: &str) -> Range {
    let found = RANGES.into_iter().find(|it| it.name == name);
    found.unwrap_or(RANGE_DEFAULT)
}

/// A dashboard with its panels.
#[derive(Debug, Clone, Serialize)]
pub struct DashboardsPage {
    /// All dashboards, in their order.
    pub dashboards: Vec<Dashboard>,
    /// The name of the one that is shown.
    pub dashboard: String,
    /// The name of the range that is shown; see [`RANGES`].
    pub range: String,
    /// Its panels, in their order.
    pub panels: Vec<DashboardPanel>,
    /// How much history there is to draw from.
    pub history: HistoryHeld,
}

/// A dashboard, by its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dashboard {
    /// In addresses, in `snake_case`.
    pub name: String,
    /// For people.
    pub title: String,
}

/// A panel as a dashboard shows it.
#[derive(Debug, Clone, Serialize)]
pub struct DashboardPanel {
    /// The panel and its lines.
    #[serde(flatten)]
    pub data: PanelData,
    /// Jobs that were measured for it, the ones with the largest values first.
    pub exemplars: Vec<JobExemplar>,
}

/// A job that a metric was measured in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobExemplar {
    /// What was measured, in the panel's unit.
    pub value: f64,
    /// When.
    pub at: Timestamp,
    /// Id of the job.
    pub job_id: String,
    /// Its short id.
    pub short_id: String,
    /// Its pipeline.
    pub pipeline: String,
}

impl DashboardPanel {
    fn chart(&self) -> Chart {
        Chart::of(&self.data)
    }

    fn shown(&self, value: &f64) -> String {
        Unit::named(&self.data.panel.unit).shown(*value)
    }

    /// The part that it waits for, where it can't show anything yet.
    fn waits_for(&self) -> Option<&str> {
        let panel = &self.data.panel;
        let waits = panel.state != "live";
        waits.then(|| panel.waits_for.as_deref().unwrap_or("a part to come"))
    }
}

impl DashboardsPage {
    fn dashboard_title(&self) -> &str {
        let found = self.dashboards.iter().find(|it| it.name == self.dashboard);
        found.map_or("", |it| &it.title)
    }

    fn ranges(&self) -> [Range; 4] {
        RANGES
    }

    /// The address of a dashboard with a range.
    fn path(&self, dashboard: &str, range: &str) -> String {
        if range == RANGE_DEFAULT.name {
            format!("/dashboards/{dashboard}")
        } else {
            format!("/dashboards/{dashboard}?range={range}")
        }
    }

    /// Seconds until there is more to draw.
    fn every(&self) -> u64 {
        /// Of a page that was left open for long, less often than anybody looks.
        const EVERY_SECONDS_MAX: u64 = 120;
        let steps = self.panels.iter().map(|it| it.data.step_seconds);
        steps
            .min()
            .unwrap_or(EVERY_SECONDS_MAX)
            .clamp(15, EVERY_SECONDS_MAX)
    }
}

#[derive(Template)]
#[template(path = "dashboards.html")]
struct Html<'a> {
    shell: &'a Shell,
    page: &'a DashboardsPage,
}

impl Page for DashboardsPage {
    fn title(&self) -> String {
        format!("{}: dashboard", self.dashboard_title())
    }

    fn tab(&self) -> Option<Tab> {
        Some(Tab::Dashboards)
    }

    fn html(&self, shell: &Shell) -> askama::Result<String> {
        Html { shell, page: self }.render()
    }
}

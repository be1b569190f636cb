//! The panels of the dashboards: what is drawn, from which families, and how to read it.

use std::sync::LazyLock;

use danube_telemetry::query::{Expr, GRAFANA_WINDOW};

use crate::declared::{State, state_of};

mod list;
mod unit;

pub(crate) use list::{share, share_beyond};
pub use unit::Unit;

/// A dashboard: panels that are looked at together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dashboard {
    /// How many jobs, how well, how long.
    JobOverview,
    /// How fast the parts are.
    Performance,
    /// What goes wrong.
    Errors,
    /// What is used up.
    Capacity,
    /// Playbook jobs and the API in front of them.
    Playbooks,
}

impl Dashboard {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 5] = [
        Self::JobOverview,
        Self::Performance,
        Self::Errors,
        Self::Capacity,
        Self::Playbooks,
    ];

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::JobOverview => "Job overview",
            Self::Performance => "Performance",
            Self::Errors => "Errors",
            Self::Capacity => "Capacity",
            Self::Playbooks => "Playbooks",
        }
    }

    /// For machines and file names, in `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JobOverview => "job_overview",
            Self::Performance => "performance",
            Self::Errors => "errors",
            Self::Capacity => "capacity",
            Self::Playbooks => "playbooks",
        }
    }
}

/// One question of a panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Name of its lines; `{{label}}` stands for a label's value, as in Grafana.
    pub legend: &'static str,
    /// The question.
    pub expr: Expr,
}

impl Query {
    /// The question as Grafana asks it.
    pub fn grafana(&self) -> String {
        self.expr.promql(GRAFANA_WINDOW)
    }

    /// The legend of a line with these labels.
    pub fn legend_of(&self, labels: &[(String, String)]) -> String {
        let mut out = self.legend.to_owned();
        for (name, value) in labels {
            out = out.replace(&format!("{{{{{name}}}}}"), value);
        }
        out
    }
}

/// A panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Name in the API, in `snake_case`.
    pub name: &'static str,
    /// Where it is shown.
    pub dashboard: Dashboard,
    /// For people.
    pub title: &'static str,
    /// What it says and how to read it.
    pub description: &'static str,
    /// What its numbers are.
    pub unit: Unit,
    /// What it draws.
    pub queries: Vec<Query>,
}

impl Panel {
    /// Whether it can show something: live when all its families are.
    pub fn state(&self) -> State {
        let families = self.queries.iter().flat_map(|it| it.expr.families());
        state_of(families)
    }
}

/// All panels, by dashboard and in the order in which they are shown.
pub fn panels() -> &'static [Panel] {
    static ALL: LazyLock<Vec<Panel>> = LazyLock::new(|| {
        [
            list::job_overview(),
            list::performance(),
            list::errors(),
            list::capacity(),
            list::playbooks(),
        ]
        .concat()
    });
    &ALL
}

/// The panel of this name.
pub fn panel(name: &str) -> Option<&'static Panel> {
    panels().iter().find(|it| it.name == name)
}

//! The health of the server: what each check found, how that went, and what was tried.

use askama::Template;
use danube_api::{CheckView, HealthReport};
use danube_model::Timestamp;
use serde::Serialize;

use crate::chart::strip::Strip;
use crate::{Page, Shell, Tab};

/// The server's health.
#[derive(Debug, Clone, Serialize)]
pub struct HealthPage {
    /// What is known now.
    pub report: HealthReport,
    /// How checks went, for those of which anything is kept.
    pub histories: Vec<CheckHistory>,
    /// Where the histories begin.
    pub from: Timestamp,
    /// Where they end.
    pub to: Timestamp,
}

/// How a check went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckHistory {
    /// The check's name.
    pub check: String,
    /// Unix time in seconds, and failures in a row then.
    pub points: Vec<(f64, f64)>,
}

impl HealthPage {
    fn strip(&self, check: &CheckView) -> Option<Strip> {
        let found = self.histories.iter().find(|it| it.check == check.name)?;
        let seconds = |it: Timestamp| it.as_millis() as f64 / 1e3;
        let span = (seconds(self.from), seconds(self.to));
        (span.0 < span.1).then(|| Strip::of(&found.points, span))
    }

    /// Those in trouble first, then by their names.
    fn checks(&self) -> Vec<&CheckView> {
        let mut all: Vec<&CheckView> = self.report.checks.iter().collect();
        all.sort_by_key(|it| (urgency(&it.status), it.name.as_str()));
        all
    }

    fn is_ready(&self) -> bool {
        self.report.status == "ready"
    }

    fn healing(&self) -> &str {
        match self.report.healing.as_str() {
            "auto" => "what fails is healed where that is known how",
            "dry_run" => "nothing is healed; what would be tried is told",
            _ => "nothing is healed",
        }
    }
}

fn urgency(status: &str) -> u8 {
    match status {
        "failed" => 0,
        "stale" => 1,
        "degraded" => 2,
        "disabled" => 4,
        _ => 3,
    }
}

/// The class of a status, which the style knows from jobs.
fn class(status: &str) -> &'static str {
    match status {
        "ok" => "success",
        "failed" => "failed",
        "disabled" => "skipped",
        _ => "degraded",
    }
}

#[derive(Template)]
#[template(path = "checks.html")]
struct Html<'a> {
    shell: &'a Shell,
    page: &'a HealthPage,
}

impl Page for HealthPage {
    fn title(&self) -> String {
        if self.is_ready() {
            "Health".to_owned()
        } else {
            "Health: not ready".to_owned()
        }
    }

    fn tab(&self) -> Option<Tab> {
        Some(Tab::Health)
    }

    fn html(&self, shell: &Shell) -> askama::Result<String> {
        Html { shell, page: self }.render()
    }
}

//! The alerts: what fires, since when and why, and what to do then.

use askama::Template;
use danube_api::AlertView;
use danube_model::Timestamp;
use serde::Serialize;

use crate::chart::unit::Unit;
use crate::markdown::{self, Block};
use crate::{Page, Shell, Tab};

/// What fires, and what is watched.
#[derive(Debug, Clone, Serialize)]
pub struct AlertsPage {
    /// What fires, then what is about to; the critical ones first.
    pub alerts: Vec<AlertView>,
    /// All that may, in the order of the reference page.
    pub rules: Vec<AlertRule>,
}

/// What may fire.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertRule {
    /// Its name, in `snake_case`.
    pub name: String,
    /// `critical` or `warning`.
    pub severity: String,
    /// What is wrong when it fires, in a few words.
    pub summary: String,
    /// What that means and where to look first.
    pub description: String,
    /// How many seconds its condition has to hold.
    pub holds_for_seconds: f64,
    /// The condition, for Prometheus.
    pub promql: String,
    /// The part that it waits for; none where it can fire.
    pub waits_for: Option<String>,
    /// Whether only Prometheus can tell, from outside.
    pub is_seen_from_outside: bool,
}

/// What to do about one alert.
#[derive(Debug, Clone, Serialize)]
pub struct RunbookPage {
    /// What may fire.
    pub rule: AlertRule,
    /// What of it fires or is about to.
    pub alerts: Vec<AlertView>,
    /// The page, as Markdown.
    pub text: String,
}

/// What the pages say of one that fires.
struct Shown<'a> {
    alert: &'a AlertView,
    since: Option<Timestamp>,
    value: String,
}

fn shown(alerts: &[AlertView]) -> Vec<Shown<'_>> {
    let of = |alert| Shown {
        alert,
        since: Timestamp::parse(&alert.since),
        value: value(alert),
    };
    alerts.iter().map(of).collect()
}

/// The latest value; empty where it says nothing.
fn value(alert: &AlertView) -> String {
    match (Unit::named(&alert.unit), alert.value) {
        (Unit::Flag, _) | (_, None) => String::new(),
        (unit, Some(value)) => unit.shown(value),
    }
}

impl AlertRule {
    fn is_watched(&self) -> bool {
        self.waits_for.is_none() && !self.is_seen_from_outside
    }
}

impl AlertsPage {
    fn of_state(&self, state: &str) -> u64 {
        self.alerts.iter().filter(|it| it.state == state).count() as u64
    }

    fn firing(&self) -> u64 {
        self.of_state("firing")
    }

    fn pending(&self) -> u64 {
        self.of_state("pending")
    }

    fn watched(&self) -> u64 {
        self.rules.iter().filter(|it| it.is_watched()).count() as u64
    }

    fn shown(&self) -> Vec<Shown<'_>> {
        shown(&self.alerts)
    }
}

impl RunbookPage {
    fn shown(&self) -> Vec<Shown<'_>> {
        shown(&self.alerts)
    }

    /// The page below its own title, whose place the alert's summary takes.
    fn blocks(&self) -> Vec<Block> {
        let mut blocks = markdown::blocks(&self.text);
        if matches!(blocks.first(), Some(Block::Head(1, _))) {
            blocks.remove(0);
        }
        blocks
    }
}

/// Where a link of a runbook leads: to another runbook, or nowhere.
pub(crate) fn to_page(link: &str) -> Option<String> {
    let name = link.strip_suffix(".md")?;
    let is_ours = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    (!name.is_empty() && name.chars().all(is_ours)).then(|| format!("/alerts/{name}"))
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct Html<'a> {
    shell: &'a Shell,
    page: &'a AlertsPage,
}

#[derive(Template)]
#[template(path = "runbook.html")]
struct RunbookHtml<'a> {
    shell: &'a Shell,
    page: &'a RunbookPage,
}

impl Page for AlertsPage {
    fn title(&self) -> String {
        match self.firing() {
            0 => "Alerts".to_owned(),
            firing => format!("Alerts: {firing} firing"),
        }
    }

    fn tab(&self) -> Option<Tab> {
        Some(Tab::Alerts)
    }

    fn html(&self, shell: &Shell) -> askama::Result<String> {
        Html { shell, page: self }.render()
    }
}

impl Page for RunbookPage {
    fn title(&self) -> String {
        format!("Alert {}", self.rule.name)
    }

    fn tab(&self) -> Option<Tab> {
        Some(Tab::Alerts)
    }

    fn html(&self, shell: &Shell) -> askama::Result<String> {
        RunbookHtml { shell, page: self }.render()
    }
}

//! The signals: all that the server tells of itself, to be searched.

use askama::Template;
use serde::Serialize;

use crate::words;
use crate::{Page, Shell, Tab};

/// The catalogue, or what of it was searched for.
#[derive(Debug, Clone, Serialize)]
pub struct SignalsPage {
    /// The words that each of them has; empty for all.
    pub query: String,
    /// Their kind; empty for any.
    pub kind: String,
    /// What was found, by kind.
    pub rows: Vec<SignalRow>,
    /// How many there are in all.
    pub total: u64,
}

/// A signal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SignalRow {
    /// `event`, `metric`, `span`, `panel` or `alert`.
    pub kind: String,
    /// Its name: of a metric the one in Prometheus.
    pub name: String,
    /// Its other name: of a metric the one in OpenTelemetry, of an alert the one in Prometheus.
    pub other_name: Option<String>,
    /// What of its kind it is: a counter, a warning, of which dashboard.
    pub sort: String,
    /// Its labels, fields, attributes or questions.
    pub labels: Vec<String>,
    /// Its unit; empty where it has none.
    pub unit: String,
    /// What it says.
    pub help: String,
    /// The part that it waits for; none where it is told.
    pub waits_for: Option<String>,
}

/// A kind: as rows have it, its heading, and what its `sort` and `labels` are.
type Kind = (&'static str, &'static str, &'static str, &'static str);

/// The kinds in their order.
const KINDS: [Kind; 5] = [
    ("event", "Log events", "Level", "Fields"),
    ("metric", "Metrics", "Type", "Labels"),
    ("span", "Spans", "Kind", "Attributes"),
    ("panel", "Panels", "Dashboard", "Questions"),
    ("alert", "Alerts", "Severity", "Condition"),
];

impl SignalRow {
    /// What it is searched in.
    fn text(&self) -> String {
        let parts = [
            &self.name,
            self.other_name.as_ref().unwrap_or(&self.name),
            &self.sort,
            &self.labels.join(" "),
            &self.unit,
            &self.help,
        ];
        parts.map(|it| it.to_lowercase()).join(" ")
    }

    /// Whether it has all these words, in any case and order.
    #[must_use]
    pub fn has(&self, query: &str) -> bool {
        let text = self.text();
        let query = query.to_lowercase();
        query.split_whitespace().all(|it| text.contains(it))
    }

    /// The end of its id on the page: names of spans have spaces and brackets.
    fn id(&self) -> String {
        let kept = |it: char| if it.is_alphanumeric() { it } else { '_' };
        self.name.chars().map(kept).collect()
    }

    /// Where more of it stands.
    fn path(&self) -> Option<String> {
        match self.kind.as_str() {
            "alert" => Some(format!("/alerts/{}", words::in_query(&self.name))),
            "panel" => Some(format!("/dashboards/{}", words::in_query(&self.sort))),
            _ => None,
        }
    }
}

impl SignalsPage {
    /// What has these words and is of this kind, of `all`.
    #[must_use]
    pub fn search(all: Vec<SignalRow>, query: &str, kind: &str) -> Self {
        let total = all.len() as u64;
        let rows = all.into_iter();
        let found = rows.filter(|it| (kind.is_empty() || it.kind == kind) && it.has(query));
        Self {
            query: query.to_owned(),
            kind: kind.to_owned(),
            rows: found.collect(),
            total,
        }
    }

    fn kinds(&self) -> [Kind; 5] {
        KINDS
    }

    /// What was found of a kind.
    fn of(&self, kind: &str) -> Vec<&SignalRow> {
        self.rows.iter().filter(|it| it.kind == kind).collect()
    }

    /// Whether any of a kind has a unit.
    fn has_units(&self, kind: &str) -> bool {
        self.of(kind).iter().any(|it| !it.unit.is_empty())
    }

    fn found(&self) -> String {
        let found = self.rows.len() as u64;
        let total = words::counted(self.total, "signal", "signals");
        if found == self.total {
            total
        } else {
            format!("{} of {total}", words::count(found))
        }
    }
}

#[derive(Template)]
#[template(path = "signals.html")]
struct Html<'a> {
    shell: &'a Shell,
    page: &'a SignalsPage,
}

impl Page for SignalsPage {
    fn title(&self) -> String {
        "Signals".to_owned()
    }

    fn tab(&self) -> Option<Tab> {
        Some(Tab::Signals)
    }

    fn html(&self, shell: &Shell) -> askama::Result<String> {
        Html { shell, page: self }.render()
    }
}

//! The catalogue as one list: every signal by its names, what it says, and what uses it.

use danube_telemetry::FamilyDecl;
use danube_telemetry::metric::{Kind, LabelValues};
use danube_telemetry::query::{Expr, Part, Window, buckets, quantile, series};

use crate::alerts::{Alert, Expected, alerts};
use crate::declared::{EventDecl, FamilyState, State, events, families};
use crate::panels::{Panel, panels};

/// A declared signal.
#[derive(Debug, Clone)]
pub enum Signal {
    /// A line of the server log.
    Event(&'static EventDecl),
    /// A metric.
    Metric(FamilyState),
    /// A panel of a dashboard.
    Panel(&'static Panel),
    /// An alert.
    Alert(Box<Alert>),
}

impl Signal {
    /// The kinds, as [`Self::kind`] says them.
    pub const KINDS: [&'static str; 4] = ["event", "metric", "panel", "alert"];

    /// What it is.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Event(_) => Self::KINDS[0],
            Self::Metric(_) => Self::KINDS[1],
            Self::Panel(_) => Self::KINDS[2],
            Self::Alert(_) => Self::KINDS[3],
        }
    }

    /// Its name: of a metric the one in Prometheus.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Event(it) => it.name,
            Self::Metric(it) => it.decl.name(),
            Self::Panel(it) => it.name,
            Self::Alert(it) => it.name,
        }
    }

    /// Its other name, if it has one: a metric's in OpenTelemetry, an alert's in Prometheus.
    pub fn other_name(&self) -> Option<String> {
        match self {
            Self::Event(_) | Self::Panel(_) => None,
            Self::Metric(it) => Some(it.decl.otel_name.to_owned()),
            Self::Alert(it) => Some(it.rule_name()),
        }
    }

    /// Whether it can be seen already.
    pub fn state(&self) -> State {
        match self {
            Self::Event(it) => it.state,
            Self::Metric(it) => it.state,
            Self::Panel(it) => it.state(),
            Self::Alert(it) => it.state(),
        }
    }

    /// What it says, in one sentence.
    pub fn about(&self) -> &'static str {
        match self {
            Self::Event(it) => it.about.trim(),
            Self::Metric(it) => it.decl.help,
            Self::Panel(it) => it.description,
            Self::Alert(it) => it.summary,
        }
    }

    fn is_called(&self, name: &str) -> bool {
        if self.name() == name || self.other_name().is_some_and(|it| it == name) {
            return true;
        }
        let Self::Metric(it) = self else { return false };
        // A series of a histogram stands for it.
        it.decl.kind == Kind::Histogram
            && [Part::Bucket, Part::Sum, Part::Count]
                .iter()
                .any(|part| name.strip_suffix(part.suffix()) == Some(it.decl.name()))
    }
}

/// All signals: events, metrics, panels, alerts, each in the order of the reference page.
pub fn catalogue() -> impl Iterator<Item = Signal> {
    let alerts = alerts(Expected::default()).into_iter();
    events()
        .map(Signal::Event)
        .chain(families().map(Signal::Metric))
        .chain(panels().iter().map(Signal::Panel))
        .chain(alerts.map(|it| Signal::Alert(Box::new(it))))
}

/// The signals of this name, which may be any of theirs: an event and an alert may share
/// one.
pub fn find(name: &str) -> Vec<Signal> {
    catalogue().filter(|it| it.is_called(name)).collect()
}

/// Panels that ask for a family.
pub fn panels_that_use(family: &FamilyDecl) -> Vec<&'static str> {
    let uses = |it: &&Panel| it.queries.iter().any(|query| asks_for(&query.expr, family));
    panels().iter().filter(uses).map(|it| it.name).collect()
}

/// Alerts that ask for a family.
pub fn alerts_that_use(family: &FamilyDecl) -> Vec<&'static str> {
    let all = alerts(Expected::default()).into_iter();
    all.filter(|it| asks_for(&it.condition, family))
        .map(|it| it.name)
        .collect()
}

fn asks_for(expr: &Expr, family: &FamilyDecl) -> bool {
    expr.families().iter().any(|it| it.name() == family.name())
}

/// Questions to copy: what one usually asks of a family of this type, as `PromQL`.
pub fn promql_of(decl: &'static FamilyDecl) -> Vec<String> {
    /// Holds several scrapes, and is still of this moment.
    const WINDOW: Window = Window::minutes(5);
    let labels: Vec<&'static str> = decl.labels().iter().map(|it| it.name()).collect();
    let questions = match decl.kind {
        Kind::Counter => vec![series(decl).rate(WINDOW).sum_by(&labels)],
        Kind::Gauge | Kind::Info => vec![series(decl).now()],
        Kind::Histogram => vec![
            quantile(0.95, buckets(decl), WINDOW, &labels),
            danube_telemetry::query::mean(decl, WINDOW, &labels),
        ],
    };
    questions.iter().map(|it| it.promql("5m")).collect()
}

/// The type of a family, with the buckets of a histogram.
pub fn kind_shown(decl: &FamilyDecl) -> String {
    match decl.kind {
        Kind::Counter => "counter".to_owned(),
        Kind::Gauge => "gauge".to_owned(),
        Kind::Info => "info".to_owned(),
        Kind::Histogram => {
            let bounds: Vec<String> = decl.buckets.iter().map(ToString::to_string).collect();
            format!("histogram {}", bounds.join(" "))
        }
    }
}

/// The labels of a family with their values: all of them in braces, or of what kind they are
/// in stars.
pub fn labels_shown(decl: &FamilyDecl) -> Vec<(&str, String)> {
    let shown = |values: LabelValues| match values {
        LabelValues::Closed(values) => format!("{{{}}}", values.join(", ")),
        LabelValues::Sparse => "*sparse*".to_owned(),
        LabelValues::Bounded => "*bounded*".to_owned(),
        LabelValues::Expiring => "*expiring*".to_owned(),
    };
    let all = decl.labels().iter();
    all.map(|it| (it.name(), shown(it.values))).collect()
}

/// How many combinations of label values a family can have. Past the limit of open labels,
/// new values share one more.
pub fn series_max(decl: &FamilyDecl) -> usize {
    let closed: usize = decl
        .labels()
        .iter()
        .map(|it| match it.values {
            LabelValues::Closed(values) => values.len(),
            LabelValues::Sparse | LabelValues::Bounded | LabelValues::Expiring => 1,
        })
        .product();
    let open = if decl.is_closed() { 1 } else { decl.series_max };
    closed * open
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family;

    #[track_caller]
    fn check(name: &str, kinds: &[&str]) {
        let found: Vec<&str> = find(name).iter().map(Signal::kind).collect();
        assert_eq!(found, kinds, "{name}");
    }

    #[test]
    fn a_signal_is_found_by_each_of_its_names() {
        check("job_failed", &["event"]);
        check("danube_jobs_total", &["metric"]);
        check("danube.jobs", &["metric"]);
        check("danube_job_duration_seconds_bucket", &["metric"]);
        check("jobs_per_hour", &["panel"]);
        check("master_down", &["alert"]);
        check("DanubeMasterDown", &["alert"]);
        check("database_unavailable", &["event", "alert"]);
        check("danube_jobs_total_bucket", &[]);
        check("", &[]);
    }

    #[test]
    fn what_uses_a_family_is_found() {
        assert_eq!(
            panels_that_use(&family::jobs_total),
            ["jobs_per_hour", "job_success_rate", "failed_jobs"]
        );
        assert_eq!(
            alerts_that_use(&family::jobs_total),
            ["job_failures", "job_timeouts"]
        );
    }

    #[test]
    fn the_questions_to_copy_fit_their_families() {
        assert_eq!(
            promql_of(&family::db_queries_total),
            ["sum by (operation) (rate(danube_db_queries_total[5m]))"]
        );
        assert_eq!(promql_of(&family::active_jobs), ["danube_active_jobs"]);
        assert_eq!(promql_of(&family::job_duration_seconds).len(), 2);
    }

    #[test]
    fn series_are_counted_with_all_their_closed_values() {
        assert_eq!(series_max(&family::active_jobs), 1);
        assert_eq!(series_max(&family::db_queries_total), 4);
        assert_eq!(series_max(&family::jobs_total), 4_000);
    }
}

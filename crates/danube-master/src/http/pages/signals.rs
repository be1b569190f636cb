//! The catalogue of what the server tells of itself.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use danube_api::{Code, Problem};
use danube_pages::signals::{SignalRow, SignalsPage};
use danube_signals::{Signal, State as Declared, catalogue, kind_shown, labels_shown, spans};
use danube_telemetry::LabelEnum;
use serde::Deserialize;

use super::frame::Visit;
use crate::app::Shared;

/// What is searched for, as a form or a link says it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SignalsQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    kind: String,
}

/// All signals, or those that are searched for.
pub(super) async fn signals(
    State(app): State<Shared>,
    visit: Visit,
    query: Result<Query<SignalsQuery>, QueryRejection>,
) -> Response {
    let page = match query {
        Ok(Query(query)) => Ok(SignalsPage::search(all(), query.q.trim(), &query.kind)),
        Err(error) => Err(Problem::new(Code::Malformed, error.body_text())),
    };
    visit.show(&app, page)
}

/// All of them. The table of the page shows each kind by itself.
fn all() -> Vec<SignalRow> {
    let spans = spans().map(|it| SignalRow {
        kind: "span".to_owned(),
        name: it.name.to_owned(),
        sort: it.kind.to_owned(),
        labels: owned(it.attributes),
        unit: "s".to_owned(),
        help: it.about.trim().to_owned(),
        ..SignalRow::default()
    });
    catalogue().map(|it| row(&it)).chain(spans).collect()
}

fn row(signal: &Signal) -> SignalRow {
    let (sort, labels, unit) = match signal {
        Signal::Event(it) => (it.level_name().to_owned(), owned(it.fields), ""),
        Signal::Metric(it) => {
            let labels = labels_shown(it.decl).into_iter();
            let labels = labels.map(|(name, values)| format!("{name} {values}"));
            (kind_shown(it.decl), labels.collect(), it.decl.unit)
        }
        Signal::Panel(it) => {
            let questions = it.queries.iter().map(danube_signals::Query::grafana);
            let sort = it.dashboard.as_str().to_owned();
            (sort, questions.collect(), it.unit.as_str())
        }
        Signal::Alert(it) => {
            let condition = vec![it.condition.promql("5m")];
            (it.severity.as_str().to_owned(), condition, it.unit.as_str())
        }
    };
    SignalRow {
        kind: signal.kind().to_owned(),
        name: signal.name().to_owned(),
        other_name: signal.other_name(),
        sort,
        labels,
        unit: unit.to_owned(),
        help: signal.about().to_owned(),
        waits_for: match signal.state() {
            Declared::Live => None,
            Declared::NotYet(part) => Some(part.to_owned()),
        },
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|it| (*it).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_signal_is_there_by_its_name() {
        let all = all();
        for (kind, name) in [
            ("event", "job_failed"),
            ("metric", "danube_jobs_total"),
            ("panel", "jobs_per_hour"),
            ("alert", "job_failures"),
        ] {
            let found = all.iter().filter(|it| it.kind == kind && it.name == name);
            assert_eq!(found.count(), 1, "{kind} {name}");
        }
        assert!(all.iter().any(|it| it.kind == "span"));
        assert!(all.iter().all(|it| !it.help.is_empty()));
    }
}

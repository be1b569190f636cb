//! The alerts, and what to do about each.

use axum::extract::State;
use axum::response::Response;
use danube_api::{Code, Problem};
use danube_pages::alerts::{AlertRule, AlertsPage, RunbookPage};
use danube_signals::{Alert, Expected, State as Declared, alerts as declared};
use danube_telemetry::LabelEnum;

use super::frame::Visit;
use crate::app::{App, Shared};
use crate::http::incoming::Id;

/// What fires, and all that may.
pub(super) async fn alerts(State(app): State<Shared>, visit: Visit) -> Response {
    let page = AlertsPage {
        alerts: app.watch.alerts(),
        rules: all(&app).iter().map(rule).collect(),
    };
    visit.show(&app, Ok(page))
}

/// What to do about one.
pub(super) async fn runbook(State(app): State<Shared>, visit: Visit, Id(name): Id) -> Response {
    let found = all(&app).into_iter().find(|it| it.name == name);
    let page = match found {
        Some(alert) => {
            let mut alerts = app.watch.alerts();
            alerts.retain(|it| it.name == name);
            Ok(RunbookPage {
                rule: rule(&alert),
                alerts,
                text: alert.page().to_owned(),
            })
        }
        None => {
            let detail = "there is no alert of this name; `/alerts` lists all";
            Err(Problem::new(Code::NotFound, detail))
        }
    };
    visit.show(&app, page)
}

/// All alerts, those among them that only Prometheus can tell.
fn all(app: &App) -> Vec<Alert> {
    declared(Expected {
        workers: app.settings.watch.workers_expected,
    })
}

fn rule(alert: &Alert) -> AlertRule {
    let waits_for = match alert.state() {
        Declared::Live => None,
        Declared::NotYet(part) => Some(part.to_owned()),
    };
    AlertRule {
        name: alert.name.to_owned(),
        severity: alert.severity.as_str().to_owned(),
        summary: alert.summary.to_owned(),
        description: alert.description.to_owned(),
        holds_for_seconds: alert.holds_for.as_secs_f64(),
        promql: alert.condition.promql("5m"),
        waits_for,
        is_seen_from_outside: alert.is_seen_from_outside_only(),
    }
}

//! The collector takes what it is sent.

use danube_signals::Check;
use danube_telemetry::otlp::Lost;

use super::super::check::{Answer, CHEAP_DEADLINE, CHEAP_EVERY, HealthCheck};
use super::shown;

pub(super) fn check(export: Option<Lost>) -> HealthCheck {
    HealthCheck {
        name: Check::OtlpExport,
        // A look at what the exporter knows.
        period: CHEAP_EVERY,
        deadline: CHEAP_DEADLINE,
        gates: false,
        run: Box::new(move || look(export.as_ref())),
        // It tries again by itself.
        heal: None,
    }
}

fn look(export: Option<&Lost>) -> Answer {
    let Some(export) = export else {
        return Answer::disabled("observability.otel_endpoint names no collector");
    };
    match export.outage() {
        None => Answer::ok(),
        Some((time, why)) => Answer::degraded(format!(
            "the collector hasn't taken everything for {}: {why}",
            shown(time)
        )),
    }
}

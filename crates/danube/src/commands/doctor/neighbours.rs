//! Other programs that the settings name: whether they answer.

use std::time::Duration;

use danube_signals::{BuildInfo, Limits, Signals};
use danube_telemetry::otlp::{Signal, ask};
use danube_telemetry::outgoing;

use super::found::Found;
use crate::config::{Config, Export};

/// How long an Alertmanager may take.
const DEADLINE: Duration = Duration::from_secs(5);

pub(super) fn redis(config: &Config) -> Found {
    let Some(address) = &config.settings.queue_url else {
        return Found::unused("queue.url names none");
    };
    let signals = Signals::new(BuildInfo::default(), Limits::default());
    match danube_queue::ping(address, &signals) {
        Ok(()) => Found::fine(format!("{address} answers")),
        Err(error) => Found::wrong(
            format!("{address}: {error}"),
            "start Redis, or mend queue.url; workers ask the master meanwhile",
        ),
    }
}

pub(super) fn registry(config: &Config) -> Found {
    let Some(address) = &config.settings.registry.url else {
        return Found::unused("registry.url names none");
    };
    match danube_master::ask_registry(address) {
        Ok(()) => Found::fine(format!("{} answers", address.url)),
        Err(why) => Found::wrong(
            why,
            "start it, or mend registry.url: the address without /v2, with user:password@ where it wants a login",
        ),
    }
}

/// Sent an empty message of what it is to be sent.
pub(super) fn collector(config: &Config) -> Found {
    let Some(export) = &config.export else {
        return Found::unused("observability.otel_endpoint names none");
    };
    let Some(signal) = first_of(export) else {
        return Found::unused("nothing is to be sent to it");
    };
    let url = &export.endpoint.url;
    match ask(&export.endpoint, signal) {
        Ok(()) => Found::fine(format!("{url} answers")),
        Err(why) => Found::wrong(
            format!("{url}: {why}"),
            "start it, or mend observability.otel_endpoint, protocol and headers; jobs go on meanwhile",
        ),
    }
}

/// The first of the signals that are sent.
fn first_of(export: &Export) -> Option<Signal> {
    match export {
        it if it.metrics.is_some() => Some(Signal::Metric),
        it if it.traces => Some(Signal::Span),
        it if it.logs || it.job_logs => Some(Signal::Log),
        _ => None,
    }
}

pub(super) fn alertmanager(config: &Config) -> Found {
    let Some(url) = &config.settings.watch.alertmanager_url else {
        return Found::unused("observability.alertmanager_url names none");
    };
    match alertmanager_status(url) {
        Ok(200) => Found::fine(format!("{url} answers")),
        Ok(status) => Found::wrong(
            format!("{url} answers with status {status}; is it an Alertmanager?"),
            "mend observability.alertmanager_url: the address without /api",
        ),
        Err(why) => Found::wrong(
            format!("{url}: {why}"),
            "start it, or mend observability.alertmanager_url; alerts are in the server's log meanwhile",
        ),
    }
}

fn alertmanager_status(url: &str) -> Result<u16, String> {
    let agent = outgoing::agent(url, concat!("danube/", env!("CARGO_PKG_VERSION")));
    let agent = agent.map_err(|error| error.to_string())?;
    let asked = agent
        .get(format!("{url}/api/v2/status"))
        .config()
        .timeout_global(Some(DEADLINE))
        .build()
        .call();
    let answer = asked.map_err(|error| error.to_string())?;
    Ok(answer.status().as_u16())
}

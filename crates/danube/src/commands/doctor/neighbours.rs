//! Other programs that the settings name: whether they answer.

use std::env;
use std::path::Path;
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
    // A server that doesn't run has none running, either.
    if let Some(start) = &config.settings.registry.start {
        return ours(&start.program);
    }
    match danube_master::ask_registry(address) {
        Ok(()) => Found::fine(format!("{} answers", address.url)),
        Err(why) => Found::wrong(
            why,
            "start it, or mend registry.url: the address without /v2, with user:password@ where it wants a login",
        ),
    }
}

/// The registry that the server starts.
fn ours(program: &str) -> Found {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut dirs = env::split_paths(&path);
    let is_there = match program.contains('/') {
        true => Path::new(program).is_file(),
        false => dirs.any(|it| it.join(program).is_file()),
    };
    if is_there {
        Found::fine(format!("{program} is started by the server"))
    } else {
        Found::wrong(
            format!("there is no program {program}"),
            "install docker-registry, or name the program in registry.program",
        )
    }
}

/// Asked for its description and its keys.
pub(super) fn oidc(config: &Config) -> Found {
    let Some(settings) = &config.settings.oidc else {
        return Found::unused("oidc.issuer names none");
    };
    match danube_master::ask_provider(settings) {
        Ok(()) => Found::fine(format!("{} describes itself and its keys", settings.issuer)),
        Err(why) => Found::wrong(
            why,
            "start the provider, or mend oidc.issuer and oidc.allow_private; sessions and keys go on meanwhile",
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

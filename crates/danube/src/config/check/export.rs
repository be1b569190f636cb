//! What goes to a collector, made from settings that fit each other.

use std::time::Duration;

use danube_model::Mistake;
use danube_telemetry::otlp::{Endpoint, Protocol};
use danube_telemetry::trace::sampling::Sampling;

use super::super::Export;
use super::super::collector::Header;
use super::Values;

const ENDPOINT: &str = "observability.otel_endpoint";
const HEADERS: &str = "observability.otel_headers";
const PROTOCOL: &str = "observability.otel_protocol";

/// What doesn't go together.
pub(super) fn check(it: &Values<'_>, mistakes: &mut Vec<Mistake>) {
    let Some(address) = it.collector(ENDPOINT) else {
        return;
    };
    let protocol = it.found(PROTOCOL);
    if address.has_path() && !protocol.is_wrong && protocol_of(it) == Some(Protocol::Grpc) {
        mistakes.push(it.found(ENDPOINT).wrong(
            ENDPOINT,
            "over gRPC a collector's address has no path",
            "leave the path out, or say observability.otel_protocol = \"http/protobuf\"",
        ));
    }
    let named = it.headers(HEADERS);
    if address.has_login() && named.iter().any(|it| it.name == "authorization") {
        mistakes.push(it.found(HEADERS).wrong(
            HEADERS,
            "the header authorization and the collector's address both say who we are",
            "leave user and password out of observability.otel_endpoint, or the header out of this list",
        ));
    }
}

fn protocol_of(it: &Values<'_>) -> Option<Protocol> {
    Some(match it.text(PROTOCOL)?.as_str() {
        "http/protobuf" => Protocol::HttpProtobuf,
        _ => Protocol::Grpc,
    })
}

/// The export, or that there is none; nothing at all when a value is missing.
pub(super) fn read(it: &Values<'_>) -> Option<Option<Export>> {
    let protocol = protocol_of(it)?;
    let metrics = it.bool("observability.metrics_enabled")?;
    let interval = Duration::from_secs(it.number("observability.metrics_interval_seconds")?);
    let logs = it.bool("observability.logs_enabled")?;
    let job_logs = it.bool("observability.job_logs_enabled")?;
    let traces = it.bool("observability.traces_enabled")?;
    let Some(address) = it.collector(ENDPOINT) else {
        return Some(None);
    };
    let headers = it
        .headers(HEADERS)
        .into_iter()
        .chain(address.authorization());
    Some(Some(Export {
        endpoint: Endpoint {
            url: address.url,
            protocol,
            headers: headers.map(|it| (it.name, it.value)).collect(),
        },
        metrics: metrics.then_some(interval),
        logs,
        job_logs,
        traces,
    }))
}

/// Which traces of jobs are sent.
pub(super) fn sampling(it: &Values<'_>) -> Option<Sampling> {
    let percent = u32::try_from(it.number("observability.traces_sample_percent")?);
    Some(Sampling {
        ratio: f64::from(percent.expect("the table bounds it")) / 100.0,
        slow: Duration::from_secs(it.number("observability.traces_slow_seconds")?),
    })
}

/// What these settings hold that must not be seen.
pub(super) fn secrets(it: &Values<'_>) -> Vec<String> {
    let mut all: Vec<String> = it
        .headers(HEADERS)
        .iter()
        .flat_map(Header::secrets)
        .collect();
    if let Some(address) = it.collector(ENDPOINT) {
        all.extend(address.secrets());
        all.extend(address.authorization().iter().flat_map(Header::secrets));
    }
    if let Some(address) = it.collector("registry.url") {
        all.extend(address.secrets());
        all.extend(address.authorization().iter().flat_map(Header::secrets));
    }
    let redis = it.redis("queue.url");
    all.extend(redis.iter().filter_map(|it| it.secret()).map(str::to_owned));
    all
}

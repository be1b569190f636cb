//! Spans as `tracing-opentelemetry` records them and `opentelemetry_sdk` batches them.

use std::hint::black_box;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use tracing::field::Empty;
use tracing::info_span;
use tracing_subscriber::layer::SubscriberExt;

use crate::spans::Settle;

const OUT: &str = "otel-out";

/// Name on the command line, and in the table.
pub(crate) const CASES: &[(&str, &str)] = &[
    (
        crate::spans::PEER,
        "tracing-opentelemetry, batches to nowhere",
    ),
    (OUT, "tracing-opentelemetry, sampled out"),
];

/// Takes every batch and drops it: what encoding and sending cost isn't theirs here.
#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        black_box(batch);
        Ok(())
    }
}

/// Starts it for the whole process; what waits until the spans were taken, if this is one
/// of its cases.
pub(crate) fn start(case: &str) -> Option<Settle> {
    let sampler = match case {
        crate::spans::PEER => Sampler::AlwaysOn,
        OUT => Sampler::AlwaysOff,
        _ => return None,
    };
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Nowhere)
        .with_sampler(sampler)
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).expect("the only one of this process");
    Some(Box::new(move || {
        provider.force_flush().expect("it takes everything");
    }))
}

/// One request's span, with what the conventions ask of it; its ids are theirs.
pub(crate) fn request(id: &str) {
    let (method, route) = ("GET", "/api/v1/jobs/{id}");
    let span = info_span!(
        target: "danube.api",
        "request",
        request_id = id,
        "otel.kind" = "server",
        "otel.name" = display(format_args!("{method} {route}")),
        "http.request.method" = method,
        "http.route" = route,
        "http.response.status_code" = Empty,
        "url.path" = "/api/v1/jobs/0192f3a4",
        "error.type" = Empty,
        "otel.status_code" = Empty,
    );
    let _entered = span.enter();
    span.record("http.response.status_code", 200);
}

//! Spans whose ids every line within shows, and which facts of failures mark. Those
//! with `otel.kind` are exported; what they say is worked out only if somebody reads it.

use std::fmt;

use danube_telemetry::TraceContext;
use danube_telemetry::context::SAMPLED;
use danube_telemetry::span::{ERROR_TYPE, STATUS, is_recorded};
use tracing::Span;
use tracing::field::Empty;

/// What an HTTP request's span says.
#[derive(Debug, Clone, Copy)]
pub struct RequestSpan<'a> {
    /// Its id in the log.
    pub request_id: &'a str,
    /// Its own place in the trace.
    pub context: &'a TraceContext,
    /// The caller's span, if there is one.
    pub parent: Option<[u8; 8]>,
    /// Method, as it was sent.
    pub method: &'a str,
    /// Template of the route, if there is one.
    pub route: Option<&'a str>,
    /// Path, without the query, which might hold something private.
    pub path: &'a str,
}

/// The span of an HTTP request. Instrument the handler's future with it.
pub fn request_span(request: &RequestSpan<'_>) -> Span {
    let RequestSpan {
        request_id,
        context,
        parent,
        method,
        route,
        path,
    } = *request;
    tracing::info_span!(
        target: "danube.api",
        "request",
        trace_id = context.trace_hex(),
        span_id = context.span_hex(),
        parent_span_id = parent.map(|it| display(Hex(it))),
        sampled = context.flags & SAMPLED != 0,
        request_id,
        "otel.kind" = "server",
        "otel.name" = display(format_args!("{method}{}{}", if route.is_some() { " " } else { "" }, route.unwrap_or(""))),
        "http.request.method" = method,
        "http.route" = route,
        "http.response.status_code" = Empty,
        "url.path" = path,
        "error.type" = Empty,
        "otel.status_code" = Empty,
    )
}

/// Notes how a request was answered. A server's own failure marks the span.
pub fn request_answered(span: &Span, status: u16) {
    if !is_recorded() {
        return;
    }
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record(ERROR_TYPE, status.to_string());
        span.record(STATUS, "ERROR");
    }
}

/// The span of work for a job, under the job's stored context; for lines only.
pub fn job_span(job_id: &str, context: &TraceContext) -> Span {
    tracing::info_span!(
        target: "danube.orchestrator",
        "job",
        trace_id = context.trace_hex(),
        span_id = context.span_hex(),
        sampled = context.flags & SAMPLED != 0,
        job_id,
        "error.type" = Empty,
        "otel.status_code" = Empty,
    )
}

/// What the span of a job's run says.
#[derive(Debug, Clone, Copy)]
pub struct RunSpan<'a> {
    /// The job.
    pub job_id: &'a str,
    /// The same as people write it.
    pub short_id: &'a str,
    /// The context that is stored with the job.
    pub context: &'a TraceContext,
    /// The pipeline.
    pub pipeline: &'a str,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Who runs it.
    pub worker: &'a str,
}

/// The span of a job's run: the one that is exported under the job's ids.
pub fn run_span(run: &RunSpan<'_>) -> Span {
    let RunSpan {
        job_id,
        short_id,
        context,
        pipeline,
        attempt,
        worker,
    } = *run;
    tracing::info_span!(
        target: "danube.orchestrator",
        "job",
        trace_id = context.trace_hex(),
        span_id = context.span_hex(),
        sampled = context.flags & SAMPLED != 0,
        "otel.kind" = "internal",
        "otel.name" = display(format_args!("Job {short_id}")),
        "job.id" = job_id,
        "cicd.pipeline.name" = pipeline,
        "cicd.pipeline.run.id" = job_id,
        "cicd.pipeline.result" = Empty,
        "job.status" = Empty,
        "danube.job.attempt" = attempt,
        "worker.id" = worker,
        "error.type" = Empty,
        "otel.status_code" = Empty,
    )
}

/// Notes how a run ended: the job's status, its result in the words of OpenTelemetry's
/// conventions, and one word of a few for what went wrong.
pub fn run_ended(span: &Span, status: &str, result: &str, error_type: Option<&str>) {
    if !is_recorded() {
        return;
    }
    span.record("job.status", status);
    span.record("cicd.pipeline.result", result);
    if let Some(error_type) = error_type {
        span.record(ERROR_TYPE, error_type);
        span.record(STATUS, "ERROR");
    }
}

/// Lower-case digits, written only if somebody reads them.
struct Hex([u8; 8]);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

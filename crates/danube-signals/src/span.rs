//! Spans whose ids every line within shows, and which facts of failures mark.

use danube_telemetry::TraceContext;
use danube_telemetry::context::SAMPLED;
use tracing::Span;
use tracing::field::Empty;

/// The span of an HTTP request. Instrument the handler's future with it.
pub fn request_span(request_id: &str, context: &TraceContext) -> Span {
    tracing::info_span!(
        target: "danube.api",
        "request",
        trace_id = context.trace_hex(),
        span_id = context.span_hex(),
        sampled = context.flags & SAMPLED != 0,
        request_id,
        "error.type" = Empty,
        "otel.status_code" = Empty,
    )
}

/// The span of work for a job, under the job's stored context.
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

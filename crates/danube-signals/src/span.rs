//! Spans whose ids every line within shows.

use danube_telemetry::TraceContext;
use danube_telemetry::context::SAMPLED;
use tracing::Span;

/// The span of an HTTP request. Instrument the handler's future with it.
pub fn request_span(request_id: &str, context: &TraceContext) -> Span {
    tracing::info_span!(
        target: "danube.api",
        "request",
        trace_id = context.trace_hex(),
        span_id = context.span_hex(),
        sampled = context.flags & SAMPLED != 0,
        request_id,
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
    )
}

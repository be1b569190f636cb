//! Spans. Those of requests and of work for a job are there for the lines within, which
//! show their ids, and for facts of failures, which mark them; with `otel.kind` they are
//! exported, and what they say is worked out only if somebody reads it. The spans of a
//! job ([`AttemptTrace`]) and of the request that submitted it ([`SubmitTrace`]) are made
//! from what is known of them, as often as that is wanted.

mod attempt;
mod call;
mod declared;
mod heal;
mod playbook;
mod submit;
mod webhook;

use std::fmt;

use danube_telemetry::TraceContext;
use danube_telemetry::context::SAMPLED;
use danube_telemetry::span::{ERROR_TYPE, STATUS, is_recorded};
use tracing::Span;
use tracing::field::Empty;

pub use attempt::{AttemptTrace, JobSpans, RunOutcome, Source, StepTrace, Stretch};
pub use call::RunStepTrace;
pub use declared::{SpanDecl, spans};
pub use heal::{heal_failed, heal_span};
pub use playbook::{
    HOST_EVENTS_MAX, PlayTrace, PlaybookTrace, ResultTrace, TASK_SPANS_MAX, TaskTrace,
};
pub use submit::SubmitTrace;
pub use webhook::{WebhookTrace, span_id as webhook_span_id};

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

/// The span below, as it is exported.
const REQUEST: SpanDecl = SpanDecl {
    name: "<method> <route>",
    kind: "server",
    attributes: &[
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "url.path",
        "error.type",
    ],
    about: "any HTTP request, to the head of its answer; only with a collector",
};

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
        // First: of a span that nobody wants the rest isn't read.
        sampled = context.flags & SAMPLED != 0,
        "otel.kind" = "server",
        trace_id = context.trace_digits().as_str(),
        span_id = context.span_digits().as_str(),
        parent_span_id = parent.map(|it| display(Hex(it))),
        request_id,
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
        trace_id = context.trace_digits().as_str(),
        span_id = context.span_digits().as_str(),
        sampled = context.flags & SAMPLED != 0,
        job_id,
    )
}

/// Lower-case digits, written only if somebody reads them.
struct Hex([u8; 8]);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

//! The span of an attempt to heal a failed part.

use danube_telemetry::span::mark_failed;
use danube_telemetry::{LabelEnum, TraceContext};
use tracing::Span;
use tracing::field::Empty;

use super::declared::SpanDecl;
use crate::labels::Check;

/// As it is exported.
pub(super) const SELF_HEAL: SpanDecl = SpanDecl {
    name: "self_heal <action>",
    kind: "internal",
    attributes: &["check", "action", "error.type"],
    about: "an attempt to heal a failed part, the root of a trace of its own; only with a collector",
};

/// The span of an attempt to heal. Lines that are told within it have its trace.
pub fn heal_span(check: Check, action: &'static str) -> Span {
    let context = TraceContext::random();
    tracing::info_span!(
        target: "danube.health",
        "self_heal",
        sampled = true,
        "otel.kind" = "internal",
        trace_id = context.trace_digits().as_str(),
        span_id = context.span_digits().as_str(),
        "otel.name" = %format_args!("self_heal {action}"),
        check = check.as_str(),
        action,
        "error.type" = Empty,
        "otel.status_code" = Empty,
    )
}

/// The attempt of the current span has failed.
pub fn heal_failed() {
    mark_failed("heal_failed");
}

//! Marks the span that a thread is in, for whoever records spans.

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Span;

/// Field of a span that says why it failed, in one word of a few
/// (OpenTelemetry's `error.type`).
pub const ERROR_TYPE: &str = "error.type";

/// Field of a span that is `ERROR` when it failed.
pub const STATUS: &str = "otel.status_code";

static RECORDED: AtomicBool = AtomicBool::new(false);

/// Says whether somebody records spans. Until then marks cost one look at a flag.
pub fn set_recorded(recorded: bool) {
    RECORDED.store(recorded, Ordering::Relaxed);
}

/// Whether somebody records spans: what only they read needn't be worked out else.
pub fn is_recorded() -> bool {
    RECORDED.load(Ordering::Relaxed)
}

/// Marks the innermost span of this thread as failed, if it has [`ERROR_TYPE`] and
/// [`STATUS`] among its fields. `error_type` is one of a few words, never a text that
/// somebody wrote.
pub fn mark_failed(error_type: &str) {
    if !is_recorded() {
        return;
    }
    let span = Span::current();
    span.record(ERROR_TYPE, error_type);
    span.record(STATUS, "ERROR");
}

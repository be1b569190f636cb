//! The trace that this thread works in: what exemplars are taken from. A layer keeps it
//! from the spans that carry ids; reading it is one look at thread-local memory.

use std::cell::RefCell;

use tracing::span::{Attributes, Id};
use tracing::{Subscriber, field::Field, field::Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::context::{SAMPLED, TraceContext};

thread_local! {
    /// Spans with a trace that were entered and not left, the innermost last.
    static ENTERED: RefCell<Vec<(Id, TraceContext)>> = const { RefCell::new(Vec::new()) };
}

/// The trace context of the innermost span with ids that this thread is in. `None`
/// outside of any, and without a log.
pub fn current() -> Option<TraceContext> {
    let innermost = ENTERED.try_with(|it| it.try_borrow().ok()?.last().map(|(_, trace)| *trace));
    innermost.ok().flatten()
}

/// Keeps [`current`].
pub(crate) struct Current;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Current {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut read = Read::default();
        attributes.record(&mut read);
        if let Some(trace) = read.trace()
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().insert(trace);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let trace = context
            .span(id)
            .and_then(|span| span.extensions().get::<TraceContext>().copied());
        if let Some(trace) = trace {
            let _ = ENTERED.try_with(|it| it.borrow_mut().push((id.clone(), trace)));
        }
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        let _ = ENTERED.try_with(|it| {
            let mut entered = it.borrow_mut();
            // Nearly always the last: spans are left in the order that they were entered.
            if let Some(at) = entered.iter().rposition(|(entered, _)| entered == id) {
                entered.remove(at);
            }
        });
    }
}

/// The ids among a span's fields.
#[derive(Default)]
struct Read {
    trace_id: Option<[u8; 16]>,
    span_id: Option<[u8; 8]>,
    is_left_out: bool,
}

impl Read {
    fn trace(&self) -> Option<TraceContext> {
        Some(TraceContext {
            trace_id: self.trace_id?,
            span_id: self.span_id?,
            flags: if self.is_left_out { 0 } else { SAMPLED },
        })
    }
}

impl Visit for Read {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "trace_id" => self.trace_id = TraceContext::unhex(value),
            "span_id" => self.span_id = TraceContext::unhex(value),
            _ => {}
        }
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "sampled" {
            self.is_left_out = !value;
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn the_innermost_span_with_ids_is_the_current_trace() {
        let subscriber = tracing_subscriber::registry().with(Current);
        tracing::subscriber::with_default(subscriber, || {
            assert_eq!(current(), None);
            let (outer, inner) = (TraceContext::random(), TraceContext::random());
            let span = |trace: &TraceContext, sampled: bool| {
                tracing::info_span!(
                    "work",
                    trace_id = trace.trace_hex(),
                    span_id = trace.span_hex(),
                    sampled
                )
            };
            let first = span(&outer, true).entered();
            assert_eq!(current(), Some(outer));
            {
                let _no_ids = tracing::info_span!("plain").entered();
                assert_eq!(current(), Some(outer));
                let _second = span(&inner, false).entered();
                assert_eq!(current(), Some(TraceContext { flags: 0, ..inner }));
            }
            assert_eq!(current(), Some(outer));
            drop(first);
            assert_eq!(current(), None);
        });
    }
}

//! The layer that turns events into lines and remembers the ids of spans.

use std::cell::Cell;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::line::{Fields, Head, Ids, Redact, Scratch, Style, finish};

/// Where lines go: the newline is included; the flag says that it is an error.
pub(crate) type Sink = Box<dyn Fn(&[u8], bool) + Send + Sync>;

/// Longest line buffer that a thread keeps for the next line.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

thread_local! {
    // Taken out while in use: a value whose `Debug` logs gets a fresh one.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

pub(crate) struct Lines {
    pub(crate) style: Style,
    pub(crate) redact: Arc<Redact>,
    pub(crate) sink: Sink,
    pub(crate) clock: fn() -> SystemTime,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut ids = Ids::default();
        attributes.record(&mut ids);
        if !ids.is_empty()
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().insert(ids);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut ids = Ids::default();
        values.record(&mut ids);
        if ids.is_empty() {
            return;
        }
        if let Some(span) = context.span(id) {
            let mut extensions = span.extensions_mut();
            if let Some(before) = extensions.get_mut::<Ids>() {
                ids.or(before);
            }
            extensions.replace(ids);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut outer = Ids::default();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(ids) = span.extensions().get::<Ids>() {
                outer.or(ids);
            }
        }
        let metadata = event.metadata();
        let head = Head {
            time: (self.clock)(),
            level: *metadata.level(),
            logger: metadata.target(),
            outer,
        };
        let mut scratch = SCRATCH.take().unwrap_or_default();
        let mut fields = Fields::new(&mut scratch, self.style, &*self.redact);
        event.record(&mut fields);
        finish(fields, &head);
        (self.sink)(scratch.line.as_bytes(), *metadata.level() == Level::ERROR);
        if scratch.line.capacity() <= SCRATCH_BYTES_KEPT {
            SCRATCH.set(Some(scratch));
        }
    }
}

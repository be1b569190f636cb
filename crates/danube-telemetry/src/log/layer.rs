//! The layer that turns events into lines and remembers the ids of spans.

use std::cell::Cell;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::ids::Ids;
use super::line::{Fields, Head, Redact, Scratch, Style, Suspects, finish};

/// Where lines go: the newline is included; the flag says that it is an error.
pub(crate) type Sink = Box<dyn Fn(&[u8], bool) + Send + Sync>;

/// Told of each line as one redacted JSON object without its newline, whatever the
/// output looks like. Called on the thread that logs: it may copy the line into a
/// bounded buffer, and must neither wait nor log.
pub type Tap = Arc<dyn Fn(&str, Level) + Send + Sync>;

/// Longest buffers that a thread keeps for the next line, in all.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

thread_local! {
    // Taken out while in use: a value whose `Debug` logs gets a fresh one.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// How secrets are kept out of the lines.
#[derive(Default)]
pub(crate) struct Redaction {
    pub(crate) value: Option<Box<Redact>>,
    pub(crate) suspects: Option<Box<Suspects>>,
}

pub(crate) struct Lines {
    pub(crate) style: Style,
    pub(crate) redaction: Redaction,
    pub(crate) sink: Sink,
    pub(crate) tap: Option<Tap>,
    pub(crate) clock: fn() -> SystemTime,
}

impl Lines {
    /// Renders the event. Most lines hold nothing that any rule looks for, which one
    /// look at the whole line shows; only else each value is asked about.
    fn render(&self, style: Style, event: &Event<'_>, line: (&mut Scratch, &Head<'_>, &Ids)) {
        let (scratch, head, outer) = line;
        let Redaction { value, suspects } = &self.redaction;
        let write = |scratch: &mut Scratch, redact: Option<&Redact>| {
            let mut fields = Fields::new(scratch, style, redact);
            event.record(&mut fields);
            fields.ids().or(outer);
            finish(fields, head);
        };
        if let (Some(_), Some(suspects)) = (value, suspects) {
            write(scratch, None);
            if !scratch.altered && !suspects(&scratch.line) {
                return;
            }
        }
        write(scratch, value.as_deref());
    }
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

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let head = Head {
            time: (self.clock)(),
            level: *metadata.level(),
            logger: metadata.target(),
        };
        // A thread that is ending keeps nothing more.
        let kept = SCRATCH.try_with(Cell::take).ok().flatten();
        let mut scratch = kept.unwrap_or_default();
        let mut outer = std::mem::take(&mut scratch.outer);
        outer.clear();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(ids) = span.extensions().get::<Ids>() {
                outer.or(ids);
                if outer.is_complete() {
                    break;
                }
            }
        }
        self.render(self.style, event, (&mut scratch, &head, &outer));
        (self.sink)(scratch.line.as_bytes(), head.level == Level::ERROR);
        if let Some(tap) = &self.tap {
            if self.style != Style::Json {
                self.render(Style::Json, event, (&mut scratch, &head, &outer));
            }
            tap(scratch.line.trim_end_matches('\n'), head.level);
        }
        scratch.outer = outer;
        if scratch.capacity() <= SCRATCH_BYTES_KEPT {
            let _ = SCRATCH.try_with(|it| it.set(Some(scratch)));
        }
    }
}

//! The ids that a line takes from the spans around it.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};

/// Ids of a span, or of a line. An empty one is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    pub(crate) request_id: String,
}

impl Ids {
    pub(crate) fn is_empty(&self) -> bool {
        self.trace_id.is_empty() && self.span_id.is_empty() && self.request_id.is_empty()
    }

    /// Whether a span further out can't add anything.
    pub(crate) fn is_complete(&self) -> bool {
        !self.trace_id.is_empty() && !self.request_id.is_empty()
    }

    /// None again, with the room they have.
    pub(crate) fn clear(&mut self) {
        self.trace_id.clear();
        self.span_id.clear();
        self.request_id.clear();
    }

    /// Fills what is missing from a span further out.
    pub(crate) fn or(&mut self, outer: &Self) {
        let fill = |mine: &mut String, theirs: &str| {
            if mine.is_empty() {
                mine.push_str(theirs);
            }
        };
        // A span id says nothing without the trace it was given for.
        if self.trace_id.is_empty() {
            fill(&mut self.span_id, &outer.span_id);
        }
        fill(&mut self.trace_id, &outer.trace_id);
        fill(&mut self.request_id, &outer.request_id);
    }

    /// Where the id of this name goes, if it is one.
    pub(crate) fn slot(&mut self, name: &str) -> Option<&mut String> {
        match name {
            "trace_id" => Some(&mut self.trace_id),
            "span_id" => Some(&mut self.span_id),
            "request_id" => Some(&mut self.request_id),
            _ => None,
        }
    }

    /// The ids there are, in the order of the schema.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("trace_id", &*self.trace_id),
            ("span_id", &*self.span_id),
            ("request_id", &*self.request_id),
        ];
        all.into_iter().filter(|(_, id)| !id.is_empty())
    }
}

impl Visit for Ids {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(slot) = self.slot(field.name()) {
            slot.clear();
            slot.push_str(value);
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if let Some(slot) = self.slot(field.name()) {
            slot.clear();
            let _ = write!(slot, "{value:?}");
        }
    }
}

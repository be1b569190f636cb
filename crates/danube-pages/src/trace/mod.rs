//! The trace of a job as a waterfall: each span in a row of its own, below its parent, with a bar
//! where it was in time.
//!
//! - [`Span`]: what a waterfall is made of, whoever made the span.
//! - `tree`: the order of the rows, and which spans the end waited for.
//! - `layout`: rows, bars and the axis above them ([`Waterfall`]).
//! - `page`: the page around it, with the details of one span ([`TracePage`]).
//!
//! Times are nanoseconds; those of a [`Span`] since 1970, all others since the axis begins.

mod axis;
mod layout;
mod page;
#[cfg(test)]
mod tests;
mod tree;

use serde::{Deserialize, Serialize};

pub use axis::{Tick, nanos};
pub use layout::{Row, RowKind, Waterfall};
pub use page::{LogPlace, Selected, TracePage};

/// Rows of a page: what a browser paints in half a second on a small machine. Of a longer trace
/// those are shown that say most, and how many aren't.
pub const ROWS_MAX: usize = 5_000;

/// Characters of a name in a row; the details have all of it.
pub const NAME_CHARS_MAX: usize = 200;

/// Bytes of a value among a span's details. A tool may send a whole file as an attribute.
pub const VALUE_BYTES_MAX: usize = 4 * 1024;

/// A span, without what only its details show.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Span {
    /// 16 hex digits.
    pub id: String,
    /// The span that it was begun by; empty of one that nobody began.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// When it began, nanoseconds since 1970.
    pub start_nanos: u64,
    /// When it ended, or the moment of the page where it goes on.
    pub end_nanos: u64,
    /// The program that sent it; empty of the server's own.
    pub service: String,
    /// It says that it failed.
    pub has_failed: bool,
    /// It goes on.
    pub is_open: bool,
    /// It was made by the job's end and isn't part of it: a webhook.
    pub is_aftermath: bool,
    /// How long its job waited in the queue before it, in nanoseconds.
    pub queue_nanos: u64,
    /// Where its output begins in the log and where it ends, in bytes; of steps.
    pub log: Option<(u64, Option<u64>)>,
}

impl Span {
    /// Whether the server made it, whose clock counts.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        self.service.is_empty()
    }
}

/// All else that is known of one span.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Details {
    /// `server`, `client`, `internal`, `producer`, `consumer`; empty if it doesn't say.
    pub kind: String,
    /// The library that made it.
    pub scope: String,
    /// What it says of its failure.
    pub message: String,
    /// What it says of itself.
    pub attributes: Vec<Attribute>,
    /// What happened meanwhile.
    pub events: Vec<Event>,
    /// Spans that it has to do with.
    pub links: Vec<Link>,
    /// Attributes, events and links that it had and that weren't kept.
    pub dropped: u64,
}

/// A name and its value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Attribute {
    /// The name.
    pub key: String,
    /// The value, as text.
    pub value: String,
}

impl Attribute {
    /// One, its value cut to [`VALUE_BYTES_MAX`].
    #[must_use]
    pub fn new(key: &str, value: &str) -> Self {
        let mut end = value.len().min(VALUE_BYTES_MAX);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        let cut = if end < value.len() { "…" } else { "" };
        Self {
            key: key.to_owned(),
            value: format!("{}{cut}", &value[..end]),
        }
    }
}

/// Something that happened while a span was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When, nanoseconds since 1970.
    pub at_nanos: u64,
    /// What.
    pub name: String,
    /// More of it.
    pub attributes: Vec<Attribute>,
}

/// A span that another one has to do with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its trace, in hex digits.
    pub trace: String,
    /// Its id.
    pub span: String,
    /// Whether it is a span of this trace.
    pub is_here: bool,
}

/// Which spans a page shows. It lives in the address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Only {
    /// All.
    #[default]
    All,
    /// Those that the end waited for.
    Critical,
    /// Those that failed, and what they stand below.
    Failed,
    /// The one that is asked for, and what it stands below.
    Span,
    /// The one that is asked for and what stands below it, with an axis of its own.
    Below,
}

impl Only {
    /// As it stands in the address.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Critical => "critical",
            Self::Failed => "failed",
            Self::Span => "span",
            Self::Below => "below",
        }
    }
}

/// What an address asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceAsk {
    /// Which spans.
    pub only: Only,
    /// The span whose details are shown; empty for none.
    pub span: String,
    /// A byte of the log: in place of `span` the innermost one is shown that wrote it.
    pub log: Option<u64>,
}

impl TraceAsk {
    /// The span that is meant.
    #[must_use]
    pub fn find<'a>(&self, spans: &'a [Span]) -> Option<&'a Span> {
        if !self.span.is_empty() {
            return spans.iter().find(|it| it.id == self.span);
        }
        let at = self.log?;
        let wrote = |it: &&Span| {
            it.log
                .is_some_and(|(from, to)| from <= at && to.is_none_or(|to| at < to))
        };
        let size = |it: &&Span| it.log.and_then(|(from, to)| Some(to? - from.min(to?)));
        let all = spans.iter().filter(wrote);
        all.min_by_key(|it| size(it).unwrap_or(u64::MAX))
    }
}

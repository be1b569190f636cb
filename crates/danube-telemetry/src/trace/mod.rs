//! Spans that are kept, received and shown. A span is OTLP's own everywhere: what a
//! tool inside a job sends, what the server makes, what stands in a file and what goes to
//! a collector are the same thing.
//!
//! - [`ids`]: ids that can be computed again from what is stored.
//! - [`files`]: one file a trace, OTLP JSON, bounded.
//! - [`later`]: what writes them while jobs leave a processor free.
//! - [`text`]: every text of a span, for whoever takes secrets out of it.
//! - [`receive`]: what a tool sends, within limits, and how it is answered.
//! - [`sampling`]: which traces are worth to be exported, known at their end.
//! - [`tree`]: the order of a waterfall, and what determined the end.
//! - [`jaeger`]: the same spans as Jaeger's UI reads them.

mod clock;
pub mod files;
pub mod ids;
pub mod jaeger;
pub mod later;
pub mod receive;
pub mod sampling;
mod shape;
pub mod text;
pub mod tree;
mod value;
pub mod wire;

pub use clock::Clock;
pub use value::{attribute, hex, number_of, pair, shown, text_of};

/// OTLP's types, so that nobody else has to name the crate that they come from.
pub mod proto {
    pub use opentelemetry_proto::tonic::common::v1::any_value::Value;
    pub use opentelemetry_proto::tonic::common::v1::{
        AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
    };
    pub use opentelemetry_proto::tonic::resource::v1::Resource;
    pub use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
    pub use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
    pub use opentelemetry_proto::tonic::trace::v1::{
        ResourceSpans, ScopeSpans, Span, SpanFlags, Status, TracesData,
    };
}

use proto::{ResourceSpans, Span};

/// All spans of some messages, in the order in which they stand there.
pub fn spans(all: &[ResourceSpans]) -> impl Iterator<Item = &Span> {
    let scopes = all.iter().flat_map(|it| &it.scope_spans);
    scopes.flat_map(|it| &it.spans)
}

/// How many spans there are.
pub fn count(all: &[ResourceSpans]) -> usize {
    let scopes = all.iter().flat_map(|it| &it.scope_spans);
    scopes.map(|it| it.spans.len()).sum()
}

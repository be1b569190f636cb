//! Records spans and sends them. A span is exported if it has the field `otel.kind`,
//! under exactly the ids that its fields say: those that its log lines show, and that
//! are stored with a job and given to its processes.
//!
//! | field | meaning |
//! | --- | --- |
//! | `trace_id`, `span_id`, `parent_span_id` | who it is, and its parent in another process |
//! | `sampled` | `false`: whoever began the trace doesn't want it; best the first field |
//! | `otel.kind`, `otel.name` | `server`, `client`, `producer`, `consumer` or `internal`; the name |
//! | `otel.status_code` | `ERROR` when it failed |
//! | `request_id` | left out: it is for lines |
//!
//! All others are attributes.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span as ProtoSpan, SpanFlags, Status,
};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::account::{Account, Signal};
use super::metrics::nanos;
use super::queue::Queue;
use super::value::{Source, Value, pair};
use crate::context::{SAMPLED, TraceContext};
use crate::log::Redact;
use crate::span::ERROR_TYPE;

/// The field that makes a span one that is exported.
const KIND: &str = "otel.kind";

/// Longest text of an attribute; the rest is cut.
const TEXT_BYTES_MAX: usize = 4 * 1024;

/// A span on its way to the collector.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// One of a thread or a request, without its resource.
    Recorded(Box<Recorded>),
    /// One that is whole, as it is on the wire: what waits takes little, and a message is
    /// put together without a copy of every text. Spans of one source share it.
    Made(Box<[u8]>, Arc<Origin>),
}

/// Where spans come from: none is this process.
pub(super) type Origin = Option<(Option<Resource>, Option<InstrumentationScope>)>;

/// Bytes of where spans come from, once of the resource and once of the scope. It travels
/// with each message of them, so that a large one would make messages that no collector
/// takes, with spans of others in them. Real ones have some hundred bytes.
const ORIGIN_BYTES_MAX: usize = 64 * 1024;

/// Where these come from, and the bytes that it takes. Attributes that are too large are
/// dropped and counted there.
pub(super) fn origin(
    mut resource: Option<Resource>,
    mut scope: Option<InstrumentationScope>,
) -> (Origin, usize) {
    let mut bytes = 0;
    if let Some(it) = &mut resource {
        fit(&mut it.attributes, &mut it.dropped_attributes_count);
        if it.encoded_len() > ORIGIN_BYTES_MAX {
            // They only name attributes, of which some may be gone.
            it.entity_refs.clear();
        }
        bytes += it.encoded_len();
    }
    if let Some(it) = &mut scope {
        it.name = cut(&it.name).to_owned();
        it.version = cut(&it.version).to_owned();
        fit(&mut it.attributes, &mut it.dropped_attributes_count);
        bytes += it.encoded_len();
    }
    (Some((resource, scope)), bytes)
}

/// Keeps the attributes for which there is room, in their order.
fn fit(attributes: &mut Vec<KeyValue>, dropped: &mut u32) {
    let mut room = ORIGIN_BYTES_MAX;
    let before = attributes.len();
    attributes.retain(|it| {
        let bytes = it.encoded_len();
        let fits = bytes <= room;
        if fits {
            room -= bytes;
        }
        fits
    });
    let fewer = u32::try_from(before - attributes.len()).unwrap_or(u32::MAX);
    *dropped = dropped.saturating_add(fewer);
}

/// A span, while it is open and until it is sent.
#[derive(Debug)]
pub(super) struct Recorded {
    fields: Fields,
    began: SystemTime,
    clock: Instant,
    took: Duration,
}

#[derive(Debug, Default)]
struct Fields {
    trace_id: Option<[u8; 16]>,
    span_id: Option<[u8; 8]>,
    parent: Option<[u8; 8]>,
    is_left_out: bool,
    kind: SpanKind,
    name: String,
    is_error: bool,
    attributes: Vec<(&'static str, Value)>,
}

impl Fields {
    /// Of a span that nobody wants nothing more is kept.
    fn text(&mut self, name: &'static str, value: impl FnOnce() -> String) {
        if self.is_left_out {
            return;
        }
        let value = value();
        match name {
            "trace_id" => self.trace_id = TraceContext::unhex(&value),
            "span_id" => self.span_id = TraceContext::unhex(&value),
            "parent_span_id" => self.parent = TraceContext::unhex(&value),
            "request_id" => {}
            "otel.name" => self.name = value,
            "otel.status_code" => self.is_error = value == "ERROR",
            KIND => {
                self.kind = match value.as_str() {
                    "server" => SpanKind::Server,
                    "client" => SpanKind::Client,
                    "producer" => SpanKind::Producer,
                    "consumer" => SpanKind::Consumer,
                    _ => SpanKind::Internal,
                };
            }
            _ => self.set(name, Value::Text(value)),
        }
    }

    /// A field that is recorded again has its last value; but what failed first is why.
    fn set(&mut self, name: &'static str, value: Value) {
        if self.is_left_out {
            return;
        }
        match self.attributes.iter_mut().find(|it| it.0 == name) {
            Some(_) if name == ERROR_TYPE => {}
            Some(it) => it.1 = value,
            None => self.attributes.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), || value.to_owned());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field.name(), || format!("{value:?}"));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "sampled" => self.is_left_out = !value,
            name => self.set(name, Value::Bool(value)),
        }
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), Value::Int(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.set(field.name(), Value::Int(value)),
            // OTLP has no larger whole number.
            Err(_) => self.set(field.name(), Value::Text(value.to_string())),
        }
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), Value::Float(value));
    }
}

impl Recorded {
    /// What it takes in memory, about.
    fn bytes(&self) -> usize {
        let texts = self.fields.attributes.iter().map(|(_, value)| match value {
            Value::Text(it) => it.len(),
            _ => 0,
        });
        let attributes = self.fields.attributes.len() * size_of::<(&str, Value)>();
        size_of::<Self>() + self.fields.name.len() + attributes + texts.sum::<usize>()
    }
}

/// Records spans; stacked on the log's layers. Nobody waits for it.
pub struct SpanLayer {
    pub(super) queue: Arc<Queue<Outgoing>>,
    pub(super) account: Arc<Account>,
}

fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.fields().field(KIND).is_some()
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !is_exported(attributes.metadata()) {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let has_ids = fields.trace_id.is_some() && fields.span_id.is_some();
        if fields.is_left_out || !has_ids {
            return;
        }
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Recorded {
                fields,
                began: SystemTime::now(),
                clock: Instant::now(),
                took: Duration::ZERO,
            });
        }
    }

    fn on_record(&self, id: &Id, values: &Values<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(recorded) = span.extensions_mut().get_mut::<Recorded>() {
            values.record(&mut recorded.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let recorded = context
            .span(&id)
            .and_then(|span| span.extensions_mut().remove::<Recorded>());
        let Some(mut recorded) = recorded else { return };
        recorded.took = recorded.clock.elapsed();
        let bytes = recorded.bytes();
        let outgoing = || Outgoing::Recorded(Box::new(recorded));
        if !self.queue.push(bytes, false, outgoing) {
            self.account.lose(Signal::Span, 1);
        }
    }
}

/// Numbers of fields in OTLP's messages (`opentelemetry/proto/trace/v1/trace.proto`).
mod field {
    /// Of `ExportTraceServiceRequest`.
    pub(super) const RESOURCE_SPANS: u32 = 1;
    /// Of `ResourceSpans`.
    pub(super) const SCOPE_SPANS: u32 = 2;
    /// Of `ScopeSpans`.
    pub(super) const SPANS: u32 = 2;
}

/// Appends a field that holds a message.
fn nested(number: u32, message: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(message.len() as u64, out);
    out.extend_from_slice(message);
}

/// A message of spans; those that follow one another from one source together.
pub(super) fn encode(spans: &[Outgoing], source: &Source, redact: Option<&Redact>) -> Bytes {
    // Where they come from, and the spans as fields of their scope.
    let mut groups: Vec<(Option<&Arc<Origin>>, Vec<u8>)> = Vec::new();
    let mut recorded;
    for it in spans {
        let (origin, span): (_, &[u8]) = match it {
            Outgoing::Recorded(it) => {
                recorded = of_span(it, redact).encode_to_vec();
                (None, &recorded)
            }
            Outgoing::Made(span, origin) => (Some(origin).filter(|it| it.is_some()), span),
        };
        let is_same = |last: Option<&Arc<Origin>>| match (last, origin) {
            (None, None) => true,
            (Some(last), Some(it)) => Arc::ptr_eq(last, it),
            _ => false,
        };
        match groups.last_mut() {
            Some((last, group)) if is_same(*last) => nested(field::SPANS, span, group),
            _ => {
                let mut group = Vec::new();
                nested(field::SPANS, span, &mut group);
                groups.push((origin, group));
            }
        }
    }
    let mut request = Vec::new();
    for (origin, group) in groups {
        let own = || (Some(source.proto_resource()), Some(source.proto_scope()));
        let (resource, scope) = origin.and_then(|it| (**it).clone()).unwrap_or_else(own);
        let mut scoped = ScopeSpans {
            scope,
            ..ScopeSpans::default()
        }
        .encode_to_vec();
        scoped.extend_from_slice(&group);
        let mut of_resource = ResourceSpans {
            resource,
            ..ResourceSpans::default()
        }
        .encode_to_vec();
        nested(field::SCOPE_SPANS, &scoped, &mut of_resource);
        nested(field::RESOURCE_SPANS, &of_resource, &mut request);
    }
    request.into()
}

fn cut(text: &str) -> &str {
    let end = (0..=TEXT_BYTES_MAX.min(text.len()))
        .rev()
        .find(|it| text.is_char_boundary(*it));
    &text[..end.unwrap_or(0)]
}

fn of_span(it: &Recorded, redact: Option<&Redact>) -> ProtoSpan {
    let fields = &it.fields;
    let clean = |name: &str, text: &str| match redact {
        // Cut afterwards: half of a secret looks like none.
        Some(redact) => cut(&redact(name, text)).to_owned(),
        None => cut(text).to_owned(),
    };
    let attributes = fields.attributes.iter().map(|(name, value)| match value {
        Value::Text(text) => pair(name, &Value::Text(clean(name, text))),
        other => pair(name, other),
    });
    let began = nanos(it.began);
    let took = u64::try_from(it.took.as_nanos()).unwrap_or(u64::MAX);
    let mut flags = u32::from(SAMPLED) | SpanFlags::ContextHasIsRemoteMask as u32;
    if fields.parent.is_some() {
        flags |= SpanFlags::ContextIsRemoteMask as u32;
    }
    ProtoSpan {
        trace_id: fields.trace_id.map_or_else(Vec::new, |it| it.to_vec()),
        span_id: fields.span_id.map_or_else(Vec::new, |it| it.to_vec()),
        parent_span_id: fields.parent.map_or_else(Vec::new, |it| it.to_vec()),
        flags,
        name: clean("name", &fields.name),
        kind: fields.kind.into(),
        start_time_unix_nano: began,
        end_time_unix_nano: began.saturating_add(took),
        attributes: attributes.collect(),
        status: fields.is_error.then(|| Status {
            message: String::new(),
            code: StatusCode::Error.into(),
        }),
        ..ProtoSpan::default()
    }
}

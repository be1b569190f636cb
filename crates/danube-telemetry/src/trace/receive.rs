//! What a tool sends to `POST /v1/traces`, and how it is answered: OTLP over HTTP, in
//! protobuf or JSON, as it is or packed with gzip. Everything has a limit that is looked
//! at before memory is spent on it.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;

use super::proto::{ResourceSpans, Span, TracesData};
use super::{count, shape};

/// Bytes of a body on the wire.
pub const WIRE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of a body that was packed. Spans shrink to a fifth or so; what shrinks far more
/// was made to.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Spans of one request. Exporters send 512 unless told otherwise.
pub const SPANS_MAX: usize = 5_000;

/// Parts of one message: spans, attributes, events, links, values. Each takes memory
/// however few bytes it has on the wire.
pub const PARTS_MAX: usize = 200_000;

/// Attributes of a span, an event or a link; more are dropped and counted, as
/// OpenTelemetry's own limits have it.
const ATTRIBUTES_MAX: usize = 128;

/// Events of a span, and links.
const EVENTS_MAX: usize = 128;

/// How a body is written; an answer is written likewise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`
    Protobuf,
    /// `application/json`
    Json,
}

impl Encoding {
    /// The one that a `Content-Type` names, whatever parameters it has.
    pub fn of(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case(Self::Protobuf.content_type()) {
            Some(Self::Protobuf)
        } else if kind.eq_ignore_ascii_case(Self::Json.content_type()) {
            Some(Self::Json)
        } else {
            None
        }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// The body of an answer to spans that were taken, but for so many.
    pub fn taken(self, not_kept: usize) -> Vec<u8> {
        let rejected = i64::try_from(not_kept).unwrap_or(i64::MAX);
        let partial = (not_kept > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: rejected,
            error_message: "the job's trace is full".to_owned(),
        });
        match (self, partial) {
            (Self::Protobuf, partial_success) => {
                ExportTraceServiceResponse { partial_success }.encode_to_vec()
            }
            (Self::Json, None) => b"{}".to_vec(),
            (Self::Json, Some(it)) => json!({"partialSuccess": {
                "rejectedSpans": it.rejected_spans.to_string(),
                "errorMessage": it.error_message,
            }})
            .to_string()
            .into_bytes(),
        }
    }

    /// The body of a refusal: a `google.rpc.Status`.
    pub fn refused(self, refused: &Refused) -> Vec<u8> {
        let status = RpcStatus {
            code: refused.code,
            message: refused.why.clone(),
        };
        match self {
            Self::Protobuf => status.encode_to_vec(),
            Self::Json => json!({"code": status.code, "message": status.message})
                .to_string()
                .into_bytes(),
        }
    }
}

/// `google.rpc.Status`, without details.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Why something wasn't taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Code of gRPC.
    pub code: i32,
    /// What is wrong and what to do, for the tool's log.
    pub why: String,
}

impl Refused {
    /// Codes of gRPC.
    const INVALID_ARGUMENT: i32 = 3;
    const PERMISSION_DENIED: i32 = 7;
    const RESOURCE_EXHAUSTED: i32 = 8;
    const UNAVAILABLE: i32 = 14;
    const UNAUTHENTICATED: i32 = 16;

    fn new(status: u16, code: i32, why: impl Into<String>) -> Self {
        Self {
            status,
            code,
            why: why.into(),
        }
    }

    /// The body or its headers are wrong.
    pub fn invalid(why: impl Into<String>) -> Self {
        Self::new(400, Self::INVALID_ARGUMENT, why)
    }

    /// Of a kind that isn't taken.
    pub fn unsupported(why: impl Into<String>) -> Self {
        Self::new(415, Self::INVALID_ARGUMENT, why)
    }

    /// There is too much of it.
    pub fn too_large(why: impl Into<String>) -> Self {
        Self::new(413, Self::INVALID_ARGUMENT, why)
    }

    /// Whoever sends didn't say who it is.
    pub fn unauthenticated(why: impl Into<String>) -> Self {
        Self::new(401, Self::UNAUTHENTICATED, why)
    }

    /// Whoever sends may not send this.
    pub fn forbidden(why: impl Into<String>) -> Self {
        Self::new(403, Self::PERMISSION_DENIED, why)
    }

    /// Too much in too short a time; the same may come later.
    pub fn too_many(why: impl Into<String>) -> Self {
        Self::new(429, Self::RESOURCE_EXHAUSTED, why)
    }

    /// It can't be taken now.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::new(503, Self::UNAVAILABLE, why)
    }
}

/// Reads a body. Every span has valid ids.
///
/// # Errors
/// [`Refused`] for anything that is too large, isn't packed as it says, can't be read, or
/// has a span without ids; nothing of it is taken then.
pub fn decode(
    encoding: Encoding,
    packed: Option<&str>,
    body: &[u8],
) -> Result<Vec<ResourceSpans>, Refused> {
    if body.len() > WIRE_BYTES_MAX {
        return Err(too_large("the body", WIRE_BYTES_MAX));
    }
    let unpacked;
    let body = match packed.map(str::trim) {
        None | Some("" | "identity") => body,
        Some(it) if it.eq_ignore_ascii_case("gzip") => {
            unpacked = unpack(body)?;
            &unpacked
        }
        Some(_) => {
            return Err(Refused::unsupported(
                "`Content-Encoding` must be gzip or none",
            ));
        }
    };
    let mut all = match encoding {
        Encoding::Protobuf => {
            shape::check(body, PARTS_MAX).map_err(of_shape)?;
            let read = TracesData::decode(body);
            read.map_err(|error| Refused::invalid(format!("not OTLP in protobuf: {error}")))?
        }
        Encoding::Json => {
            shape::check_json(body, PARTS_MAX).map_err(of_shape)?;
            let read = serde_json::from_slice::<TracesData>(body);
            read.map_err(|error| Refused::invalid(format!("not OTLP in JSON: {error}")))?
        }
    }
    .resource_spans;
    let spans = count(&all);
    if spans > SPANS_MAX {
        let why =
            format!("{spans} spans in one request, more than {SPANS_MAX}; send smaller batches");
        return Err(Refused::too_large(why));
    }
    for scope in all.iter_mut().flat_map(|it| &mut it.scope_spans) {
        for span in &mut scope.spans {
            check(span)?;
            limit(span);
        }
    }
    Ok(all)
}

fn of_shape(error: shape::Wrong) -> Refused {
    match error {
        shape::Wrong::TooMany => Refused::too_large(format!(
            "more than {PARTS_MAX} attributes, events and links in one request; send smaller batches"
        )),
        shape::Wrong::Broken => {
            Refused::invalid("not OTLP in protobuf: a length or a tag is wrong")
        }
    }
}

fn too_large(what: &str, bytes: usize) -> Refused {
    Refused::too_large(format!(
        "{what} has more than {} MiB; send smaller batches",
        bytes >> 20
    ))
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut out = Vec::new();
    let most = u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    let read = MultiGzDecoder::new(body).take(most).read_to_end(&mut out);
    read.map_err(|error| Refused::invalid(format!("not packed with gzip: {error}")))?;
    if out.len() > BODY_BYTES_MAX {
        return Err(too_large("the unpacked body", BODY_BYTES_MAX));
    }
    Ok(out)
}

fn check(span: &Span) -> Result<(), Refused> {
    let is_id = |id: &[u8], len: usize| id.len() == len && id.iter().any(|it| *it != 0);
    let parent = &span.parent_span_id;
    if !is_id(&span.trace_id, 16) || !is_id(&span.span_id, 8) {
        return Err(Refused::invalid("a span has no valid trace id or span id"));
    }
    if !parent.is_empty() && !is_id(parent, 8) {
        return Err(Refused::invalid("a span has a parent id that isn't valid"));
    }
    Ok(())
}

/// Drops what is above the limits of one span, and counts it there.
fn limit(span: &mut Span) {
    fn cut<T>(all: &mut Vec<T>, max: usize, dropped: &mut u32) {
        let more = all.len().saturating_sub(max);
        *dropped = dropped.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        all.truncate(max);
    }
    cut(
        &mut span.attributes,
        ATTRIBUTES_MAX,
        &mut span.dropped_attributes_count,
    );
    cut(&mut span.events, EVENTS_MAX, &mut span.dropped_events_count);
    cut(&mut span.links, EVENTS_MAX, &mut span.dropped_links_count);
    for it in &mut span.events {
        cut(
            &mut it.attributes,
            ATTRIBUTES_MAX,
            &mut it.dropped_attributes_count,
        );
    }
    for it in &mut span.links {
        cut(
            &mut it.attributes,
            ATTRIBUTES_MAX,
            &mut it.dropped_attributes_count,
        );
    }
}

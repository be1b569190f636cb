//! Spans as Jaeger's UI reads them, from its HTTP API or from a file: the shape of
//! `/api/traces/{id}`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::proto::{Event, KeyValue, ResourceSpans, Span, SpanKind, StatusCode, Value};
use super::value::shown;
use super::{hex, text_of};

const NANOS_A_MICRO: u64 = 1_000;

/// Writes one trace. Times are whole microseconds since 1970, as Jaeger has them.
///
/// # Errors
/// None that can happen: there is nothing that JSON can't say.
pub fn to_json(all: &[ResourceSpans]) -> serde_json::Result<Vec<u8>> {
    let mut processes = BTreeMap::new();
    let mut spans = Vec::new();
    for (number, resource) in all.iter().enumerate() {
        let process = format!("p{}", number + 1);
        let attributes = resource
            .resource
            .as_ref()
            .map_or(&[][..], |it| &it.attributes);
        let own = attributes.iter().filter(|it| it.key != "service.name");
        for scope in &resource.scope_spans {
            let name = scope.scope.as_ref().map_or("", |it| &it.name);
            spans.extend(scope.spans.iter().map(|it| one(it, name, number)));
        }
        processes.insert(
            process,
            Process {
                service_name: text_of(attributes, "service.name").unwrap_or("unknown_service"),
                tags: own.map(tag).collect(),
            },
        );
    }
    let trace = super::spans(all).next().map_or(&[][..], |it| &it.trace_id);
    serde_json::to_vec(&Answer {
        data: [Trace {
            trace_id: hex(trace),
            spans,
            processes,
        }],
        total: 1,
        limit: 0,
        offset: 0,
        errors: None,
    })
}

#[derive(Serialize)]
struct Answer<'a> {
    data: [Trace<'a>; 1],
    total: u32,
    limit: u32,
    offset: u32,
    errors: Option<()>,
}

#[derive(Serialize)]
struct Trace<'a> {
    #[serde(rename = "traceID")]
    trace_id: String,
    spans: Vec<One<'a>>,
    processes: BTreeMap<String, Process<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process<'a> {
    service_name: &'a str,
    tags: Vec<Tag<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    operation_name: &'a str,
    references: Vec<Reference>,
    start_time: u64,
    duration: u64,
    tags: Vec<Tag<'a>>,
    logs: Vec<Log<'a>>,
    #[serde(rename = "processID")]
    process_id: String,
    warnings: Option<()>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: &'static str,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Serialize)]
struct Log<'a> {
    timestamp: u64,
    fields: Vec<Tag<'a>>,
}

#[derive(Serialize)]
struct Tag<'a> {
    key: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    value: TagValue<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum TagValue<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
}

fn one<'a>(span: &'a Span, scope: &'a str, process: usize) -> One<'a> {
    let reference = |ref_type, trace: &[u8], id: &[u8]| Reference {
        ref_type,
        trace_id: hex(trace),
        span_id: hex(id),
    };
    let mut references = Vec::new();
    if !span.parent_span_id.is_empty() {
        references.push(reference("CHILD_OF", &span.trace_id, &span.parent_span_id));
    }
    for link in &span.links {
        references.push(reference("FOLLOWS_FROM", &link.trace_id, &link.span_id));
    }
    let took = span
        .end_time_unix_nano
        .saturating_sub(span.start_time_unix_nano);
    One {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        operation_name: &span.name,
        references,
        start_time: span.start_time_unix_nano / NANOS_A_MICRO,
        duration: took / NANOS_A_MICRO,
        tags: tags(span, scope),
        logs: span.events.iter().map(event).collect(),
        process_id: format!("p{}", process + 1),
        warnings: None,
    }
}

fn tags<'a>(span: &'a Span, scope: &'a str) -> Vec<Tag<'a>> {
    let mut tags: Vec<Tag<'_>> = span.attributes.iter().map(tag).collect();
    if !scope.is_empty() {
        tags.push(text("otel.scope.name", scope));
    }
    let kind = match span.kind() {
        SpanKind::Server => Some("server"),
        SpanKind::Client => Some("client"),
        SpanKind::Producer => Some("producer"),
        SpanKind::Consumer => Some("consumer"),
        SpanKind::Internal => Some("internal"),
        SpanKind::Unspecified => None,
    };
    tags.extend(kind.map(|it| text("span.kind", it)));
    if let Some(status) = &span.status {
        match status.code() {
            StatusCode::Error => {
                tags.push(text("otel.status_code", "ERROR"));
                tags.push(Tag {
                    key: "error",
                    kind: "bool",
                    value: TagValue::Bool(true),
                });
            }
            StatusCode::Ok => tags.push(text("otel.status_code", "OK")),
            StatusCode::Unset => {}
        }
        if !status.message.is_empty() {
            tags.push(text("otel.status_description", &status.message));
        }
    }
    if !span.trace_state.is_empty() {
        tags.push(text("w3c.tracestate", &span.trace_state));
    }
    tags
}

fn event(it: &Event) -> Log<'_> {
    let mut fields = vec![text("event", &it.name)];
    fields.extend(it.attributes.iter().map(tag));
    Log {
        timestamp: it.time_unix_nano / NANOS_A_MICRO,
        fields,
    }
}

fn tag(it: &KeyValue) -> Tag<'_> {
    let value = it.value.as_ref();
    let (kind, value) = match value.and_then(|it| it.value.as_ref()) {
        Some(Value::BoolValue(yes)) => ("bool", TagValue::Bool(*yes)),
        Some(Value::IntValue(number)) => ("int64", TagValue::Int(*number)),
        Some(Value::DoubleValue(number)) if number.is_finite() => {
            ("float64", TagValue::Float(*number))
        }
        Some(Value::StringValue(value)) => return text(&it.key, value),
        _ => {
            let shown = value.map(shown).unwrap_or_default();
            ("string", TagValue::Text(shown.into()))
        }
    };
    Tag {
        key: &it.key,
        kind,
        value,
    }
}

fn text<'a>(key: &'a str, value: &'a str) -> Tag<'a> {
    Tag {
        key,
        kind: "string",
        value: TagValue::Text(value.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::pair;
    use super::super::proto::{Link, Resource, ScopeSpans, Status};
    use super::*;

    #[test]
    fn a_trace_has_the_shape_of_jaeger_s_own() {
        let span = Span {
            trace_id: vec![0xab; 16],
            span_id: vec![1; 8],
            parent_span_id: vec![2; 8],
            name: "Execute step build".to_owned(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: 5_000_999,
            end_time_unix_nano: 7_000_999,
            attributes: vec![pair("exit", 7_i64), pair("cpu", 0.5), pair("ok", false)],
            links: vec![Link {
                trace_id: vec![0xcd; 16],
                span_id: vec![3; 8],
                ..Link::default()
            }],
            status: Some(Status {
                message: "it failed".to_owned(),
                code: StatusCode::Error.into(),
            }),
            ..Span::default()
        };
        let all = [ResourceSpans {
            resource: Some(Resource {
                attributes: vec![pair("service.name", "danube"), pair("host.name", "h")],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }];
        let json: serde_json::Value = serde_json::from_slice(&to_json(&all).unwrap()).unwrap();
        let trace = &json["data"][0];
        assert_eq!(trace["traceID"], "ab".repeat(16));
        assert_eq!(trace["processes"]["p1"]["serviceName"], "danube");
        assert_eq!(trace["processes"]["p1"]["tags"][0]["key"], "host.name");
        let span = &trace["spans"][0];
        assert_eq!(span["operationName"], "Execute step build");
        assert_eq!(
            (&span["startTime"], &span["duration"]),
            (&json!(5_000), &json!(2_000))
        );
        assert_eq!(span["processID"], "p1");
        assert_eq!(span["references"][0]["refType"], "CHILD_OF");
        assert_eq!(span["references"][1]["refType"], "FOLLOWS_FROM");
        assert_eq!(span["references"][1]["traceID"], "cd".repeat(16));
        let tags = span["tags"].as_array().unwrap();
        let value = |key: &str| {
            tags.iter()
                .find(|it| it["key"] == key)
                .map(|it| &it["value"])
        };
        assert_eq!(value("exit"), Some(&json!(7)));
        assert_eq!(value("cpu"), Some(&json!(0.5)));
        assert_eq!(value("error"), Some(&json!(true)));
        assert_eq!(value("span.kind"), Some(&json!("internal")));
        assert_eq!(value("otel.status_description"), Some(&json!("it failed")));
    }
}

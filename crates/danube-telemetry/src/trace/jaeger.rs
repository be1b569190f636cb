//! Spans as Jaeger's UI reads them, from its HTTP API or from a file: the shape of
//! `/api/traces/{id}`.

use serde_json::{Value as Json, json};

use super::proto::{KeyValue, ResourceSpans, Span, SpanKind, StatusCode, Value};
use super::value::shown;
use super::{hex, text_of};

const NANOS_A_MICRO: u64 = 1_000;

/// One trace. Times are whole microseconds since 1970, as Jaeger has them.
pub fn to_json(all: &[ResourceSpans]) -> Json {
    let mut processes = serde_json::Map::new();
    let mut spans = Vec::new();
    for (number, resource) in all.iter().enumerate() {
        let process = format!("p{}", number + 1);
        let attributes = resource
            .resource
            .as_ref()
            .map_or(&[][..], |it| &it.attributes);
        let service = text_of(attributes, "service.name").unwrap_or("unknown_service");
        let own = attributes.iter().filter(|it| it.key != "service.name");
        processes.insert(
            process.clone(),
            json!({"serviceName": service, "tags": own.map(tag).collect::<Vec<_>>()}),
        );
        for scope in &resource.scope_spans {
            let name = scope.scope.as_ref().map_or("", |it| &it.name);
            spans.extend(scope.spans.iter().map(|it| one(it, name, &process)));
        }
    }
    let trace = super::spans(all).next().map_or(&[][..], |it| &it.trace_id);
    let trace = json!({"traceID": hex(trace), "spans": spans, "processes": processes});
    json!({"data": [trace], "total": 1, "limit": 0, "offset": 0, "errors": null})
}

fn one(span: &Span, scope: &str, process: &str) -> Json {
    let trace = hex(&span.trace_id);
    let reference = |kind: &str, trace: &[u8], id: &[u8]| json!({"refType": kind, "traceID": hex(trace), "spanID": hex(id)});
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
    json!({
        "traceID": trace,
        "spanID": hex(&span.span_id),
        "operationName": span.name,
        "references": references,
        "startTime": span.start_time_unix_nano / NANOS_A_MICRO,
        "duration": took / NANOS_A_MICRO,
        "tags": tags(span, scope),
        "logs": span.events.iter().map(event).collect::<Vec<_>>(),
        "processID": process,
        "warnings": null,
    })
}

fn tags(span: &Span, scope: &str) -> Vec<Json> {
    let text = |key: &str, value: &str| json!({"key": key, "type": "string", "value": value});
    let mut tags: Vec<Json> = span.attributes.iter().map(tag).collect();
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
                tags.push(json!({"key": "error", "type": "bool", "value": true}));
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

fn event(it: &super::proto::Event) -> Json {
    let mut fields = vec![json!({"key": "event", "type": "string", "value": it.name})];
    fields.extend(it.attributes.iter().map(tag));
    json!({"timestamp": it.time_unix_nano / NANOS_A_MICRO, "fields": fields})
}

fn tag(it: &KeyValue) -> Json {
    let value = it.value.as_ref();
    let (kind, value) = match value.and_then(|it| it.value.as_ref()) {
        Some(Value::BoolValue(yes)) => ("bool", json!(yes)),
        Some(Value::IntValue(number)) => ("int64", json!(number)),
        Some(Value::DoubleValue(number)) if number.is_finite() => ("float64", json!(number)),
        _ => ("string", json!(value.map(shown).unwrap_or_default())),
    };
    json!({"key": it.key, "type": kind, "value": value})
}

#[cfg(test)]
mod tests {
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
        let json = to_json(&all);
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

//! Spans that are whole on their way to a collector: those of this process and those of
//! others, in messages that a collector takes.

use danube_telemetry::otlp::{Exporter, Protocol, Signal};
use danube_telemetry::trace::proto::{
    InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans, Span,
};
use danube_telemetry::trace::{pair, text_of};
use prost::Message;

use crate::collector::{Answer, Collector};
use crate::otlp::{DEADLINE, start, to};

fn span(id: u64, name: &str) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: id.to_be_bytes().to_vec(),
        name: name.to_owned(),
        ..Span::default()
    }
}

/// Spans of another process.
fn others(attributes: Vec<KeyValue>, spans: Vec<Span>) -> Vec<ResourceSpans> {
    vec![ResourceSpans {
        resource: Some(Resource {
            attributes,
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "pytest".to_owned(),
                ..InstrumentationScope::default()
            }),
            spans,
            schema_url: String::new(),
        }],
        schema_url: String::new(),
    }]
}

fn exporter(collector: &Collector) -> Exporter {
    let mut setting = to(collector.address(), Protocol::Grpc);
    setting.options.spans = true;
    start(setting).0
}

#[test]
fn spans_arrive_with_where_they_come_from() {
    let collector = Collector::grpc();
    let exporter = exporter(&collector);
    let spans = exporter.spans().unwrap();
    spans.push_own(&[span(1, "Job x"), span(2, "Execute step test")]);
    let tool = vec![pair("service.name", "tool")];
    spans.push_others(others(tool, vec![span(3, "test_one"), span(4, "test_two")]));
    spans.push_own(&[span(5, "Job y")]);
    assert!(exporter.finish(DEADLINE));
    let sent = collector.sent();
    let groups = sent.traces.iter().flat_map(|it| &it.resource_spans);
    let told: Vec<(&str, &str, Vec<&str>)> = groups
        .map(|it| {
            let [scope] = &it.scope_spans[..] else {
                panic!("one scope: {it:?}")
            };
            let resource = &it.resource.as_ref().unwrap().attributes;
            let names = scope.spans.iter().map(|it| it.name.as_str());
            (
                text_of(resource, "service.name").unwrap(),
                scope.scope.as_ref().unwrap().name.as_str(),
                names.collect(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("danube", "danube", vec!["Job x", "Execute step test"]),
            ("tool", "pytest", vec!["test_one", "test_two"]),
            ("danube", "danube", vec!["Job y"]),
        ]
    );
}

#[test]
fn a_whole_job_and_a_large_origin_travel_in_messages_that_a_collector_takes() {
    const SPANS: u64 = 10_000;
    let collector = Collector::grpc();
    let exporter = exporter(&collector);
    let spans = exporter.spans().unwrap();
    let large = vec![
        pair("service.name", "tool"),
        pair("large", "x".repeat(5 << 20)),
    ];
    let all = (0..SPANS).map(|it| span(it + 1, "test")).collect();
    spans.push_others(others(large, all));
    spans.push_own(&[span(SPANS + 1, "Job x")]);
    let lost = exporter.lost();
    assert!(exporter.finish(DEADLINE));
    let sent = collector.sent();
    assert_eq!(
        (sent.spans().len() as u64, lost.of(Signal::Span)),
        (SPANS + 1, 0)
    );
    for message in &sent.traces {
        let scopes = message.resource_spans.iter().flat_map(|it| &it.scope_spans);
        assert!(scopes.map(|it| it.spans.len()).sum::<usize>() <= 1_000);
        assert!(message.encoded_len() <= 2 << 20);
    }
    let resource = sent.traces[0].resource_spans[0].resource.as_ref().unwrap();
    let service = text_of(&resource.attributes, "service.name");
    assert_eq!(
        (service, resource.dropped_attributes_count),
        (Some("tool"), 1)
    );
}

#[test]
fn where_spans_come_from_takes_room_in_the_queue_too() {
    let collector = Collector::grpc();
    collector.answer(Answer::Never);
    let exporter = exporter(&collector);
    let spans = exporter.spans().unwrap();
    for id in 1..=1_000 {
        let origin = vec![pair("host.name", "x".repeat(60 * 1024))];
        spans.push_others(others(origin, vec![span(id, "test")]));
    }
    // 16 MiB hold some 270 of them.
    let lost = exporter.lost().of(Signal::Span);
    assert!((700..800).contains(&lost), "{lost}");
}

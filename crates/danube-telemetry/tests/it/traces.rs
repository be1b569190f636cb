//! What is received: taken as it was meant, or refused whole, and never more memory than
//! the limits say.

use std::io::Write;

use danube_telemetry::trace::proto::{
    AnyValue, ArrayValue, Event, KeyValue, ResourceSpans, ScopeSpans, Span, TracesData, Value,
};
use danube_telemetry::trace::receive::{
    BODY_BYTES_MAX, Encoding, Refused, SPANS_MAX, WIRE_BYTES_MAX, decode,
};
use danube_telemetry::trace::{count, pair, spans};
use proptest::prelude::*;
use prost::Message;

fn span() -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        parent_span_id: vec![3; 8],
        name: "test_one".to_owned(),
        start_time_unix_nano: 1_700_000_000_000_000_001,
        end_time_unix_nano: 1_700_000_000_000_000_002,
        attributes: vec![pair("code.function.name", "test_one"), pair("n", 7_i64)],
        events: vec![Event {
            name: "exception".to_owned(),
            ..Event::default()
        }],
        ..Span::default()
    }
}

fn message(spans: Vec<Span>) -> TracesData {
    TracesData {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body).expect("into memory");
    gzip.finish().expect("into memory")
}

fn status(result: Result<Vec<ResourceSpans>, Refused>) -> u16 {
    result.map_or_else(|it| it.status, |_| 200)
}

#[test]
fn all_ways_to_write_a_message_mean_the_same() {
    let sent = message(vec![span()]);
    let protobuf = sent.encode_to_vec();
    let json = serde_json::to_vec(&sent).unwrap();
    // As a tool of another language writes it: bare numbers, fields that nobody knows.
    let other = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{
        "traceId":"01010101010101010101010101010101","spanId":"0202020202020202",
        "parentSpanId":"0303030303030303","name":"test_one","later":{"x":[1]},
        "startTimeUnixNano":1700000000000000001,"endTimeUnixNano":"1700000000000000002",
        "attributes":[{"key":"code.function.name","value":{"stringValue":"test_one"}},
                      {"key":"n","value":{"intValue":7}}],
        "events":[{"name":"exception"}]}]}]}]}"#;
    let bodies: [(Encoding, Option<&str>, Vec<u8>); 5] = [
        (Encoding::Protobuf, None, protobuf.clone()),
        (Encoding::Protobuf, Some("gzip"), packed(&protobuf)),
        (Encoding::Json, None, json.clone()),
        (Encoding::Json, Some("GZIP"), packed(&json)),
        (Encoding::Json, Some("identity"), other.into()),
    ];
    for (encoding, packing, body) in bodies {
        let taken = decode(encoding, packing, &body).unwrap();
        assert_eq!(spans(&taken).collect::<Vec<_>>(), [&span()], "{encoding:?}");
    }
    assert_eq!(
        Encoding::of("application/json; charset=utf-8"),
        Some(Encoding::Json)
    );
    assert_eq!(Encoding::of("text/plain"), None);
}

#[test]
fn what_is_wrong_is_refused_whole() {
    let of = |spans: Vec<Span>| message(spans).encode_to_vec();
    let good = of(vec![span()]);
    let protobuf = |body: &[u8]| status(decode(Encoding::Protobuf, None, body));
    assert_eq!(protobuf(&good[..good.len() - 1]), 400);
    assert_eq!(protobuf(b"nonsense"), 400);
    assert_eq!(
        protobuf(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        400
    );
    assert_eq!(
        status(decode(Encoding::Json, None, b"{\"resourceSpans\":[7]}")),
        400
    );
    assert_eq!(
        status(decode(Encoding::Json, None, "[".repeat(50_000).as_bytes())),
        400
    );
    assert_eq!(status(decode(Encoding::Protobuf, Some("br"), &good)), 415);
    assert_eq!(status(decode(Encoding::Protobuf, Some("gzip"), &good)), 400);
    for wrong in [
        Span {
            trace_id: vec![1; 15],
            ..span()
        },
        Span {
            trace_id: vec![0; 16],
            ..span()
        },
        Span {
            span_id: Vec::new(),
            ..span()
        },
        Span {
            parent_span_id: vec![1; 4],
            ..span()
        },
    ] {
        assert_eq!(protobuf(&of(vec![span(), wrong])), 400);
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_takes_memory() {
    let protobuf = |packing, body: &[u8]| status(decode(Encoding::Protobuf, packing, body));
    assert_eq!(protobuf(None, &vec![0; WIRE_BYTES_MAX + 1]), 413);
    let bomb = packed(&vec![0; BODY_BYTES_MAX + 1]);
    assert!(bomb.len() < WIRE_BYTES_MAX);
    assert_eq!(protobuf(Some("gzip"), &bomb), 413);
    let many = message(vec![span(); SPANS_MAX + 1]);
    assert_eq!(protobuf(None, &many.encode_to_vec()), 413);
    let most = message(vec![span(); SPANS_MAX]);
    assert_eq!(protobuf(None, &most.encode_to_vec()), 200);
    // Two bytes each on the wire, a hundred and more in memory.
    let hollow = message(vec![Span {
        attributes: vec![KeyValue::default(); 1_000_000],
        ..span()
    }]);
    assert_eq!(protobuf(None, &hollow.encode_to_vec()), 413);
    let json = format!(
        "{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{}]}}]}}]}}",
        vec!["{}"; 1_000_000].join(",")
    );
    assert_eq!(status(decode(Encoding::Json, None, json.as_bytes())), 413);
    // Deep enough to overflow a stack that follows it.
    let mut deep = AnyValue::default();
    for _ in 0..2_000 {
        deep = AnyValue {
            value: Some(Value::ArrayValue(ArrayValue { values: vec![deep] })),
        };
    }
    let deep = message(vec![Span {
        attributes: vec![KeyValue {
            value: Some(deep),
            ..KeyValue::default()
        }],
        ..span()
    }]);
    assert_eq!(protobuf(None, &deep.encode_to_vec()), 400);
}

#[test]
fn more_attributes_than_a_span_may_have_are_dropped_and_counted() {
    let many = message(vec![Span {
        attributes: (0..200).map(|it| pair(&format!("k{it}"), "v")).collect(),
        ..span()
    }]);
    let taken = decode(Encoding::Protobuf, None, &many.encode_to_vec()).unwrap();
    let span = spans(&taken).next().unwrap();
    assert_eq!(
        (span.attributes.len(), span.dropped_attributes_count),
        (128, 72)
    );
}

#[test]
fn an_answer_is_written_as_the_question_was() {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse as Response;
    let partial = |body: &[u8]| Response::decode(body).unwrap().partial_success;
    assert_eq!(partial(&Encoding::Protobuf.taken(0)), None);
    assert_eq!(
        partial(&Encoding::Protobuf.taken(3))
            .unwrap()
            .rejected_spans,
        3
    );
    assert_eq!(Encoding::Json.taken(0), b"{}");
    let json: serde_json::Value = serde_json::from_slice(&Encoding::Json.taken(3)).unwrap();
    assert_eq!(json["partialSuccess"]["rejectedSpans"], "3");
    let refused = Encoding::Json.refused(&Refused::forbidden("no"));
    assert_eq!(refused, br#"{"code":7,"message":"no"}"#);
    let refused = Encoding::Protobuf.refused(&Refused::forbidden("no"));
    assert_eq!(refused, b"\x08\x07\x12\x02no");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_makes_it_fall_over(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        at in 0..200_usize,
        byte in any::<u8>(),
    ) {
        let mut near = message(vec![span(), span()]).encode_to_vec();
        let place = at % near.len();
        near[place] = byte;
        for body in [&body, &near] {
            for encoding in [Encoding::Protobuf, Encoding::Json] {
                for packing in [None, Some("gzip")] {
                    if let Ok(taken) = decode(encoding, packing, body) {
                        prop_assert!(count(&taken) <= SPANS_MAX);
                    }
                }
            }
        }
    }
}

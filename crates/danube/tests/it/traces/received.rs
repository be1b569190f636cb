//! What the tools inside a job send.

use std::io::Write;
use std::time::Duration;

use danube_telemetry::trace::proto::{ResourceSpans, ScopeSpans, Span, TracesData};
use danube_telemetry::trace::{hex, pair};
use prost::Message;

use super::{Told, drawn, ids, named, spans, value};
use crate::master::{Answer, Master};
use crate::processes::until;
use crate::wire::raw;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

const VARIABLES: &[&str] = &["TRACEPARENT", "DANUBE_JOB_TOKEN"];

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// A span below the job's step.
fn below(told: &Told, id: u8, name: &str) -> Span {
    let (trace, parent) = ids(&told.words[0]);
    Span {
        trace_id: unhex(&trace),
        span_id: vec![id; 8],
        parent_span_id: unhex(&parent),
        name: name.to_owned(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
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

fn send(master: &Master, token: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let bearer = format!("Bearer {token}");
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend(headers);
    master.request("POST", "/v1/traces", &all, body)
}

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn spans_of_a_tool_hang_under_the_step_that_ran_it() {
    let master = Master::start();
    let mut told = Told::start(&master, VARIABLES);
    let token = told.words[1].clone();
    let one = message(vec![below(&told, 1, "test_one")]);
    let taken = send(&master, &token, &[PROTOBUF], &one.encode_to_vec());
    assert_eq!((taken.status, taken.body.len()), (200, 0));
    assert_eq!(taken.header("content-type"), Some(PROTOBUF.1));
    let two = serde_json::to_vec(&message(vec![below(&told, 2, "test_two")])).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&two).unwrap();
    let packed = gzip.finish().unwrap();
    let taken = send(
        &master,
        &token,
        &[JSON, ("content-encoding", "gzip")],
        &packed,
    );
    assert_eq!((taken.status, taken.text().as_str()), (200, "{}"));
    told.go();
    let job = master.ended(&told.job);
    let found = spans(&master, &told.job);
    let drawn = drawn(&found);
    let below = "    Execute step only\n      test_one\n      test_two\n      Run process\n";
    assert!(drawn.contains(below), "{drawn}");
    assert!(
        found
            .iter()
            .all(|it| hex(&it.trace_id) == job["trace_id"].as_str().unwrap())
    );
    // The token died with its attempt.
    let late = send(&master, &token, &[PROTOBUF], &one.encode_to_vec());
    assert_eq!(late.status, 401);
}

#[test]
fn what_does_not_belong_to_the_job_is_refused_and_nothing_is_stored() {
    let master = Master::start();
    let mut other = Told::start(&master, VARIABLES);
    let mut told = Told::start(&master, VARIABLES);
    let (token, others) = (told.words[1].clone(), other.words[1].clone());
    let own = message(vec![below(&told, 1, "own"), below(&other, 2, "foreign")]).encode_to_vec();
    let refused = |answer: &Answer, status: u16, why: &str| {
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(why), "{}", answer.text());
    };
    refused(
        &send(&master, &token, &[PROTOBUF], &own),
        403,
        "another trace",
    );
    let theirs = message(vec![below(&told, 1, "own")]).encode_to_vec();
    refused(
        &send(&master, &others, &[PROTOBUF], &theirs),
        403,
        "another trace",
    );
    refused(
        &send(&master, &master.key, &[PROTOBUF], &theirs),
        401,
        "token",
    );
    refused(&send(&master, "", &[PROTOBUF], &theirs), 401, "token");
    refused(
        &send(&master, &token, &[PROTOBUF], b"nonsense"),
        400,
        "OTLP",
    );
    refused(&send(&master, &token, &[JSON], b"{"), 400, "OTLP");
    refused(
        &send(&master, &token, &[("content-type", "text/plain")], &theirs),
        415,
        "Content-Type",
    );
    let bad = send(
        &master,
        &token,
        &[PROTOBUF, ("content-encoding", "br")],
        &theirs,
    );
    refused(&bad, 415, "gzip");
    refused(
        &send(&master, &token, &[PROTOBUF], &vec![0; 5 << 20]),
        413,
        "smaller",
    );
    for told in [&mut told, &mut other] {
        told.go();
        master.ended(&told.job);
        let drawn = drawn(&spans(&master, &told.job));
        assert!(
            !drawn.contains("own\n") && !drawn.contains("foreign"),
            "{drawn}"
        );
    }
}

#[test]
fn a_body_of_a_hundred_megabytes_is_refused_before_it_is_read() {
    let master = Master::start();
    let mut told = Told::start(&master, VARIABLES);
    let before = crate::processes::memory(master.pid(), "VmRSS");
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: danube\r\nauthorization: Bearer {}\r\n\
         content-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        told.words[1],
        PROTOBUF.1,
        100 << 20
    );
    let mut request = head.into_bytes();
    request.resize(request.len() + (100 << 20), 0);
    let answer = raw(&master, &request);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let after = crate::processes::memory(master.pid(), "VmRSS");
    assert!(after < before + (32 << 20), "{before} became {after}");
    told.go();
    master.ended(&told.job);
}

#[test]
fn secrets_that_a_tool_sends_are_masked_in_all_that_it_says() {
    const SECRET: &str = "zaunkoenig-4711-q";
    let master = Master::start();
    let mut told = Told::start(&master, VARIABLES);
    let masked = master.call(
        "POST",
        &format!("/api/v1/jobs/{}/mask", told.job),
        Some(&serde_json::json!({ "value": SECRET })),
    );
    assert_eq!(masked.status, 200);
    let span = Span {
        name: format!("call {SECRET}"),
        attributes: vec![
            pair(
                "http.request.header.authorization",
                format!("Bearer {SECRET}"),
            ),
            pair(SECRET, "x"),
            pair("url.full", "https://me:hunter2hunter2@example.org/"),
        ],
        ..below(&told, 1, "")
    };
    let taken = send(
        &master,
        &told.words[1],
        &[PROTOBUF],
        &message(vec![span]).encode_to_vec(),
    );
    assert_eq!(taken.status, 200);
    told.go();
    master.ended(&told.job);
    let path = master
        .dir
        .join("traces")
        .join(format!("{}.jsonl", told.job));
    let file = std::fs::read_to_string(path).unwrap();
    let shown = master
        .get(&format!("/api/v1/jobs/{}/trace", told.job))
        .text();
    for text in [&file, &shown] {
        assert!(
            !text.contains(SECRET) && !text.contains("hunter2"),
            "{text}"
        );
        assert!(text.contains("call [redacted]"), "{text}");
    }
}

#[test]
fn what_finds_no_room_is_said() {
    let master = Master::start();
    let mut told = Told::start(&master, VARIABLES);
    let (trace, parent) = ids(&told.words[0]);
    let many = |from: u64| {
        let span = |it: u64| Span {
            trace_id: unhex(&trace),
            span_id: (from + it + 1).to_be_bytes().to_vec(),
            parent_span_id: unhex(&parent),
            name: "s".to_owned(),
            ..Span::default()
        };
        message((0..4_000).map(span).collect()).encode_to_vec()
    };
    for from in [0, 4_000, 8_000] {
        let taken = send(&master, &told.words[1], &[PROTOBUF], &many(from));
        assert_eq!(taken.status, 200);
        assert_eq!(taken.body.is_empty(), from < 8_000, "a part of the last");
    }
    told.go();
    let job = master.ended(&told.job);
    let found = spans(&master, &told.job);
    let note = found.iter().find(|it| it.name.ends_with(" spans not kept"));
    let note = note.expect("it says so");
    let count = value(note, "danube.spans_not_kept").unwrap();
    let kept = found.iter().filter(|it| it.name == "s").count();
    assert_eq!(
        count.as_str().unwrap().parse::<usize>().unwrap(),
        12_000 - kept
    );
    let run = named(
        &found,
        &format!("Job {}", job["short_id"].as_str().unwrap()),
    );
    assert_eq!(note.parent_span_id, run.span_id);
    named(&found, "Remove workspace");
}

#[test]
fn a_tool_can_not_stand_in_for_the_server() {
    let master = Master::start();
    let mut told = Told::start(&master, VARIABLES);
    let token = told.words[1].clone();
    // Both are running: the step told its own id, the job's is its parent.
    let (_, own) = ids(&told.words[0]);
    let (step, job) = until("the running step is shown", LONG, || {
        let shown = spans(&master, &told.job);
        let step = shown.iter().find(|it| hex(&it.span_id) == own)?;
        let job = shown.iter().find(|it| it.span_id == step.parent_span_id);
        Some((step.clone(), job.expect("and its job").clone()))
    });
    let forged = |id: &[u8]| Span {
        span_id: id.to_vec(),
        ..below(&told, 1, "forged")
    };
    let ids = [&job.span_id[..], &step.span_id, &[7; 8]].map(forged);
    let body = message(ids.to_vec()).encode_to_vec();
    assert_eq!(send(&master, &token, &[PROTOBUF], &body).status, 200);
    let id = told.job.clone();
    let check = |what: &str| {
        let found = spans(&master, &id);
        let names = |id: &[u8]| -> Vec<&str> {
            let same = found.iter().filter(|it| it.span_id == id);
            same.map(|it| it.name.as_str()).collect()
        };
        assert_eq!(names(&job.span_id), [job.name.as_str()], "{what}");
        assert_eq!(names(&step.span_id), [step.name.as_str()], "{what}");
        assert_eq!(names(&[7; 8]), ["forged"], "{what}: an id of its own");
    };
    check("while it runs");
    told.go();
    master.ended(&id);
    check("when it has ended");
}

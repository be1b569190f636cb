//! How long a large trace takes to be shown: over the API and in the terminal.

use std::fs;
use std::process::Command;
use std::time::Instant;

use danube_bench::client::Client;
use danube_bench::figures::{median, spread};
use danube_bench::jobs::drained;
use danube_bench::server::Server;
use danube_telemetry::trace::files::{Limits, TraceFiles, Writer};
use danube_telemetry::trace::proto::{ResourceSpans, ScopeSpans, Span, TracesData};
use danube_telemetry::trace::{pair, spans};

use crate::options::Options;

/// Spans of the trace, those of the server among them.
const SPANS: usize = 5_000;

/// Children of a suite: a run of tests is seldom flat.
const SUITE: usize = 50;

/// The goal for an answer of the API, milliseconds.
const MILLIS_MAX: f64 = 50.0;

/// Prints the figure.
pub(crate) fn run(options: &Options) {
    if !options.danube.exists() {
        println!(
            "\na large trace: not there, build {} first",
            options.danube.display()
        );
        return;
    }
    let server = Server::start(&options.danube, &[], &[]);
    let mut client = Client::new(&server);
    let job = client.submit("true");
    drained(&server);
    fill(&server, &mut client, &job);
    let trace = format!("/api/v1/jobs/{job}/trace");
    let bytes = client.get(&trace).len();
    println!("\na trace of {SPANS} spans, {bytes} bytes as OTLP JSON");
    println!("  {:<44} {:>24}", "shown as", "ms (min-max)");
    for (name, path) in [
        ("GET .../trace (OTLP JSON)", trace.clone()),
        (
            "GET .../trace?format=jaeger",
            format!("{trace}?format=jaeger"),
        ),
    ] {
        let millis = rounds(options, || drop(client.get(&path)));
        let met = if median(&millis) <= MILLIS_MAX {
            "met"
        } else {
            "MISSED"
        };
        println!(
            "  {name:<44} {:>24}  (<= {MILLIS_MAX} ms): {met}",
            spread(&millis)
        );
    }
    for (name, more) in [
        ("danube trace JOB, the whole process", &[][..]),
        ("danube trace JOB --all", &["--all"][..]),
    ] {
        let millis = rounds(options, || waterfall(options, &server, &job, more));
        println!("  {name:<44} {:>24}", spread(&millis));
    }
}

fn rounds(options: &Options, mut act: impl FnMut()) -> Vec<f64> {
    act();
    let one = |_| {
        let began = Instant::now();
        act();
        began.elapsed().as_secs_f64() * 1e3
    };
    (0..options.rounds).map(one).collect()
}

fn waterfall(options: &Options, server: &Server, job: &str, more: &[&str]) {
    let done = Command::new(&options.danube)
        .args(["trace", job, "--data-dir"])
        .arg(&server.dir)
        .args(more)
        .output()
        .expect("start it");
    let out = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && out.contains("suite"), "{out}");
}

/// Adds what a tool of the job might have sent, as the receiver writes it.
fn fill(server: &Server, client: &mut Client, job: &str) {
    let text = client.get(&format!("/api/v1/jobs/{job}/trace"));
    let own: TracesData = serde_json::from_str(&text).expect("OTLP JSON");
    let process = spans(&own.resource_spans).find(|it| it.name == "Run process");
    let process = process.expect("the job ran a process").clone();
    let count = SPANS - spans(&own.resource_spans).count();
    let span = |number: usize| {
        let id = |it: usize| (it as u64 + 1).to_be_bytes().to_vec();
        let suite = number - number % SUITE;
        let (name, parent) = if number == suite {
            (format!("suite {suite}"), process.span_id.clone())
        } else {
            (format!("test_number_{number}"), id(suite))
        };
        Span {
            trace_id: process.trace_id.clone(),
            span_id: id(number),
            parent_span_id: parent,
            name,
            start_time_unix_nano: process.start_time_unix_nano + number as u64,
            end_time_unix_nano: process.end_time_unix_nano,
            attributes: vec![
                pair("test.case.name", format!("test_number_{number}")),
                pair("test.case.result.status", "pass"),
                pair("code.file.path", "tests/test_everything.py"),
                pair("code.line.number", 42_i64),
            ],
            ..Span::default()
        }
    };
    let all = vec![ResourceSpans {
        scope_spans: vec![ScopeSpans {
            spans: (0..count).map(span).collect(),
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }];
    let limits = Limits {
        spans_max: SPANS,
        bytes_max: 1 << 30,
    };
    let files = TraceFiles::open(&server.dir.join("traces"), limits).expect("it is there");
    files
        .append(job, Writer::Other, all)
        .expect("it is written");
    let text = client.get(&format!("/api/v1/jobs/{job}/trace"));
    let all: TracesData = serde_json::from_str(&text).expect("OTLP JSON");
    assert_eq!(spans(&all.resource_spans).count(), SPANS);
    let file = server.dir.join("traces").join(format!("{job}.jsonl"));
    assert!(fs::metadata(file).is_ok(), "the file is the server's");
}

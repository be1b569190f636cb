//! One span of a request, recorded and left out, beside `tracing-opentelemetry` with the
//! batches of `opentelemetry_sdk`; and the spans of a job, made and written.
//!
//! A subscriber belongs to a process, so each case of a request runs in one of its own; the
//! processes take turns.

use std::hint::black_box;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use danube_bench::figures::{digits, median, spread};
use danube_model::{Attempt, JobId};
use danube_redact::{Rules, Secrets};
use danube_signals::{
    AttemptTrace, RequestSpan, RunOutcome, Source, StepTrace, Stretch, request_answered,
    request_span,
};
use danube_telemetry::log::{self, Filter};
use danube_telemetry::otlp::{self, Endpoint, Exporter, Protocol, Retry, Signal};
use danube_telemetry::span::set_recorded;
use danube_telemetry::trace::files::{Limits, TraceFiles, Writer};
use danube_telemetry::trace::proto::{ResourceSpans, ScopeSpans};
use danube_telemetry::{LogFormat, LogGuard, LogHandle, LogOptions, Output, TraceContext};
use danube_worker::Traced;

use crate::field::{Case, Sense, Table, float, ratio, said};
use crate::options::Options;
use crate::sink::Sink;
use crate::{child, clock, field, peers};

/// The option that makes this program one of the cases.
pub(crate) const BODY: &str = "--span-body";

/// The case that ours is compared with.
pub(crate) const PEER: &str = "otel";

/// Waits until what was recorded was taken.
pub(crate) type Settle = Box<dyn Fn()>;

/// Spans of one sample: what the queues of all hold, so that none is lost.
const SPANS: usize = 1_000;

/// Samples of a process; their median counts.
const SAMPLES: usize = 21;

/// How long nothing more may come before all counts as taken.
const QUIET: Duration = Duration::from_millis(60);

const RECORDED: &str = "danube";
const LEFT_OUT: &str = "danube-out";

/// Name on the command line, and in the table.
const CASES: &[(&str, &str)] = &[
    (
        RECORDED,
        "danube, encoded and sent to a collector over HTTP",
    ),
    (LEFT_OUT, "danube, sampled out"),
    ("danube-off", "danube, nobody records spans"),
];

/// Prints both tables.
pub(crate) fn run(options: &Options) {
    request(options);
    job(options);
}

#[derive(Default)]
struct Rounds {
    /// Processor time of the thread that records, nanoseconds a span.
    caller: Vec<f64>,
    /// The same of all threads, until it was taken.
    processor: Vec<f64>,
}

fn request(options: &Options) {
    println!("\none span of a request: nine attributes, its status recorded at its end");
    println!(
        "  {:<52} {:>24} {:>12} {:>24}",
        "case", "caller ns (min-max)", "spans/s", "all threads ns (min-max)"
    );
    let cases = [CASES, peers::spans::CASES].concat();
    let mut rounds: Vec<Rounds> = cases.iter().map(|_| Rounds::default()).collect();
    for _ in 0..options.rounds.div_ceil(10) {
        for ((case, _), rounds) in cases.iter().zip(&mut rounds) {
            let [caller, processor] = child::numbers(&[BODY, case]);
            rounds.caller.push(caller);
            rounds.processor.push(processor);
        }
    }
    for ((_, name), own) in cases.iter().zip(&rounds) {
        println!(
            "  {name:<52} {:>24} {:>12} {:>24}",
            spread(&own.caller),
            digits(1e9 / median(&own.caller)),
            spread(&own.processor)
        );
    }
    let of = |case: &str| cases.iter().position(|it| it.0 == case);
    for (own, other) in [(RECORDED, PEER), (LEFT_OUT, "otel-out")] {
        if let (Some(own), Some(other)) = (of(own), of(other)) {
            let caller = ratio(&rounds[other].caller, &rounds[own].caller);
            let name = cases[other].1;
            let said = said(caller, 1.0, name, Sense::Least);
            println!("  {}: caller {said}", cases[own].1);
        }
    }
}

/// What runs in that process.
pub(crate) fn body(arguments: &[String]) {
    let [case] = arguments else {
        panic!("give a case");
    };
    // Ours live as long as the process.
    let (settle, act, _kept): (Settle, fn(usize), _) = match peers::spans::start(case) {
        Some(settle) => (settle, theirs, None),
        None => {
            let (settle, kept) = start(case);
            let act = if case == RECORDED { recorded } else { left_out };
            (settle, act, Some(kept))
        }
    };
    for _ in 0..4 {
        act(SPANS);
        settle();
    }
    let (mut caller, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let (own, all) = (clock::thread_nanos(), clock::process_nanos());
        act(SPANS);
        caller.push((clock::thread_nanos() - own) / float(SPANS));
        settle();
        processor.push((clock::process_nanos() - all) / float(SPANS));
    }
    println!("{} {}", median(&caller), median(&processor));
}

type Kept = (LogHandle, LogGuard, Option<Exporter>);

/// As the server has it: the log's layer, which keeps the ids of spans, and the recorder.
fn start(case: &str) -> (Settle, Kept) {
    let sink = Arc::new(Sink::start());
    let exporter = (case != "danube-off").then(|| {
        let options = otlp::Options {
            endpoint: Endpoint {
                url: sink.url.clone(),
                protocol: Protocol::HttpProtobuf,
                headers: Vec::new(),
            },
            source: otlp::Source {
                resource: vec![("service.name".into(), "danube".into())],
                scope: "danube",
                version: env!("CARGO_PKG_VERSION"),
            },
            metrics: None,
            lines: false,
            records: false,
            spans: true,
            redact: None,
            retry: Retry::default(),
            tell: Arc::new(|_| panic!("the collector takes everything")),
        };
        otlp::start(options).expect("it starts")
    });
    set_recorded(exporter.is_some());
    let options = LogOptions {
        filter: Filter::parse("info").expect("it is right"),
        format: Some(LogFormat::Json),
        output: Output::Writer(Box::new(io::sink())),
        spans: exporter.as_ref().and_then(Exporter::span_layer),
        ..LogOptions::new(&["danube"], "danube.telemetry")
    };
    let (handle, guard) = log::init(options).expect("the only log of this process");
    let lost = exporter.as_ref().map(Exporter::lost);
    let settle = Box::new(move || {
        let mut before = None;
        while before.as_ref() != Some(&sink.taken()) {
            before = Some(sink.taken());
            std::thread::sleep(QUIET);
        }
        let lost = lost.as_ref().map_or(0, |it| it.of(Signal::Span));
        assert_eq!(lost, 0, "spans were lost");
    });
    (settle, (handle, guard, exporter))
}

fn recorded(count: usize) {
    requests(count, 1);
}

fn left_out(count: usize) {
    requests(count, 0);
}

fn requests(count: usize, flags: u8) {
    let caller = TraceContext {
        flags,
        ..TraceContext::random()
    };
    for _ in 0..count {
        let span = request_span(&RequestSpan {
            request_id: black_box("0192f3a45b6c7d8e"),
            context: &caller.child(),
            parent: Some(caller.span_id),
            method: black_box("GET"),
            route: Some("/api/v1/jobs/{id}"),
            path: black_box("/api/v1/jobs/0192f3a4"),
        });
        let _entered = span.enter();
        request_answered(&span, black_box(200));
    }
}

fn theirs(count: usize) {
    for _ in 0..count {
        peers::spans::request(black_box("0192f3a45b6c7d8e"));
    }
}

/// What a job of two steps adds for its trace.
fn job(options: &Options) {
    options.pin();
    let dir = tempfile::tempdir_in("target").expect("run this where `target` is");
    let limits = Limits {
        spans_max: usize::MAX,
        bytes_max: u64::MAX,
    };
    let files = TraceFiles::open(dir.path(), limits).expect("a directory");
    let attempt = Attempt {
        job: JobId::new(),
        fence: 1,
        number: 1,
    };
    let trace = attempt_trace(&attempt.job.to_string());
    let secrets = Secrets::new(Rules::builtin());
    let _ = secrets.register(b"a token of the attempt");
    let clean = move |trace: &AttemptTrace| Traced::new(attempt, trace, &secrets);
    let spans = clean(&trace).spans.len();
    let cases = {
        let (made, cleaned) = (trace.clone(), trace.clone());
        let clean = Arc::new(clean);
        let of_clean = Arc::clone(&clean);
        let number = Mutex::new(0_usize);
        vec![
            Case::new("made", move |times, _| {
                for _ in 0..times {
                    black_box(made.spans());
                }
            })
            .note(format!("{spans} spans")),
            Case::new("made and without secrets", move |times, _| {
                for _ in 0..times {
                    black_box(of_clean(&cleaned));
                }
            }),
            Case::new(
                "the same, written as a line of its file",
                move |times, _| {
                    // A new one now and then, so that none grows without end.
                    let mut number = number.lock().expect("nobody panics");
                    *number += 1;
                    for _ in 0..times {
                        let own = vec![ResourceSpans {
                            scope_spans: vec![ScopeSpans {
                                spans: clean(&trace).spans,
                                ..ScopeSpans::default()
                            }],
                            ..ResourceSpans::default()
                        }];
                        let name = format!("a-{number}");
                        files
                            .append(&name, Writer::Server, own)
                            .expect("it is written");
                    }
                    let _ = files.delete(&format!("a-{number}"));
                },
            ),
        ]
    };
    let table = Table {
        title: "the spans of a job of two steps, for its trace",
        unit: (1e3, "µs a job"),
        rounds: options.rounds,
        threads: 1,
        case: &options.case,
    };
    field::run(&table, cases);
    options.unpin();
}

fn attempt_trace(job: &str) -> AttemptTrace {
    const SECOND: u64 = 1_000_000_000;
    let began = 1_700_000_000 * SECOND;
    let stretch = |from: u64, to: u64| Stretch {
        began: began + from * SECOND,
        ended: began + to * SECOND,
    };
    let step = |index: u32, name: &str| StepTrace {
        call: None,
        index,
        name: name.to_owned(),
        time: stretch(1, 2),
        process: Some(stretch(1, 2)),
        is_unfinished: false,
        status: "success",
        exit_code: Some(0),
        log: (Some(0), Some(4_096)),
    };
    AttemptTrace {
        job_id: job.to_owned(),
        short_id: job[..8].to_owned(),
        context: TraceContext::random(),
        parent: Some([7; 8]),
        number: 1,
        follows: None,
        pipeline: "build".to_owned(),
        source_type: "api".to_owned(),
        worker: "local-4711".to_owned(),
        source: Source::default(),
        queued: began,
        time: stretch(0, 4),
        is_unfinished: false,
        created: Some(stretch(0, 1)),
        removed: Some(stretch(3, 4)),
        steps: vec![step(0, "compile"), step(1, "test")],
        end: RunOutcome {
            status: "success",
            result: "success",
            error_type: None,
        },
        reason: None,
        playbook: None,
    }
}

//! One line of the log, beside `tracing_subscriber`'s own, and an event that nobody
//! wants.
//!
//! A subscriber belongs to a process, so each case runs in one of its own, as in the
//! server; the processes take turns.

use std::cell::RefCell;
use std::hint::black_box;
use std::io::{self, Write};
use std::time::Duration;

use danube_bench::figures::{digits, median, spread};
use danube_redact::{Rules, Secrets, Texts};
use danube_telemetry::log::{self, Filter};
use danube_telemetry::{LogFormat, LogHandle, LogOptions, Output, TraceContext};
use tracing::{debug, info, info_span};

use crate::field::{Sense, float, ratio, said};
use crate::options::Options;
use crate::peers;
use crate::{allocations, child, clock};

/// The option that makes this program one of the cases.
pub(crate) const BODY: &str = "--line-body";

/// Lines of one sample: a part of what the log's buffer holds, so that none is lost.
const LINES: usize = 4_000;

/// Samples of a process; their median counts.
const SAMPLES: usize = 21;

/// Disabled events of a sample.
const DISABLED: usize = 2_000_000;

const FLUSH: Duration = Duration::from_secs(30);

/// Goals.
const TIMES_FASTER: f64 = 7.0;
const DISABLED_NANOS_MAX: f64 = 1.0;

/// The case that ours is compared with.
pub(crate) const FMT_JSON: &str = "fmt-json";

/// Name on the command line, and in the table.
const CASES: &[(&str, &str)] = &[
    ("danube", "danube"),
    ("danube-redact", "danube, with redaction as in the server"),
];

const DISABLED_CASES: &[(&str, &str)] = &[
    ("disabled", "disabled event"),
    (
        "disabled-again",
        "disabled event, after its level was on for a while",
    ),
];

/// What a process says of itself.
#[derive(Default)]
struct Rounds {
    /// Processor time of the thread that logs, nanoseconds a line.
    caller: Vec<f64>,
    /// The same of all threads, until the line was written.
    processor: Vec<f64>,
    allocations: f64,
}

/// Prints the table.
pub(crate) fn run(options: &Options) {
    println!(
        "\none JSON line: two spans with six fields, a name and four fields of its own; to a sink"
    );
    println!(
        "  {:<44} {:>6} {:>24} {:>24} {:>11}",
        "case", "bytes", "caller ns (min-max)", "all threads ns (min-max)", "allocations"
    );
    let cases = [CASES, peers::line::CASES].concat();
    let bytes: Vec<usize> = cases.iter().map(|(case, _)| shown(case)).collect();
    let all: Vec<&str> = cases.iter().chain(DISABLED_CASES).map(|it| it.0).collect();
    let mut rounds: Vec<Rounds> = all.iter().map(|_| Rounds::default()).collect();
    for _ in 0..options.rounds.div_ceil(5) {
        for (case, rounds) in all.iter().zip(&mut rounds) {
            measured(case, rounds);
        }
    }
    let fmt = cases.iter().position(|it| it.0 == FMT_JSON);
    for (at, (_, name)) in cases.iter().enumerate() {
        let own = &rounds[at];
        println!(
            "  {name:<44} {:>6} {:>24} {:>24} {:>11}",
            bytes[at],
            spread(&own.caller),
            spread(&own.processor),
            digits(own.allocations)
        );
    }
    if let Some(fmt) = fmt {
        for (at, (case, name)) in cases.iter().enumerate() {
            if !case.starts_with("danube") {
                continue;
            }
            let caller = ratio(&rounds[fmt].caller, &rounds[at].caller);
            let processor = ratio(&rounds[fmt].processor, &rounds[at].processor);
            println!(
                "  {name}: caller {}; all threads {}",
                said(caller, TIMES_FASTER, "fmt().json()", Sense::Least),
                said(processor, TIMES_FASTER, "fmt().json()", Sense::Least)
            );
        }
    }
    for (at, (_, name)) in DISABLED_CASES.iter().enumerate() {
        let own = &rounds[cases.len() + at].caller;
        let met = if median(own) <= DISABLED_NANOS_MAX {
            "met"
        } else {
            "MISSED"
        };
        println!(
            "  {name}, its loop included: {} ns (<= {DISABLED_NANOS_MAX} ns): {met}",
            spread(own)
        );
    }
}

/// Looks whether a line has all that it should, and tells its length.
fn shown(case: &str) -> usize {
    let text = child::said(&[BODY, case, "show"]);
    let line = text.lines().next().expect("a line");
    let json: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
    assert!(json.is_object(), "{case}: {line}");
    // What the shorter form of the other leaves out isn't asked of it.
    let spans: &[&str] = if case == "fmt-json-flat" {
        &[]
    } else {
        &[TRACE, REQUEST]
    };
    let fields = [
        "job_completed",
        "0192f3a4-5b6c",
        "success",
        "1.25",
        "2097152",
    ];
    for part in fields.iter().chain(spans) {
        assert!(line.contains(part), "{case}: {part} is missing in {line}");
    }
    line.len() + 1
}

fn measured(case: &str, rounds: &mut Rounds) {
    let [caller, processor, allocations] = child::numbers(&[BODY, case, "measure"]);
    rounds.caller.push(caller);
    rounds.processor.push(processor);
    rounds.allocations = allocations;
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const REQUEST: &str = "0192f3a4-5b6c-7d8e-9f00-112233445566";

/// What runs in that process: the case, and whether to show a line or to measure.
pub(crate) fn body(arguments: &[String]) {
    let [case, what] = arguments else {
        panic!("give a case and what to do");
    };
    let show = what == "show";
    let log = start(case, show);
    let flush = || {
        if let Some((handle, _)) = &log {
            assert!(handle.flush(FLUSH), "the log is stuck");
            assert_eq!(handle.dropped(), 0, "lines were lost");
        }
    };
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let trace = TraceContext::parse(&parent).expect("a right header");
    let outer = info_span!(target: "danube.api", "request", trace_id = trace.trace_hex(),
        span_id = trace.span_hex(), request_id = REQUEST);
    let _outer = outer.enter();
    let inner = info_span!(target: "danube.orchestrator", "job", trace_id = trace.trace_hex(),
        span_id = trace.child().span_hex(), job_id = "0192f3a4-5b6c");
    let _inner = inner.enter();
    if show {
        lines(1);
        flush();
        return;
    }
    let (act, times): (fn(usize), usize) = if case.starts_with("disabled") {
        (disabled, DISABLED)
    } else {
        (lines, LINES)
    };
    if case == "disabled-again" {
        let handle = &log.as_ref().expect("it is ours").0;
        handle.set_filter("trace").expect("it is right");
        disabled(100);
        flush();
        handle.set_filter("info").expect("it is right");
    }
    // Both buffers of the log must have had their size.
    for _ in 0..4 {
        act(times);
        flush();
    }
    let (mut caller, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let (own, all) = (clock::thread_nanos(), clock::process_nanos());
        act(times);
        caller.push((clock::thread_nanos() - own) / float(times));
        flush();
        processor.push((clock::process_nanos() - all) / float(times));
    }
    let allocations = allocations::during(|| act(times));
    flush();
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let allocations = allocations as f64 / float(times);
    println!("{} {} {allocations}", median(&caller), median(&processor));
}

fn lines(count: usize) {
    for _ in 0..count {
        info!(
            target: "danube.orchestrator",
            event = "job_completed",
            job_id = black_box("0192f3a4-5b6c"),
            status = black_box("success"),
            duration_seconds = black_box(1.25),
            max_rss_bytes = black_box(2_097_152_i64),
        );
    }
}

fn disabled(count: usize) {
    for n in 0..count {
        let n = black_box(n);
        debug!(target: "danube.store", event = "sql_query", job_id = "0192f3a4-5b6c", rows = n);
    }
}

/// Keeps our log alive, and asks it to write.
type Log = (LogHandle, log::LogGuard);

fn start(case: &str, show: bool) -> Option<Log> {
    if peers::line::start(case, show) {
        return None;
    }
    let out: Box<dyn Write + Send> = if show {
        Box::new(io::stdout())
    } else {
        Box::new(io::sink())
    };
    let mut options = LogOptions {
        filter: Filter::parse("info").expect("it is right"),
        format: Some(LogFormat::Json),
        output: Output::Writer(out),
        ..LogOptions::new(&["danube"], "danube.telemetry")
    };
    if case == "danube-redact" {
        redact(&mut options);
    }
    Some(log::init(options).expect("the only log of this process"))
}

thread_local! {
    static TEXTS: RefCell<Option<Texts>> = const { RefCell::new(None) };
}

/// As the server's log does it: a look at the whole line, with all rules.
fn redact(options: &mut LogOptions) {
    let secrets = Secrets::new(Rules::builtin().with_email());
    let with = move |act: &mut dyn FnMut(&mut Texts)| {
        TEXTS.with_borrow_mut(|it| act(it.get_or_insert_with(|| Texts::new(&secrets))));
    };
    let with = std::sync::Arc::new(with);
    let values = std::sync::Arc::clone(&with);
    options.redact = Some(Box::new(move |_, value| {
        let mut redacted = None;
        values(&mut |texts| redacted = Some(texts.redact(value)));
        redacted.expect("it was asked")
    }));
    options.suspects = Some(Box::new(move |line| {
        let mut may_hold = true;
        with(&mut |texts| may_hold = texts.may_hold(line));
        may_hold
    }));
}

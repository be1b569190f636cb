//! A real master and a collector in this process: what arrives there, what each switch
//! switches, and what a collector that misbehaves costs.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Value, json};

use crate::collector::{Answer, Collector, Sent, attribute, shown};
use crate::master::{DANUBE, DEADLINE, Master, id, one_step};
use crate::processes::memory;

/// The caller's own place in a trace.
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// What the exporter may hold when nobody takes anything: its buffers (some 4 MiB of
/// lines, 16 of spans, 4 of job logs), what it encodes of them, and slack for the
/// allocator. Without a bound, the floods below would take several times as much.
pub(crate) const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;

fn url(collector: &Collector) -> String {
    format!("http://{}", collector.address())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

/// A master that sends to `url`, its metrics every second.
pub(crate) fn master(url: &str, protocol: &str, more: &[&str]) -> Master {
    let mut arguments = vec![
        "--otel-endpoint",
        url,
        "--otel-protocol",
        protocol,
        "--metrics-interval",
        "1",
    ];
    arguments.extend(more);
    Master::with(&arguments)
}

/// Submits under the caller's trace; the job.
fn submit_traced(master: &Master, body: &Value) -> Value {
    let key = format!("Bearer {}", master.key);
    let headers = [
        ("authorization", key.as_str()),
        ("content-type", "application/json"),
        ("traceparent", TRACEPARENT),
    ];
    let body = body.to_string();
    let answer = master.request("POST", "/api/v1/jobs", &headers, body.as_bytes());
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()
}

pub(crate) fn has_event(sent: &Sent, name: &str) -> Option<()> {
    let records = sent.records();
    records
        .iter()
        .any(|it| it.1.event_name == name)
        .then_some(())
}

fn each(run: impl Fn(&Collector, &str)) {
    run(&Collector::grpc(), "grpc");
    run(&Collector::http(), "http/protobuf");
}

#[test]
fn metrics_logs_and_traces_of_a_job_arrive_under_one_trace() {
    each(|collector, protocol| {
        let header = "x-api-key: s3cret-of-the-collector";
        let more = ["--job-logs", "--otel-header", header];
        let master = master(&url(collector), protocol, &more);
        let mut body = one_step("echo to stdout; echo to stderr >&2; echo pass-word-4711");
        body["mask"] = json!(["pass-word-4711"]);
        let job = submit_traced(&master, &body);
        let job_id = id(&job);
        master.ended(&job_id);

        let done = collector.wait_for("the job's end", |sent| {
            let records = sent.records();
            let end = records.iter().find(|it| it.1.event_name == "job_completed");
            end.cloned()
        });
        assert_eq!(done.0, "danube.orchestrator");
        assert_eq!(hex(&done.1.trace_id), TRACE);
        assert_eq!(attribute(&done.1.attributes, "job_id"), job_id);
        let run = collector.wait_for("the job's span", |sent| {
            let mut spans = sent.spans().into_iter();
            spans.find(|it| it.name.starts_with("Job "))
        });
        let short = job["short_id"].as_str().unwrap();
        assert_eq!(run.name, format!("Job {short}"));
        assert_eq!(hex(&run.trace_id), TRACE);
        // Its lines, its stored context and its span are one and the same.
        assert_eq!(run.span_id, done.1.span_id);
        assert_eq!(job["trace_id"], TRACE);
        let result = attribute(&run.attributes, "cicd.pipeline.result");
        assert_eq!(result, "success");
        assert_eq!(attribute(&run.attributes, "job.id"), job_id);
        assert!(run.end_time_unix_nano > run.start_time_unix_nano);

        the_request_has_a_span_below_its_caller(collector);
        the_jobs_lines_are_redacted_and_of_its_span(collector, &job_id, &run.span_id);
        the_metrics_say_who_sends(collector, &master);
        assert!(dropped(&master, "log") == 0.0);
    });
}

fn the_request_has_a_span_below_its_caller(collector: &Collector) {
    let request = collector.wait_for("the request's span", |sent| {
        let mut spans = sent.spans().into_iter();
        spans.find(|it| it.name == "POST /api/v1/jobs")
    });
    assert_eq!(hex(&request.trace_id), TRACE);
    assert_eq!(hex(&request.parent_span_id), PARENT);
    assert_eq!(request.kind, 2, "a server's");
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/api/v1/jobs"),
        ("http.response.status_code", "202"),
        ("url.path", "/api/v1/jobs"),
    ] {
        assert_eq!(attribute(&request.attributes, key), value, "{key}");
    }
}

fn the_jobs_lines_are_redacted_and_of_its_span(collector: &Collector, job: &str, span: &[u8]) {
    let lines = collector.wait_for("the job's log", |sent| {
        let records = sent.records().into_iter();
        let lines: Vec<_> = records.filter(|it| it.0 == "danube.job").collect();
        (lines.len() >= 3).then_some(lines)
    });
    let text = |line: &LogRecord| shown(line.body.as_ref().unwrap());
    let texts: BTreeSet<String> = lines.iter().map(|it| text(&it.1)).collect();
    assert!(texts.contains("to stdout") && texts.contains("to stderr"));
    assert!(!texts.iter().any(|it| it.contains("4711")), "{texts:?}");
    for (_, line) in &lines {
        assert_eq!(line.span_id, span);
        assert_eq!(attribute(&line.attributes, "job.id"), job);
        assert!(!attribute(&line.attributes, "cicd.pipeline.task.name").is_empty());
        assert!(line.time_unix_nano > 0);
        let stream = attribute(&line.attributes, "log.iostream");
        let is_error = text(line) == "to stderr";
        assert_eq!(stream, if is_error { "stderr" } else { "stdout" });
    }
}

fn the_metrics_say_who_sends(collector: &Collector, master: &Master) {
    collector.wait_for("the jobs' metric", |sent| sent.metric("danube.jobs").pop());
    let sent = collector.sent();
    let key = ("x-api-key".to_owned(), "s3cret-of-the-collector".to_owned());
    assert!(sent.headers.contains(&key), "{:?}", sent.headers);
    let resource = sent.metrics[0].resource_metrics[0].resource.clone();
    let attributes = resource.unwrap().attributes;
    assert_eq!(attribute(&attributes, "service.name"), "danube");
    let pid = attribute(&attributes, "process.pid");
    assert_eq!(pid, master.pid().to_string());
    for key in ["service.version", "service.instance.id", "host.name"] {
        assert!(!attribute(&attributes, key).is_empty(), "{key}");
    }
}

#[test]
fn each_switch_switches_what_it_says_and_nothing_else() {
    for off in ["metrics", "logs", "traces", "job-logs"] {
        let collector = Collector::grpc();
        let switch = format!("--{off}=false");
        // The logs of jobs are off by themselves.
        let mut more = vec![switch.as_str()];
        if off != "job-logs" {
            more.push("--job-logs");
        }
        let mut master = master(&url(&collector), "grpc", &more);
        let job = id(&master.submit(&one_step("echo hello")));
        master.ended(&job);
        let scrape = master.get("/metrics");
        if off == "metrics" {
            assert_eq!(scrape.status, 404);
            assert!(scrape.text().contains("observability.metrics_enabled"));
        } else {
            assert_eq!(scrape.status, 200);
        }
        // The end sends what is left: what isn't there then doesn't come.
        master.signal("TERM");
        master.wait();
        let sent = collector.sent();
        let records = sent.records();
        let (jobs, own): (Vec<_>, Vec<_>) = records.iter().partition(|it| it.0 == "danube.job");
        let seen = [
            ("metrics", !sent.metrics.is_empty()),
            ("logs", !own.is_empty()),
            ("traces", !sent.spans().is_empty()),
            ("job-logs", !jobs.is_empty()),
        ];
        for (what, is_there) in seen {
            assert_eq!(is_there, what != off, "{what} with {switch}");
        }
    }
}

#[test]
fn a_trace_that_its_caller_does_not_want_is_not_sent() {
    let collector = Collector::grpc();
    let mut master = master(&url(&collector), "grpc", &[]);
    let unwanted = TRACEPARENT.replace("-01", "-00");
    let key = format!("Bearer {}", master.key);
    let get = |traceparent: &str| {
        let headers = [
            ("authorization", key.as_str()),
            ("traceparent", traceparent),
        ];
        master.request("GET", "/api/v1/jobs", &headers, b"")
    };
    assert_eq!(get(&unwanted).status, 200);
    let other = TRACEPARENT.replace("4bf9", "aaaa");
    assert_eq!(get(&other).status, 200);
    master.signal("TERM");
    master.wait();
    let traces: BTreeSet<String> = collector
        .sent()
        .spans()
        .iter()
        .map(|it| hex(&it.trace_id))
        .collect();
    assert!(traces.contains(&other[3..35]));
    assert!(!traces.contains(TRACE));
}

#[test]
fn secrets_for_a_collector_are_never_shown() {
    let collector = Collector::http();
    let address = format!("http://me:pass-word-0815@{}", collector.address());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("danube.toml");
    let text = format!(
        "[observability]\notel_endpoint = \"{address}\"\notel_protocol = \"http/protobuf\"\n\
         otel_headers = [\"x-key: topsecret-key-0816\"]\n"
    );
    std::fs::write(&file, &text).unwrap();
    let config = file.to_str().unwrap();
    for (format, flags) in [("text", &[][..]), ("json", &["--output", "json"][..])] {
        let shown = Command::new(DANUBE)
            .args(["config", "show", "--origin", "--config", config])
            .args(flags)
            .output()
            .unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.contains("x-key: ***"), "{format}: {shown}");
        assert!(shown.contains("http://***@127.0.0.1"), "{format}: {shown}");
        assert!(
            !shown.contains("0815") && !shown.contains("0816"),
            "{shown}"
        );
    }
    // Nor where the file is shown around a mistake.
    std::fs::write(
        &file,
        text + "workers_expected = \"many\"\notel_headers2 = 1\n",
    )
    .unwrap();
    let told = Command::new(DANUBE)
        .args(["config", "show", "--config", config])
        .output()
        .unwrap();
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains("workers_expected"), "{told}");
    assert!(!told.contains("0815") && !told.contains("0816"), "{told}");

    // It says who we are in the way that HTTP has for it.
    let master = master(
        &address,
        "http/protobuf",
        &["--log-level", "info,ureq=trace,h2=trace"],
    );
    collector.wait_for("a push", |it| (!it.metrics.is_empty()).then_some(()));
    let headers = collector.sent().headers;
    let basic = headers.iter().find(|it| it.0 == "authorization").unwrap();
    assert!(basic.1.starts_with("Basic "), "{basic:?}");
    let seen = master.log_lines().join("\n") + &master.stderr();
    assert!(
        !seen.contains("0815") && !seen.contains(&basic.1[6..]),
        "{seen}"
    );
}

#[test]
fn a_collector_that_comes_late_gets_what_it_missed() {
    let address = Collector::grpc().address();
    let master = master(&format!("http://{address}"), "grpc", &["--job-logs"]);
    let failed = master.event(|it| it["event"] == "otlp_export_failed");
    assert_eq!(failed["level"], "warning");
    let job = id(&master.submit(&one_step("echo meanwhile")));
    master.ended(&job);
    let collector = Collector::grpc_at(address);
    collector.wait_for("the start", |sent| has_event(sent, "master_ready"));
    collector.wait_for("the end of the job", |sent| {
        has_event(sent, "job_completed")
    });
    collector.wait_for("the job's log", |sent| {
        let mut records = sent.records().into_iter();
        records.find(|it| it.0 == "danube.job")
    });
    master.event(|it| it["event"] == "otlp_export_recovered");
    let warnings = master
        .log_lines()
        .iter()
        .filter(|it| it.contains("\"otlp_export_failed\""))
        .count();
    assert_eq!(warnings, 1);
}

/// Runs jobs and asks for things until `until`; every request is answered.
pub(crate) fn keep_busy(master: &Master, until: impl Fn(&Master) -> bool) {
    let end = Instant::now() + DEADLINE;
    let script = "i=0; while [ $i -lt 2000 ]; do echo \"line $i of a job that has much to say\"; i=$((i+1)); done";
    loop {
        let job = id(&master.submit(&one_step(script)));
        let ended = master.ended(&job);
        assert_eq!(ended["status"], "success", "{ended}");
        for _ in 0..20 {
            assert_eq!(master.get("/health").status, 200);
        }
        if until(master) {
            return;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}");
    }
}

pub(crate) fn dropped(master: &Master, signal: &str) -> f64 {
    master.metric(&format!(
        "danube_telemetry_dropped_total{{signal=\"{signal}\"}}"
    ))
}

/// Everything is sent, and the log says much.
pub(crate) const NOISY: &[&str] = &["--log-level", "debug", "--job-logs"];

#[test]
fn a_collector_that_answers_errors_costs_drops_and_nothing_else() {
    each(|collector, protocol| {
        // Larger than it takes: never again. Busy: again, and in time.
        collector.answer(Answer::TooLarge);
        let master = master(&url(collector), protocol, NOISY);
        let before = memory(master.pid(), "VmRSS");
        keep_busy(&master, |it| {
            ["log", "metric", "span"]
                .iter()
                .all(|signal| dropped(it, signal) > 0.0)
        });
        assert!(memory(master.pid(), "VmRSS") < before + MEMORY_BYTES_MAX);
        let failed = master.event(|it| it["event"] == "otlp_export_failed");
        let error = failed["error"].as_str().unwrap();
        assert!(error.contains("too large"), "{error}");
        collector.answer(Answer::Invalid);
        let (refused, so_far) = (dropped(&master, "span"), collector.sent().requests);
        keep_busy(&master, |it| dropped(it, "span") > refused);
        collector.answer(Answer::Unavailable { waits: true });
        collector.wait_for("a try", |it| (it.requests > so_far).then_some(()));
        // Some are taken in part, and then all.
        collector.answer(Answer::Partly(1));
        collector.wait_for("lines", |it| (!it.logs.is_empty()).then_some(()));
        collector.answer(Answer::Ok);
        keep_busy(&master, |it| {
            it.log_lines()
                .iter()
                .any(|line| line.contains("otlp_export_recovered"))
        });
    });
}

#[test]
fn a_collector_that_never_answers_holds_up_no_request_and_no_end() {
    each(|collector, protocol| {
        collector.answer(Answer::Never);
        let mut master = master(&url(collector), protocol, NOISY);
        let before = memory(master.pid(), "VmRSS");
        let warned = |it: &Master| {
            it.log_lines()
                .iter()
                .any(|line| line.contains("otlp_export_failed"))
        };
        keep_busy(&master, warned);
        assert!(memory(master.pid(), "VmRSS") < before + MEMORY_BYTES_MAX);
        // What was kept comes with the answers.
        collector.answer(Answer::Ok);
        collector.wait_for("the start", |sent| has_event(sent, "master_ready"));
        collector.answer(Answer::Never);
        let asked = Instant::now();
        master.signal("TERM");
        assert!(master.wait().success());
        assert!(asked.elapsed() < Duration::from_secs(30));
    });
}

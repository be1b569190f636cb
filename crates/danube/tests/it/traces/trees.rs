//! The trees of jobs that end in each way.

use std::fs;

use danube_telemetry::trace::hex;
use danube_telemetry::trace::proto::Span;
use serde_json::json;

use super::{Told, drawn, ids, named, span_id, spans, value};
use crate::master::{DEADLINE, Master, id};
use crate::processes;

/// The caller's own place in a trace.
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The part that every submit over the API has.
const SUBMIT: &str = "\
POST /api/v1/jobs (server)
  Check auth
  Load pipeline from DB
  Create job record (client)
  Trigger orchestrator
";

fn steps(steps: &[(&str, &str)]) -> serde_json::Value {
    let steps: Vec<_> = steps
        .iter()
        .map(|(name, run)| json!({"name": name, "run": run}))
        .collect();
    json!({"spec": {"name": "build", "steps": steps}})
}

#[track_caller]
fn expect(spans: &[Span], job: &serde_json::Value, below: &str) {
    let short = job["short_id"].as_str().unwrap();
    assert_eq!(
        drawn(spans),
        format!("{SUBMIT}{}", below.replace("<id>", short))
    );
}

#[test]
fn a_job_that_succeeds_is_one_tree_below_its_caller() {
    let master = Master::start();
    let key = format!("Bearer {}", master.key);
    let headers = [
        ("authorization", key.as_str()),
        ("content-type", "application/json"),
        ("traceparent", TRACEPARENT),
    ];
    let body = steps(&[("first", "echo one"), ("second", "echo two; echo three")]);
    let body = body.to_string();
    let answer = master.request("POST", "/api/v1/jobs", &headers, body.as_bytes());
    let job = master.ended(&id(&answer.json()));
    let id = id(&job);
    let spans = spans(&master, &id);
    expect(
        &spans,
        &job,
        "  Job <id>
    Create workspace
    Execute step first
      Run process
    Execute step second
      Run process
    Remove workspace
",
    );
    assert!(
        spans
            .iter()
            .all(|it| hex(&it.trace_id) == ids(TRACEPARENT).0)
    );
    let root = named(&spans, "POST /api/v1/jobs");
    assert_eq!(hex(&root.parent_span_id), ids(TRACEPARENT).1);
    let run = named(
        &spans,
        &format!("Job {}", job["short_id"].as_str().unwrap()),
    );
    for (key, expected) in [
        ("job.id", json!(id)),
        ("job.status", json!("success")),
        ("source.type", json!("spec")),
        ("worker.id", job["worker_id"].clone()),
        ("cicd.pipeline.name", json!("build")),
        ("cicd.pipeline.run.id", json!(id)),
        ("cicd.pipeline.result", json!("success")),
        ("danube.job.attempt", json!("1")),
    ] {
        assert_eq!(value(run, key), Some(expected), "{key}");
    }
    a_step_leads_to_its_bytes(&master, &spans, &id);
    let store = named(&spans, "Create job record");
    let sql = value(store, "db.query.text").unwrap();
    assert!(!sql.as_str().unwrap().contains("build"), "no values: {sql}");
    for span in &spans {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    }
    // What is shown is what is stored.
    let path = master.dir.join("traces").join(format!("{id}.jsonl"));
    let file = fs::read_to_string(path).unwrap();
    for span in &spans {
        assert!(file.contains(&span_id(span)), "{}", span.name);
    }
}

/// A step's span leads to its bytes in the log.
fn a_step_leads_to_its_bytes(master: &Master, spans: &[Span], id: &str) {
    let step = named(spans, "Execute step second");
    let at = |key: &str| {
        let text = value(step, key).unwrap();
        text.as_str().unwrap().parse::<usize>().unwrap()
    };
    let log = master.log(id);
    assert_eq!(
        &log[at("danube.log.start")..at("danube.log.end")],
        b"two\nthree\n"
    );
    assert_eq!(
        value(step, "cicd.pipeline.task.run.result"),
        Some(json!("success"))
    );
}

#[test]
fn a_job_that_fails_marks_what_failed() {
    let master = Master::start();
    let job = master.submit(&steps(&[
        ("good", "true"),
        ("bad", "exit 3"),
        ("never", "true"),
    ]));
    let job = master.ended(&id(&job));
    let spans = spans(&master, &id(&job));
    expect(
        &spans,
        &job,
        "  Job <id> ! step_failed
    Create workspace
    Execute step good
      Run process
    Execute step bad ! step_failed
      Run process ! step_failed
    Remove workspace
",
    );
    let process = spans.iter().filter(|it| it.name == "Run process").nth(1);
    assert_eq!(
        value(process.unwrap(), "process.exit.code"),
        Some(json!("3"))
    );
    let run = named(
        &spans,
        &format!("Job {}", job["short_id"].as_str().unwrap()),
    );
    let message = &run.status.as_ref().unwrap().message;
    assert_eq!(message, job["reason"].as_str().unwrap());
}

#[test]
fn a_job_that_is_cancelled_or_out_of_time_says_so() {
    let master = Master::start();
    let mut told = Told::start(&master, &["TRACEPARENT"]);
    let cancelled = master.call("DELETE", &format!("/api/v1/jobs/{}", told.job), None);
    assert_eq!(cancelled.status, 202);
    let job = master.ended(&told.job);
    told.go();
    let found = spans(&master, &told.job);
    expect(
        &found,
        &job,
        "  Job <id>
    Create workspace
    Execute step only
      Run process
    Remove workspace
",
    );
    let result = |name: &str| value(named(&found, name), "cicd.pipeline.task.run.result");
    assert_eq!(result("Execute step only"), Some(json!("cancellation")));

    let mut order = steps(&[("long", "sleep 60")]);
    order["spec"]["steps"][0]["timeout_seconds"] = json!(1);
    let job = master.ended(&id(&master.submit(&order)));
    expect(
        &spans(&master, &id(&job)),
        &job,
        "  Job <id> ! timeout
    Create workspace
    Execute step long ! timeout
      Run process ! timeout
    Remove workspace
",
    );
}

#[test]
fn a_job_that_is_run_again_begins_a_trace_that_leads_back() {
    let master = Master::start();
    let first = master.ended(&master.run("exit 1"));
    let answer = master.call("POST", &format!("/api/v1/jobs/{}/retry", id(&first)), None);
    let again = master.ended(&id(&answer.json()));
    assert_ne!(first["trace_id"], again["trace_id"]);
    let (old, new) = (spans(&master, &id(&first)), spans(&master, &id(&again)));
    let run = |spans, job: &serde_json::Value| {
        named(spans, &format!("Job {}", job["short_id"].as_str().unwrap())).clone()
    };
    let (old, run) = (run(&old, &first), run(&new, &again));
    assert_eq!(run.links.len(), 1);
    assert_eq!(run.links[0].trace_id, old.trace_id);
    assert_eq!(run.links[0].span_id, old.span_id);
    assert_eq!(value(&run, "source.type"), Some(json!("retry")));
    assert_eq!(hex(&run.trace_id), again["trace_id"].as_str().unwrap());
    named(&new, "POST /api/v1/jobs/{id}/retry");
}

#[test]
fn what_a_job_did_before_its_server_was_killed_is_whole_and_its_next_attempt_leads_back() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let told = Told::start(&master, &["TRACEPARENT", "DANUBE_JOB_ID"]);
    // Progress is stored with the next commit: somebody else's.
    master.run("true");
    // While it runs, what is open ends now and says so.
    let open = spans(&master, &told.job);
    let step = named(&open, "Execute step only");
    assert_eq!(span_id(step), ids(&told.words[0]).1);
    let process = named(&open, "Run process");
    for it in [step, process] {
        assert_eq!(value(it, "danube.span.unfinished"), Some(json!(true)));
        assert_eq!(value(it, "error.type"), None, "it has not failed yet");
        assert_eq!(it.status, None);
    }
    let path = dir.join("traces").join(format!("{}.jsonl", told.job));
    assert!(
        !fs::read_to_string(&path)
            .unwrap_or_default()
            .contains("unfinished")
    );
    master.kill();
    processes::all_gone(&told.job);
    // The next attempt finds nobody to talk to, and fails.
    drop(told.connection);
    let master = Master::start_in(&dir, &[]);
    let job = master.ended(&told.job);
    assert_eq!(job["attempt"], 2, "{job}");
    // Written down without anybody having looked.
    processes::until("the lost attempt's trace", DEADLINE, || {
        let file = fs::read_to_string(&path).unwrap_or_default();
        file.contains("worker_lost").then_some(())
    });
    let found = spans(&master, &told.job);
    expect(
        &found,
        &job,
        "  Job <id> ! worker_lost
    Create workspace
    Execute step only
      Run process
  Job <id> ! step_failed
    Create workspace
    Execute step only ! step_failed
      Run process ! step_failed
    Remove workspace
",
    );
    let runs: Vec<_> = found
        .iter()
        .filter(|it| it.name.starts_with("Job "))
        .collect();
    assert_eq!(runs[0].links, []);
    assert_eq!(runs[1].links[0].span_id, runs[0].span_id);
    assert_eq!(runs[1].links[0].trace_id, runs[0].trace_id);
    let steps: Vec<_> = found
        .iter()
        .filter(|it| it.name.starts_with("Execute"))
        .collect();
    assert_eq!(span_id(steps[0]), ids(&told.words[0]).1);
    assert_ne!(steps[0].span_id, steps[1].span_id);
    // Nobody ended the first, and it shows nothing of the second.
    let around = |span: &Span| {
        let path = format!("/api/v1/jobs/{}/logs?around={}", told.job, span_id(span));
        master.get(&path).text()
    };
    let texts = (around(steps[0]), around(steps[1]));
    assert!(
        texts.0.is_empty() && texts.1.contains("refused"),
        "{texts:?}"
    );
}

#[test]
fn a_trace_whose_file_is_gone_is_made_again_as_the_same() {
    let master = Master::start();
    let job = id(&master.ended(&id(&master.submit(&steps(&[("a", "true"), ("b", "true")])))));
    let before = spans(&master, &job);
    let path = master.dir.join("traces").join(format!("{job}.jsonl"));
    fs::remove_file(&path).unwrap();
    let after = spans(&master, &job);
    assert_eq!(drawn(&after), drawn(&before));
    let all = |spans: &[_]| -> Vec<String> { spans.iter().map(span_id).collect() };
    assert_eq!(all(&after), all(&before));
    assert!(path.is_file(), "the file is whole again");
}

#[test]
fn no_secret_is_in_a_trace_and_a_late_one_goes() {
    const SECRET: &str = "zaunkoenig-4711-q";
    const LATE: &str = "rotkehlchen-0815-z";
    let master = Master::start();
    let mut order = steps(&[("a", "true")]);
    order["spec"]["repository"] = json!(format!("file:///nowhere/{LATE}/{SECRET}.git"));
    order["mask"] = json!([SECRET]);
    let job = id(&master.ended(&id(&master.submit(&order))));
    let text = || master.get(&format!("/api/v1/jobs/{job}/trace")).text();
    assert!(
        text().contains(LATE) && !text().contains(SECRET),
        "{}",
        text()
    );
    let masked = master.call(
        "POST",
        &format!("/api/v1/jobs/{job}/mask"),
        Some(&json!({ "value": LATE })),
    );
    assert_eq!(masked.status, 200, "{}", masked.text());
    assert!(!text().contains(LATE), "{}", text());
    let path = master.dir.join("traces").join(format!("{job}.jsonl"));
    let file = fs::read_to_string(path).unwrap();
    assert!(file.contains("[redacted]") && !file.contains(LATE));
}

#[test]
fn a_trace_goes_with_its_log() {
    let master = Master::start();
    let job = id(&master.ended(&master.run("true")));
    let path = master.dir.join("traces").join(format!("{job}.jsonl"));
    assert!(!spans(&master, &job).is_empty() && path.is_file());
    let deleted = master.call("DELETE", &format!("/api/v1/jobs/{job}/logs"), None);
    assert_eq!(deleted.status, 200);
    assert!(!path.exists());
    let trace = format!("/api/v1/jobs/{job}/trace");
    assert_eq!(master.get(&trace).status, 410);
    assert_eq!(master.get("/api/v1/jobs/zzzzzzzz/trace").status, 404);
    assert_eq!(master.get(&format!("{trace}?format=zipkin")).status, 400);
    assert!(!path.exists(), "nobody makes it again");
}

#[test]
fn jaeger_s_shape_has_the_same_spans() {
    let master = Master::start();
    let job = id(&master.ended(&master.run("true")));
    let own = spans(&master, &job);
    let answer = master.get(&format!("/api/v1/jobs/{job}/trace?format=jaeger"));
    let theirs = answer.json();
    let theirs = theirs["data"][0]["spans"].as_array().unwrap().clone();
    assert_eq!(theirs.len(), own.len());
    for span in &own {
        let same = theirs.iter().find(|it| it["spanID"] == span_id(span));
        assert_eq!(same.unwrap()["operationName"], span.name);
    }
}

#[test]
fn the_log_around_a_span_is_what_was_written_while_it_was() {
    let master = Master::start();
    let order = steps(&[("first", "echo one"), ("second", "echo two; echo three")]);
    let job = id(&master.ended(&id(&master.submit(&order))));
    let spans = spans(&master, &job);
    let around = |span: &str| master.get(&format!("/api/v1/jobs/{job}/logs?around={span}"));
    let second = span_id(named(&spans, "Execute step second"));
    assert_eq!(around(&second).text(), "two\nthree\n");
    // The whole job, by its time.
    let run = spans.iter().find(|it| it.name.starts_with("Job ")).unwrap();
    assert_eq!(around(&span_id(run)).text(), "one\ntwo\nthree\n");
    let said = master.danube(&["logs", &job, "--around", &second[..8]]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "two\nthree\n");
    let shown = master.danube(&["trace", &job, "--ids"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains(&second) && shown.contains("Execute step second"),
        "{shown}"
    );

    assert_eq!(around("0000000000000000").status, 404);
    assert_eq!(around("xyz").status, 400);
    assert_eq!(around(&format!("{second}&follow=1")).status, 400);
}

#[test]
fn what_travels_with_a_trace_reaches_the_job_if_it_is_right() {
    let master = Master::start();
    let key = format!("Bearer {}", master.key);
    let body = steps(&[("show", "echo \"[${TRACESTATE-none}] [${BAGGAGE-none}]\"")]).to_string();
    let shown = |parent: &str, state: &str, baggage: &str| {
        let headers = [
            ("authorization", key.as_str()),
            ("content-type", "application/json"),
            ("traceparent", parent),
            ("tracestate", state),
            ("baggage", baggage),
        ];
        let answer = master.request("POST", "/api/v1/jobs", &headers, body.as_bytes());
        assert_eq!(answer.status, 202, "{}", answer.text());
        let job = id(&master.ended(&id(&answer.json())));
        String::from_utf8(master.log(&job)).unwrap()
    };
    let (state, baggage) = ("vendor=a:1", "tenant=seven;p=1");
    assert_eq!(
        shown(TRACEPARENT, state, baggage),
        "[vendor=a:1] [tenant=seven;p=1]\n"
    );
    assert_eq!(shown(TRACEPARENT, "NO=1", "no"), "[none] [none]\n");
    // Without the trace that it belongs to it says nothing.
    assert_eq!(shown("hello", state, baggage), "[none] [none]\n");
}

//! Traces of jobs beside a real collector, and real tools that send theirs from inside a
//! job.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use super::otlp::{self, list};
use super::program::finish;
use super::python::environment;
use super::receiver::Receiver;
use super::rotel::Rotel;
use crate::master::{Master, id};
use crate::processes;
use crate::traces::{Told, drawn, spans};

const TRACES: &str = "/v1/traces";

const SPANS: &str = include_str!("python/spans.py");

/// What a tool needs of its step's environment.
const VARIABLES: &[&str] = &[
    "TRACEPARENT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_RESOURCE_ATTRIBUTES",
];

/// A span as both sides tell it: everything that makes the tree, by its id.
type Tree = BTreeMap<String, Value>;

fn all_spans(messages: &[Value]) -> Vec<Value> {
    let resources = messages.iter().flat_map(|it| list(&it["resourceSpans"]));
    let scopes = resources.flat_map(|it| list(&it["scopeSpans"]));
    scopes.flat_map(|it| list(&it["spans"])).cloned().collect()
}

/// `kinds` names the kinds as this side writes them.
fn tree(spans: &[Value]) -> Tree {
    let one = |it: &Value| {
        let kind = match &it["kind"] {
            Value::Number(number) => match number.as_u64() {
                Some(1) => "SPAN_KIND_INTERNAL",
                Some(2) => "SPAN_KIND_SERVER",
                Some(3) => "SPAN_KIND_CLIENT",
                _ => "another",
            },
            other => other.as_str().unwrap_or("none"),
        };
        let attributes: BTreeMap<String, Value> = list(&it["attributes"])
            .iter()
            .map(|it| (it["key"].to_string(), it["value"].clone()))
            .collect();
        let links = list(&it["links"]).iter();
        let links: Vec<_> = links.map(|it| (&it["traceId"], &it["spanId"])).collect();
        let parent = it["parentSpanId"].as_str().unwrap_or_default();
        let is_error = matches!(it["status"]["code"].as_u64(), Some(2))
            || it["status"]["code"] == "STATUS_CODE_ERROR";
        json!({
            "name": it["name"], "parent": parent, "kind": kind, "attributes": attributes,
            "links": links, "error": is_error, "trace": it["traceId"],
            "from": it["startTimeUnixNano"].to_string().replace('"', ""),
        })
    };
    let id = |it: &Value| it["spanId"].as_str().unwrap_or_default().to_owned();
    spans.iter().map(|it| (id(it), one(it))).collect()
}

/// The job's tree as the API shows it.
fn shown(master: &Master, job: &str) -> Tree {
    let answer = master.get(&format!("/api/v1/jobs/{job}/trace"));
    tree(&all_spans(&[answer.json()]))
}

/// Waits until all of these are handed on; fails unless they say the same.
#[track_caller]
fn handed_on(receiver: &Receiver, expected: &Tree) {
    let mut read = 0;
    let arrived = receiver.until("the tree comes", |received| {
        if received.len() == std::mem::replace(&mut read, received.len()) {
            return None;
        }
        let arrived = tree(&all_spans(&otlp::read(received, TRACES)));
        expected
            .keys()
            .all(|id| arrived.contains_key(id))
            .then_some(arrived)
    });
    for (id, span) in expected {
        // The request's own has its end and status from its answer, which comes later.
        if span["kind"] == "SPAN_KIND_SERVER" {
            assert_eq!(arrived[id]["name"], span["name"]);
            assert_eq!(arrived[id]["parent"], span["parent"]);
        } else {
            assert_eq!(arrived[id], *span);
        }
    }
}

fn trees_are_handed_on(protocol: &str) {
    let receiver = otlp::receiver();
    let rotel = Rotel::handing_on_to(&receiver);
    let endpoint = rotel.endpoint(protocol);
    let master = Master::with(&["--otel-endpoint", endpoint, "--otel-protocol", protocol]);
    let good = id(&master.ended(&master.run("echo good")));
    let bad = id(&master.ended(&master.run("exit 3")));
    let again = master.call("POST", &format!("/api/v1/jobs/{bad}/retry"), None);
    let again = id(&master.ended(&id(&again.json())));
    for job in [good, bad, again] {
        handed_on(&receiver, &shown(&master, &job));
    }
}

#[test]
fn a_collector_gets_the_trees_of_jobs_over_grpc() {
    trees_are_handed_on("grpc");
}

#[test]
fn a_collector_gets_the_trees_of_jobs_over_http() {
    trees_are_handed_on("http/protobuf");
}

#[test]
fn a_collector_gets_the_trees_of_jobs_that_were_stopped() {
    let receiver = otlp::receiver();
    let rotel = Rotel::handing_on_to(&receiver);
    let endpoint = rotel.endpoint("grpc");
    let master = Master::with(&["--otel-endpoint", endpoint]);
    let mut told = Told::start(&master, &["TRACEPARENT"]);
    let cancelled = master.call("DELETE", &format!("/api/v1/jobs/{}", told.job), None);
    assert_eq!(cancelled.status, 202);
    assert_eq!(master.ended(&told.job)["status"], "cancelled");
    told.go();
    let step = json!({"name": "long", "run": "sleep 60", "timeout_seconds": 1});
    let order = json!({"spec": {"name": "build", "steps": [step]}});
    let late = master.ended(&id(&master.submit(&order)));
    assert_eq!(late["status"], "timeout");
    for job in [told.job, id(&late)] {
        handed_on(&receiver, &shown(&master, &job));
    }
}

#[test]
fn a_collector_gets_both_attempts_of_a_job_whose_server_was_killed() {
    let receiver = otlp::receiver();
    let rotel = Rotel::handing_on_to(&receiver);
    let arguments = ["--otel-endpoint", rotel.endpoint("grpc")];
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &arguments);
    let told = Told::start(&master, &["TRACEPARENT"]);
    // Progress is stored with the next commit: somebody else's.
    master.run("true");
    master.kill();
    processes::all_gone(&told.job);
    drop(told.connection);
    let master = Master::start_in(&dir, &arguments);
    assert_eq!(master.ended(&told.job)["attempt"], 2);
    let mut expected = shown(&master, &told.job);
    // What the first server knew of its request may have died with it.
    below_attempts(&mut expected);
    let attempts: Vec<&Value> = expected.values().filter(|it| is_attempt(it)).collect();
    assert_eq!(attempts.len(), 2, "{expected:#?}");
    assert!(attempts.iter().any(|it| it["links"] != json!([])));
    handed_on(&receiver, &expected);
}

fn is_attempt(span: &Value) -> bool {
    span["name"]
        .as_str()
        .is_some_and(|it| it.starts_with("Job "))
}

/// Leaves the attempts and what hangs below them.
fn below_attempts(tree: &mut Tree) {
    let all = tree.clone();
    tree.retain(|_, it| {
        let mut above = Some(&*it);
        while let Some(span) = above.filter(|it| !is_attempt(it)) {
            above = span["parent"].as_str().and_then(|id| all.get(id));
        }
        above.is_some()
    });
}

#[test]
fn of_traces_that_nobody_asked_for_only_those_that_failed_are_sent() {
    let receiver = otlp::receiver();
    let rotel = Rotel::handing_on_to(&receiver);
    let endpoint = rotel.endpoint("grpc");
    let master = Master::with(&["--otel-endpoint", endpoint, "--traces-sample-percent", "0"]);
    let good = master.ended(&master.run("true"));
    let bad = master.ended(&master.run("exit 1"));
    handed_on(&receiver, &shown(&master, &id(&bad)));
    let read = all_spans(&otlp::read(&receiver.received(), TRACES));
    let name = format!("Job {}", good["short_id"].as_str().unwrap());
    assert!(read.iter().all(|it| it["name"] != name), "{name} was sent");
    assert!(
        !spans(&master, &id(&good)).is_empty(),
        "it is kept all the same"
    );
}

/// Runs a program of the peers with what the job was told, and nothing else.
#[track_caller]
fn run_with(told: &Told, program: &str, arguments: &[&str], dir: &std::path::Path) {
    let mut command = Command::new(environment().join("bin").join(program));
    command
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(VARIABLES.iter().zip(&told.words))
        // What the example's step sets, and any other tool takes anyway.
        .env("OTEL_TRACES_EXPORTER", "otlp");
    let ended = finish(command, b"");
    assert!(ended.status.success(), "{}\n{}", ended.stdout, ended.stderr);
}

#[test]
fn spans_of_python_s_sdk_hang_under_the_step_and_reach_the_collector() {
    let receiver = otlp::receiver();
    let rotel = Rotel::handing_on_to(&receiver);
    let master = Master::with(&["--otel-endpoint", rotel.endpoint("grpc")]);
    let mut told = Told::start(&master, VARIABLES);
    let dir = tempfile::tempdir().unwrap();
    run_with(&told, "python", &["-I", "-c", SPANS], dir.path());
    told.go();
    master.ended(&told.job);
    let found = spans(&master, &told.job);
    let drawn = drawn(&found);
    let below =
        "    Execute step only\n      Run process\n      suite\n        first\n        second\n";
    assert!(drawn.contains(below), "{drawn}");
    // Whose they are, they say themselves.
    let text = master
        .get(&format!("/api/v1/jobs/{}/trace", told.job))
        .json();
    let resources = list(&text["resourceSpans"]);
    let theirs = resources.iter().find(|it| {
        let names = list(&it["resource"]["attributes"]).iter();
        names
            .into_iter()
            .any(|it| it["value"]["stringValue"] == "opentelemetry")
    });
    let theirs = theirs.expect("the SDK's own resource").to_string();
    assert!(
        theirs.contains(&told.job) && theirs.contains("exception"),
        "{theirs}"
    );
    handed_on(&receiver, &shown(&master, &told.job));
}

#[test]
fn the_tests_of_the_example_show_up_below_the_step_that_runs_them() {
    let example = include_str!("../../../../../examples/pytest-traces/pipeline.yaml");
    let (_, tests) = example.split_once("<<'TESTS'\n").expect("tests");
    let (tests, _) = tests.split_once("TESTS\n").expect("their end");
    let tests = tests.replace("\n        ", "\n");
    assert!(example.contains("python3 -m pytest --export-traces -q"));
    assert!(example.contains("OTEL_TRACES_EXPORTER: otlp\n"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("test_sum.py"), tests.trim_start()).unwrap();
    let master = Master::start();
    let mut told = Told::start(&master, VARIABLES);
    let arguments = [
        "-m",
        "pytest",
        "--export-traces",
        "-q",
        "-p",
        "no:cacheprovider",
    ];
    run_with(&told, "python", &arguments, dir.path());
    told.go();
    master.ended(&told.job);
    let drawn = drawn(&spans(&master, &told.job));
    for test in ["test_sum.py::test_small\n", "test_sum.py::test_large\n"] {
        assert!(drawn.contains(test), "{drawn}");
    }
    let lines: Vec<&str> = drawn.lines().collect();
    let at = |text: &str| lines.iter().position(|it| it.trim_start() == text);
    let depth = |at: usize| lines[at].len() - lines[at].trim_start().len();
    let step = at("Execute step only").expect("the step");
    let test = at("test_sum.py::test_small").expect("the test");
    assert!(test > step && depth(test) > depth(step), "{drawn}");
}

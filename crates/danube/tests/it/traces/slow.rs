//! What took the time of a pipeline over its latest runs: of real runs, over HTTP and as
//! `danube trace --slow` shows it.

use std::fs;
use std::path::Path;

use danube_model::Timestamp;
use serde_json::{Value, json};

use super::Told;
use crate::master::{Answer, Master, id};

/// The second step fails where it is asked to, and the third is skipped then.
const BUILD: &str = "apiVersion: danube.dev/v1
kind: Pipeline
metadata: {name: build}
spec:
  parameters: {FAIL: '0'}
  steps:
    - {name: compile, run: 'true'}
    - {name: test, run: 'exit $DANUBE_PARAM_FAIL'}
    - {name: publish, run: 'true'}
";

fn started(dir: &Path) -> Master {
    fs::write(dir.join("build.yaml"), BUILD).unwrap();
    let idle = BUILD.replace("name: build", "name: idle");
    fs::write(dir.join("idle.yaml"), idle).unwrap();
    Master::with(&["--pipelines", dir.to_str().unwrap()])
}

/// Runs it to its end; returns the job.
fn built(master: &Master, fail: &str) -> Value {
    let order = json!({"pipeline": "build", "parameters": {"FAIL": fail}});
    master.ended(&id(&master.submit(&order)))
}

#[track_caller]
fn timing(master: &Master, path: &str) -> Value {
    let answer = master.get(&format!("/api/v1/pipelines/{path}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Kind, name and runs of each part, by name.
fn counts(timing: &Value) -> Vec<(String, u64)> {
    let parts = timing["parts"].as_array().unwrap().iter();
    let mut counts: Vec<_> = parts
        .map(|it| {
            let text = |key: &str| it[key].as_str().unwrap().to_owned();
            let part = format!("{}/{}", text("kind"), text("name"));
            (part, it["runs"].as_u64().unwrap())
        })
        .collect();
    counts.sort();
    counts
}

#[track_caller]
fn part<'a>(timing: &'a Value, name: &str) -> &'a Value {
    let mut parts = timing["parts"].as_array().unwrap().iter();
    let found = parts.find(|it| it["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {timing}"))
}

fn seconds_between(from: &Value, to: &Value) -> f64 {
    let time = |it: &Value| Timestamp::parse(it.as_str().unwrap()).unwrap();
    time(to).seconds_since(time(from))
}

/// What holds whatever the machine does meanwhile.
#[track_caller]
fn is_in_order(timing: &Value) {
    let parts = timing["parts"].as_array().unwrap();
    let number = |it: &Value, key: &str| it[key].as_f64().unwrap();
    assert_eq!(
        (&parts[0]["kind"], number(&parts[0], "share")),
        (&json!("whole"), 1.0)
    );
    for it in parts {
        assert!(
            number(it, "p50_seconds") <= number(it, "p95_seconds"),
            "{it}"
        );
        assert!(
            number(it, "p95_seconds") <= number(&parts[0], "p95_seconds"),
            "{it}"
        );
    }
    let shares: Vec<f64> = parts.iter().map(|it| number(it, "share")).collect();
    assert!(shares.is_sorted_by(|a, b| a >= b), "{shares:?}");
}

#[test]
fn the_runs_of_a_pipeline_are_put_together_and_compared_with_those_before() {
    let dir = tempfile::tempdir().unwrap();
    let master = started(dir.path());
    for _ in 0..3 {
        built(&master, "0");
    }
    for fail in ["0", "1", "0"] {
        built(&master, fail);
    }
    let latest = timing(&master, "build/timing?runs=3");
    assert_eq!(
        (&latest["pipeline"], &latest["runs"], &latest["runs_before"]),
        (&json!("build"), &json!(3), &json!(3))
    );
    assert_eq!(latest["is_cut"], false);
    let expected = [
        ("queue/queue", 3),
        ("stage/clean up", 3),
        ("stage/prepare", 3),
        ("step/compile", 3),
        // Of the run that failed before it, it is no part.
        ("step/publish", 2),
        ("step/test", 3),
        ("whole/whole", 3),
    ];
    assert_eq!(
        counts(&latest),
        expected.map(|(part, runs)| (part.to_owned(), runs))
    );
    is_in_order(&latest);
    let whole = part(&latest, "whole");
    assert!(whole["change_percent"].is_f64(), "{whole}");
    assert!(whole["p50_before_seconds"].is_f64(), "{whole}");
    // Two runs of a step are too few to say that it changed.
    let publish = part(&latest, "publish");
    assert_eq!(publish["change_percent"], Value::Null, "{publish}");
    assert!(publish["p50_before_seconds"].is_f64(), "{publish}");

    let all = timing(&master, "build/timing");
    assert_eq!((&all["runs"], &all["runs_before"]), (&json!(6), &json!(0)));
    is_in_order(&all);
    assert_eq!(part(&all, "whole")["p50_before_seconds"], Value::Null);
}

#[test]
fn one_run_took_what_the_job_says_of_itself() {
    let dir = tempfile::tempdir().unwrap();
    let master = started(dir.path());
    let job = built(&master, "0");
    let timing = timing(&master, "build/timing?runs=1");
    let expect = |name: &str, from: &Value, to: &Value| {
        let it = part(&timing, name);
        let took = json!(seconds_between(from, to));
        assert_eq!(
            (&it["p50_seconds"], &it["p95_seconds"]),
            (&took, &took),
            "{name}"
        );
    };
    expect("whole", &job["created_at"], &job["finished_at"]);
    for step in job["steps"].as_array().unwrap() {
        let name = step["name"].as_str().unwrap();
        expect(name, &step["started_at"], &step["finished_at"]);
    }
    let last = &job["steps"][2]["finished_at"];
    expect("clean up", last, &job["finished_at"]);
}

#[test]
fn what_waits_runs_or_was_stopped_counts_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let master = started(dir.path());
    let mut told = Told::start(&master, &["DANUBE_PIPELINE"]);
    let pipeline = told.words[0].clone();
    let empty = |timing: &Value| {
        assert_eq!((&timing["runs"], &timing["parts"]), (&json!(0), &json!([])));
    };
    empty(&timing(&master, &format!("{pipeline}/timing")));
    let cancelled = master.call("DELETE", &format!("/api/v1/jobs/{}", told.job), None);
    assert_eq!(cancelled.status, 202);
    master.ended(&told.job);
    told.go();
    empty(&timing(&master, &format!("{pipeline}/timing")));
    // Declared, and never run.
    empty(&timing(&master, "idle/timing"));
}

#[test]
fn all_pipelines_have_a_row_each() {
    let dir = tempfile::tempdir().unwrap();
    let master = started(dir.path());
    built(&master, "0");
    built(&master, "1");
    // As a route, and as a name.
    let order = json!({"spec": {"name": "timing", "steps": [{"name": "only", "run": "true"}]}});
    master.ended(&id(&master.submit(&order)));
    assert_eq!(timing(&master, "timing/timing")["runs"], 1);
    let list = timing(&master, "timing");
    assert_eq!(list["is_cut"], false);
    let pipelines = list["pipelines"].as_array().unwrap();
    let mut rows: Vec<_> = pipelines
        .iter()
        .map(|it| {
            (
                it["pipeline"].as_str().unwrap(),
                it["runs"].as_u64().unwrap(),
            )
        })
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, [("build", 2), ("timing", 1)]);
    for it in pipelines {
        let kinds: Vec<String> = counts(it).into_iter().map(|(part, _)| part).collect();
        assert_eq!(kinds, ["queue/queue", "whole/whole"]);
        is_in_order(it);
    }
}

#[test]
fn wrong_questions_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let master = started(dir.path());
    let ask = |path: &str| master.get(&format!("/api/v1/pipelines/{path}"));
    let refused = |answer: &Answer, status: u16, code: &str, detail: &str| {
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (status, &json!(code)));
        let said = problem["detail"].as_str().unwrap();
        assert!(said.contains(detail), "{said}");
    };
    for path in ["build/timing", "timing"] {
        for runs in ["0", "501"] {
            let answer = ask(&format!("{path}?runs={runs}"));
            refused(&answer, 400, "malformed", "`runs` must be 1 to 500");
        }
        for query in ["runs=x", "runs=-1", "run=3"] {
            refused(&ask(&format!("{path}?{query}")), 400, "malformed", "run");
        }
        let stranger = format!("/api/v1/pipelines/{path}");
        assert_eq!(master.request("GET", &stranger, &[], b"").status, 401);
    }
    // By a file's name, before anything has run.
    let near = "there is no pipeline `biuld`; did you mean `build`?";
    refused(&ask("biuld/timing"), 404, "not_found", near);
    for stranger in ["nothing", "%00", "a%2fb", "%3Cscript%3E", "%ff"] {
        let answer = ask(&format!("{stranger}/timing"));
        refused(&answer, 404, "not_found", "");
    }
    // Counted by template, as any route.
    let counted = |status: u16| {
        let route = "/api/v1/pipelines/{name}/timing";
        format!(
            "danube_http_request_duration_seconds_count{{method=\"GET\",route=\"{route}\",status=\"{status}\"}}"
        )
    };
    assert!(master.metric(&counted(404)) > 0.0);
    // Names of what ran are known, too.
    built(&master, "0");
    fs::remove_file(dir.path().join("build.yaml")).unwrap();
    assert_eq!(timing(&master, "build/timing")["runs"], 1);
    refused(
        &ask("buildx/timing"),
        404,
        "not_found",
        "did you mean `build`?",
    );
}

#[test]
fn the_command_shows_one_pipeline_or_all() {
    let dir = tempfile::tempdir().unwrap();
    let master = started(dir.path());
    for _ in 0..2 {
        built(&master, "0");
    }
    let shown = |arguments: &[&str]| {
        let output = master.danube(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = shown(&["trace", "--slow", "build", "--runs", "1"]);
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("build: the latest 1 run, against the 1 run before")
    );
    assert!(lines.next().unwrap().starts_with("PART   NAME"), "{text}");
    assert!(lines.next().unwrap().starts_with("whole  whole"), "{text}");
    assert_eq!(lines.count(), 6, "{text}");
    let all = shown(&["trace", "--slow"]);
    let rows: Vec<&str> = all.lines().collect();
    assert_eq!(rows.len(), 2, "{all}");
    assert!(rows[1].starts_with("build"), "{all}");
    let json: Value =
        serde_json::from_str(&shown(&["trace", "--slow", "build", "-o", "json"])).unwrap();
    assert_eq!(json, timing(&master, "build/timing"));
    let json: Value = serde_json::from_str(&shown(&["trace", "--slow", "-o", "json"])).unwrap();
    assert_eq!(json, timing(&master, "timing"));
}

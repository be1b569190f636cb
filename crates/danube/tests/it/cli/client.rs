//! The commands that talk to a server: what they send, show and exit with.

use serde_json::{Value, json};

use super::responder::{Answer, Responder};
use super::{Place, job, seen};
use crate::golden;

const ID: &str = "0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6";

fn ended() -> Value {
    job(
        "failure",
        &json!({
            "finished_at": "2026-01-10T12:36:57.500Z", "duration_seconds": 120.5, "exit_code": 2,
            "reason": "step `test` ended with exit code 2", "log_bytes": 2048, "log_complete": true,
            "steps": [
                {"name": "build", "status": "success", "exit_code": 0, "started_at": "2026-01-10T12:34:57.000Z",
                 "finished_at": "2026-01-10T12:35:57.000Z", "log_start": 0, "log_end": 1024, "cpu_seconds": 3.25, "max_rss_bytes": 1048576},
                {"name": "test", "status": "failure", "exit_code": 2, "started_at": "2026-01-10T12:35:57.000Z",
                 "finished_at": "2026-01-10T12:36:57.500Z", "log_start": 1024, "log_end": 2048, "cpu_seconds": 0.5, "max_rss_bytes": null},
                {"name": "publish", "status": "skipped", "exit_code": null, "started_at": null, "finished_at": null,
                 "log_start": null, "log_end": null, "cpu_seconds": null, "max_rss_bytes": null},
            ],
        }),
    )
}

#[test]
fn every_kind_of_refusal_has_its_exit_code() {
    let place = Place::new();
    for (code, status, exit) in [
        ("unauthorized", 401, 4),
        ("forbidden", 403, 4),
        ("not_found", 404, 5),
        ("wrong_state", 409, 6),
        ("ambiguous", 409, 6),
        ("invalid", 422, 2),
        ("too_many", 429, 7),
        ("internal", 500, 1),
        ("unavailable", 503, 7),
    ] {
        let server = Responder::new(vec![Answer::problem(code, status, "the reason")]);
        let (got, out, err) = seen(&place.client(&server.url, &["cancel", ID]).output().unwrap());
        assert_eq!((got, out.as_str()), (exit, ""), "{code}");
        assert!(
            err.starts_with(&format!("error: cancel job {ID}: the reason\nhint: ")),
            "{err}"
        );
        assert_eq!(server.finish()[0].line, format!("DELETE /api/v1/jobs/{ID}"));

        let server = Responder::new(vec![Answer::problem(code, status, "the reason")]);
        let (got, _, err) = seen(
            &place
                .client(&server.url, &["cancel", ID, "-o", "json"])
                .output()
                .unwrap(),
        );
        let told: Value = serde_json::from_str(&err).unwrap();
        assert_eq!(
            (got, &told["error"]["code"], &told["error"]["exit_code"]),
            (exit, &json!(code), &json!(exit))
        );
        server.finish();
    }
}

#[test]
fn every_mistake_of_a_request_is_shown() {
    let place = Place::new();
    let mut body = json!({"type": "urn:danube:error:invalid", "title": "t", "status": 422, "detail": "2 mistakes; nothing was changed",
                          "code": "invalid"});
    body["errors"] = json!([
        {"pointer": "/parameters/LEVEL", "message": "there is no parameter `LEVEL`"},
        {"pointer": "/mask/0", "message": "is too short\u{1b}[2J"},
    ]);
    let server = Responder::new(vec![Answer::json(422, &body)]);
    let (code, _, err) = seen(
        &place
            .client(&server.url, &["submit", "p", "--param", "LEVEL=1"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 2);
    assert_eq!(
        err,
        "error: submit the job: 2 mistakes; nothing was changed\n  \
         /parameters/LEVEL: there is no parameter `LEVEL`\n  /mask/0: is too short\u{fffd}[2J\n\
         hint: correct everything that is listed; nothing was changed\n"
    );
    server.finish();
}

#[test]
fn something_else_than_danube_is_recognised() {
    let place = Place::new();
    let server = Responder::new(vec![Answer::json(404, &json!({"message": "no"}))]);
    let (code, _, err) = seen(&place.client(&server.url, &["jobs"]).output().unwrap());
    assert_eq!(code, 1);
    assert!(err.contains("is this a Danube server?"), "{err}");
    server.finish();
}

#[test]
fn a_submit_sends_what_was_asked_and_prints_the_id() {
    let place = Place::new();
    let server = Responder::new(vec![Answer::json(202, &job("pending", &json!({})))]);
    let args = [
        "submit",
        "build",
        "--ref",
        "v1",
        "--param",
        "A=1=2",
        "--param",
        "B",
        "--mask-env",
        "TOKEN",
        "--idempotency-key",
        "k",
    ];
    let mut command = place.client(&server.url, &args);
    let output = command
        .env("B", "from here")
        .env("TOKEN", "hush-hush-hush")
        .output()
        .unwrap();
    assert_eq!(seen(&output), (0, format!("{ID}\n"), String::new()));
    let requests = server.finish();
    assert_eq!(requests[0].header("idempotency-key"), Some("k"));
    assert_eq!(
        requests[0].header("authorization"),
        Some("Bearer dnb_key_of_this_test")
    );
    let body: Value = serde_json::from_str(&requests[0].body).unwrap();
    let expected = json!({"pipeline": "build", "ref": "v1", "parameters": {"A": "1=2", "B": "from here"}, "mask": ["hush-hush-hush"]});
    assert_eq!(body, expected);
}

#[test]
fn a_command_is_submitted_as_a_job_of_one_step() {
    let place = Place::new();
    let server = Responder::new(vec![Answer::json(202, &job("pending", &json!({})))]);
    let output = place
        .client(&server.url, &["submit", "--", "echo", "it's", "--output"])
        .output()
        .unwrap();
    assert_eq!(seen(&output).0, 0);
    let body: Value = serde_json::from_str(&server.finish()[0].body).unwrap();
    assert_eq!(body["spec"]["steps"][0]["run"], r"echo 'it'\''s' --output");
}

#[test]
fn a_lost_answer_makes_no_second_job() {
    let place = Place::new();
    let accepted = Answer::json(202, &job("pending", &json!({})));
    let server = Responder::new(vec![Answer::nothing(), Answer::nothing(), accepted]);
    let output = place
        .client(&server.url, &["submit", "build"])
        .output()
        .unwrap();
    assert_eq!(seen(&output).0, 0);
    let requests = server.finish();
    let keys: Vec<Option<&str>> = requests
        .iter()
        .map(|it| it.header("idempotency-key"))
        .collect();
    assert!(
        keys[0].is_some() && keys.iter().all(|it| *it == keys[0]),
        "{keys:?}"
    );
    assert!(requests.iter().all(|it| it.body == requests[0].body));
}

#[test]
fn jobs_are_listed_in_a_table() {
    let place = Place::new();
    let long = json!({"short_id": "aaaaaaaa", "pipeline": "流水线", "trigger_ref": null, "started_at": null});
    let page = json!({"jobs": [ended(), job("pending", &long)], "next_cursor": "more"});
    let server = Responder::new(vec![Answer::json(200, &page)]);
    let args = [
        "jobs",
        "--status",
        "failed",
        "--pipeline",
        "a b",
        "--limit",
        "2",
    ];
    let (code, out, err) = seen(&place.client(&server.url, &args).output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
    golden::check("tests/it/golden/cli/jobs.txt", &out);
    assert_eq!(
        server.finish()[0].line,
        "GET /api/v1/jobs?status=failed&pipeline=a%20b&limit=2"
    );
}

/// A part as a server shows it.
fn part(kind: &str, name: &str, [p50, p95, share]: [f64; 3], before: &(Value, Value)) -> Value {
    json!({"kind": kind, "name": name, "runs": 20, "p50_seconds": p50, "p95_seconds": p95, "share": share,
           "p50_before_seconds": before.0, "change_percent": before.1})
}

/// A pipeline as a server shows it.
pub(crate) fn timing(parts: &[Value]) -> Value {
    json!({"pipeline": "frontend-build", "runs": 20, "runs_before": 20, "is_cut": false, "parts": parts})
}

/// Parts of each kind, one with a name that is too long.
pub(crate) fn timed_parts() -> Vec<Value> {
    let whole = &(json!(1_650.0), json!(15.2));
    vec![
        part("whole", "whole", [1_900.25, 9_000.5, 1.0], whole),
        part(
            "step",
            "test-everything-on-every-browser\u{1b}[2J",
            [900.0, 1_000.0, 0.474],
            &(json!(1_200.0), json!(-25.0)),
        ),
        part(
            "queue",
            "queue",
            [610.0, 7_000.0, 0.321],
            &(json!(0.5), json!(121_900.0)),
        ),
        part(
            "step",
            "new-step",
            [300.0, 301.0, 0.158],
            &(Value::Null, Value::Null),
        ),
        part(
            "stage",
            "clean up",
            [0.021, 0.4, 0.0],
            &(json!(0.014), json!(50.0)),
        ),
        part(
            "stage",
            "prepare",
            [0.004, 0.005, 0.0],
            &(json!(0.004), json!(0.0)),
        ),
    ]
}

#[test]
fn what_took_the_time_of_a_pipeline_is_a_table() {
    let place = Place::new();
    let mut cut = timing(&timed_parts());
    cut["is_cut"] = json!(true);
    let server = Responder::new(vec![Answer::json(200, &cut)]);
    let args = ["trace", "--slow", "a b/c", "--runs", "20"];
    let (code, out, err) = seen(&place.client(&server.url, &args).output().unwrap());
    assert_eq!(code, 0);
    assert_eq!(
        err,
        "older runs were left out: there are too many to read\n"
    );
    golden::check("tests/it/golden/cli/trace-slow.txt", &out);
    assert_eq!(
        server.finish()[0].line,
        "GET /api/v1/pipelines/a%20b%2Fc/timing?runs=20"
    );

    let mut none = timing(&timed_parts()[..0]);
    none["pipeline"] = json!("never-ran");
    none["runs"] = json!(0);
    let brief = timing(&[timed_parts()[0].clone(), timed_parts()[2].clone()]);
    let list = json!({"pipelines": [brief, none], "is_cut": false});
    let server = Responder::new(vec![Answer::json(200, &list), Answer::json(200, &none)]);
    let (code, out, err) = seen(
        &place
            .client(&server.url, &["trace", "--slow"])
            .output()
            .unwrap(),
    );
    assert_eq!((code, err.as_str()), (0, ""));
    golden::check("tests/it/golden/cli/trace-slow-all.txt", &out);
    let (code, out, err) = seen(
        &place
            .client(&server.url, &["trace", "--slow", "never-ran"])
            .output()
            .unwrap(),
    );
    assert_eq!((code, out.as_str()), (0, ""));
    assert_eq!(err, "no run has ended by itself yet\n");
    assert_eq!(
        server.finish()[0].line,
        "GET /api/v1/pipelines/timing?runs=50"
    );
}

#[test]
fn a_list_of_many_pages_is_one_list() {
    let place = Place::new();
    let pages = || {
        vec![
            Answer::json(
                200,
                &json!({"jobs": [job("running", &json!({"short_id": "first"}))], "next_cursor": "c1"}),
            ),
            Answer::json(
                200,
                &json!({"jobs": [job("running", &json!({"short_id": "second"}))], "next_cursor": null}),
            ),
        ]
    };
    let server = Responder::new(pages());
    let (code, out, _) = seen(
        &place
            .client(&server.url, &["jobs", "--all", "-o", "json"])
            .output()
            .unwrap(),
    );
    let list: Value = serde_json::from_str(&out).unwrap();
    let ids: Vec<&str> = list["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["short_id"].as_str())
        .collect();
    assert_eq!(
        (code, ids, &list["next_cursor"]),
        (0, vec!["first", "second"], &Value::Null)
    );
    let lines: Vec<String> = server.finish().into_iter().map(|it| it.line).collect();
    assert_eq!(
        lines,
        [
            "GET /api/v1/jobs?limit=1000",
            "GET /api/v1/jobs?limit=1000&cursor=c1"
        ]
    );

    let server = Responder::new(pages());
    let (_, out, _) = seen(
        &place
            .client(&server.url, &["jobs", "--all"])
            .output()
            .unwrap(),
    );
    assert_eq!(out.lines().count(), 3, "one head for all pages: {out}");
    server.finish();
}

#[test]
fn an_empty_list_is_still_a_list() {
    let place = Place::new();
    let nothing = json!({"jobs": [], "next_cursor": null});
    let server = Responder::new(vec![
        Answer::json(200, &nothing),
        Answer::json(200, &nothing),
    ]);
    let output = place
        .client(&server.url, &["jobs", "-o", "json"])
        .output()
        .unwrap();
    assert_eq!(seen(&output).1, "{\"jobs\":[],\"next_cursor\":null}\n");
    let output = place.client(&server.url, &["jobs"]).output().unwrap();
    assert_eq!(seen(&output), (0, String::new(), "no jobs\n".into()));
    server.finish();
}

#[test]
fn a_job_is_shown_with_its_steps_and_its_history() {
    let place = Place::new();
    let server = Responder::new(vec![Answer::json(200, &ended())]);
    let (code, out, _) = seen(
        &place
            .client(&server.url, &["job", "pb1x9sfp"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 0);
    golden::check("tests/it/golden/cli/job.txt", &out);
    server.finish();
    let history = json!({"transitions": [
        {"at": "2026-01-10T12:34:56.000Z", "from": null, "to": "pending", "cause": "submitted", "attempt": 0, "by": "admin", "detail": null},
        {"at": "2026-01-10T12:36:57.500Z", "from": "running", "to": "failure", "cause": "failed", "attempt": 1, "by": "here-1",
         "detail": "step `test` ended with exit code 2"},
    ]});
    let server = Responder::new(vec![Answer::json(200, &history)]);
    let (code, out, _) = seen(
        &place
            .client(&server.url, &["history", "pb1x9sfp"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 0);
    golden::check("tests/it/golden/cli/history.txt", &out);
    server.finish();
}

#[test]
fn cancel_can_wait_for_the_end() {
    let place = Place::new();
    let stopping = job("running", &json!({"cancel_requested": true}));
    let server = Responder::new(vec![
        Answer::json(202, &stopping),
        Answer::json(200, &stopping),
        Answer::nothing(),
        Answer::json(200, &job("cancelled", &json!({}))),
    ]);
    let output = place
        .client(&server.url, &["cancel", "pb1x9sfp", "--wait"])
        .output()
        .unwrap();
    assert_eq!(
        seen(&output),
        (0, "job pb1x9sfp ended: cancelled\n".into(), String::new())
    );
    server.finish();

    let server = Responder::new(vec![Answer::json(202, &stopping)]);
    let output = place
        .client(&server.url, &["cancel", "pb1x9sfp"])
        .output()
        .unwrap();
    assert_eq!(
        seen(&output),
        (0, "job pb1x9sfp is being stopped\n".into(), String::new())
    );
    server.finish();

    let server = Responder::new(vec![
        Answer::json(202, &stopping),
        Answer::json(200, &job("success", &json!({}))),
    ]);
    let (code, _, err) = seen(
        &place
            .client(&server.url, &["cancel", "pb1x9sfp", "--wait"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 6);
    assert!(err.contains("it ended before that, with success"), "{err}");
    server.finish();
}

#[test]
fn a_new_key_stands_alone_on_standard_output() {
    let place = Place::new();
    let key = json!({"key": "dnb_0123456789", "id": "k1", "name": "ci", "role": "member", "prefix": "dnb_0123",
                     "created_at": "2026-01-10T12:34:56.000Z", "revoked_at": null});
    let server = Responder::new(vec![Answer::json(201, &key)]);
    let output = place
        .client(&server.url, &["apikey", "create", "ci", "--role", "member"])
        .output()
        .unwrap();
    let (code, out, err) = seen(&output);
    assert_eq!((code, out.as_str()), (0, "dnb_0123456789\n"));
    assert!(err.contains("the only time"), "{err}");
    let request = &server.finish()[0];
    assert_eq!(request.body, r#"{"name":"ci","role":"member"}"#);
    let server = Responder::new(vec![
        Answer::json(200, &json!({"keys": [key]})),
        Answer::json(200, &key),
    ]);
    let (_, out, _) = seen(
        &place
            .client(&server.url, &["apikey", "list"])
            .output()
            .unwrap(),
    );
    assert!(
        out.contains("dnb_0123") && !out.contains("0123456789"),
        "{out}"
    );
    let (code, out, _) = seen(
        &place
            .client(&server.url, &["apikey", "revoke", "a/b"])
            .output()
            .unwrap(),
    );
    assert_eq!((code, out.as_str()), (0, "key ci is revoked\n"));
    assert_eq!(server.finish()[1].line, "DELETE /api/v1/api-keys/a%2Fb");
}

#[test]
fn health_says_what_is_missing_and_needs_no_key() {
    let place = Place::new();
    let body = json!({"status": "not_ready", "timestamp": "2026-01-10T12:34:56.000Z",
                      "checks": {"database": "ok", "disk": "failed"}});
    let server = Responder::new(vec![Answer::json(503, &body)]);
    let output = place
        .danube(&["health", "--server", &server.url])
        .output()
        .unwrap();
    let (code, out, err) = seen(&output);
    let expected = format!(
        "{} is not_ready\ndatabase  ok\ndisk      failed\n",
        server.url
    );
    assert_eq!((code, out, err.as_str()), (1, expected, ""));
    server.finish();
}

#[test]
fn the_local_server_and_its_key_are_found() {
    let place = Place::new();
    let page = Answer::json(200, &json!({"jobs": [], "next_cursor": null}));
    let server = Responder::new(vec![page.clone(), page]);
    let address = server.url.strip_prefix("http://").unwrap();
    place.write("data/master.addr", format!("{address}\n"));
    place.write("data/admin.key", "dnb_admin\n");
    assert_eq!(seen(&place.danube(&["jobs"]).output().unwrap()).0, 0);
    // The same server by its name is still the local one.
    assert_eq!(
        seen(
            &place
                .danube(&["jobs", "--server", &server.url])
                .output()
                .unwrap()
        )
        .0,
        0
    );
    let requests = server.finish();
    assert!(
        requests
            .iter()
            .all(|it| it.header("authorization") == Some("Bearer dnb_admin"))
    );
}

#[test]
fn the_local_admin_key_goes_to_no_other_server() {
    let place = Place::new();
    place.write("data/master.addr", "127.0.0.1:1\n");
    place.write("data/admin.key", "dnb_admin\n");
    let (code, _, err) = seen(
        &place
            .danube(&["jobs", "--server", "http://127.0.0.1:2"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 4);
    assert!(
        err.starts_with("error: there is no key for this server"),
        "{err}"
    );
}

#[test]
fn a_key_file_wins_over_the_environment() {
    let place = Place::new();
    place.write("key", "dnb_from_file\n");
    let server = Responder::new(vec![Answer::json(
        200,
        &json!({"jobs": [], "next_cursor": null}),
    )]);
    let output = place
        .client(&server.url, &["jobs", "--key-file", "key"])
        .output()
        .unwrap();
    assert_eq!(seen(&output).0, 0);
    assert_eq!(
        server.finish()[0].header("authorization"),
        Some("Bearer dnb_from_file")
    );
}

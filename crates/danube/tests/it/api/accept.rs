//! What a submit may say, and what reaches the steps.

use std::fs;

use serde_json::{Value, json};

use super::{all_jobs, pointers, problem};
use crate::master::{Answer, Master, id};

const BUILD: &str = "apiVersion: danube.dev/v1
kind: Pipeline
metadata: {name: build}
spec:
  parameters: {LEVEL: '1', COLOUR: red}
  env: {SHARED: everywhere}
  steps:
    - name: say
      run: echo \"$DANUBE_PARAM_LEVEL $DANUBE_PARAM_COLOUR $SHARED $OWN\"
      env: {OWN: here}
";

/// Submits this text, with these headers beside the key.
fn post(master: &Master, headers: &[(&str, &str)], body: &str) -> Answer {
    let key = format!("Bearer {}", master.key);
    let mut all = vec![
        ("authorization", key.as_str()),
        ("content-type", "application/json"),
    ];
    all.extend(headers);
    master.request("POST", "/api/v1/jobs", &all, body.as_bytes())
}

fn log_of(master: &Master, order: &Value) -> String {
    let job = master.ended(&id(&master.submit(order)));
    assert_eq!(job["status"], "success", "{job}");
    String::from_utf8(master.log(&id(&job))).unwrap()
}

#[test]
fn pipelines_are_found_by_name_in_the_directory() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("pipelines");
    fs::create_dir(&dir).unwrap();
    let master = Master::with(&["--pipelines", dir.to_str().unwrap()]);
    let missing = master.call("POST", "/api/v1/jobs", Some(&json!({"pipeline": "build"})));
    assert_eq!(pointers(&problem(&missing, 422, "invalid")), ["/pipeline"]);

    fs::write(dir.join("any-name.yaml"), BUILD).unwrap();
    let file = json!({"apiVersion": "danube.dev/v1", "kind": "Pipeline", "metadata": {"name": "ship"},
        "spec": {"steps": [{"name": "only", "run": "echo from JSON"}]}});
    fs::write(dir.join("ship.json"), file.to_string()).unwrap();
    assert_eq!(
        log_of(&master, &json!({"pipeline": "build"})),
        "1 red everywhere here\n"
    );
    assert_eq!(
        log_of(
            &master,
            &json!({"pipeline": "build", "parameters": {"LEVEL": "2"}})
        ),
        "2 red everywhere here\n"
    );
    assert_eq!(log_of(&master, &json!({"pipeline": "ship"})), "from JSON\n");

    // An edit counts for the next submit.
    fs::write(
        dir.join("ship.json"),
        file.to_string().replace("from JSON", "edited"),
    )
    .unwrap();
    assert_eq!(log_of(&master, &json!({"pipeline": "ship"})), "edited\n");

    let before = all_jobs(&master);
    let unknown = master.call("POST", "/api/v1/jobs", Some(&json!({"pipeline": "bulid"})));
    let told = problem(&unknown, 422, "invalid")["errors"][0]["message"].to_string();
    assert!(
        told.contains("`build`") && told.contains("`ship`"),
        "{told}"
    );

    // A wrong file says where it is wrong, and harms nobody else.
    fs::write(
        dir.join("wrong.yaml"),
        BUILD
            .replace("name: build", "name: wrong")
            .replace("run:", "rum:"),
    )
    .unwrap();
    let wrong = master.call("POST", "/api/v1/jobs", Some(&json!({"pipeline": "wrong"})));
    let told = problem(&wrong, 422, "invalid")["errors"][0]["message"].to_string();
    assert!(told.contains("wrong.yaml:9:7: "), "line and column: {told}");
    fs::write(dir.join("broken.json"), "{\n  \"kind\": \n").unwrap();
    let wrong = master.call("POST", "/api/v1/jobs", Some(&json!({"pipeline": "broken"})));
    let told = problem(&wrong, 422, "invalid")["errors"][0]["message"].to_string();
    assert!(told.contains("broken.json:"), "{told}");
    let undeclared = master.call(
        "POST",
        "/api/v1/jobs",
        Some(&json!({"pipeline": "build", "parameters": {"SIZE": "9"}})),
    );
    let told = problem(&undeclared, 422, "invalid");
    assert_eq!(pointers(&told), ["/parameters/SIZE"]);
    assert!(told.to_string().contains("LEVEL"), "{told}");
    assert_eq!(all_jobs(&master), before);
    assert_eq!(
        log_of(&master, &json!({"pipeline": "build"})),
        "1 red everywhere here\n"
    );
}

#[test]
fn a_step_gets_what_it_is_given_and_nothing_else() {
    let master = Master::start();
    let job = master.submit(&json!({
        "spec": {"name": "surroundings", "env": {"WIDE": "all steps", "BOTH": "pipeline"},
            "steps": [{"name": "look around", "run": "env", "env": {"BOTH": "step", "ODD": "two\nlines 'and' \"quotes\" $HOME `id`"}}]},
        "ref": "feature/x", "parameters": {"LEVEL": "$(touch /tmp/x); 'q'"},
    }));
    let job = master.ended(&id(&job));
    assert_eq!(job["trigger_ref"], "feature/x");
    let log = String::from_utf8(master.log(&id(&job))).unwrap();
    let value = |name: &str| {
        let line = log
            .lines()
            .find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("{name} in {log}")).to_owned()
    };
    for (name, expected) in [
        ("CI", "true"),
        ("DANUBE", "1"),
        ("LANG", "C.UTF-8"),
        ("DANUBE_JOB_ID", job["id"].as_str().unwrap()),
        ("DANUBE_PIPELINE", "surroundings"),
        ("DANUBE_STEP", "look around"),
        ("DANUBE_REF", "feature/x"),
        ("DANUBE_SERVER", master.address.as_str()),
        ("DANUBE_PARAM_LEVEL", "$(touch /tmp/x); 'q'"),
        ("WIDE", "all steps"),
        ("BOTH", "step"),
    ] {
        assert_eq!(value(name), expected);
    }
    assert!(
        log.contains("ODD=two\nlines 'and' \"quotes\" $HOME `id`\n"),
        "{log}"
    );
    assert_eq!(value("OTEL_EXPORTER_OTLP_ENDPOINT"), master.address);
    assert_eq!(value("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf");
    let traceparent = value("TRACEPARENT");
    assert_eq!(traceparent.split('-').nth(1), job["trace_id"].as_str());
    assert_eq!(value("PWD"), value("DANUBE_WORKSPACE"));
    // Made, not inherited: the test's own environment has plenty.
    let known = [
        "CI",
        "DANUBE",
        "HOME",
        "LANG",
        "PATH",
        "PWD",
        "SHLVL",
        "OLDPWD",
        "_",
        "TRACEPARENT",
        "WIDE",
        "BOTH",
        "ODD",
    ];
    for line in log.lines().filter_map(|it| it.split_once('=')) {
        let (name, _) = line;
        assert!(
            known.contains(&name) || name.starts_with("DANUBE_") || name.starts_with("OTEL_"),
            "{name}"
        );
    }
    assert!(!log.contains(&master.key));
}

#[test]
fn an_idempotency_key_makes_a_submit_safe_to_repeat() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    let (body, other) = (
        crate::master::one_step("true").to_string(),
        crate::master::one_step("false").to_string(),
    );
    let first = post(&master, &[("idempotency-key", "abc")], &body);
    assert_eq!(first.status, 202);
    let again = post(&master, &[("idempotency-key", "abc")], &body);
    assert_eq!((again.status, again.text()), (202, first.text()));
    assert_eq!(again.header("location"), first.header("location"));
    let before = all_jobs(&master);
    problem(
        &post(&master, &[("idempotency-key", "abc")], &other),
        409,
        "idempotency_conflict",
    );
    for bad in ["", "  ", &"x".repeat(256)] {
        problem(
            &post(&master, &[("idempotency-key", bad)], &body),
            400,
            "malformed",
        );
    }
    assert_eq!(all_jobs(&master), before);
    // A refused submit uses no key up.
    problem(
        &post(&master, &[("idempotency-key", "later")], "{}"),
        422,
        "invalid",
    );
    assert_eq!(
        post(&master, &[("idempotency-key", "later")], &body).status,
        202
    );

    // Another key's owner has keys of their own.
    let made = master.call(
        "POST",
        "/api/v1/api-keys",
        Some(&json!({"name": "second", "role": "member"})),
    );
    let second = made.json()["key"].as_str().unwrap().to_owned();
    let theirs = |master: &Master| {
        let headers = [
            ("x-api-key", second.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", "abc"),
        ];
        master.request("POST", "/api/v1/jobs", &headers, other.as_bytes())
    };
    let other_job = theirs(&master);
    assert_eq!(other_job.status, 202, "{}", other_job.text());
    assert_ne!(id(&other_job.json()), id(&first.json()));

    master.kill();
    let master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    assert_eq!(
        post(&master, &[("idempotency-key", "abc")], &body).text(),
        first.text()
    );
    assert_eq!(theirs(&master).text(), other_job.text());
    problem(
        &post(&master, &[("idempotency-key", "abc")], &other),
        409,
        "idempotency_conflict",
    );
}

#[test]
fn one_key_sent_many_times_at_once_makes_one_job() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let body = crate::master::one_step("true").to_string();
    let ids: Vec<String> = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| id(&post(&master, &[("idempotency-key", "same")], &body).json()))
            })
            .collect();
        asks.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|it| *it == ids[0]), "{ids:?}");
    assert_eq!(
        super::ids(&master.get("/api/v1/jobs").json()),
        [ids[0].clone()]
    );
}

#[test]
fn a_job_joins_the_callers_trace_or_begins_its_own() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let body = crate::master::one_step("true").to_string();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let sent = format!("00-{trace}-b7ad6b7169203331-01");
    let joined = post(&master, &[("traceparent", &sent)], &body);
    assert_eq!(joined.json()["trace_id"], trace);
    let told = master.event(|it| it["event"] == "job_submitted" && it["trace_id"] == trace);
    assert_eq!(told["job_id"], joined.json()["id"]);
    assert_ne!(told["span_id"], "b7ad6b7169203331", "a span of its own");

    let mut seen = vec![trace.to_owned()];
    for hostile in [
        "",
        "hello",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333g-01",
        &"0".repeat(8_000),
        "\u{e9}\u{e9}",
    ] {
        let answer = post(&master, &[("traceparent", hostile)], &body);
        assert_eq!(answer.status, 202, "{hostile:?}: {}", answer.text());
        let own = answer.json()["trace_id"].as_str().unwrap().to_owned();
        assert_eq!(own.len(), 32);
        assert!(!seen.contains(&own), "{hostile:?} gives a new trace");
        seen.push(own);
    }
    let twice = post(
        &master,
        &[("traceparent", &sent), ("traceparent", &sent)],
        &body,
    );
    assert_eq!(twice.status, 202);
    assert_ne!(twice.json()["trace_id"], trace, "two parents are none");
}

#[test]
fn every_answer_has_an_id_that_the_server_log_knows() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let answer = master.call(
        "POST",
        "/api/v1/jobs",
        Some(&crate::master::one_step("true")),
    );
    let request = answer.header("x-request-id").unwrap().to_owned();
    let event = master.event(|it| it["event"] == "job_submitted");
    assert_eq!(event["request_id"], request);
    let mut ids = vec![request];
    for path in [
        "/api/v1/jobs",
        "/api/v1/nothing",
        "/health",
        "/metrics",
        "/login",
    ] {
        let id = master
            .get(path)
            .header("x-request-id")
            .map(str::to_owned)
            .unwrap_or_else(|| panic!("{path}"));
        assert!(id.len() == 16 && !ids.contains(&id), "{id}");
        ids.push(id);
    }
}

//! Coordinators that die, flood, ask for what they may not have, or call after their end.

use serde_json::{Value, json};

use super::{Gate, Scripted, go, log, submit};
use crate::master::{Answer, Master, id, one_step};
use crate::processes::all_gone;

fn call(master: &Master, path: &str, token: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    master.request("POST", path, &headers, body.to_string().as_bytes())
}

fn step(name: &str, run: &str) -> Value {
    json!({"name": name, "run": run, "request_id": name})
}

#[test]
fn only_the_coordinator_itself_asks_while_it_runs_and_for_what_it_may_have() {
    let gate = Gate::new();
    let program = format!(
        "#!/bin/bash\nset -eu\ndanube step run --name inner -- bash -c '{}'\n{}\n",
        gate.wait("$DANUBE_JOB_TOKEN"),
        gate.wait("$DANUBE_JOB_TOKEN")
    );
    let scripted = Scripted::new("ci", &program);
    let master = scripted.master(&[]);
    let job = submit(&master);
    let (stream, of_step) = gate.met();
    // A step of it has another token, which opens neither steps nor secrets.
    let refused = call(&master, "/rpc/run-step", &of_step, &step("x", "true"));
    assert_eq!(refused.status, 403, "{}", refused.text());
    let refused = call(
        &master,
        "/rpc/get-secret",
        &of_step,
        &json!({"name": "deploy"}),
    );
    assert_eq!(refused.status, 403, "{}", refused.text());
    let kept = master.request(
        "POST",
        "/rpc/upload-artifact?name=a",
        &[("authorization", &format!("Bearer {of_step}"))],
        b"bytes",
    );
    assert_eq!(kept.status, 200, "any step leaves files: {}", kept.text());
    go(stream);
    let (stream, token) = gate.met();
    assert_ne!(token, of_step);
    may_not(&master, &token);
    // The same call twice is one step.
    let once = step("once", "echo once");
    let first = call(&master, "/rpc/run-step", &token, &once);
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(
        call(&master, "/rpc/run-step", &token, &once).text(),
        first.text()
    );
    go(stream);
    let ended = master.ended(&job);
    assert_eq!(ended["status"], "success", "{ended}");
    assert_eq!(log(&master, &job).matches("once\n").count(), 1);
    for path in ["/rpc/run-step", "/rpc/get-secret", "/rpc/report-status"] {
        let late = call(&master, path, &token, &step("late", "true"));
        assert_eq!(late.status, 401, "{path} {}", late.text());
    }
    let key = call(&master, "/rpc/run-step", &master.key, &step("x", "true"));
    assert_eq!(key.status, 401, "a key is no job: {}", key.text());
}

/// Calls of a good token that are refused.
fn may_not(master: &Master, token: &str) {
    let taken = call(master, "/rpc/run-step", token, &step("inner", "true"));
    assert_eq!(taken.status, 409, "{}", taken.text());
    let other = json!({"name": "other"});
    let unnamed = call(master, "/rpc/get-secret", token, &other);
    assert_eq!(unnamed.status, 403, "{}", unnamed.text());
    master.event(|it| it["event"] == "secret_access_failed" && it["secret_key"] == "other");
    let wrong = call(master, "/rpc/run-step", token, &json!({"name": "a"}));
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    let large = step("large", &"x".repeat(300 * 1024));
    assert_eq!(call(master, "/rpc/run-step", token, &large).status, 413);
}

#[test]
fn a_step_ends_with_its_coordinator() {
    let gate = Gate::new();
    let program = format!(
        "#!/bin/bash\nset -m\n(danube step run --name orphan -- bash -c '{}; sleep 600' &)\n{}\nexit 4\n",
        gate.wait("step"),
        gate.wait("script")
    );
    let scripted = Scripted::new("ci", &program);
    let master = scripted.master(&[]);
    let job = submit(&master);
    let met = [gate.met(), gate.met()];
    for (stream, _) in met {
        go(stream);
    }
    let ended = master.ended(&job);
    assert_eq!(ended["status"], "failure", "{ended}");
    assert_eq!(ended["exit_code"], 4, "{ended}");
    assert_eq!(ended["steps"][2]["status"], "cancelled", "{ended}");
    all_gone(&job);
}

#[test]
fn a_job_without_a_script_has_no_coordinator() {
    let master = Master::start();
    let gate = Gate::new();
    let mut order = one_step(&gate.wait("$DANUBE_JOB_TOKEN"));
    order["spec"]["shell"] = json!("bash");
    let job = id(&master.submit(&order));
    let (stream, token) = gate.met();
    let refused = call(&master, "/rpc/run-step", &token, &step("x", "true"));
    assert_eq!(refused.status, 403, "{}", refused.text());
    go(stream);
    assert_eq!(master.ended(&job)["status"], "success");
}

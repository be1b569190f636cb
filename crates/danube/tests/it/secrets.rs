//! Secrets of pipelines through the door: who sets them, which step gets them, and that no
//! value is seen anywhere else.

use serde_json::{Value, json};

use crate::elsewhere::Elsewhere;
use crate::leaks::{files_hold_none, holds_none};
use crate::master::{Master, id};

const VALUE: &str = "canary/secret+of&pipeline-3c9a01";

/// Sets one for all pipelines.
pub(crate) fn set(master: &Master, name: &str) {
    let path = format!("/api/v1/secrets/{name}");
    let made = master.call("PUT", &path, Some(&json!({"value": VALUE})));
    assert_eq!(made.status, 201, "{}", made.text());
}

fn release(named: &[&str], steps: &Value) -> Value {
    json!({"spec": {"name": "release", "secrets": named, "steps": steps}})
}

/// Two steps of a job that both ask for it.
pub(crate) fn used_twice(master: &Master) -> String {
    let step = |name: &str| json!({"name": name, "run": "echo \"[$TOKEN] ${#TOKEN}\"", "secrets": {"TOKEN": "deploy"}});
    let bare = json!({"name": "bare", "run": "env"});
    let order = release(&["deploy"], &json!([step("a"), bare, step("b")]));
    let job = id(&master.submit(&order));
    assert_eq!(master.ended(&job)["status"], "success");
    job
}

/// Events of a secret that a job gets, and of one that it doesn't.
pub(crate) fn provoked() -> Option<Vec<String>> {
    let master = Master::start();
    set(&master, "deploy");
    used_twice(&master);
    missing(&master);
    Some(master.log_lines())
}

fn missing(master: &Master) -> Value {
    let step = json!([{"name": "a", "run": "true", "secrets": {"TOKEN": "gone"}}]);
    let job = id(&master.submit(&release(&["gone"], &step)));
    master.ended(&job)
}

#[test]
fn a_step_that_asks_gets_it_and_nothing_else_shows_it_also_after_a_rotation() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let master = Master::start_in(&dir, &["--log-level", "trace"]);
    set(&master, "deploy");
    let rotated = master.danube(&["credential", "rotate-key"]);
    assert!(rotated.status.success());
    let job = used_twice(&master);
    let log = String::from_utf8(master.log(&job)).unwrap();
    let length = format!("] {}\n", VALUE.len());
    assert_eq!(log.matches(&length).count(), 2, "{log}");
    assert!(!log.contains("\nTOKEN="), "another step has it: {log}");
    holds_none(&[VALUE], log.as_bytes(), "the log");
    holds_none(&[VALUE], &master.get("/api/v1/secrets").body, "the list");
    holds_none(
        &[VALUE],
        &master.get(&format!("/api/v1/jobs/{job}")).body,
        "the job",
    );
    holds_none(
        &[VALUE],
        master.log_lines().join("\n").as_bytes(),
        "the server's log",
    );
    files_hold_none(&[VALUE], &dir);
}

#[test]
fn one_that_is_missing_or_of_another_pipeline_fails_the_job_with_its_name() {
    let master = Master::start();
    let other = "/api/v1/secrets/gone?pipeline=other";
    let made = master.call("PUT", other, Some(&json!({"value": VALUE})));
    assert_eq!(made.status, 201, "{}", made.text());
    let ended = missing(&master);
    assert_eq!(ended["status"], "failure", "{ended}");
    let reason = ended["reason"].as_str().unwrap();
    assert!(
        reason.contains("`gone`: there is no such secret"),
        "{reason}"
    );
    assert_eq!(master.call("DELETE", other, None).status, 200);
    assert_eq!(master.call("DELETE", other, None).status, 404);
}

#[test]
fn a_worker_elsewhere_gets_it_too() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    set(&master, "deploy");
    let _worker = Elsewhere::start(&master, "w", &[]);
    let log = master.log(&used_twice(&master));
    holds_none(&[VALUE], &log, "the log");
}

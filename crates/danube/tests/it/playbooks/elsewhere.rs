//! Playbooks on workers elsewhere, while their master comes and goes.

use std::io::Write;
use std::net::TcpListener;

use serde_json::json;

use super::{ansible_or_skip, credential, events, tasks, with};
use crate::elsewhere::{Elsewhere, Wire};
use crate::leaks::holds_none;
use crate::master::{Master, id};
use crate::processes::arrival;

const BECOME: &str = "become-canary-far-5d07";

#[test]
fn a_playbook_runs_elsewhere_with_its_credentials_and_tells_all_of_it() {
    if !ansible_or_skip("a playbook job elsewhere") {
        return;
    }
    let master = Master::with(&["--jobs-at-once", "0"]);
    let worker = Elsewhere::start(&master, "far", &[]);
    credential(
        &master,
        &json!({"name": "root", "kind": "become", "password": BECOME}),
    );
    let text =
        format!("- name: say\n  command: echo hello\n- name: tells\n  debug: {{msg: {BECOME}}}\n");
    let order = with(tasks(&text), "credentials", json!({"become": "root"}));
    let job = master.ended(&id(&master.submit(&order)));
    assert_eq!(
        (&job["status"], &job["worker_id"]),
        (&json!("success"), &json!("far")),
        "{job:#}"
    );
    assert_eq!(job["progress"]["hosts"]["changed"], 2);
    let results = events(&master, &job);
    let results = results.iter().filter(|it| it["event"] == "host_result");
    assert_eq!(results.count(), 4);
    let log = master.log(&id(&job));
    assert!(String::from_utf8_lossy(&log).contains("PLAY RECAP"));
    let lines = worker.log_lines().join("\n");
    holds_none(&[BECOME], &log, "the log");
    holds_none(&[BECOME], lines.as_bytes(), "the worker's own log");
    let usage = master.get("/api/v1/credentials/root/usage").json();
    assert!(usage.to_string().contains(&id(&job)), "{usage}");
    assert_eq!(master.metric("ansible_api_active_workers"), 1.0);
}

#[test]
fn a_playbook_goes_on_while_its_master_can_not_be_reached() {
    if !ansible_or_skip("a playbook job whose master is away") {
        return;
    }
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    let master = Master::with(&["--jobs-at-once", "0"]);
    let wire = Wire::to(&master);
    let _worker = Elsewhere::start_by_way_of(&master, &wire.address, "far", &[]);
    let text = format!(
        "- name: waits\n  wait_for: {{port: {}, search_regex: go, timeout: 60}}\n- name: after\n  command: echo after\n",
        gate.local_addr().unwrap().port()
    );
    let order = with(tasks(&text), "options", json!({"limit": "one"}));
    let job = id(&master.submit(&order));
    master.until_log(&job, "TASK [waits]");
    wire.cut();
    arrival(&gate).write_all(b"go\n").unwrap();
    wire.lead_to(&master);
    let job = master.ended(&job);
    assert_eq!(job["status"], "success", "{job:#}");
    assert_eq!(job["progress"]["current_task"], "after");
    let numbers: Vec<u64> = events(&master, &job)
        .iter()
        .map(|it| it["n"].as_u64().unwrap())
        .collect();
    let expected: Vec<u64> = (0..numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "each once, and none is missing");
}

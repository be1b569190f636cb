//! What is told of playbook jobs: their trace, their metrics, their events.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::{ansible_or_skip, credential, ended, tasks, with};
use crate::master::{DEADLINE, Master, id};
use crate::processes::until;
use crate::receiver::{Receiver, Reply};
use crate::webhooks::ALLOWED;

/// Pairs of a span's name and its parent's.
fn tree(master: &Master, job: &Value) -> BTreeSet<(String, String)> {
    let trace = master
        .get(&format!("/api/v1/jobs/{}/trace", id(job)))
        .json();
    let mut spans = Vec::new();
    for resource in trace["resourceSpans"].as_array().unwrap() {
        for scope in resource["scopeSpans"].as_array().unwrap() {
            spans.extend(scope["spans"].as_array().unwrap().clone());
        }
    }
    let name_of = |id: &Value| {
        let found = spans.iter().find(|it| it["spanId"] == *id);
        found.map_or(String::new(), |it| it["name"].as_str().unwrap().to_owned())
    };
    let pairs = spans.iter().map(|it| {
        (
            it["name"].as_str().unwrap().to_owned(),
            name_of(&it["parentSpanId"]),
        )
    });
    pairs.collect()
}

#[test]
fn the_trace_of_a_playbook_job_is_the_one_of_its_document() {
    if !ansible_or_skip("the trace of a playbook job") {
        return;
    }
    let receiver = Receiver::new(&[Reply::Status(204, "")]);
    let master = Master::with(ALLOWED);
    let order = tasks("- name: say\n  command: echo hello\n");
    let order = with(order, "callback_url", json!(receiver.address));
    let job = ended(&master, &order);
    assert_eq!(job["status"], "success", "{job:#}");
    receiver.next();
    let is_told = |tree: &BTreeSet<(String, String)>| tree.iter().any(|it| it.0 == "send_webhook");
    until("the webhook is in the trace", DEADLINE, || {
        is_told(&tree(&master, &job)).then_some(())
    });
    let expected = [
        ("POST /api/v1/jobs", ""),
        ("api.submit_job", "POST /api/v1/jobs"),
        ("db.create_job", "api.submit_job"),
        ("queue.enqueue", "api.submit_job"),
        ("worker.execute", "POST /api/v1/jobs"),
        ("fetch_source", "worker.execute"),
        ("resolve_credentials", "worker.execute"),
        ("run_playbook", "worker.execute"),
        ("play all", "run_playbook"),
        ("task say", "play all"),
        ("upload_logs", "worker.execute"),
        ("send_webhook", "worker.execute"),
    ];
    let expected: BTreeSet<(String, String)> = expected
        .iter()
        .map(|(name, parent)| ((*name).to_owned(), (*parent).to_owned()))
        .collect();
    assert_eq!(tree(&master, &job), expected);
    // Made again from what is stored, it is the same but for what nobody stored.
    let file = master.dir.join(format!("traces/{}.jsonl", id(&job)));
    fs::remove_file(file).unwrap();
    let again = tree(&master, &job);
    let missing: Vec<_> = expected
        .difference(&again)
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(missing, ["send_webhook", "upload_logs"]);
}

/// A job that uses a credential, and the lines of the server's log.
pub(crate) fn provoked() -> Option<Vec<String>> {
    if !ansible_or_skip("events of playbook jobs") {
        return None;
    }
    let master = Master::start();
    master.event(|it| it["event"] == "ansible_checked");
    credential(
        &master,
        &json!({"name": "root", "kind": "become", "password": "become-canary-1"}),
    );
    let order = with(
        tasks("- command: echo hello\n"),
        "credentials",
        json!({"become": "root"}),
    );
    let job = ended(&master, &order);
    assert_eq!(job["status"], "success", "{job:#}");
    Some(master.log_lines())
}

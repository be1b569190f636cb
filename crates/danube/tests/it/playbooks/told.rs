//! What is told of playbook jobs: their trace, their metrics, their events.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::{ansible_or_skip, credential, ended, tasks, with};
use crate::master::{DEADLINE, Master, id};
use crate::processes::until;
use crate::receiver::{Receiver, Reply};
use crate::webhooks::ALLOWED;

/// A span of a job's trace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    id: String,
    /// The id of its parent.
    parent: String,
    name: String,
}

fn spans(master: &Master, job: &Value) -> BTreeSet<Span> {
    let trace = master
        .get(&format!("/api/v1/jobs/{}/trace", id(job)))
        .json();
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let mut spans = BTreeSet::new();
    for resource in trace["resourceSpans"].as_array().unwrap() {
        for scope in resource["scopeSpans"].as_array().unwrap() {
            for it in scope["spans"].as_array().unwrap() {
                assert_eq!(it["traceId"], job["trace_id"], "{it}");
                spans.insert(Span {
                    id: text(&it["spanId"]),
                    parent: text(&it["parentSpanId"]),
                    name: text(&it["name"]),
                });
            }
        }
    }
    spans
}

/// Pairs of a span's name and its parent's.
fn tree(spans: &BTreeSet<Span>) -> BTreeSet<(String, String)> {
    let parent = |of: &Span| {
        let found = spans.iter().find(|it| it.id == of.parent);
        found.map_or(String::new(), |it| it.name.clone())
    };
    let pairs = spans.iter().map(|it| (it.name.clone(), parent(it)));
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
        is_told(&tree(&spans(&master, &job))).then_some(())
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
    let first = spans(&master, &job);
    assert_eq!(tree(&first), expected);
    assert_eq!(
        first.len(),
        expected.len(),
        "each span has an id of its own"
    );
    // Made again from what is stored, they are the same spans below the same parents, but
    // for the one that nobody stored.
    let file = master.dir.join(format!("traces/{}.jsonl", id(&job)));
    fs::remove_file(file).unwrap();
    let again = spans(&master, &job);
    let mut missing: Vec<_> = first.difference(&again).map(|it| &*it.name).collect();
    missing.sort_unstable();
    assert_eq!(missing, ["send_webhook", "upload_logs"]);
    assert_eq!(again.difference(&first).next(), None);
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

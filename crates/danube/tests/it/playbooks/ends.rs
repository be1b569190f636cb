//! How playbook jobs end, and what is said of it.

use serde_json::{Value, json};

use super::{Named, ansible_or_skip, ended, events, followed, order, tasks, with};
use crate::master::{Master, id};
use crate::processes::all_gone;

#[test]
fn a_playbook_runs_and_each_host_has_its_row() {
    if !ansible_or_skip("a playbook job") {
        return;
    }
    let master = Master::start();
    let text = "- name: say\n  command: echo hello {{ who }}\n- name: same\n  debug: {msg: hi}\n  when: inventory_hostname == 'one'\n";
    let job = ended(
        &master,
        &with(tasks(text), "extra_vars", json!({"who": "you"})),
    );
    assert_eq!(job["status"], "success", "{job:#}");
    assert_eq!(
        (&job["kind"], &job["source_type"]),
        (&json!("playbook"), &json!("inline"))
    );
    let progress = &job["progress"];
    assert_eq!(
        (&progress["current_task"], &progress["tasks"]),
        (&json!("same"), &json!(2))
    );
    assert_eq!(progress["hosts"]["changed"], 2);
    let rows = job["hosts"].as_array().unwrap();
    let row = |index: usize| {
        let it: &Value = &rows[index];
        (&it["host"], &it["ok"], &it["changed"], &it["skipped"])
    };
    assert_eq!(row(0), (&json!("one"), &json!(2), &json!(1), &json!(0)));
    assert_eq!(row(1), (&json!("two"), &json!(1), &json!(1), &json!(1)));
    let names: Vec<&Value> = job["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(
        names,
        ["fetch_source", "resolve_credentials", "run_playbook"]
    );
    // Ansible's own output, colours and all.
    let log = String::from_utf8(master.log(&id(&job))).unwrap();
    assert!(
        log.contains("\u{1b}[0;33mchanged: [one]") && log.contains("PLAY RECAP"),
        "{log}"
    );
    let kinds: Vec<String> = events(&master, &job)
        .iter()
        .map(|it| it["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds.first().map(String::as_str), Some("play_started"));
    assert_eq!(kinds.last().map(String::as_str), Some("summary"));
    assert_eq!(kinds.iter().filter(|it| *it == "host_result").count(), 4);
}

#[test]
fn a_failed_playbook_is_called_failed_and_names_task_and_host() {
    if !ansible_or_skip("a failing playbook job") {
        return;
    }
    let master = Master::start();
    let job = ended(&master, &tasks("- name: breaks\n  command: /bin/false\n"));
    assert_eq!(
        (&job["status"], &job["exit_code"]),
        (&json!("failed"), &json!(2)),
        "{job:#}"
    );
    let reason = job["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("task `breaks` failed on host `"),
        "{reason}"
    );
    assert!(reason.ends_with("(and one host more)"), "{reason}");
    for status in ["failed", "failure"] {
        let list = master.get(&format!("/api/v1/jobs?status={status}")).json();
        assert_eq!(list["jobs"][0]["id"], job["id"], "{status}");
        assert_eq!(list["jobs"][0]["status"], "failed");
    }
    let history = master
        .get(&format!("/api/v1/jobs/{}/history", id(&job)))
        .json();
    let last = history["transitions"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(
        (&last["to"], &last["detail"]),
        (&json!("failed"), &json!("task_failed"))
    );
    let event = master.event(|it| it["event"] == "job_failed");
    assert_eq!(
        (&event["logger"], &event["error_type"]),
        (&json!("ansible_api.worker"), &json!("task_failed"))
    );
}

#[test]
fn what_keeps_a_playbook_from_running_has_a_reason_of_its_own() {
    if !ansible_or_skip("playbook jobs that can't run") {
        return;
    }
    let master = Master::start();
    let check = |order: &Value, error_type: &str, reason: &str| {
        let job = ended(&master, order);
        assert_eq!(job["status"], "failed", "{job:#}");
        let said = job["reason"].as_str().unwrap();
        assert!(said.contains(reason), "{said}");
        let event = master.event(|it| it["event"] == "job_failed" && it["job_id"] == job["id"]);
        assert_eq!(event["error_type"], error_type, "{said}");
    };
    let syntax = order(json!({"type": "inline", "playbook": "- hosts: all\n  tusks: []\n"}));
    check(&syntax, "playbook_invalid", "tusks");
    let away = json!({"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1});
    let inventory = json!({"type": "inline", "hosts": {"away": away}});
    let unreachable = with(tasks("- command: echo\n"), "inventory", inventory);
    check(
        &unreachable,
        "host_unreachable",
        "host `away` can't be reached",
    );
    let nobody = with(
        tasks("- command: echo\n"),
        "options",
        json!({"limit": "nobody"}),
    );
    check(&nobody, "playbook_invalid", "limit");
}

#[test]
fn options_reach_ansible() {
    if !ansible_or_skip("options of a playbook job") {
        return;
    }
    let master = Master::start();
    let text = "- name: one\n  command: touch made\n  tags: [a]\n- name: two\n  command: touch made\n  tags: [b]\n- name: three\n  debug: {msg: c}\n  tags: [a, c]\n";
    let options = json!({"tags": ["a"], "skip_tags": "c", "check": true, "limit": "two", "verbosity": 2, "forks": 1});
    let job = ended(&master, &with(tasks(text), "options", options));
    assert_eq!(job["status"], "success", "{job:#}");
    let results: Vec<(Value, Value)> = events(&master, &job)
        .iter()
        .filter(|it| it["event"] == "host_result")
        .map(|it| (it["host"].clone(), it["status"].clone()))
        .collect();
    assert_eq!(
        results,
        [(json!("two"), json!("skipped"))],
        "a command isn't run in check mode"
    );
}

#[test]
fn a_cancel_and_a_timeout_reach_the_forks() {
    if !ansible_or_skip("stopping a playbook job") {
        return;
    }
    let master = Master::start();
    let text = "- name: waits\n  command: sleep 600\n";
    let job = id(&master.submit(&tasks(text)));
    master.until_log(&job, "TASK [waits]");
    let answer = master.call("DELETE", &format!("/api/v1/jobs/{job}"), None);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let ended_job = master.ended(&job);
    assert_eq!(ended_job["status"], "cancelled", "{ended_job:#}");
    all_gone(&job);
    let late = with(tasks(text), "options", json!({"timeout_seconds": 2}));
    let late = ended(&master, &late);
    assert_eq!(late["status"], "timeout", "{late:#}");
    all_gone(&id(&late));
}

#[test]
fn a_stream_holds_events_and_lines_and_goes_on_where_it_was_left() {
    if !ansible_or_skip("the stream of a playbook job") {
        return;
    }
    let master = Master::start();
    let job = id(&master.submit(&tasks("- name: say\n  command: echo hello\n")));
    let path = format!("/api/v1/jobs/{job}/stream");
    let all = followed(&master, &path, None);
    let names: Vec<&str> = all.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names.last(), Some(&"end"));
    for name in [
        "play_started",
        "task_started",
        "host_result",
        "summary",
        "log",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    // From each event on, the rest comes and nothing twice.
    let cut = names.iter().position(|it| *it == "task_started").unwrap();
    let rest = followed(&master, &path, Some(&all[cut].id));
    let results = |events: &[Named]| {
        let found = events.iter().filter(|it| it.name == "host_result");
        found.map(|it| it.data.clone()).collect::<Vec<_>>()
    };
    assert_eq!(results(&rest), results(&all));
    assert!(!rest.iter().any(|it| it.name == "play_started"));
    let only = followed(&master, &format!("{path}?include=events"), None);
    assert!(!only.iter().any(|it| it.name == "log"));
    let answer = master.get(&format!("{path}?include=stderr"));
    assert_eq!(answer.status, 400);
}

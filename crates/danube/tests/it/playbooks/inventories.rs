//! Inventories that come from somewhere else.

use std::fs;

use serde_json::{Value, json};

use super::sources::{Daemon, git};
use super::{ansible_or_skip, ended, serve_files, sha256, tasks, with};
use crate::master::{Master, id};

const ALLOW: [&str; 2] = ["--sources-allow-private", "127.0.0.0/8"];

/// The names of the hosts that have a row.
fn hosts(job: &Value) -> Vec<&str> {
    let rows = job["hosts"].as_array().expect("rows");
    rows.iter().map(|it| it["host"].as_str().unwrap()).collect()
}

/// A playbook on the hosts of a file behind an address.
fn order(address: &str, path: &str, file: &[u8]) -> Value {
    let inventory =
        json!({"type": "url", "url": format!("{address}{path}"), "sha256": sha256(file)});
    with(tasks("- command: echo hello"), "inventory", inventory)
}

#[test]
fn an_inventory_behind_an_address_is_read_whichever_format_it_has() {
    if !ansible_or_skip("inventories behind an address") {
        return;
    }
    let yaml = b"all: {hosts: {why: {ansible_connection: local}}}\n".to_vec();
    let json = br#"{"all": {"hosts": {"jay": {"ansible_connection": "local"}}}}"#.to_vec();
    let ini = b"[web]\neye ansible_connection=local\n".to_vec();
    let files = [
        ("/hosts.yml", yaml, "why"),
        ("/export", json, "jay"),
        ("/hosts", ini, "eye"),
    ];
    let served = files.iter().map(|it| (it.0, it.1.clone())).collect();
    let address = serve_files(served);
    let master = Master::with(&ALLOW);
    for (path, file, host) in &files {
        let path = format!("{path}?token=hush-hush-77");
        let job = ended(&master, &order(&address, &path, file));
        assert_eq!(job["status"], "success", "{job:#}");
        assert_eq!(hosts(&job), [*host]);
        let log = String::from_utf8(master.log(&id(&job))).unwrap();
        let said = format!("sha256 {}", sha256(file));
        assert!(log.contains(&said), "{log}");
        assert!(!format!("{job}{log}").contains("hush"), "{log}");
    }
}

#[test]
fn an_inventory_behind_an_address_is_never_a_program() {
    if !ansible_or_skip("inventories that are programs") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    let made = own.path().join("made");
    let script = format!("#!/bin/sh\ntouch {}\necho '{{}}'\n", made.display()).into_bytes();
    // This plugin would make a host of each name.
    let plugin = b"plugin: generator\nhosts: {name: '{{ it }}'}\nlayers: {it: [trap]}\n".to_vec();
    let files = [("/hosts", script), ("/hosts.yml", plugin)];
    let address = serve_files(files.to_vec());
    let master = Master::with(&ALLOW);
    for (path, file) in &files {
        let job = ended(&master, &order(&address, path, file));
        assert_eq!(job["status"], "failed", "{job:#}");
        let event = master.event(|it| it["event"] == "job_failed" && it["job_id"] == job["id"]);
        assert_eq!(event["error_type"], "playbook_invalid");
        let log = String::from_utf8(master.log(&id(&job))).unwrap();
        assert!(!log.contains("trap"), "{log}");
    }
    assert!(!made.exists(), "the script ran");
}

#[test]
fn an_inventory_that_is_too_large_or_another_one_or_inside_is_refused() {
    if !ansible_or_skip("inventories that are refused") {
        return;
    }
    let large = vec![b'\n'; 16 * 1024 * 1024 + 1];
    let small = b"one\n".to_vec();
    let address = serve_files(vec![("/large", large.clone()), ("/small", small)]);
    let master = Master::with(&ALLOW);
    for (path, file, why) in [
        ("/large", &large[..], "is more than 16777216 bytes"),
        ("/small", b"other", "SHA-256"),
        ("/none", b"", "there is no such file (404)"),
    ] {
        let job = ended(&master, &order(&address, path, file));
        let reason = job["reason"].as_str().unwrap();
        assert!(reason.contains(why), "{reason}");
        let event = master.event(|it| it["event"] == "job_failed" && it["job_id"] == job["id"]);
        assert_eq!(event["error_type"], "source_failed");
    }
    let before = master.get("/api/v1/jobs").json();
    for (inventory, pointer) in [
        (
            json!({"type": "url", "url": "https://169.254.169.254/hush"}),
            "/inventory/url",
        ),
        (
            json!({"type": "url", "url": "http://127.0.0.1/hush"}),
            "/inventory/sha256",
        ),
        (
            json!({"type": "url", "url": "file:///etc/hush"}),
            "/inventory/url",
        ),
    ] {
        let order = with(tasks("- command: echo hello"), "inventory", inventory);
        let answer = master.call("POST", "/api/v1/jobs", Some(&order));
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer);
        assert!(!answer.text().contains("hush"), "{}", answer.text());
    }
    assert_eq!(master.get("/api/v1/jobs").json(), before, "nothing changed");
}

#[test]
fn an_inventory_comes_from_a_git_repository_of_its_own() {
    if !ansible_or_skip("an inventory from git") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    let repo = own.path().join("hosts");
    fs::create_dir_all(repo.join("prod/group_vars")).unwrap();
    git(&repo, &["init", "--quiet", "."]);
    let commit = |text: &str| {
        fs::write(repo.join("prod/hosts.ini"), text).unwrap();
        fs::write(repo.join("prod/group_vars/all.yml"), "word: beside it\n").unwrap();
        git(&repo, &["add", "."]);
        git(&repo, &["commit", "--quiet", "-m", "hosts"]);
    };
    commit("first ansible_connection=local\n");
    git(&repo, &["tag", "v1"]);
    commit("second ansible_connection=local\n");
    let daemon = Daemon::start(own.path());
    let address = format!("git://127.0.0.1:{}/hosts", daemon.port);
    let master = Master::with(&ALLOW);
    let order = |git_ref: &str, path: &str| {
        let inventory = json!({"type": "git", "repo": address, "ref": git_ref, "path": path});
        with(
            tasks("- debug: {msg: 'it stands {{ word }}'}"),
            "inventory",
            inventory,
        )
    };
    for (git_ref, host) in [("v1", "first"), ("main", "second")] {
        let job = ended(&master, &order(git_ref, "prod/hosts.ini"));
        assert_eq!(job["status"], "success", "{job:#}");
        assert_eq!(hosts(&job), [host]);
        let log = String::from_utf8(master.log(&id(&job))).unwrap();
        assert!(log.contains("it stands beside it"), "{log}");
    }
    let job = ended(&master, &order("main", "stage/hosts.ini"));
    let event = master.event(|it| it["event"] == "job_failed" && it["job_id"] == job["id"]);
    assert_eq!(event["error_type"], "source_failed", "{job:#}");
}

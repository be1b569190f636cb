//! No secret of a playbook job comes out anywhere.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{ansible_or_skip, credential, ended, order, with};
use crate::leaks::{files_hold_none, holds_none};
use crate::master::{Master, id};

const INLINE: &str = "inline-canary-3b1f77";
const WHOLE: &str = "whole-canary-90ac12";
pub(super) const PASSWORD: &str = "vault-canary-6de845";
const BECOME: &str = "become-canary-41b9f0";
const EXTRA: &str = "extra-canary-aa07c3";
const VALUES: &[&str] = &[INLINE, WHOLE, PASSWORD, BECOME, EXTRA];

/// What `ansible-vault` makes of a text.
pub(super) fn vaulted(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, PASSWORD).unwrap();
    let mut child = Command::new("ansible-vault")
        .args(["encrypt", "--output", "-", "--vault-password-file"])
        .arg(&file)
        .arg("-")
        .env("HOME", dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// A directory with a playbook that prints what it decrypts, in every way it can.
fn project(dir: &Path) {
    let indented: String = vaulted(INLINE)
        .lines()
        .map(|it| format!("  {it}\n"))
        .collect();
    fs::create_dir_all(dir.join("group_vars")).unwrap();
    fs::write(
        dir.join("group_vars/all.yml"),
        format!("one: !vault |\n{indented}"),
    )
    .unwrap();
    fs::write(dir.join("secret.yml"), vaulted(&format!("two: {WHOLE}\n"))).unwrap();
    let site = "- hosts: all\n  gather_facts: false\n  vars_files: [secret.yml]\n  tasks:\n    \
        - name: prints {{ one }}\n      command: echo {{ one }} {{ two }} {{ three }}\n    \
        - debug: {msg: \"{{ one | b64encode }} {{ two | urlencode }}\"}\n    \
        - name: fails\n      shell: echo {{ one }} >&2; echo {{ two }}; exit 3\n";
    fs::write(dir.join("site.yml"), site).unwrap();
}

#[test]
fn what_the_vault_decrypts_and_what_a_job_is_given_is_nowhere() {
    if !ansible_or_skip("secrets of a playbook job") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    project(own.path());
    let master = Master::with(&["--log-level", "trace"]);
    credential(
        &master,
        &json!({"name": "vault", "kind": "vault_password", "password": PASSWORD}),
    );
    credential(
        &master,
        &json!({"name": "root", "kind": "become", "password": BECOME}),
    );
    let source = json!({"type": "local", "path": own.path(), "playbook": "site.yml"});
    let order = with(
        order(source),
        "credentials",
        json!({"vault": ["vault"], "become": "root"}),
    );
    let order = with(order, "extra_vars", json!({"three": EXTRA}));
    let order = with(order, "mask", json!([EXTRA]));
    let order = with(order, "options", json!({"verbosity": 4}));
    let job = ended(&master, &order);
    assert_eq!(job["status"], "failed", "{job:#}");
    let name = id(&job);
    let log = master.log(&name);
    let text = String::from_utf8_lossy(&log);
    assert!(text.contains("TASK [prints [redacted]]"), "{text}");
    holds_none(VALUES, &log, "the log");
    for path in [
        "",
        "/events",
        "/trace",
        "/history",
        "/logs/stream",
        "/stream",
    ] {
        let answer = master.get(&format!("/api/v1/jobs/{name}{path}"));
        assert_eq!(answer.status, 200, "{path}");
        holds_none(VALUES, &answer.body, path);
    }
    holds_none(VALUES, &master.get("/metrics").body, "the metrics");
    files_hold_none(VALUES, &master.dir);
    holds_none(
        VALUES,
        master.log_lines().join("\n").as_bytes(),
        "the server's log",
    );
    let usage = master.get("/api/v1/credentials/vault/usage").json();
    assert!(usage.to_string().contains(&name), "{usage}");
}

#[test]
fn a_wrong_vault_password_is_the_reason_and_is_not_shown() {
    const WRONG: &str = "wrong-canary-2c77d1";
    if !ansible_or_skip("a wrong vault password") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    project(own.path());
    let master = Master::start();
    credential(
        &master,
        &json!({"name": "vault", "kind": "vault_password", "password": WRONG}),
    );
    let source = json!({"type": "local", "path": own.path(), "playbook": "site.yml"});
    let order = with(order(source), "credentials", json!({"vault": "vault"}));
    let order = with(order, "options", json!({"verbosity": 4}));
    let job = ended(&master, &order);
    assert_eq!(job["status"], "failed", "{job:#}");
    let event = master.event(|it| it["event"] == "job_failed" && it["job_id"] == job["id"]);
    assert_eq!(event["error_type"], "vault_failed", "{job:#}");
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.to_lowercase().contains("decrypt"), "{reason}");
    let log = master.log(&id(&job));
    holds_none(&[WRONG], &log, "the log");
    holds_none(&[WRONG], job.to_string().as_bytes(), "the job");
}

#[test]
fn a_missing_and_a_deleted_credential_are_named() {
    if !ansible_or_skip("credentials of a playbook job") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    project(own.path());
    let master = Master::with(&["--jobs-at-once", "1"]);
    let source = json!({"type": "local", "path": own.path(), "playbook": "site.yml"});
    let without = with(order(source.clone()), "extra_vars", json!({"three": "3"}));
    let job = ended(&master, &without);
    let event = master.event(|it| it["event"] == "job_failed" && it["job_id"] == job["id"]);
    assert_eq!(event["error_type"], "vault_failed", "{job:#}");
    let asks = with(without, "credentials", json!({"vault": "gone"}));
    let answer = master.call("POST", "/api/v1/jobs", Some(&asks));
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json()["errors"][0]["pointer"], "/credentials/vault");
    // It is there when the job is submitted, and gone when it begins.
    credential(
        &master,
        &json!({"name": "gone", "kind": "vault_password", "password": PASSWORD}),
    );
    let first = master.run("echo begin; exec sleep 600");
    master.until_log(&first, "begin\n");
    let second = id(&master.submit(&asks));
    let answer = master.call("DELETE", "/api/v1/credentials/gone", None);
    assert!(answer.status < 300, "{}", answer.text());
    master.call("DELETE", &format!("/api/v1/jobs/{first}"), None);
    let job = master.ended(&second);
    assert_eq!(job["status"], "failed");
    assert!(job["reason"].as_str().unwrap().contains("gone"), "{job:#}");
    let event = master.event(|it| it["event"] == "job_failed" && it["job_id"] == job["id"]);
    assert_eq!(event["error_type"], "credential_failed");
}

//! `danube doctor` on machines that have what jobs need, and on some that don't.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::Value;

use crate::master::DANUBE;
use crate::redis::Redis;

/// Asks with these settings as variables.
fn doctor(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(DANUBE)
        .arg("doctor")
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// What is said of a check.
#[track_caller]
fn said(output: &Output, check: &str) -> Value {
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = said["checks"].as_array().unwrap();
    let found = checks.iter().find(|it| it["check"] == check);
    found.unwrap_or_else(|| panic!("{said}")).clone()
}

#[test]
fn what_is_missing_is_named_with_what_to_do_and_the_code_is_1() {
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().to_str().unwrap();
    let output = doctor(&["--output", "json"], &[("DANUBE_STEPS_PATH", path)]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let ansible = said(&output, "ansible");
    assert_eq!(ansible["status"], "failed", "{ansible}");
    let fix = ansible["fix"].as_str().unwrap();
    assert!(fix.contains("install ansible-core"), "{ansible}");
    assert_eq!(said(&output, "git")["status"], "ok");
    assert_eq!(said(&output, "redis")["status"], "disabled");
}

#[test]
fn an_ansible_that_is_too_old_is_found() {
    let own = tempfile::tempdir().unwrap();
    let program = own.path().join("ansible-playbook");
    fs::write(
        &program,
        "#!/bin/sh\necho 'ansible-playbook [core 2.9.1]'\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", own.path().display());
    let output = doctor(&["--output", "json"], &[("DANUBE_STEPS_PATH", &path)]);
    let ansible = said(&output, "ansible");
    assert_eq!(ansible["status"], "failed", "{ansible}");
    let detail = ansible["detail"].as_str().unwrap();
    assert!(detail.contains("2.9 is too old"), "{detail}");
}

#[test]
fn a_redis_that_answers_and_one_that_does_not_are_told_apart() {
    let mut redis = Redis::start();
    let url = redis.url();
    let ask = || doctor(&["--output", "json"], &[("DANUBE_QUEUE_URL", &url)]);
    assert_eq!(said(&ask(), "redis")["status"], "ok");
    redis.kill();
    let output = ask();
    assert_eq!(said(&output, "redis")["status"], "failed");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // For people, a line each.
    let shown = doctor(&[], &[("DANUBE_QUEUE_URL", &url)]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let is_told = |it: &str| it.starts_with("redis") && it.contains("failed");
    assert!(shown.lines().any(is_told), "{shown}");
}

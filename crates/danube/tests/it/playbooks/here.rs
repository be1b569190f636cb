//! `danube playbook run`: a playbook without a server.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::ansible_or_skip;
use super::secrets::{PASSWORD, vaulted};
use crate::master::DANUBE;

const CANARY: &str = "here-canary-5c10d9";

/// `danube playbook run ARGS` in this directory.
fn run(dir: &Path, args: &[&str]) -> Output {
    Command::new(DANUBE)
        .args(["playbook", "run"])
        .args(args)
        .current_dir(dir)
        .env_remove("DANUBE_SERVER")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory with a playbook that prints a value of the vault.
fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let site = "- hosts: all\n  gather_facts: false\n  connection: local\n  tasks:\n    \
        - name: say\n      command: echo {{ who }} {{ hidden }}\n      tags: [a]\n    \
        - name: breaks\n      command: /bin/false\n      tags: [b]\n";
    fs::write(dir.path().join("site.yml"), site).unwrap();
    fs::create_dir(dir.path().join("group_vars")).unwrap();
    let vars = vaulted(&format!("hidden: {CANARY}\n"));
    fs::write(dir.path().join("group_vars/all.yml"), vars).unwrap();
    fs::write(dir.path().join("pass"), format!("{PASSWORD}\n")).unwrap();
    dir
}

#[test]
fn a_playbook_runs_where_it_is_and_its_vault_stays_shut() {
    if !ansible_or_skip("a playbook without a server") {
        return;
    }
    let dir = project();
    let given = [
        "site.yml",
        "-i",
        "one,two",
        "-e",
        "who=me",
        "--vault-id",
        "pass",
    ];
    let good = run(dir.path(), &[&given[..], &["-t", "a", "-vvv"]].concat());
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    let shown = text(&good.stdout) + &text(&good.stderr);
    assert!(
        shown.contains("TASK [say]") && shown.contains("PLAY RECAP"),
        "{shown}"
    );
    assert!(
        !shown.contains(CANARY) && !shown.contains(PASSWORD),
        "{shown}"
    );
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(
        names.len(),
        3,
        "nothing is left in the directory: {names:?}"
    );
    // It exits as ansible-playbook does, and says why.
    let bad = run(dir.path(), &[&given[..], &["--limit", "two"]].concat());
    assert_eq!(bad.status.code(), Some(2));
    let why = text(&bad.stderr);
    assert!(why.contains("task `breaks` failed on host `two`"), "{why}");
    let json = run(dir.path(), &[&given[..], &["-C", "-o", "json"]].concat());
    let told: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(told["status"], "success", "{told:#}");
    assert_eq!(
        told["hosts"][0]["skipped"], 2,
        "check mode runs no command: {told:#}"
    );
}

#[test]
fn a_wrong_call_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    for (args, why) in [
        (&["site.yml"][..], "--inventory"),
        (&["site.yml", "-i", "nowhere"], "there is no such file"),
        (&["site.yml", "-i", "a,", "-t", "--check"], "tags"),
        (
            &["site.yml", "-i", "a,", "--vault-id", "prod@nowhere"],
            "read nowhere",
        ),
        (&["site.yml", "-i", "a,", "-u", "me"], "--private-key"),
    ] {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = text(&output.stderr);
        assert!(said.contains(why), "{args:?}: {said}");
    }
}

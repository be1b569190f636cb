//! Playbooks that are handed to a server from the command line, and what is shown of them.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::secrets::{PASSWORD, vaulted};
use super::sources::repository;
use super::{ansible_or_skip, credential, tasks};
use crate::master::{DANUBE, Master, id};

const CANARY: &str = "submitted-canary-77c1";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `danube ARGS` in this directory, against this master.
fn danube(master: &Master, dir: &std::path::Path, args: &[&str]) -> Output {
    Command::new(DANUBE)
        .args(args)
        .current_dir(dir)
        .env("DANUBE_SERVER", &master.address)
        .env("DANUBE_API_KEY", &master.key)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_playbook_from_here_runs_there_with_what_was_given() {
    if !ansible_or_skip("a playbook that is submitted from the command line") {
        return;
    }
    let master = Master::start();
    credential(
        &master,
        &json!({"name": "site-vault", "kind": "vault_password", "password": PASSWORD}),
    );
    let dir = tempfile::tempdir().unwrap();
    let site = "- hosts: web\n  gather_facts: false\n  connection: local\n  tasks:\n    \
        - name: say\n      command: echo {{ who }} {{ mode }} {{ sealed }} {{ raw }}\n      when: wanted\n    \
        - name: never\n      command: echo never\n      when: unwanted\n";
    fs::write(dir.path().join("site.yml"), site).unwrap();
    let hosts = "all:\n  children:\n    web:\n      hosts: {app1: , app2: {who: second}}\n      vars: {who: first}\n";
    fs::write(dir.path().join("hosts.yml"), hosts).unwrap();
    let sealed: String = vaulted(CANARY)
        .lines()
        .map(|it| format!("  {it}\n"))
        .collect();
    let vars = format!(
        "wanted: yes\nunwanted: no\nmode: 0644\nraw: !unsafe '{{{{ x }}}}'\nsealed: !vault |\n{sealed}"
    );
    fs::write(dir.path().join("vars.yml"), vars).unwrap();
    let args = [
        "playbook",
        "submit",
        "site.yml",
        "-i",
        "hosts.yml",
        "-e",
        "@vars.yml",
        "--credential",
        "vault=site-vault",
        "-v",
        "--follow",
    ];
    let output = danube(&master, dir.path(), &args);
    let (log, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{log}{said}");
    for line in ["first 420 ", "second 420 ", " {{ x }}", "PLAY RECAP"] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(
        !log.contains(CANARY) && !log.contains("echo never"),
        "{log}"
    );
    assert!(said.contains("ended: success"), "{said}");
    // The same hosts in Ansible's oldest form.
    let ini = "[web]\napp1\napp2 who=second # a comment\n[web:vars]\nwho=first\n";
    fs::write(dir.path().join("hosts"), ini).unwrap();
    let args = args.map(|it| if it == "hosts.yml" { "hosts" } else { it });
    let again = text(&danube(&master, dir.path(), &args).stdout);
    assert!(
        again.contains("first 420 ") && again.contains("second 420 "),
        "{again}"
    );
    let list = danube(&master, dir.path(), &["jobs"]);
    assert!(
        text(&list.stdout).contains("playbook inline"),
        "{}",
        text(&list.stdout)
    );
}

#[test]
fn a_playbook_from_git_is_shown_with_its_commit_and_its_hosts() {
    if !ansible_or_skip("a playbook from git that is submitted from the command line") {
        return;
    }
    let master = Master::start();
    let dir = tempfile::tempdir().unwrap();
    let commits = repository(&dir.path().join("site"));
    let repo = format!("file://{}/site", dir.path().display());
    let args = [
        "playbook",
        "submit",
        "--repo",
        &repo,
        "--ref",
        "v1",
        "site.yml",
        "-i",
        "@hosts.yml",
    ];
    let hosts = "all: {hosts: {app1: {ansible_connection: local}}}\n";
    fs::write(dir.path().join("hosts.yml"), hosts).unwrap();
    let output = danube(&master, dir.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let job = text(&output.stdout).trim().to_owned();
    assert_eq!(master.ended(&job)["status"], "success");
    let shown = text(&danube(&master, dir.path(), &["job", &job]).stdout);
    for line in [
        format!("commit     {}", commits[0]),
        format!("source     playbook {repo} at v1: site.yml"),
        "kind       playbook".to_owned(),
        "hosts      1 ok".to_owned(),
    ] {
        assert!(shown.lines().any(|it| it == line), "{line}: {shown}");
    }
    let row = shown.lines().find(|it| it.starts_with("app1"));
    let row: Vec<&str> = row.expect("a row").split_whitespace().collect();
    assert_eq!(row, ["app1", "ok", "1", "0", "0", "0", "0"]);
    let json = danube(&master, dir.path(), &["job", &job, "-o", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["source_commit"], commits[0].as_str());

    // Nobody is reached: exit 3, or the code of ansible-playbook.
    let away = "all: {hosts: {away: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n";
    fs::write(dir.path().join("hosts.yml"), away).unwrap();
    let ping = "- hosts: all\n  gather_facts: false\n  tasks: [{ping: }]\n";
    fs::write(dir.path().join("ping.yml"), ping).unwrap();
    let args = ["playbook", "submit", "ping.yml", "-i", "hosts.yml"];
    for (flags, code) in [(&["-F"][..], 3), (&["--follow", "--exit-code"], 4)] {
        let output = danube(&master, dir.path(), &[&args[..], flags].concat());
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stdout));
        let said = text(&output.stderr);
        assert!(said.contains("host `away` can't be reached"), "{said}");
    }
    // The server tells every mistake by its place.
    let wrong = [
        "playbook",
        "submit",
        "--archive",
        "http://files.example.org/a.tar",
        "../x",
        "-i",
        "a,",
        "-t",
        "a b",
    ];
    let output = danube(&master, dir.path(), &wrong);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    for pointer in ["/source/sha256: ", "/source/path: ", "/options/tags: "] {
        assert!(said.contains(pointer), "{pointer}: {said}");
    }
}

#[test]
fn a_submit_can_wait_for_the_end_of_a_playbook() {
    if !ansible_or_skip("a playbook whose submit waits") {
        return;
    }
    let master = Master::start();
    let order = tasks("- name: breaks\n  command: /bin/false\n");
    let answer = master.call(
        "POST",
        "/api/v1/jobs?sync=true&timeout_seconds=600",
        Some(&order),
    );
    let job = answer.json();
    assert_eq!(
        (answer.status, &job["status"]),
        (200, &json!("failed")),
        "{job:#}"
    );
    assert_eq!(job["progress"]["hosts"]["failed"], 2);
    assert_eq!(job, master.job(&id(&job)));
}

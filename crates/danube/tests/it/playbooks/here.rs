//! `danube playbook run`: a playbook without a server.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::ansible_or_skip;
use super::secrets::{PASSWORD, vaulted};
use crate::cli::terminal::terminal;
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
fn variables_and_passwords_come_from_files() {
    if !ansible_or_skip("a playbook with files of variables and passwords") {
        return;
    }
    let dir = project();
    let vars = format!("who: from the file\nsealed: !vault |\n{}", {
        let lines = vaulted(CANARY);
        lines
            .lines()
            .map(|it| format!("  {it}\n"))
            .collect::<String>()
    });
    fs::write(dir.path().join("vars.yml"), vars).unwrap();
    let site = fs::read_to_string(dir.path().join("site.yml")).unwrap();
    let site = site.replace("{{ who }}", "{{ who }} {{ sealed }}");
    fs::write(dir.path().join("site.yml"), site).unwrap();
    let given = ["site.yml", "-i", "one,", "-e", "@vars.yml", "-t", "a", "-v"];
    let with = |more: &[&'static str]| run(dir.path(), &[&given[..], more].concat());
    for password in [
        ["--vault-password", "@pass"],
        ["--vault-password-file", "pass"],
    ] {
        let output = with(&password);
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{shown}");
        assert!(shown.contains("from the file"), "{shown}");
        assert!(
            !shown.contains(CANARY) && !shown.contains(PASSWORD),
            "{shown}"
        );
    }
    for option in [
        "--vault-password",
        "--become-password",
        "--connection-password",
    ] {
        let output = with(&[option, PASSWORD]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("takes @FILE") && !said.contains(PASSWORD),
            "{said}"
        );
    }
}

#[test]
fn one_that_is_stopped_says_how_far_each_host_came() {
    if !ansible_or_skip("a playbook that is stopped") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let site = "- hosts: all\n  gather_facts: false\n  connection: local\n  tasks:\n    \
        - name: quick\n      command: echo\n    - name: waits\n      command: sleep 600\n";
    fs::write(dir.path().join("site.yml"), site).unwrap();
    let mut child = Command::new(DANUBE)
        .args(["playbook", "run", "site.yml", "-i", "one,two"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(out.any(|it| it.unwrap().starts_with("TASK [waits]")));
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-s", "INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    out.for_each(drop);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = text(&output.stderr);
    let row = said.lines().find(|it| it.starts_with("two "));
    let row: Vec<&str> = row
        .unwrap_or_else(|| panic!("a row: {said}"))
        .split_whitespace()
        .collect();
    assert_eq!(row, ["two", "changed", "1", "1", "0", "0", "0"], "{said}");
}

#[test]
fn a_line_says_where_it_is_while_its_output_goes_elsewhere() {
    if !ansible_or_skip("a playbook whose output goes into a file") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let site = "- hosts: all\n  name: a play with a name that is longer than the terminal\n  gather_facts: false\n  \
        connection: local\n  tasks:\n    - name: waits\n      wait_for: {path: go, timeout: 60}\n";
    fs::write(dir.path().join("site.yml"), site).unwrap();
    let (ours, theirs) = terminal(40);
    let mut command = Command::new(DANUBE);
    command
        .args(["playbook", "run", "site.yml", "-i", "one,"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(fs::File::create(dir.path().join("out")).unwrap())
        .stderr(theirs);
    let mut child = command.spawn().unwrap();
    drop(command);
    let (mut terminal, mut seen, mut piece) = (fs::File::from(ours), String::new(), [0; 512]);
    // EIO is how a terminal says that nobody writes any more.
    while let Ok(count @ 1..) = terminal.read(&mut piece) {
        seen.push_str(&String::from_utf8_lossy(&piece[..count]));
        if seen.contains("a play with") {
            fs::write(dir.path().join("go"), "").unwrap();
        }
    }
    assert!(child.wait().unwrap().success(), "{seen}");
    let lines = seen.split('\r').map(|it| it.trim_end_matches("\u{1b}[K"));
    let widest = lines.map(|it| it.chars().count()).max();
    assert!(
        seen.contains("a play with") && widest < Some(40),
        "{seen:?}"
    );
    let out = fs::read_to_string(dir.path().join("out")).unwrap();
    assert!(out.contains("PLAY RECAP") && !out.contains('\r'), "{out}");
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

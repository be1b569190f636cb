//! Playbooks that come from somewhere else.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::{ansible_or_skip, credential, ended, order, sha256, with};
use crate::master::{Master, id};

const SITE: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: where from\n      debug: {msg: \"from {{ lookup('file', 'VERSION') }}\"}\n";

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.org",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with two commits, the first tagged `v1`; the commit of each.
pub(super) fn repository(dir: &Path) -> [String; 2] {
    fs::create_dir_all(dir).unwrap();
    git(dir, &["init", "--quiet", "."]);
    let commit = |version: &str| {
        fs::write(dir.join("VERSION"), version).unwrap();
        fs::write(dir.join("site.yml"), SITE).unwrap();
        git(dir, &["add", "."]);
        git(dir, &["commit", "--quiet", "-m", version]);
        git(dir, &["rev-parse", "HEAD"])
    };
    let first = commit("one");
    git(dir, &["tag", "v1"]);
    [first, commit("two")]
}

/// A `git daemon` on loopback. Ended when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) port: u16,
}

impl Daemon {
    pub(crate) fn start(base: &Path) -> Self {
        // A port that was free a moment ago; git can't be asked for one of its own.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        Self::at(base, port)
    }

    /// At the port of one that has ended.
    pub(crate) fn at(base: &Path, port: u16) -> Self {
        let mut child = Command::new("git")
            .args([
                "daemon",
                "--export-all",
                "--reuseaddr",
                "--verbose",
                "--listen=127.0.0.1",
            ])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", base.display()))
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("Ready to rumble"), "{line}");
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, port }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // `git` runs the daemon in a process of its own, which goes with the group.
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

#[test]
fn a_branch_a_tag_and_a_commit_come_from_a_real_git_server() {
    if !ansible_or_skip("a playbook from git") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    let commits = repository(&own.path().join("site"));
    let daemon = Daemon::start(own.path());
    let repo = format!("git://127.0.0.1:{}/site", daemon.port);
    let master = Master::with(&["--sources-allow-private", "127.0.0.0/8"]);
    for (git_ref, version, commit) in [
        ("main", "two", &commits[1]),
        ("v1", "one", &commits[0]),
        (commits[0].as_str(), "one", &commits[0]),
    ] {
        let source = json!({"type": "playbook", "repo": repo, "ref": git_ref, "path": "site.yml"});
        let job = ended(&master, &order(source));
        assert_eq!(job["status"], "success", "{job:#}");
        assert_eq!(
            job["source"],
            format!("playbook {repo} at {git_ref}: site.yml")
        );
        let log = String::from_utf8(master.log(&id(&job))).unwrap();
        assert!(log.contains(&format!("from {version}")), "{log}");
        let trace = master
            .get(&format!("/api/v1/jobs/{}/trace", id(&job)))
            .text();
        assert!(trace.contains(commit), "the commit is recorded: {trace}");
    }
    let source = json!({"type": "playbook", "repo": repo, "ref": "nowhere", "path": "site.yml"});
    let job = ended(&master, &order(source));
    assert_eq!(job["status"], "failed", "{job:#}");
    let event = master.event(|it| it["event"] == "job_failed" && it["job_id"] == job["id"]);
    assert_eq!(event["error_type"], "source_failed");
}

#[test]
fn a_private_server_is_reached_only_where_the_operator_allows_it() {
    if !ansible_or_skip("a playbook from a private server") {
        return;
    }
    let master = Master::start();
    let source = json!({"type": "playbook", "repo": "git://127.0.0.1:9/site", "path": "site.yml"});
    let job = ended(&master, &order(source));
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.contains("sources.allow_private"), "{reason}");
    let archive =
        json!({"type": "archive", "url": "https://169.254.169.254/x.tgz", "path": "site.yml"});
    let answer = master.call("POST", "/api/v1/jobs", Some(&order(archive)));
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(answer.json()["errors"][0]["pointer"], "/source/url");
}

#[test]
fn a_local_directory_is_copied_so_that_a_job_can_not_change_it() {
    if !ansible_or_skip("a local playbook") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    repository(own.path());
    let changes = "- hosts: all\n  gather_facts: false\n  tasks:\n    - copy: {content: changed, dest: '{{ playbook_dir }}/VERSION'}\n";
    fs::write(own.path().join("changes.yml"), changes).unwrap();
    let master = Master::start();
    let path = own.path().to_str().unwrap();
    let source = json!({"type": "local", "path": path, "playbook": "changes.yml"});
    let job = ended(&master, &order(source));
    assert_eq!(job["status"], "success", "{job:#}");
    let version = fs::read_to_string(own.path().join("VERSION")).unwrap();
    assert_eq!(version, "two");
}

#[test]
fn a_role_comes_from_git_and_is_applied_by_a_playbook_of_ours() {
    if !ansible_or_skip("a role from git") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    let role = own.path().join("ansible-role-greet");
    fs::create_dir_all(role.join("tasks")).unwrap();
    fs::create_dir_all(role.join("defaults")).unwrap();
    fs::write(role.join("defaults/main.yml"), "whom: nobody\nhow: hello\n").unwrap();
    let tasks = "- name: greet\n  debug: {msg: \"{{ how }} {{ whom }}\"}\n";
    fs::write(role.join("tasks/main.yml"), tasks).unwrap();
    git(&role, &["init", "--quiet", "."]);
    git(&role, &["add", "."]);
    git(&role, &["commit", "--quiet", "-m", "all"]);
    let commit = git(&role, &["rev-parse", "HEAD"]);
    let daemon = Daemon::start(own.path());
    let repo = format!("git://127.0.0.1:{}/ansible-role-greet", daemon.port);
    let master = Master::with(&["--sources-allow-private", "127.0.0.0/8"]);
    let source = json!({"type": "role", "repo": repo, "ref": "main", "hosts": "two",
        "vars": {"whom": "it's \"you\": {yes}"}});
    let job = ended(&master, &order(source));
    let log = String::from_utf8(master.log(&id(&job))).unwrap();
    assert_eq!(job["status"], "success", "{log}");
    assert_eq!(job["source_type"], "role");
    assert!(log.contains("TASK [greet : greet]"), "{log}");
    assert!(log.contains(r#"hello it's \"you\": {yes}"#), "{log}");
    assert_eq!(job["hosts"].as_array().unwrap().len(), 1, "{job:#}");
    let trace = master.get(&format!("/api/v1/jobs/{}/trace", id(&job)));
    assert!(trace.text().contains(&commit), "the commit is recorded");
}

#[test]
fn a_local_directory_is_refused_to_whoever_may_not_read_it() {
    let own = tempfile::tempdir().unwrap();
    let allowed = own.path().join("allowed");
    repository(&allowed);
    repository(&own.path().join("other"));
    std::os::unix::fs::symlink(own.path().join("other"), allowed.join("leads-out")).unwrap();
    let master = Master::with(&["--allow-path", allowed.to_str().unwrap()]);
    let new = json!({"name": "member", "role": "member"});
    let made = master.call("POST", "/api/v1/api-keys", Some(&new)).json();
    let key = made["key"].as_str().unwrap();
    let submit = |order: &serde_json::Value| {
        let headers = [("x-api-key", key), ("content-type", "application/json")];
        master.request(
            "POST",
            "/api/v1/jobs",
            &headers,
            order.to_string().as_bytes(),
        )
    };
    let local = |path: &Path| order(json!({"type": "local", "path": path, "playbook": "site.yml"}));
    let inside = submit(&local(&allowed));
    assert_eq!(inside.status, 202, "{}", inside.text());
    master.ended(&id(&inside.json()));
    let refused = [
        (local(&own.path().join("other")), "/source/path"),
        (local(&allowed.join("leads-out")), "/source/path"),
        (local(&master.dir), "/source/path"),
        (local(&own.path().join("nowhere")), "/source/path"),
        (
            with(
                local(&allowed),
                "inventory",
                json!({"type": "git", "repo": format!("file://{}/other", own.path().display()), "path": "VERSION"}),
            ),
            "/inventory/repo",
        ),
    ];
    for (order, pointer) in refused {
        let answer = submit(&order);
        assert_eq!(answer.status, 422, "{}", answer.text());
        let mistakes = answer.json()["errors"].clone();
        assert_eq!(mistakes.as_array().unwrap().len(), 1, "{mistakes}");
        assert_eq!(mistakes[0]["pointer"], pointer);
        assert!(answer.text().contains("sources.allow_paths"), "{mistakes}");
    }
    let jobs = master.get("/api/v1/jobs").json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs}");
}

/// An HTTP server on loopback that gives one file below `/repository/plays/` to whoever has
/// the token, and below `/open/` to all.
fn serve(file: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            while lines.read_line(&mut head).is_ok_and(|it| it > 2) {}
            let is_open = head.starts_with("GET /open/site.tgz?");
            let has_token = head.contains(&format!("Bearer {TOKEN}"));
            let is_nexus = head.starts_with("GET /repository/plays/site.tgz ");
            let (status, body) = match is_open || is_nexus && has_token {
                true => ("200 OK", file.as_slice()),
                false => ("401 Unauthorized", &b"no"[..]),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), body].concat());
        }
    });
    address
}

const TOKEN: &str = "nexus-canary-token-81";

#[test]
fn an_archive_and_a_nexus_are_fetched_checked_and_run() {
    if !ansible_or_skip("playbooks from archives") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    repository(&own.path().join("site"));
    let archive = own.path().join("site.tgz");
    let packed = Command::new("tar")
        .args(["czf", archive.to_str().unwrap(), "--exclude=.git", "site"])
        .current_dir(own.path())
        .status();
    assert!(packed.unwrap().success());
    let bytes = fs::read(&archive).unwrap();
    let sha256 = sha256(&bytes);
    let address = serve(bytes);
    let master = Master::with(&["--sources-allow-private", "127.0.0.0/8"]);
    credential(
        &master,
        &json!({"name": "nexus", "kind": "nexus_token", "token": TOKEN}),
    );
    let open = json!({"type": "archive", "url": format!("{address}/open/site.tgz?token=hush-hush-1"),
        "sha256": sha256, "path": "site.yml", "strip_components": 1});
    let job = ended(&master, &order(open.clone()));
    assert_eq!(job["status"], "success", "{job:#}");
    assert!(!job.to_string().contains("hush"), "{job:#}");
    let nexus = json!({"type": "nexus", "url": address, "repository": "plays", "format": "raw",
        "artifact": "site.tgz", "sha256": sha256, "path": "site.yml", "strip_components": 1});
    let job = ended(
        &master,
        &with(
            order(nexus.clone()),
            "credentials",
            json!({"nexus": "nexus"}),
        ),
    );
    assert_eq!(job["status"], "success", "{job:#}");
    let refused = ended(&master, &order(nexus));
    assert_eq!(refused["status"], "failed", "{refused:#}");
    let mut other = open;
    other["sha256"] = json!("0".repeat(64));
    let refused = ended(&master, &order(other));
    let reason = refused["reason"].as_str().unwrap();
    assert!(
        reason.contains("SHA-256") && !reason.contains("hush"),
        "{reason}"
    );
}

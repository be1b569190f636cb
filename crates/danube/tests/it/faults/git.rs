//! A git server that takes the connection and then says nothing.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use super::row::row;
use crate::master::{Master, id};
use crate::playbooks::{ansible_or_skip, order as playbook, with};
use crate::processes;
use crate::stop::{cancel, over};

/// How long the jobs may take: git has connected by then also on a busy machine.
const LIMIT_SECS: u64 = 5;

/// The server: whoever connects waits.
pub(super) struct Silent {
    listener: TcpListener,
    /// Held open: a closed one would be an answer.
    held: Vec<TcpStream>,
}

impl Silent {
    pub(super) fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            held: Vec::new(),
        }
    }

    pub(super) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/a.git", self.listener.local_addr().unwrap())
    }

    /// Waits for somebody to come.
    pub(super) fn arrival(&mut self) {
        self.held.push(processes::arrival(&self.listener));
    }

    /// Waits until whoever came last is gone: its side of the connection is closed.
    #[track_caller]
    pub(super) fn is_left(&mut self) {
        let mut stream = self.held.pop().expect("somebody came");
        stream
            .set_read_timeout(Some(processes::DIES_WITHIN))
            .unwrap();
        let left = stream.read_to_end(&mut Vec::new());
        // Killed in the midst of it, the kernel may say so.
        let reset = |it: &std::io::Error| it.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(left.as_ref().err().is_none_or(reset), "{left:?}");
    }
}

/// A job that clones from there and then has a step.
fn order(url: &str) -> Value {
    json!({"spec": {
        "name": "clone", "repository": url,
        "max_duration_seconds": LIMIT_SECS,
        "steps": [{"name": "never", "run": "echo never"}],
    }})
}

fn statuses(job: &Value) -> Vec<&str> {
    let steps = job["steps"].as_array().unwrap().iter();
    steps.map(|it| it["status"].as_str().unwrap()).collect()
}

#[test]
fn a_job_whose_git_server_says_nothing_ends_at_its_limit_and_says_where_it_was() {
    let row = row!("a git remote that hangs");
    let master = Master::with(&["--grace", "1"]);
    // Over http it is a helper of git that waits, not git itself.
    for scheme in ["git", "http"] {
        let mut silent = Silent::new();
        let job = id(&master.submit(&order(&silent.url(scheme))));
        silent.arrival();
        assert!(!processes::of_job(&job).is_empty());
        // Others go on.
        assert_eq!(master.ended(&master.run("true"))["status"], "success");
        let ended = over(&master, &job);
        silent.is_left();
        processes::all_gone(&job);
        assert_eq!(ended["status"], "timeout", "{ended}");
        let reason = ended["reason"].as_str().unwrap();
        assert!(
            reason.contains("`clone`") && reason.contains(&format!("{LIMIT_SECS} s")),
            "{reason}"
        );
        assert_eq!(statuses(&ended), ["timeout", "skipped"]);
        let page = master.get(&format!("/jobs/{job}"));
        assert!(page.text().contains("clone"), "the page explains it");
    }
    row.held(2, "no process of git is left");
}

#[test]
fn a_job_is_cancelled_while_its_git_server_says_nothing() {
    let row = row!("a git remote that hangs");
    let mut silent = Silent::new();
    let master = Master::with(&["--grace", "1"]);
    let mut order = order(&silent.url("git"));
    order["spec"]["max_duration_seconds"] = json!(600);
    let job = id(&master.submit(&order));
    silent.arrival();
    assert!(!processes::of_job(&job).is_empty());
    cancel(&master, &job);
    let ended = over(&master, &job);
    processes::all_gone(&job);
    assert_eq!(ended["status"], "cancelled", "{ended}");
    assert_eq!(
        ended["reason"], "cancelled by admin while step `clone` ran",
        "{ended}"
    );
    assert_eq!(statuses(&ended), ["cancelled", "skipped"]);
    row.held(1, "");
}

#[test]
fn a_git_that_hangs_ends_with_its_master_and_its_job_is_tried_again() {
    let row = row!("a git remote that hangs");
    let mut silent = Silent::new();
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let job = id(&master.submit(&order(&silent.url("http"))));
    silent.arrival();
    master.kill();
    silent.is_left();
    processes::all_gone(&job);
    let master = Master::start_in(&dir, &["--grace", "1"]);
    silent.arrival();
    let ended = over(&master, &job);
    assert_eq!(
        (&ended["status"], &ended["attempt"]),
        (&json!("timeout"), &json!(2)),
        "{ended}"
    );
    processes::all_gone(&job);
    row.held(1, "");
}

#[test]
fn a_playbook_whose_git_server_says_nothing_ends_at_its_limit() {
    let row = row!("a git remote that hangs");
    if !ansible_or_skip("a playbook") {
        return row.left_out("needs ansible-playbook");
    }
    let master = Master::with(&["--sources-allow-private", "127.0.0.1"]);
    for scheme in ["git", "http"] {
        let mut silent = Silent::new();
        let source = json!({"type": "playbook", "repo": silent.url(scheme), "path": "site.yml"});
        let options = json!({"timeout_seconds": LIMIT_SECS});
        let job = id(&master.submit(&with(playbook(source), "options", options)));
        silent.arrival();
        let ended = over(&master, &job);
        silent.is_left();
        assert_eq!(ended["status"], "timeout", "{ended}");
        let reason = ended["reason"].as_str().unwrap();
        assert!(reason.contains("fetch_source"), "{reason}");
        processes::all_gone(&job);
    }
    row.held(2, "no process of git is left");
}

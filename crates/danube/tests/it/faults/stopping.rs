//! The server is told to stop while jobs run: it lets them end, or hands them back with a
//! reason, and nobody loses an attempt by it.

use std::fs;

use serde_json::json;

use super::causes;
use super::row::row;
use crate::master::{DEADLINE, Master, id, one_step};
use crate::processes::{self, HELD, HIDERS, release, until};

/// A master in a directory that outlives it.
fn master_to_stop(arguments: &[&str]) -> (tempfile::TempDir, Master) {
    let own = tempfile::tempdir().unwrap();
    let master = Master::start_in(&own.path().join("data"), arguments);
    (own, master)
}

#[test]
fn a_stopping_master_lets_a_job_finish_within_the_grace() {
    let row = row!("SIGTERM with jobs running");
    let (_own, mut master) = master_to_stop(&["--grace", "600"]);
    let running = master.run(HELD);
    master.until_log(&running, "begin\n");
    master.signal("TERM");
    let event = master.event(|it| it["event"] == "master_stopping");
    assert_eq!(event["reason"], "SIGTERM", "{event}");
    assert_eq!(master.get("/health/ready").status, 503);
    assert_eq!(master.get("/health").status, 200);
    let waiting = master.run("echo later");
    release(&running);
    let dir = master.dir.clone();
    assert_eq!(master.wait().code(), Some(0), "{}", master.stderr());

    let master = Master::start_in(&dir, &[]);
    let job = master.ended(&running);
    assert_eq!(
        (&job["status"], &job["attempt"]),
        (&json!("success"), &json!(1)),
        "{job}"
    );
    assert_eq!(job["log_complete"], true, "{job}");
    assert_eq!(master.log(&running), b"begin\nend\n");
    let job = master.ended(&waiting);
    assert_eq!(
        (&job["status"], &job["attempt"]),
        (&json!("success"), &json!(1)),
        "{job}"
    );
    row.held(1, "");
}

#[test]
fn a_job_that_outlasts_the_grace_goes_back_and_runs_after_the_next_start() {
    let row = row!("SIGTERM with jobs running");
    let (_own, mut master) = master_to_stop(&["--grace", "1"]);
    let job = master.run(HELD);
    master.until_log(&job, "begin\n");
    master.signal("TERM");
    let dir = master.dir.clone();
    assert_eq!(master.wait().code(), Some(0), "{}", master.stderr());
    processes::all_gone(&job);

    let mut master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    let waiting = master.job(&job);
    assert_eq!(waiting["status"], "pending", "{waiting}");
    assert_eq!(waiting["reason"], "the worker was stopped", "{waiting}");
    assert_eq!(
        causes(&master, &job),
        ["submitted", "claimed", "started", "handed_back"]
    );
    master.kill();

    // It costs no attempt: two more losses are still allowed.
    let begun = |master: &Master, times: usize| {
        until("the job runs again", DEADLINE, || {
            let log = String::from_utf8_lossy(&master.log(&job)).into_owned();
            (log.matches("begin\n").count() == times).then_some(())
        });
    };
    for times in [2, 3] {
        let mut master = Master::start_in(&dir, &[]);
        begun(&master, times);
        master.kill();
    }
    let master = Master::start_in(&dir, &[]);
    begun(&master, 4);
    release(&job);
    let ended = master.ended(&job);
    assert_eq!(ended["status"], "success", "{ended}");
    assert_eq!(ended["attempt"], 4, "{ended}");
    row.held(1, "");
}

#[test]
fn a_second_signal_hurries() {
    let row = row!("SIGTERM with jobs running");
    let (_own, mut master) = master_to_stop(&["--grace", "600"]);
    let job = master.run("trap '' TERM; echo begin; while :; do sleep 600; done");
    master.until_log(&job, "begin\n");
    master.signal("TERM");
    master.event(|it| it["event"] == "master_stopping");
    master.signal("TERM");
    let dir = master.dir.clone();
    assert_eq!(master.wait().code(), Some(0), "{}", master.stderr());
    processes::all_gone(&job);
    let master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    let waiting = master.job(&job);
    assert_eq!(waiting["status"], "pending", "{waiting}");
    assert!(causes(&master, &job).contains(&"handed_back".to_owned()));
    assert_eq!(
        waiting["reason"], "the master was told to stop at once",
        "{waiting}"
    );
    row.held(1, "");
}

#[test]
fn a_job_that_may_run_once_is_not_handed_back_but_ends_with_the_reason() {
    let row = row!("SIGTERM with jobs running");
    let (_own, mut master) = master_to_stop(&["--grace", "1"]);
    let mut body = one_step(HELD);
    body["retry_on_lost"] = json!(false);
    let job = id(&master.submit(&body));
    master.until_log(&job, "begin\n");
    master.signal("TERM");
    let dir = master.dir.clone();
    assert_eq!(master.wait().code(), Some(0), "{}", master.stderr());
    let master = Master::start_in(&dir, &[]);
    let job = master.ended(&job);
    assert_eq!(
        (&job["status"], &job["attempt"]),
        (&json!("failure"), &json!(1)),
        "{job}"
    );
    assert!(
        job["reason"].as_str().unwrap().contains("at most once"),
        "{job}"
    );
    row.held(1, "");
}

#[test]
fn what_a_master_leaves_behind_is_no_process_and_no_workspace() {
    let row = row!("SIGTERM with jobs running");
    let (_own, mut master) = master_to_stop(&["--grace", "1"]);
    let jobs: Vec<String> = (0..3).map(|_| master.run(HIDERS)).collect();
    for job in &jobs {
        master.until_log(job, "begin\n");
    }
    master.signal("TERM");
    assert_eq!(master.wait().code(), Some(0), "{}", master.stderr());
    for job in &jobs {
        processes::all_gone(job);
    }
    let left = fs::read_dir(master.dir.join("work")).unwrap().count();
    assert_eq!(left, 0);
    assert!(!master.dir.join("master.addr").exists());
    row.held(1, "");
}

#[test]
fn a_stop_with_a_busy_queue_costs_no_job_an_attempt() {
    const JOBS: usize = 60;
    let row = row!("SIGTERM with jobs running");
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--grace", "30"]);
    // At most once: an attempt that is lost would be the end of it.
    let body = json!({
        "spec": {"name": "short", "steps": [{"name": "only", "run": "echo once"}]},
        "retry_on_lost": false,
    });
    let jobs: Vec<String> = (0..JOBS).map(|_| id(&master.submit(&body))).collect();
    master.signal("TERM");
    assert!(master.wait().success());
    let master = Master::start_in(&dir, &[]);
    for job in &jobs {
        let ended = master.ended(job);
        assert_eq!(ended["status"], "success", "{ended}");
        assert_eq!(master.log(job), b"once\n");
        let history = master.get(&format!("/api/v1/jobs/{job}/history")).text();
        assert!(!history.contains("lease_lost"), "{history}");
    }
    row.held(1, "");
}

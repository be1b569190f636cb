//! Jobs that are ended: by a cancel, a timeout or a limit.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::faults::causes;
use crate::master::{DEADLINE, Master, id, is_terminal};
use crate::processes::{self, HELD, HIDERS, release, until};

/// Asks for a cancel, which must be taken.
pub(crate) fn cancel(master: &Master, id: &str) -> Value {
    let answer = master.call("DELETE", &format!("/api/v1/jobs/{id}"), None);
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()
}

/// The job once it has ended; looks at the job alone, not at its log.
#[track_caller]
pub(crate) fn over(master: &Master, id: &str) -> Value {
    until("the job ends", DEADLINE, || {
        let job = master.job(id);
        is_terminal(&job).then_some(job)
    })
}

fn statuses(job: &Value) -> Vec<&str> {
    let steps = job["steps"].as_array().expect("steps");
    steps
        .iter()
        .map(|it| it["status"].as_str().expect("a status"))
        .collect()
}

#[test]
fn a_cancel_ends_grandchildren_that_hide_and_do_not_listen() {
    let master = Master::with(&["--grace", "1"]);
    let job = master.run(HIDERS);
    master.until_log(&job, "begin\n");
    until("all of them are there", DEADLINE, || {
        (processes::of_job(&job).len() >= 10).then_some(())
    });
    let answer = cancel(&master, &job);
    assert_eq!(answer["cancel_requested"], true, "{answer}");
    let ended = over(&master, &job);
    processes::all_gone(&job);
    assert_eq!(ended["status"], "cancelled", "{ended}");
    assert_eq!(
        ended["reason"], "cancelled by admin while step `only` ran",
        "{ended}"
    );
    assert_eq!(statuses(&ended), ["cancelled"]);
}

#[test]
fn a_step_that_takes_too_long_is_stopped_and_the_reason_names_it() {
    let master = Master::with(&["--grace", "1"]);
    let job = id(&master.submit(&json!({"spec": {"name": "slow", "steps": [
        {"name": "quick", "run": "echo quick"},
        {"name": "slow", "run": "echo slow; sleep 600", "timeout_seconds": 1},
        {"name": "never", "run": "echo never"},
    ]}})));
    let job = master.ended(&job);
    assert_eq!(job["status"], "timeout", "{job}");
    assert_eq!(
        job["reason"], "step `slow` took longer than its 1 s",
        "{job}"
    );
    assert_eq!(statuses(&job), ["success", "timeout", "skipped"]);
    assert_eq!(master.log(&id(&job)), b"quick\nslow\n");
    processes::all_gone(&id(&job));
}

#[test]
fn a_job_that_takes_too_long_in_all_is_stopped_and_the_reason_says_so() {
    let master = Master::with(&["--grace", "1"]);
    let job = id(&master.submit(
        &json!({"spec": {"name": "slow", "max_duration_seconds": 2, "steps": [
            {"name": "one", "run": "sleep 1"},
            {"name": "two", "run": "sleep 600", "timeout_seconds": 500, "continue_on_error": true},
            {"name": "never", "run": "echo never"},
        ]}}),
    ));
    let job = master.ended(&job);
    assert_eq!(job["status"], "timeout", "{job}");
    let reason = "the job took longer than its 2 s; step `two` was stopped";
    assert_eq!(job["reason"], reason, "{job}");
    assert_eq!(statuses(&job), ["success", "timeout", "skipped"]);
    processes::all_gone(&id(&job));
}

#[test]
fn a_pending_job_is_cancelled_at_once_and_never_runs() {
    let master = Master::with(&["--jobs-at-once", "1"]);
    let first = master.run(HELD);
    master.until_log(&first, "begin\n");
    let waiting = master.run("echo never");
    let job = cancel(&master, &waiting);
    assert_eq!(job["status"], "cancelled", "{job}");
    release(&first);
    master.ended(&first);
    master.ended(&master.run("echo the next in the queue"));
    let job = master.job(&waiting);
    assert_eq!(
        (&job["status"], &job["attempt"]),
        (&json!("cancelled"), &json!(0)),
        "{job}"
    );
    assert_eq!(causes(&master, &waiting), ["submitted", "cancel_asked"]);
    assert_eq!(master.log(&waiting), b"");
    let again = master.call("DELETE", &format!("/api/v1/jobs/{waiting}"), None);
    assert_eq!(
        (again.status, &again.json()["code"]),
        (409, &json!("wrong_state"))
    );
}

#[test]
fn no_step_begins_after_a_cancel() {
    let master = Master::with(&["--grace", "600"]);
    // It succeeds when it is told to end, so that the next step could follow.
    let first = "trap 'echo told; exit 0' TERM; echo begin; while :; do sleep 0.05; done";
    let job = id(&master.submit(&json!({"spec": {"name": "two", "steps": [
        {"name": "first", "run": first, "continue_on_error": true},
        {"name": "second", "run": "echo never"},
    ]}})));
    master.until_log(&job, "begin\n");
    cancel(&master, &job);
    let job = master.ended(&job);
    assert_eq!(job["status"], "cancelled", "{job}");
    assert_eq!(statuses(&job), ["cancelled", "skipped"]);
    let log = String::from_utf8(master.log(&id(&job))).unwrap();
    // The shell may tell on standard error that its `sleep` was terminated too.
    assert!(
        log.starts_with("begin\n") && log.contains("told\n") && !log.contains("never"),
        "{log}"
    );
}

#[test]
fn a_cancel_among_many_short_steps_ends_the_job_where_it_was() {
    const STEPS: usize = 500;
    let master = Master::start();
    let steps: Vec<Value> = (0..STEPS)
        .map(|n| json!({"name": format!("{n}"), "run": format!("echo {n}")}))
        .collect();
    let job = id(&master.submit(&json!({"spec": {"name": "many", "steps": steps}})));
    master.until_log(&job, "3\n");
    cancel(&master, &job);
    let job = master.ended(&job);
    assert_eq!(job["status"], "cancelled", "{job}");
    let statuses = statuses(&job);
    let ran = statuses.iter().take_while(|it| **it == "success").count();
    assert!(ran < STEPS - 1, "{ran}");
    let rest: BTreeSet<&str> = statuses[ran + 1..].iter().copied().collect();
    assert_eq!(rest, BTreeSet::from(["skipped"]), "{statuses:?}");
}

/// Largest resident memory of a process so far.
fn peak_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|it| it.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

#[test]
fn a_hundred_megabytes_of_output_are_kept_whole_in_little_memory() {
    const BYTES: usize = 100_000_000;
    const MEMORY_BYTES_MAX: u64 = 32 * 1024 * 1024;
    let master = Master::start();
    master.ended(&master.run("echo warm"));
    let before = peak_bytes(master.pid());
    let job = master.run("yes 'a line of output' | head -c 100000000");
    let ended = over(&master, &job);
    assert_eq!(ended["status"], "success", "{ended}");
    assert_eq!(ended["log_bytes"], BYTES, "{ended}");
    assert_eq!(ended["log_complete"], true, "{ended}");
    let grown = peak_bytes(master.pid()) - before;
    assert!(grown <= MEMORY_BYTES_MAX, "{grown} bytes more");
    let line = b"a line of output\n";
    let log = master.log(&job);
    assert_eq!(log.len(), BYTES);
    assert!(log.chunks(line.len()).all(|it| line.starts_with(it)));
}

//! What ends: the server by a signal, jobs by a cancel, a timeout or a limit.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::causes;
use crate::master::{DEADLINE, Master, id, is_terminal, one_step};
use crate::processes::{self, HELD, release, root_or_skip, until};

/// A master in a directory that outlives it.
fn master_to_stop(arguments: &[&str]) -> (tempfile::TempDir, Master) {
    let own = tempfile::tempdir().unwrap();
    let master = Master::start_in(&own.path().join("data"), arguments);
    (own, master)
}

fn cancel(master: &Master, id: &str) -> Value {
    let answer = master.call("DELETE", &format!("/api/v1/jobs/{id}"), None);
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()
}

/// The job once it has ended; looks at the job alone, not at its log.
#[track_caller]
fn over(master: &Master, id: &str) -> Value {
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
fn a_stopping_master_lets_a_job_finish_within_the_grace() {
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
}

#[test]
fn a_job_that_outlasts_the_grace_goes_back_and_runs_after_the_next_start() {
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
}

#[test]
fn a_second_signal_hurries() {
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
}

#[test]
fn a_job_that_may_run_once_is_not_handed_back_but_ends_with_the_reason() {
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
}

/// Children that leave their session, lose their parents and hear no TERM.
const HIDERS: &str = "trap '' TERM
for n in 1 2 3; do
    setsid sh -c 'trap \"\" TERM; (setsid sh -c \"sleep 600 & exec sleep 600\" &) ; exec sleep 600' &
done
echo begin
while :; do sleep 600; done";

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
fn a_job_is_cancelled_while_its_git_server_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let master = Master::with(&["--grace", "1"]);
    let job = id(&master.submit(&json!({"spec": {
        "name": "clone", "repository": format!("git://{address}/a.git"),
        "steps": [{"name": "never", "run": "echo never"}],
    }})));
    let _connection = silent.accept().unwrap();
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

#[test]
fn a_child_that_keeps_the_output_open_does_not_keep_the_job() {
    let master = Master::start();
    let job = master.run("(trap '' HUP TERM; sleep 600) & echo done");
    let ended = master.ended(&job);
    assert_eq!(ended["status"], "success", "{ended}");
    assert_eq!(master.log(&job), b"done\n");
    processes::all_gone(&job);
}

#[test]
fn a_fork_bomb_stays_within_its_limit_and_leaves_others_alone() {
    const PROCESSES: usize = 40;
    let master = Master::with(&["--step-processes", "40", "--grace", "1"]);
    let bomb =
        "echo begin; f() { f & f & wait; }; f 2>/dev/null || true; while :; do sleep 600; done";
    let job = master.run(bomb);
    master.until_log(&job, "begin\n");
    let mut peak = 0;
    for _ in 0..20 {
        peak = peak.max(processes::of_job(&job).len());
        assert!(peak <= PROCESSES, "{peak} processes");
    }
    let other = master.ended(&master.run("echo others go on"));
    assert_eq!(other["status"], "success", "{other}");
    let state = master.job(&job);
    if !is_terminal(&state) {
        cancel(&master, &job);
    }
    over(&master, &job);
    processes::all_gone(&job);
}

/// Whether this machine has what bounds the memory of several processes.
fn memory_can_be_limited() -> bool {
    let second = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let is_there = second.split_whitespace().any(|it| it == "memory")
        || Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists();
    if !is_there {
        eprintln!("skipped: there is no memory controller");
    }
    is_there
}

#[test]
fn a_step_that_takes_too_much_memory_fails_with_the_reason() {
    if !root_or_skip("limiting memory") || !memory_can_be_limited() {
        return;
    }
    let master = Master::with(&["--step-memory", "64MiB"]);
    // `tail` keeps what has no line end.
    let job = master.ended(&master.run("head -c 1000000000 /dev/zero | tail -n 1 > /dev/null"));
    let reason = job["reason"].as_str().unwrap_or_default();
    assert_eq!(job["status"], "failure", "{job}");
    assert!(reason.contains("used more memory than it may"), "{job}");
    assert_eq!(
        master.ended(&master.run("echo others go on"))["status"],
        "success"
    );
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

#[test]
fn what_a_master_leaves_behind_is_no_process_and_no_workspace() {
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
}

#[test]
fn a_job_whose_keeper_cannot_be_asked_any_more_is_gone_with_the_master() {
    let (_own, mut master) = master_to_stop(&[]);
    let job = master.run(HIDERS);
    master.until_log(&job, "begin\n");
    master.kill();
    until("the kernel ends the job", Duration::from_secs(10), || {
        processes::of_job(&job).is_empty().then_some(())
    });
}

#[test]
fn a_stop_with_a_busy_queue_costs_no_job_an_attempt() {
    const JOBS: usize = 60;
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
}

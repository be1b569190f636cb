//! Jobs that take what they can get: memory, processes, and an output that never ends.

use std::fs;
use std::path::Path;

use super::row::row;
use crate::master::{Master, is_terminal};
use crate::processes::{self, root_or_skip};
use crate::stop::{cancel, over};

#[test]
fn a_child_that_keeps_the_output_open_does_not_keep_the_job() {
    let row = row!("memory hog, fork bomb, open output");
    let master = Master::start();
    let job = master.run("(trap '' HUP TERM; sleep 600) & echo done");
    let ended = master.ended(&job);
    assert_eq!(ended["status"], "success", "{ended}");
    assert_eq!(master.log(&job), b"done\n");
    processes::all_gone(&job);
    row.held(1, "");
}

#[test]
fn a_fork_bomb_stays_within_its_limit_and_leaves_others_alone() {
    const PROCESSES: usize = 40;
    let row = row!("memory hog, fork bomb, open output");
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
    row.held(1, format!("{peak} processes at most, {PROCESSES} allowed"));
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
    let row = row!("memory hog, fork bomb, open output");
    if !root_or_skip("limiting memory") || !memory_can_be_limited() {
        return row.left_out("needs root and a memory controller");
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
    row.held(1, "");
}

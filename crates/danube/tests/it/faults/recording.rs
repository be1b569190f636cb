//! The master dies after a job's process has begun and before that is written down.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::history::check_database;
use super::row::row;
use super::setting;
use super::strace::Inject;
use super::{causes, durable_causes};
use crate::master::Master;
use crate::processes::{self, root_or_skip};
use crate::wire::Puppets;

/// What the writer waits for before the write at which it is killed: longer than a process
/// takes to be there.
const HOLD_MICROS: u64 = 10_000_000;

/// Kills in the quick form.
const KILLS_QUICK: usize = 2;

/// Writes to SQLite's log from a submit on: how many there were until the job was claimed,
/// and until it stood there as running.
fn writes(dir: &Path) -> (usize, usize) {
    let puppets = Puppets::new();
    let master = Master::start_in(dir, &[]);
    let noted = tempfile::NamedTempFile::new().unwrap();
    let wal = [dir.join("danube.db-wal")];
    let inject = Inject {
        calls: "pwrite64,fsync",
        what: "",
        files: &wal,
        noted: Some(noted.path()),
    };
    let strace = inject.into(&master);
    let (job, puppet) = puppets.start(&master);
    crate::elsewhere::running(&master, &job);
    drop(strace);
    drop(puppet);
    master.ended(&job);
    let text = fs::read_to_string(noted.path()).unwrap();
    let mut commits = vec![0];
    for line in text.lines() {
        if line.contains("pwrite64(") {
            *commits.last_mut().expect("one") += 1;
        } else if line.contains("fsync(") {
            commits.push(0);
        }
    }
    // Of the submit, of the claim, and of the start.
    assert!(commits.len() >= 3, "{text}");
    let claimed = commits[0] + commits[1];
    (claimed, claimed + commits[2])
}

/// Holds the writer before this write, and kills it once the job's process is there. Whether
/// nothing had said so by then.
fn killed_before(dir: &Path, write: usize) -> bool {
    let puppets = Puppets::new();
    let mut master = Master::start_in(dir, &[]);
    let wal = [dir.join("danube.db-wal")];
    let what = format!("delay_enter={HOLD_MICROS}:when={write}");
    let inject = Inject {
        calls: "pwrite64",
        what: &what,
        files: &wal,
        noted: None,
    };
    let strace = inject.into(&master);
    let (job, puppet) = puppets.start(&master);
    master.kill();
    drop(strace);
    check_database(dir);
    processes::all_gone(&job);
    drop(puppet);

    let master = Master::start_in(dir, &[]);
    drop(puppets.arrival());
    let ended = master.ended(&job);
    assert_eq!(
        (&ended["status"], &ended["attempt"]),
        (&json!("success"), &json!(2)),
        "{ended}"
    );
    let reason = ended["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("worker lost once"), "I9: {ended}");
    let moves = ["submitted", "claimed", "lease_lost", "claimed", "succeeded"];
    assert_eq!(durable_causes(&master, &job), moves);
    processes::all_gone(&job);
    // A commit has a page more or less than the one that was counted: then it was another.
    let causes = causes(&master, &job);
    causes[2] == "lease_lost"
}

#[test]
fn a_job_whose_start_was_never_written_down_ends_with_its_master_and_is_retried_once() {
    let row = row!("kill between a start and its record");
    if !root_or_skip("killing another process at a write") {
        return row.left_out("needs root");
    }
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let (claimed, started) = writes(&dir);
    let places = claimed + 1..=started;
    let each = match setting("DANUBE_FAULT_ROUNDS") {
        Some(_) => 1,
        None => places.clone().count().div_ceil(KILLS_QUICK),
    };
    let kills = places
        .step_by(each)
        .filter(|write| killed_before(&dir, *write))
        .count();
    assert!(kills > 0, "no kill came between");
    let kills = u64::try_from(kills).unwrap();
    row.held(
        kills,
        format!(
            "{} writes between the claim and the record",
            started - claimed
        ),
    );
}

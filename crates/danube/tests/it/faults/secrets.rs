//! Secrets of jobs whose master is killed, whose disk is full, whose power goes: nowhere.

use std::path::Path;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::SmallDisk;
use super::load::Random;
use super::row::row;
use super::setting;
use crate::logs::secrets::{Leaky, clean, clean_files, leaky};
use crate::master::{Master, id};
use crate::processes::{self, root_or_skip};
use crate::stop::{cancel, over};

/// Kills when `DANUBE_FAULT_ROUNDS` says nothing else.
const ROUNDS_DEFAULT: u64 = 4;

/// Longest time that the job prints before the kill.
const KILL_AFTER_MS_MAX: u64 = 300;

/// What the job has to fill.
const DISK_BYTES_LEFT: u64 = 3 * 1024 * 1024;

/// Prints all of it, whole and in pieces of odd sizes.
const IN_PIECES: &str = "say; say | dd bs=7 status=none; say | dd bs=61 status=none";

/// Prints all of it, as quickly as it can.
const WHOLE: &str = "say";

/// A job that prints its secrets in every form, over and over, so.
fn order(leaky: &Leaky, how: &str) -> Value {
    let all = STANDARD.encode(&leaky.printed);
    // In a variable: a file of its own would lie in the data directory as it is.
    let script = format!(
        "all=$(printf %s {all} | base64 -d); say() {{ printf '%s\\n' \"$all\"; }}\n\
         while :; do {how}; done"
    );
    json!({
        "spec": {"name": "leaky", "steps": [{"name": "only", "run": script}]},
        "mask": leaky.masks,
    })
}

/// What a process said before it died.
fn clean_words(leaky: &Leaky, master: &Master) {
    let said = master.log_lines().join("\n") + &master.stderr();
    clean(&leaky.canaries, "what the server said", said.as_bytes());
}

/// Nothing is in the files that a kill left, and the job has printed something.
fn clean_directory(leaky: &Leaky, dir: &Path) -> usize {
    let files = clean_files(&leaky.canaries, dir);
    assert!(files >= 6, "database, log and index are there");
    files
}

#[test]
fn a_secret_is_nowhere_however_often_the_master_is_killed_while_it_is_printed() {
    let row = row!("secrets, whatever happens");
    let rounds = setting("DANUBE_FAULT_ROUNDS").unwrap_or(ROUNDS_DEFAULT);
    let seed = setting("DANUBE_FAULT_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("{rounds} kills; DANUBE_FAULT_SEED={seed} chooses the same moments again");
    let mut random = Random::new(seed);
    let leaky = leaky();
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut files = 0;
    for _ in 0..rounds {
        let mut master = Master::start_in(&dir, &[]);
        let job = id(&master.submit(&order(&leaky, IN_PIECES)));
        master.until_log(&job, "[redacted]");
        // tidy: allow(sleep): nothing is waited for; the random moment is the fault itself
        thread::sleep(Duration::from_millis(random.below(KILL_AFTER_MS_MAX)));
        master.kill();
        processes::all_gone(&job);
        clean_words(&leaky, &master);
        files += clean_directory(&leaky, &dir);
        // The next one brings its log and its trace in order.
        let master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
        cancel(&master, &job);
        clean_everywhere_but_steps(&leaky, &master, &job);
    }
    row.held(
        rounds,
        format!(
            "{} forms of secrets, 0 in {files} files",
            leaky.canaries.len()
        ),
    );
}

/// Everything that is told of a job whose steps may have been forgotten by a kill.
fn clean_everywhere_but_steps(leaky: &Leaky, master: &Master, job: &str) {
    for path in [
        format!("/api/v1/jobs/{job}"),
        format!("/api/v1/jobs/{job}/history"),
        format!("/api/v1/jobs/{job}/logs"),
        format!("/api/v1/jobs/{job}/logs?timestamps=1"),
        format!("/api/v1/jobs/{job}/trace"),
        format!("/jobs/{job}"),
        "/metrics".to_owned(),
    ] {
        let answer = master.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        clean(&leaky.canaries, &path, &answer.body);
    }
    clean_words(leaky, master);
    clean_directory(leaky, &master.dir);
}

#[test]
fn a_secret_is_nowhere_after_it_has_filled_the_disk() {
    let row = row!("secrets, whatever happens");
    if !root_or_skip("mounting a small disk") {
        return row.left_out("needs root");
    }
    let leaky = leaky();
    let disk = SmallDisk::mount("32m");
    let dir = disk.dir.join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "1", "--grace", "1"]);
    disk.leave(DISK_BYTES_LEFT);
    let job = id(&master.submit(&order(&leaky, WHOLE)));
    super::disk::until_ready_fails(&master, &disk.dir);
    clean_directory(&leaky, &dir);
    cancel(&master, &job);
    assert_eq!(over(&master, &job)["status"], "cancelled");
    clean_everywhere_but_steps(&leaky, &master, &job);
    master.kill();
    clean_words(&leaky, &master);
    let files = clean_directory(&leaky, &dir);
    row.held(
        1,
        format!(
            "{} forms of secrets, 0 in {files} files",
            leaky.canaries.len()
        ),
    );
}

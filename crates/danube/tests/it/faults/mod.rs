//! What must hold when something breaks.

mod collector;
mod disk;
mod flush;
mod followers;
mod history;
mod large;
mod load;
mod partition;
mod redis;
mod slow;
mod workers;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::master::{DANUBE, Master, one_step};
use crate::processes::{self, HELD, release};

pub(crate) use disk::SmallDisk;
use history::attempts;
pub(crate) use history::check_database;
pub(crate) use load::Load;
use load::Random;

/// Kills of the master when `DANUBE_FAULT_ROUNDS` says nothing else.
const ROUNDS_DEFAULT: u64 = 20;

/// Longest time between the first accepted job and the kill.
const KILL_AFTER_MS_MAX: u64 = 600;

/// Longest time that a master is left alone before it is killed while it starts.
const KILL_START_AFTER_MS_MAX: u64 = 200;

/// A number from the environment.
pub(crate) fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number")),
    )
}

#[test]
fn master_killed_again_and_again() {
    let rounds = setting("DANUBE_FAULT_ROUNDS").unwrap_or(ROUNDS_DEFAULT);
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
    };
    let seed = setting("DANUBE_FAULT_SEED").unwrap_or_else(|| u64::from(now().subsec_nanos()));
    eprintln!("{rounds} kills; DANUBE_FAULT_SEED={seed} chooses the same moments again");
    let mut random = Random::new(seed);
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut load = Load::start(seed);
    let mut restarts: Vec<Duration> = Vec::new();

    for round in 1..=rounds {
        let mut master = restart(&dir, &mut restarts);
        load.history().check_running(&master);
        load.serve(&master, false);
        load.wait_for_answer();
        // tidy: allow(sleep): nothing is waited for; the random moment is the fault itself
        thread::sleep(Duration::from_millis(random.below(KILL_AFTER_MS_MAX)));
        master.kill();
        check_database(&dir);
        if round % 4 == 0 {
            kill_while_starting(
                &dir,
                Duration::from_millis(random.below(KILL_START_AFTER_MS_MAX)),
            );
            check_database(&dir);
        }
        if round % 4 == 2 {
            // In the other rounds the next master has to cope at once.
            load.history()
                .ids()
                .iter()
                .for_each(|it| processes::all_gone(it));
        }
    }

    let master = restart(&dir, &mut restarts);
    load.serve(&master, true);
    load.join();
    let jobs = load.history().check_ended(&master);
    assert_eq!(master.get("/health/ready").status, 200);
    restarts.sort();
    eprintln!(
        "{} jobs: {:?}; started again in {:?}, at worst {:?}",
        jobs.len(),
        counts(&jobs),
        restarts[restarts.len() / 2],
        restarts[restarts.len() - 1],
    );
}

fn restart(dir: &Path, restarts: &mut Vec<Duration>) -> Master {
    let began = Instant::now();
    let master = Master::start_in(dir, &[]);
    assert_eq!(master.get("/health/ready").status, 200);
    restarts.push(began.elapsed());
    master
}

fn kill_while_starting(dir: &Path, after: Duration) {
    let mut child = Command::new(DANUBE)
        .args(["master", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start danube");
    // tidy: allow(sleep): as above, the moment is the fault
    thread::sleep(after);
    assert!(
        child.try_wait().expect("look at it").is_none(),
        "it didn't start"
    );
    child.kill().expect("kill the master");
    child.wait().expect("wait for the master");
}

/// How many jobs ended how, and how many attempts that took.
fn counts(jobs: &[Value]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for job in jobs {
        let key = format!(
            "{} in attempt {}",
            job["status"].as_str().unwrap_or_default(),
            job["attempt"]
        );
        *counts.entry(key).or_default() += 1;
    }
    counts
}

/// Kills the master while a job with [`HELD`] runs, and starts another.
pub(crate) fn killed_while_it_runs(retry_on_lost: bool) -> (Master, tempfile::TempDir, String) {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let mut body = one_step(HELD);
    body["retry_on_lost"] = json!(retry_on_lost);
    let id = crate::master::id(&master.submit(&body));
    master.until_log(&id, "begin\n");
    master.kill();
    check_database(&dir);
    (Master::start_in(&dir, &[]), own, id)
}

#[test]
fn a_job_that_may_run_once_fails_with_the_reason_when_the_master_is_killed() {
    let (master, _own, id) = killed_while_it_runs(false);
    let job = master.ended(&id);
    assert_eq!(job["status"], "failure", "{job}");
    assert_eq!(job["attempt"], 1, "{job}");
    let reason = job["reason"].as_str().unwrap();
    assert!(
        reason.contains("the master was restarted while it ran"),
        "{reason}"
    );
    assert!(reason.contains("runs at most once"), "{reason}");
    assert_eq!(master.log(&id), b"begin\n");
    assert_eq!(
        job["log_complete"], false,
        "nobody knows what it wrote last: {job}"
    );
    assert_eq!(
        durable_causes(&master, &id),
        ["submitted", "claimed", "lease_lost"]
    );
    processes::all_gone(&id);
}

#[test]
fn a_job_that_may_run_again_runs_as_the_next_attempt_in_the_same_log() {
    let (master, _own, id) = killed_while_it_runs(true);
    master.until_log(&id, "begin\nbegin\n");
    release(&id);
    let job = master.ended(&id);
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(job["attempt"], 2, "{job}");
    assert!(
        job["reason"].as_str().unwrap().contains("worker lost once"),
        "{job}"
    );
    let log = master.log(&id);
    let parts: [&[u8]; 2] = [b"begin\n", b"begin\nend\n"];
    assert_eq!(attempts(&master.dir, &id, &log), parts);
    assert_eq!(job["log_complete"], false, "{job}");
    let moves = ["submitted", "claimed", "lease_lost", "claimed", "succeeded"];
    assert_eq!(durable_causes(&master, &id), moves);
}

#[test]
fn a_job_that_loses_its_master_every_time_is_given_up_with_the_reason() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let id = master.run(HELD);
    for attempt in 1..=3 {
        master.until_log(&id, &"begin\n".repeat(attempt));
        master.kill();
        master = Master::start_in(&dir, &[]);
    }
    let job = master.ended(&id);
    assert_eq!(job["status"], "failure", "{job}");
    assert_eq!(job["attempt"], 3, "{job}");
    assert!(
        job["reason"]
            .as_str()
            .unwrap()
            .contains("worker lost 3 times"),
        "{job}"
    );
    let other = master.ended(&master.run("echo others go on"));
    assert_eq!(other["status"], "success");
}

/// The causes in a job's history.
pub(crate) fn causes(master: &Master, id: &str) -> Vec<String> {
    let answer = master.get(&format!("/api/v1/jobs/{id}/history")).json();
    let moves = answer["transitions"].as_array().expect("a list");
    moves
        .iter()
        .map(|it| it["cause"].as_str().expect("a cause").to_owned())
        .collect()
}

/// The same without the start of the steps, which isn't waited for: it rides
/// with the next commit, and a kill may come before that.
fn durable_causes(master: &Master, id: &str) -> Vec<String> {
    let mut causes = causes(master, id);
    causes.retain(|it| it != "started");
    causes
}

#[test]
fn the_second_master_on_a_directory_names_the_first_and_changes_nothing() {
    let first = Master::start();
    let id = first.run("echo one");
    first.ended(&id);
    // Its trace is written once somebody looks, at the latest.
    assert_eq!(first.get(&format!("/api/v1/jobs/{id}/trace")).status, 200);
    let before = files(&first.dir);
    let second = Command::new(DANUBE)
        .args(["master", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&first.dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(6), "{said}");
    assert!(said.contains(&format!("process {}", first.pid())), "{said}");
    assert!(said.contains(&first.address), "{said}");
    assert!(said.contains("--data-dir"), "no advice: {said}");
    assert!(files(&first.dir) == before, "something was changed");
    assert_eq!(first.job(&id)["status"], "success");
    assert_eq!(first.ended(&first.run("echo two"))["status"], "success");
}

/// Every file below `dir` with its bytes; directories with none.
pub(crate) fn files(dir: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        if path.is_dir() {
            found.insert(name, None);
            found.extend(files(&path));
        } else {
            found.insert(name, Some(fs::read(&path).unwrap()));
        }
    }
    found
}

/// A data directory in which a job ended and nobody lives.
fn used_directory() -> tempfile::TempDir {
    let own = tempfile::tempdir().unwrap();
    let mut master = Master::start_in(own.path(), &[]);
    master.ended(&master.run("echo one"));
    master.signal("TERM");
    assert!(master.wait().success());
    own
}

/// A start that must be refused, and must leave every file but the lock as it was.
#[track_caller]
fn refused(dir: &Path, words: &[&str]) {
    let mut before = files(dir);
    let said = Master::try_start_in(dir, &[])
        .err()
        .expect("it must not start");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    let mut after = files(dir);
    let lock = dir.join("master.lock").display().to_string();
    for all in [&mut before, &mut after] {
        all.remove(&lock);
    }
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    assert!(before == after, "a file was changed");
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let own = used_directory();
    let database = own.path().join("danube.db");
    let connection = Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    refused(
        own.path(),
        &["has schema 99", "start the newer version", "danube.db"],
    );
}

#[test]
fn a_corrupted_database_is_refused_and_left_alone() {
    let own = used_directory();
    let database = own.path().join("danube.db");
    let pages = fs::metadata(&database).unwrap().len() / 4096;
    assert!(pages > 4);
    let file = fs::OpenOptions::new().write(true).open(&database).unwrap();
    for page in 1..pages {
        // What says of each page what it is.
        file.write_all_at(&[0xA5; 64], page * 4096).unwrap();
    }
    drop(file);
    refused(own.path(), &["is damaged", "restore a backup", "danube.db"]);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let own = tempfile::tempdir().unwrap();
    fs::create_dir(own.path().join("work")).unwrap();
    fs::write(
        own.path().join("danube.db"),
        "these are notes of a person\n".repeat(100),
    )
    .unwrap();
    refused(own.path(), &["is damaged", "danube.db"]);
}

//! What must hold when something breaks.

mod backlog;
mod c;
mod clients;
mod clock;
mod collector;
mod disk;
mod errors;
mod flush;
mod followers;
mod fsyncs;
mod git;
mod hanging;
mod healing;
mod history;
mod hogs;
mod large;
mod load;
mod partition;
mod power;
mod recording;
mod redis;
mod row;
mod secrets;
mod signout;
mod slow;
mod starts;
mod stopping;
mod strace;
mod webhooks;
mod workers;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::master::{DANUBE, Master, one_step};
use crate::processes::{self, HELD, HIDERS, release};

pub(crate) use disk::SmallDisk;
use history::attempts;
pub(crate) use history::check_database;
pub(crate) use load::Load;
use load::Random;
use row::row;
pub(crate) use starts::files;
pub(crate) use strace::Inject;

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

/// How soon a master that was killed serves again, as a rule.
const READY_WITHIN: Duration = Duration::from_secs(2);

#[test]
fn master_killed_again_and_again() {
    let row = row!("master killed at a random moment");
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
            processes::all_gone_of(&load.history().ids());
        }
    }

    let master = restart(&dir, &mut restarts);
    load.serve(&master, true);
    load.join();
    let jobs = load.history().check_ended(&master);
    assert_eq!(master.get("/health/ready").status, 200);
    restarts.sort();
    let (median, worst) = (restarts[restarts.len() / 2], restarts[restarts.len() - 1]);
    assert!(median <= READY_WITHIN, "ready again in {median:?}");
    row.held(
        rounds,
        format!(
            "{} jobs: {:?}; ready again in {median:.2?}, at worst {worst:.2?}",
            jobs.len(),
            counts(&jobs),
        ),
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
    let row = row!("master killed at a random moment");
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
    row.held(1, "at most once on request");
}

#[test]
fn a_job_that_may_run_again_runs_as_the_next_attempt_in_the_same_log() {
    let row = row!("master killed at a random moment");
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
    row.held(1, "both attempts in one log");
}

#[test]
fn a_job_that_loses_its_master_every_time_is_given_up_with_the_reason() {
    let row = row!("a job that loses every worker");
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
    row.held(3, "given up after three attempts");
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
fn a_job_whose_keeper_cannot_be_asked_any_more_is_gone_with_the_master() {
    let row = row!("master killed at a random moment");
    let mut master = Master::start();
    let job = master.run(HIDERS);
    master.until_log(&job, "begin\n");
    master.kill();
    processes::all_gone(&job);
    row.held(1, "processes that hide are ended by the kernel");
}

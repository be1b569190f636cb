//! Clocks that jump, and a machine that sleeps: nobody loses a job by it.
//!
//! Each process gets a clock of its own (`clock.c`), so that the system's is left alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use danube_model::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::c::compiled;
use super::row::row;
use super::{causes, setting};
use crate::elsewhere::{Elsewhere, running};
use crate::master::{DEADLINE, Master, id, one_step};
use crate::processes::{HELD, all_gone, release, until};
use crate::receiver::{Receiver, Reply};
use crate::webhooks::{ALLOWED, told_at};

/// The shortest lease that the settings allow.
const LEASE_SECS: u64 = 3;

/// Longer than a lease, and the scheduler's next look.
const PAST_THE_LEASE: Duration = Duration::from_secs(LEASE_SECS + 2);

const HOUR_SECS: i64 = 3_600;

/// Hours by which the clock of the master and that of the worker are off. The first two are
/// the quick form.
const JUMPS: [(i64, i64); 6] = [(3, -1), (-1, 3), (3, 0), (0, 3), (-1, 0), (0, 0)];

/// How far from where it was set a moved clock may be seen: the time that a busy machine takes.
const SEEN_WITHIN_SECS: f64 = 120.0;

/// The clock of one process.
struct Clock {
    own: TempDir,
    file: File,
    library: PathBuf,
}

impl Clock {
    fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        let path = own.path().join("clock");
        fs::write(&path, 0_i64.to_le_bytes()).unwrap();
        Self {
            file: File::options().write(true).open(path).unwrap(),
            own,
            library: compiled("clock.c", &["-shared", "-fPIC"]),
        }
    }

    /// What a process that has this clock has in its environment.
    fn variables(&self) -> [(&'static str, String); 2] {
        let path = self.own.path().join("clock").display().to_string();
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("TEST_CLOCK", path),
        ]
    }

    /// From now on it shows so many seconds more than the system's.
    fn shows(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_le_bytes(), 0).unwrap();
    }
}

fn pairs<'a>(variables: &'a [(&'static str, String); 2]) -> [(&'static str, &'a str); 2] {
    [0, 1].map(|it| (variables[it].0, variables[it].1.as_str()))
}

fn master(clock: &Clock, arguments: &[&str]) -> Master {
    Master::in_environment(&pairs(&clock.variables()), arguments)
}

/// Waits until the master shows its clock moved by so much.
#[track_caller]
fn is_seen(master: &Master, hours: i64) {
    let shown = master.get("/health").json();
    let shown = Timestamp::parse(shown["timestamp"].as_str().unwrap()).unwrap();
    let wanted = Timestamp::now().as_millis() + hours * HOUR_SECS * 1_000;
    let wanted = Timestamp::from_millis(wanted);
    let apart = shown.seconds_since(wanted) + wanted.seconds_since(shown);
    assert!(apart < SEEN_WITHIN_SECS, "{shown}, not {wanted}");
}

/// No attempt was lost, and what can be told in seconds is none below 0.
#[track_caller]
fn is_untouched(master: &Master, id: &str) -> Value {
    let job = master.ended(id);
    assert_eq!(
        (&job["status"], &job["attempt"], &job["log_complete"]),
        (&json!("success"), &json!(1), &json!(true)),
        "{job}"
    );
    assert!(job["duration_seconds"].as_f64() >= Some(0.0), "{job}");
    assert!(!causes(master, id).contains(&"lease_lost".to_owned()));
    assert_eq!(master.log(id), b"begin\nend\n");
    all_gone(id);
    job
}

#[test]
fn a_wall_clock_that_jumps_ends_no_lease_no_job_and_no_session_of_a_worker() {
    let row = row!("clocks that jump");
    let (here, there) = (Clock::new(), Clock::new());
    let lease = LEASE_SECS.to_string();
    let master = master(&here, &["--lease", &lease, "--jobs-at-once", "1"]);
    // It may take an hour, and has a minute.
    let mut order = one_step(HELD);
    order["spec"]["max_duration_seconds"] = json!(3_600);
    let first = id(&master.submit(&order));
    master.until_log(&first, "begin\n");
    let variables = there.variables();
    let _far = Elsewhere::in_environment(&master, "far", &pairs(&variables));
    let second = id(&master.submit(&order));
    master.until_log(&second, "begin\n");
    running(&master, &second);

    let mut jumps = 0;
    let mut order_of_ids = vec![first.clone(), second.clone()];
    let all = setting("DANUBE_FAULT_ROUNDS").is_some();
    for (hours_here, hours_there) in JUMPS.into_iter().take(if all { JUMPS.len() } else { 2 }) {
        here.shows(hours_here * HOUR_SECS);
        there.shows(hours_there * HOUR_SECS);
        is_seen(&master, hours_here);
        // tidy: allow(sleep): that a lease's time passes is the point
        thread::sleep(PAST_THE_LEASE);
        for id in [&first, &second] {
            assert_eq!(master.job(id)["status"], "running", "{hours_here} h");
        }
        assert_eq!(master.get("/health/ready").status, 200);
        order_of_ids.push(master.run(HELD));
        jumps += 1;
    }
    release(&first);
    release(&second);
    is_untouched(&master, &first);
    is_untouched(&master, &second);
    // Those that were submitted at all these times run too.
    for id in &order_of_ids[2..] {
        master.until_log(id, "begin\n");
        release(id);
        is_untouched(&master, id);
    }
    assert_eq!(in_pages(&master), order_of_ids);
    row.held(
        jumps,
        "no lease and no limit ended, jobs are listed in their order",
    );
}

/// Every job by pages of two, the oldest first.
fn in_pages(master: &Master) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = master.get(&format!("/api/v1/jobs?limit=2{cursor}")).json();
        ids.extend(page["jobs"].as_array().unwrap().iter().map(id));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    ids.reverse();
    ids
}

#[test]
fn what_is_due_by_the_wall_clock_is_done_after_a_jump_too() {
    let row = row!("clocks that jump");
    let clock = Clock::new();
    let receiver = Receiver::new(&[Reply::Status(500, ""), Reply::Status(204, "")]);
    // The next attempt comes within an hour, whenever chance says.
    let (allowed, _) = ALLOWED.split_at(ALLOWED.len() - 2);
    let master = master(&clock, &[allowed, &["--webhooks-retry", "3600"]].concat());
    clock.shows(-HOUR_SECS);
    let job = told_at(&master, &receiver.address);
    let first = receiver.next();
    master.ended(&job);
    clock.shows(3 * HOUR_SECS);
    // It looks once a minute by itself; whatever ends wakes it.
    let other = format!("msg_{}", told_at(&master, &receiver.address));
    let both = BTreeSet::from([receiver.next(), receiver.next()].map(|it| it.id().to_owned()));
    assert_eq!(both, BTreeSet::from([first.id().to_owned(), other]));
    // What ends after a jump back is told at once.
    clock.shows(0);
    let job = told_at(&master, &receiver.address);
    assert_eq!(receiver.next().id(), format!("msg_{job}"));
    row.held(2, "webhooks are sent");
}

#[test]
fn a_master_that_slept_for_longer_than_a_lease_blames_no_worker() {
    let row = row!("clocks that jump");
    let lease = LEASE_SECS.to_string();
    let master = Master::with(&["--jobs-at-once", "0", "--lease", &lease]);
    let _far = Elsewhere::start(&master, "far", &[]);
    let id = master.run(HELD);
    master.until_log(&id, "begin\n");
    running(&master, &id);
    let rounds = setting("DANUBE_FAULT_ROUNDS").map_or(1, |it| 2 + it / 50);
    for _ in 0..rounds {
        master.signal("STOP");
        // tidy: allow(sleep): how long it sleeps is the fault itself
        thread::sleep(PAST_THE_LEASE);
        master.signal("CONT");
        // It works again: others go through while this one runs on.
        until("the master is ready", DEADLINE, || {
            (master.get("/health/ready").status == 200).then_some(())
        });
    }
    release(&id);
    is_untouched(&master, &id);
    row.held(
        rounds,
        format!(
            "asleep for {} s, leases of {LEASE_SECS} s",
            PAST_THE_LEASE.as_secs()
        ),
    );
}

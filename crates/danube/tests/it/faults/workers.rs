//! Workers on other machines, and all that can break between them and the master.

use std::time::{Duration, Instant};

use serde_json::json;

use super::causes;
use super::history::{attempts, check_database};
use super::row::row;
use crate::elsewhere::{Elsewhere, Wire, running, token};
use crate::master::Master;
use crate::processes::{HELD, all_gone, of_job, release, until};
use crate::workers::call;

/// The shortest lease that the settings allow.
const SHORT: [&str; 4] = ["--jobs-at-once", "0", "--lease", "3"];

/// I3: how long a job may be without a living owner, beyond its lease.
const BEYOND_THE_LEASE: Duration = Duration::from_secs(10);

/// Waits for the second attempt, which must begin in time; how long that took.
#[track_caller]
fn is_offered_again(master: &Master, id: &str, lost: Instant) -> Duration {
    master.until_log(id, "begin\nbegin\n");
    let again = lost.elapsed();
    let lease: u64 = SHORT[3].parse().unwrap();
    let most = Duration::from_secs(lease) + BEYOND_THE_LEASE;
    assert!(again <= most, "I3: {again:?} without an owner");
    again
}

/// Says a line again and again until it is released.
const TALKS: &str = "trap 'r=1' USR1; i=0; until [ -n \"${r:-}\" ]; do i=$((i+1)); echo line $i; sleep 0.02; done; echo end";

/// What [`TALKS`] has said, whole and in order.
#[track_caller]
fn is_whole(log: &[u8]) {
    let text = String::from_utf8(log.to_vec()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (last, counted) = lines.split_last().unwrap();
    assert_eq!(*last, "end");
    for (n, line) in (1..).zip(counted) {
        assert_eq!(*line, format!("line {n}"));
    }
}

#[test]
fn a_killed_worker_s_job_is_offered_again_and_the_log_shows_both_attempts() {
    let row = row!("worker killed, frozen or cut off");
    let master = Master::with(&SHORT);
    let mut worker = Elsewhere::start(&master, "far", &[]);
    let id = master.run(HELD);
    master.until_log(&id, "begin\n");
    worker.kill();
    let lost = Instant::now();
    let _other = Elsewhere::start(&master, "near", &[]);
    let again = is_offered_again(&master, &id, lost);
    all_gone_but_one(&id);
    release(&id);
    let job = master.ended(&id);
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(
        (&job["attempt"], &job["worker_id"]),
        (&json!(2), &json!("near"))
    );
    let log = master.log(&id);
    let parts: [&[u8]; 2] = [b"begin\n", b"begin\nend\n"];
    assert_eq!(attempts(&master.dir, &id, &log), parts);
    assert_eq!(
        job["log_complete"], false,
        "nobody knows what the first wrote last"
    );
    assert_eq!(
        causes(&master, &id),
        [
            "submitted",
            "claimed",
            "started",
            "lease_lost",
            "claimed",
            "started",
            "succeeded"
        ]
    );
    row.held(
        1,
        format!("begun again after {again:.1?}, with a lease of 3 s"),
    );
}

/// Waits until the job's processes are those of one attempt.
#[track_caller]
fn all_gone_but_one(id: &str) {
    until(
        "one attempt's processes are left",
        crate::master::DEADLINE,
        || (!of_job(id).is_empty()).then_some(()),
    );
}

#[test]
fn a_worker_that_was_frozen_for_longer_than_its_lease_is_refused_and_ends_its_job() {
    let row = row!("worker killed, frozen or cut off");
    let master = Master::with(&SHORT);
    let token = token(&master, "far");
    let frozen = Elsewhere::with_token(&master.address, &token, &[]);
    let id = master.run(HELD);
    master.until_log(&id, "begin\n");
    let before = of_job(&id);
    frozen.signal("STOP");
    let lost = Instant::now();
    let other = Elsewhere::start(&master, "near", &[]);
    let again = is_offered_again(&master, &id, lost);
    // What it would say of the attempt that it lost changes nothing.
    running(&master, &id);
    let lease = json!({"job": id, "fence": 1, "number": 1});
    let finish = json!({"lease": lease, "cause": "succeeded", "failed": null, "exit_code": 0,
        "reason": null, "timeout_seconds": null, "steps": [], "log_end": 0, "log_is_cut": false,
        "spans": null});
    let late = call(&master, "/rpc/finish", &token, &finish);
    assert_eq!(late.status, 409, "I4: {}", late.text());
    assert_eq!(master.job(&id)["status"], "running", "I4");
    frozen.signal("CONT");
    until(
        "the old attempt's processes end",
        crate::master::DEADLINE,
        || {
            let now = of_job(&id);
            before.iter().all(|it| !now.contains(it)).then_some(())
        },
    );
    running(&master, &id);
    release(&id);
    let job = master.ended(&id);
    assert_eq!(
        (&job["status"], &job["worker_id"]),
        (&json!("success"), &json!("near"))
    );
    assert_eq!(master.log(&id), b"begin\nbegin\nend\n");
    // It works on.
    drop(other);
    let next = master.ended(&master.run("echo more"));
    assert_eq!(next["worker_id"], "far", "{next}");
    row.held(
        1,
        format!("begun again after {again:.1?}, with a lease of 3 s"),
    );
}

#[test]
fn a_killed_master_loses_nothing_of_a_job_that_goes_on_elsewhere() {
    let row = row!("master restarts under a remote job");
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    let wire = Wire::to(&master);
    let worker = Elsewhere::start_by_way_of(&master, &wire.address, "far", &[]);
    let id = master.run(TALKS);
    for round in 1..=3 {
        master.until_log(&id, &format!("line {}\n", 20 * round));
        master.kill();
        wire.cut();
        check_database(&dir);
        master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
        wire.lead_to(&master);
    }
    master.until_log(&id, "line 100\n");
    release(&id);
    let job = master.ended(&id);
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(
        (&job["attempt"], &job["log_complete"]),
        (&json!(1), &json!(true)),
        "{job}"
    );
    is_whole(&master.log(&id));
    worker.event("worker_disconnected");
    row.held(3, "");
}

#[test]
fn a_job_that_ends_while_the_master_is_away_is_told_of_when_it_comes_back() {
    let row = row!("master restarts under a remote job");
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    let wire = Wire::to(&master);
    let _worker = Elsewhere::start_by_way_of(&master, &wire.address, "far", &[]);
    let id = master.run(TALKS);
    master.until_log(&id, "line 20\n");
    master.kill();
    wire.cut();
    release(&id);
    all_gone(&id);
    master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    wire.lead_to(&master);
    let job = master.ended(&id);
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(
        (&job["attempt"], &job["log_complete"]),
        (&json!(1), &json!(true)),
        "{job}"
    );
    is_whole(&master.log(&id));
    assert_eq!(causes(&master, &id).last().unwrap(), "succeeded");
    row.held(1, "");
}

#[test]
fn a_cut_network_that_heals_within_the_lease_costs_nothing() {
    let row = row!("worker killed, frozen or cut off");
    let master = Master::with(&["--jobs-at-once", "0"]);
    let wire = Wire::to(&master);
    let _worker = Elsewhere::start_by_way_of(&master, &wire.address, "far", &[]);
    let id = master.run(TALKS);
    for round in 1..=5 {
        master.until_log(&id, &format!("line {}\n", 20 * round));
        wire.cut();
        wire.lead_to(&master);
    }
    release(&id);
    let job = master.ended(&id);
    assert_eq!(
        (&job["status"], &job["attempt"]),
        (&json!("success"), &json!(1)),
        "{job}"
    );
    is_whole(&master.log(&id));
    row.held(5, "");
}

#[test]
fn a_network_that_stays_cut_costs_the_lease_and_the_old_attempt_ends_when_it_heals() {
    let row = row!("worker killed, frozen or cut off");
    let master = Master::with(&SHORT);
    let wire = Wire::to(&master);
    let _worker = Elsewhere::start_by_way_of(&master, &wire.address, "far", &[]);
    let id = master.run(HELD);
    master.until_log(&id, "begin\n");
    let before = of_job(&id);
    wire.cut();
    let _other = Elsewhere::start(&master, "near", &[]);
    master.until_log(&id, "begin\nbegin\n");
    wire.lead_to(&master);
    until(
        "the old attempt's processes end",
        crate::master::DEADLINE,
        || {
            let now = of_job(&id);
            before.iter().all(|it| !now.contains(it)).then_some(())
        },
    );
    release(&id);
    let job = master.ended(&id);
    assert_eq!(
        (&job["status"], &job["attempt"]),
        (&json!("success"), &json!(2)),
        "{job}"
    );
    assert_eq!(master.log(&id), b"begin\nbegin\nend\n");
    row.held(1, "");
}

#[test]
fn a_master_that_waits_in_vain_for_a_worker_after_its_restart_gives_the_job_to_another() {
    let row = row!("worker killed, frozen or cut off");
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &SHORT);
    let mut worker = Elsewhere::start(&master, "far", &[]);
    let id = master.run(HELD);
    master.until_log(&id, "begin\n");
    worker.kill();
    master.kill();
    all_gone(&id);
    master = Master::start_in(&dir, &SHORT);
    let _again = worker.again(&master.address);
    master.until_log(&id, "begin\nbegin\n");
    release(&id);
    let job = master.ended(&id);
    assert_eq!(
        (&job["status"], &job["attempt"]),
        (&json!("success"), &json!(2)),
        "{job}"
    );
    row.held(1, "");
}

#[test]
fn a_master_that_is_killed_while_ends_are_told_has_each_of_them_once() {
    const JOBS: usize = 24;
    let row = row!("master restarts under a remote job");
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    let wire = Wire::to(&master);
    let ids: Vec<String> = (0..JOBS)
        .map(|n| master.run(&format!("seq 1 1000; echo job {n}")))
        .collect();
    let _worker = Elsewhere::start_by_way_of(&master, &wire.address, "far", &["--jobs", "3"]);
    for _ in 0..4 {
        // The others are on their way: claimed, running, reporting.
        master.event(|it| it["event"] == "job_completed" || it["event"] == "(end)");
        master.kill();
        wire.cut();
        check_database(&dir);
        master = Master::start_in(&dir, &["--jobs-at-once", "0", "--lease", "3"]);
        wire.lead_to(&master);
    }
    for (n, id) in ids.iter().enumerate() {
        let job = master.ended(id);
        assert_eq!(job["status"], "success", "{job}");
        let causes = causes(&master, id);
        let ends = causes.iter().filter(|it| *it == "succeeded").count();
        assert_eq!(ends, 1, "{causes:?}");
        let log = String::from_utf8(master.log(id)).unwrap();
        let counted: String = (1..=1_000).map(|it| format!("{it}\n")).collect();
        let whole = format!("{counted}job {n}\n");
        if job["attempt"] == 1 {
            assert_eq!(log, whole, "{job}");
            assert_eq!(job["log_complete"], true, "{job}");
        } else {
            // Given and never received when the master was killed.
            assert!(log.ends_with(&whole), "{job}");
        }
    }
    row.held(4, format!("{JOBS} jobs"));
}

#[test]
fn a_job_that_loses_every_worker_is_given_up_and_others_go_on() {
    let row = row!("a job that loses every worker");
    let master = Master::with(&SHORT);
    let id = master.run(HELD);
    for attempt in 1..=3 {
        let name = format!("far-{attempt}");
        let mut worker = Elsewhere::start(&master, &name, &["--jobs", "2"]);
        master.until_log(&id, &"begin\n".repeat(attempt));
        let other = master.ended(&master.run("echo others go on"));
        assert_eq!(
            (&other["status"], &other["attempt"]),
            (&json!("success"), &json!(1)),
            "{other}"
        );
        worker.kill();
    }
    let job = master.ended(&id);
    assert_eq!(
        (&job["status"], &job["attempt"]),
        (&json!("failure"), &json!(3)),
        "{job}"
    );
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.contains("worker lost 3 times"), "{reason}");
    all_gone(&id);
    row.held(3, "given up after three attempts");
}

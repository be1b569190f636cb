//! The master is killed right behind each fsync of one job's life, one by one: those of its
//! first start, of the job, of its end, and of a start that finds a lost job.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::history::{History, check_database};
use super::load::{Client, Plan, Random};
use super::row::row;
use super::setting;
use super::strace::{STEPS, Stepper, signal};
use crate::master::Master;
use crate::processes::root_or_skip;

/// More fsyncs than a life has: none is killed.
const NEVER: u64 = u64::MAX;

/// Kills of each life in the quick form, at places all over it.
const KILLS_QUICK: u64 = 3;

/// How long the job takes: long enough to be killed in its midst.
const JOB_TIME: Duration = Duration::from_millis(400);

/// Where a life begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// In a directory that isn't there yet.
    Nothing,
    /// With a job that was lost with the master before.
    ALostJob,
}

/// What there was of a life: its fsyncs, and whether it was killed.
struct Life {
    fsyncs: u64,
    killed: bool,
    /// How long the next master took to be ready.
    restart: Duration,
}

/// A master's life with one job, killed behind this fsync; and what the next one makes of it.
fn life(from: From, kill_at: u64) -> Life {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let history = History::default();
    let plan = Plan::that_takes("one", JOB_TIME);
    if from == From::ALostJob {
        lose(&dir, &plan, &history);
    }
    let mut stepper = Stepper::new(kill_at);
    if let Ok(mut master) = Master::start_watched(&STEPS, &dir, |pid| stepper.watch(pid)) {
        // Ends early where the master does.
        let _ = live(&master, &plan, &history);
        signal(master.pid(), Signal::TERM);
        master.wait();
    }
    let (fsyncs, killed) = stepper.end();
    let restart = go_on(&dir, &plan, &history);
    Life {
        fsyncs,
        killed,
        restart,
    }
}

/// Kills a master while the job runs.
fn lose(dir: &Path, plan: &Plan, history: &History) {
    let mut master = Master::start_in(dir, &[]);
    let (_, job) = Client::of(&master)
        .submit(Some(&plan.key), &plan.body())
        .expect("an answer");
    history.accepted(plan, &job);
    master.until_log(&crate::master::id(&job), "line 2\n");
    master.kill();
}

/// Submits and follows to the end, as far as the master goes along.
fn live(master: &Master, plan: &Plan, history: &History) -> Option<()> {
    let client = Client::of(master);
    let (status, job) = client.submit(Some(&plan.key), &plan.body())?;
    assert_eq!(status, 202, "{job}");
    history.accepted(plan, &job);
    let path = format!("/api/v1/jobs/{}", crate::master::id(&job));
    let (_, log) = client.send("GET", &format!("{path}/logs?follow=1"), None)?;
    let (status, job) = client.get(&path)?;
    assert_eq!(status, 200, "{job}");
    history.seen(&job);
    history.read(&crate::master::id(&job), log);
    Some(())
}

/// Whatever was promised before is kept by the next master.
fn go_on(dir: &Path, plan: &Plan, history: &History) -> Duration {
    if dir.join("danube.db").exists() {
        check_database(dir);
    }
    let began = Instant::now();
    let master = Master::start_in(dir, &[]);
    assert_eq!(master.get("/health/ready").status, 200);
    let restart = began.elapsed();
    history.check_running(&master);
    let again = Client::of(&master).submit(Some(&plan.key), &plan.body());
    let (status, job) = again.expect("an answer");
    assert_eq!(status, 202, "{job}");
    history.accepted(plan, &job);
    history.check_ended(&master);
    restart
}

#[test]
fn a_master_that_is_killed_at_any_fsync_of_a_job_s_life_keeps_its_word() {
    let row = row!("master killed at every fsync");
    if !root_or_skip("stopping another process at its fsyncs") {
        return row.left_out("needs root");
    }
    let mut random = Random::new(u64::from(std::process::id()));
    let (mut kills, mut worst, mut figure) = (0, Duration::ZERO, Vec::new());
    for from in [From::Nothing, From::ALostJob] {
        let whole = life(from, NEVER);
        assert!(!whole.killed && whole.fsyncs > 0);
        figure.push(whole.fsyncs);
        let places: Vec<u64> = if setting("DANUBE_FAULT_ROUNDS").is_some() {
            // A life may have some more than another: up to one that isn't killed.
            (1..=2 * whole.fsyncs).collect()
        } else {
            let each = whole.fsyncs.div_ceil(KILLS_QUICK);
            (0..KILLS_QUICK)
                .map(|it| 1 + it * each + random.below(each))
                .collect()
        };
        for place in places {
            let life = life(from, place);
            worst = worst.max(life.restart);
            if !life.killed {
                break;
            }
            kills += 1;
        }
    }
    row.held(
        kills,
        format!(
            "{} fsyncs from a first start to its stop, {} from a start that finds a lost job; ready again within {worst:.1?}",
            figure[0], figure[1]
        ),
    );
}

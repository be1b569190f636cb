//! Coordinators that hang: a timeout and a cancel end them, what they started, and the step
//! that they called.

use serde_json::Value;

use super::{Scripted, log, submit};
use crate::master::{DEADLINE, Master};
use crate::processes::{all_gone, of_job, until};
use crate::stop::{cancel, over};

/// Nobody here hears TERM, and some have left their session and lost their parents.
const HANGS: &str = "trap '' TERM\n(setsid sh -c 'trap \"\" TERM; exec sleep 600' &)\n";

/// A coordinator that hangs by itself.
fn alone() -> String {
    format!("#!/bin/sh\n{HANGS}echo hangs\nwhile :; do sleep 600; done\n")
}

/// One that waits for a step that hangs, and would go on after it.
fn with_step() -> String {
    let step = HANGS.replace('\'', "'\\''");
    format!(
        "#!/bin/sh\n{HANGS}danube step run --name held -- sh -c '{step}echo hangs; while :; do sleep 600; done'\n\
         echo goes on\nwhile :; do sleep 600; done\n"
    )
}

struct Hung {
    master: Master,
    job: String,
    _scripted: Scripted,
}

impl Hung {
    /// One that hangs by now, with all of its processes.
    #[track_caller]
    fn new(program: &str, more: &str) -> Self {
        let scripted = Scripted::with("ci", program, more);
        let master = scripted.master(&["--grace", "1"]);
        let job = submit(&master);
        master.until_log(&job, "hangs\n");
        until("all of them are there", DEADLINE, || {
            (of_job(&job).len() >= 3).then_some(())
        });
        Self {
            master,
            job,
            _scripted: scripted,
        }
    }

    /// How it ended; the log was closed by it, and nobody is left.
    #[track_caller]
    fn ended(&self, status: &str, reason: &str, steps: &[&str]) {
        let ended = over(&self.master, &self.job);
        all_gone(&self.job);
        let log = log(&self.master, &self.job);
        assert_eq!(ended["status"], status, "{ended} {log}");
        assert_eq!(ended["reason"], reason, "{ended}");
        let found = ended["steps"].as_array().unwrap().iter();
        let found: Vec<&str> = found.map(|it| it["status"].as_str().unwrap()).collect();
        assert_eq!(found, steps, "{ended}");
        assert_eq!(log.matches("hangs\n").count(), 1, "{log}");
        let is_end = |it: &Value| it["event"] == "job_completed" && it["job_id"] == *self.job;
        let told = self.master.event(is_end);
        assert_eq!(told["status"], status, "{told}");
    }
}

#[test]
fn a_coordinator_that_hangs_is_ended_by_the_timeout_of_its_job() {
    let hung = Hung::new(&alone(), ", max_duration_seconds: 12");
    let reason = "the job took longer than its 12 s; step `script` was stopped";
    hung.ended("timeout", reason, &["success", "timeout"]);
}

#[test]
fn a_coordinator_whose_step_hangs_is_ended_with_it_by_the_timeout_of_its_job() {
    let hung = Hung::new(&with_step(), ", max_duration_seconds: 12");
    let reason = "the job took longer than its 12 s; step `script` was stopped";
    hung.ended("timeout", reason, &["success", "timeout", "timeout"]);
}

#[test]
fn a_coordinator_that_hangs_is_ended_by_a_cancel() {
    let hung = Hung::new(&alone(), "");
    cancel(&hung.master, &hung.job);
    let reason = "cancelled by admin while step `script` ran";
    hung.ended("cancelled", reason, &["success", "cancelled"]);
}

#[test]
fn a_coordinator_whose_step_hangs_is_ended_with_it_by_a_cancel() {
    let hung = Hung::new(&with_step(), "");
    cancel(&hung.master, &hung.job);
    let reason = "cancelled by admin while step `script` ran";
    hung.ended("cancelled", reason, &["success", "cancelled", "cancelled"]);
}

//! Real jobs that end in each way, for whoever counts them.

use serde_json::{Value, json};

use crate::elsewhere::Elsewhere;
use crate::master::{Master, id};

/// A pipeline's name with everything that makes trouble and that the API takes.
pub(crate) const NAMED: &str = "Grüße (v1.0) + déjà #2 & 日本, a/b:c";

/// What [`run`] has run, by pipeline and status.
pub(crate) const ENDED: &[(&str, &str, f64)] = &[
    (NAMED, "success", 2.0),
    ("broken", "failure", 1.0),
    ("slow", "timeout", 1.0),
    ("unwanted", "cancelled", 1.0),
];

/// How many jobs [`run`] runs.
pub(crate) const COUNT: usize = 5;

/// Runs a job for each way to end; returns their ids once all of them are counted.
#[track_caller]
pub(crate) fn run(master: &Master) -> Vec<String> {
    let submit = |name: &str, script: &str, seconds: u64| {
        id(&master.submit(&json!({"spec": {
            "name": name,
            "max_duration_seconds": seconds,
            "steps": [{"name": "only", "run": script}],
        }})))
    };
    let mut ids = vec![
        submit(NAMED, "echo one", 60),
        submit(NAMED, "echo password=hunter22", 60),
        submit("broken", "exit 3", 60),
        submit("slow", "sleep 60", 1),
    ];
    let unwanted = submit("unwanted", "echo begin; sleep 60", 60);
    master.until_log(&unwanted, "begin");
    cancel(master, &unwanted);
    ids.push(unwanted);
    ids.iter().for_each(|it| counted(master, it));
    ids
}

/// Lets a worker elsewhere come and go, so that its calls are counted.
#[track_caller]
pub(crate) fn visited(master: &Master, name: &str) {
    drop(Elsewhere::start(master, name, &[]));
}

/// Asks for the job's end.
#[track_caller]
pub(crate) fn cancel(master: &Master, id: &str) {
    let answer = master.call("DELETE", &format!("/api/v1/jobs/{id}"), None);
    assert_eq!(answer.status, 202, "{}", answer.text());
}

/// Waits until the job has ended and its metrics have moved.
#[track_caller]
pub(crate) fn counted(master: &Master, id: &str) {
    // Metrics move before the line is written.
    master.event(|it: &Value| it["event"] == "job_completed" && it["job_id"] == id);
}

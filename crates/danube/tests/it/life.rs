//! A job's whole way, over real HTTP with real processes.

use serde_json::json;

use crate::master::{Master, id};

#[test]
fn a_job_goes_from_submit_to_finished_log() {
    let master = Master::start();
    let job = master.submit(&json!({
        "spec": {"name": "hello", "steps": [
            {"name": "say", "run": "echo \"hi $A\"; echo oops >&2", "env": {"A": "there"}},
            {"name": "fail", "run": "exit 3", "continue_on_error": true},
            {"name": "end", "run": "echo end"},
        ]},
    }));
    assert_eq!(job["status"], "pending");
    assert_eq!(job["attempt"], 0);
    let job = master.ended(&id(&job));
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(job["exit_code"], 0);
    assert_eq!(job["attempt"], 1);
    let steps: Vec<(&str, &str, i64)> = job["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["name"].as_str().unwrap(),
                it["status"].as_str().unwrap(),
                it["exit_code"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        steps,
        [
            ("say", "success", 0),
            ("fail", "failure", 3),
            ("end", "success", 0)
        ]
    );
    let log = String::from_utf8(master.log(&id(&job))).unwrap();
    let mut lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.pop(), Some("end"));
    lines.sort_unstable();
    assert_eq!(lines, ["hi there", "oops"]);
    assert_eq!(job["log_bytes"], log.len());
    assert_eq!(job["log_complete"], true);
}

//! Playbook jobs, in the families of their own document.

use serde_json::json;

use super::{Proof, Scenario};
use crate::master::{Master, id};
use crate::playbooks::{ansible_or_skip, ended, tasks, with};

pub(super) const PLAYBOOKS: Scenario = &[
    "ansible_api_jobs_submitted_total",
    "ansible_api_jobs_completed_total",
    "ansible_api_job_duration_seconds",
    "ansible_api_queue_length",
    "ansible_api_active_jobs",
    "ansible_api_active_workers",
];

#[test]
fn playbook_jobs_are_counted_by_source_and_end_and_pipelines_are_not() {
    if !ansible_or_skip("metrics of playbook jobs") {
        return;
    }
    let master = Master::with(&["--jobs-at-once", "1"]);
    let proof = Proof::since_start(&master);
    proof.until("ansible_api_active_workers", 1.0);
    let held = with(tasks("- command: sleep 600\n"), "queue", json!("night"));
    let running = id(&master.submit(&held));
    master.until_log(&running, "TASK [");
    let waits = id(&master.submit(&held));
    master.run("true");
    proof.until_all(&[
        ("ansible_api_active_jobs", 1.0),
        ("ansible_api_queue_length{queue_name=\"night\"}", 1.0),
        (
            "ansible_api_jobs_submitted_total{source_type=\"inline\"}",
            2.0,
        ),
    ]);
    for job in [&waits, &running] {
        master.call("DELETE", &format!("/api/v1/jobs/{job}"), None);
        master.ended(job);
    }
    assert_eq!(
        ended(&master, &tasks("- command: 'true'\n"))["status"],
        "success"
    );
    assert_eq!(
        ended(&master, &tasks("- command: 'false'\n"))["status"],
        "failed"
    );
    proof.until_all(&[
        ("ansible_api_active_jobs", 0.0),
        ("ansible_api_queue_length{queue_name=\"night\"}", 0.0),
        ("ansible_api_jobs_completed_total{status=\"success\"}", 1.0),
        ("ansible_api_jobs_completed_total{status=\"failed\"}", 1.0),
        (
            "ansible_api_jobs_completed_total{status=\"cancelled\"}",
            2.0,
        ),
        (
            "ansible_api_job_duration_seconds_count{source_type=\"inline\"}",
            3.0,
        ),
    ]);
}

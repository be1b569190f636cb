//! Playbook jobs, in the families of their own document.

use serde_json::json;

use super::{Proof, Scenario};
use crate::master::{Master, id};
use crate::playbooks::{ansible_or_skip, ended, tasks, with};
use crate::receiver::{Receiver, Reply};
use crate::webhooks::ALLOWED;

pub(super) const PLAYBOOKS: Scenario = &[
    "ansible_api_jobs_submitted_total",
    "ansible_api_jobs_completed_total",
    "ansible_api_job_duration_seconds",
    "ansible_api_queue_length",
    "ansible_api_active_jobs",
    "ansible_api_active_workers",
    "ansible_api_webhook_deliveries_total",
];

#[test]
fn playbook_jobs_are_counted_by_source_and_end_and_pipelines_are_not() {
    if !ansible_or_skip("metrics of playbook jobs") {
        return;
    }
    let receiver = Receiver::new(&[Reply::Status(200, "")]);
    let master = Master::with(&[ALLOWED, &["--jobs-at-once", "1", "--queue", "night"]].concat());
    let proof = Proof::since_start(&master);
    proof.until("ansible_api_active_workers", 1.0);
    let told = json!(receiver.address);
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
        ended(
            &master,
            &with(tasks("- command: 'true'\n"), "callback_url", told)
        )["status"],
        "success"
    );
    assert_eq!(
        ended(&master, &tasks("- command: 'false'\n"))["status"],
        "failed"
    );
    proof.until_all(&[
        ("ansible_api_active_jobs", 0.0),
        ("ansible_api_queue_length{queue_name=\"night\"}", 0.0),
        (
            "ansible_api_webhook_deliveries_total{success=\"true\"}",
            1.0,
        ),
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

//! Facts about playbook jobs, in the words of their own document.

use std::time::Duration;

use danube_signals::{
    AnsibleChecked, CredentialAccessed, JobCompleted, JobResult, JobSubmitted, RunEnd,
    SecretAccessFailed, SecretAccessed, SourceType,
};

use crate::facts::{check, tell};

#[test]
fn the_ends_of_a_playbook_job_are_told_in_the_words_of_its_document() {
    check(
        JobSubmitted {
            job_id: "0190-a",
            source_type: "inline",
            api_key_name: Some("admin"),
            playbook: Some(SourceType::Inline),
        },
        r#"{"level":"info","logger":"ansible_api.api","event":"job_submitted","job_id":"0190-a","source_type":"inline","api_key_name":"admin"}"#,
        &[(
            r#"ansible_api_jobs_submitted_total{source_type="inline"}"#,
            1.0,
        )],
    );
    let told = tell(JobCompleted {
        playbook: Some(SourceType::Nexus),
        job_id: "0190-a",
        status: JobResult::Timeout,
        duration_seconds: Some(Duration::from_secs(90)),
        pipeline: "playbook",
        max_rss_bytes: None,
        run: RunEnd::default(),
    });
    for (sample, value) in [
        (r#"ansible_api_jobs_completed_total{status="failed"}"#, 1.0),
        (
            r#"ansible_api_job_duration_seconds_count{source_type="nexus"}"#,
            1.0,
        ),
        (
            r#"ansible_api_job_duration_seconds_sum{source_type="nexus"}"#,
            90.0,
        ),
    ] {
        let found = told.signals.registry().value(sample);
        assert_eq!(found, Some(value), "{sample}");
    }
}

#[test]
fn secret_accessed() {
    check(
        SecretAccessed {
            secret_key: "deploy",
            pipeline: "p",
            job_id: "0190-a",
            user: "admin",
        },
        r#"{"level":"info","logger":"danube.orchestrator","event":"secret_accessed","secret_key":"deploy","pipeline":"p","job_id":"0190-a","user":"admin"}"#,
        &[(
            r#"danube_secret_requests_total{pipeline="p",secret_key="deploy"}"#,
            1.0,
        )],
    );
}

#[test]
fn secret_access_failed() {
    check(
        SecretAccessFailed {
            secret_key: "deploy",
            pipeline: "p",
            job_id: "0190-a",
            reason: "there is no such secret",
            user: "admin",
        },
        r#"{"level":"warning","logger":"danube.orchestrator","event":"secret_access_failed","secret_key":"deploy","pipeline":"p","job_id":"0190-a","reason":"there is no such secret","user":"admin"}"#,
        &[(
            r#"danube_secret_requests_total{pipeline="p",secret_key="deploy"}"#,
            1.0,
        )],
    );
}

#[test]
fn credential_accessed() {
    check(
        CredentialAccessed {
            credential_name: "deploy",
            job_id: "0190-a",
        },
        r#"{"level":"info","logger":"ansible_api.worker","event":"credential_accessed","credential_name":"deploy","job_id":"0190-a"}"#,
        &[],
    );
}

#[test]
fn ansible_checked() {
    check(
        AnsibleChecked {
            worker_id: "w1",
            version: Some("2.14"),
            error: None,
        },
        r#"{"level":"info","logger":"ansible_api.worker","event":"ansible_checked","worker_id":"w1","version":"2.14"}"#,
        &[],
    );
}

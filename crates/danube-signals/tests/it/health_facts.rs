//! Facts about the server's health, and what it deletes.

use danube_signals::*;

use super::facts::{check_full, millis};

#[test]
fn health_check_failed_is_an_error_from_the_third_in_a_row() {
    let fact = |consecutive_failures| HealthCheckFailed {
        check: Check::Database,
        status: HealthStatus::Failed,
        error: "locked",
        consecutive_failures,
    };
    check_full(
        fact(2),
        r#"{"level":"warning","logger":"danube.health","event":"health_check_failed","check":"database","status":"failed","error":"locked","consecutive_failures":2}"#,
        &[
            (r#"danube_health_check_status{check="database"}"#, 0.0),
            (
                r#"danube_health_check_consecutive_failures{check="database"}"#,
                2.0,
            ),
        ],
    );
    check_full(
        fact(3),
        r#"{"level":"error","logger":"danube.health","event":"health_check_failed","check":"database","status":"failed","error":"locked","consecutive_failures":3}"#,
        &[(
            r#"danube_health_check_consecutive_failures{check="database"}"#,
            3.0,
        )],
    );
}

#[test]
fn health_check_recovered() {
    check_full(
        HealthCheckRecovered {
            check: Check::Disk,
            status: HealthStatus::Ok,
            consecutive_failures: 4,
        },
        r#"{"level":"info","logger":"danube.health","event":"health_check_recovered","check":"disk","status":"ok","consecutive_failures":4}"#,
        &[
            (r#"danube_health_check_status{check="disk"}"#, 1.0),
            (
                r#"danube_health_check_consecutive_failures{check="disk"}"#,
                0.0,
            ),
        ],
    );
}

#[test]
fn health_checks_completed() {
    check_full(
        HealthChecksCompleted {
            database: Some(HealthStatus::Ok),
            k8s: Some(HealthStatus::Disabled),
            dex: Some(HealthStatus::Disabled),
            registry: Some(HealthStatus::Disabled),
            blueprint_sync: Some(HealthStatus::Disabled),
            queue: Some(HealthStatus::Disabled),
            disk: Some(HealthStatus::Degraded),
            workers: Some(HealthStatus::Disabled),
            otlp_export: Some(HealthStatus::Ok),
            webhooks: Some(HealthStatus::Ok),
            forges: Some(HealthStatus::Ok),
            log_pipeline: Some(HealthStatus::Ok),
            git: Some(HealthStatus::Degraded),
            duration_seconds: millis(3),
        },
        r#"{"level":"debug","logger":"danube.health","event":"health_checks_completed","database":"ok","k8s":"disabled","dex":"disabled","registry":"disabled","blueprint_sync":"disabled","queue":"disabled","disk":"degraded","workers":"disabled","otlp_export":"ok","webhooks":"ok","forges":"ok","log_pipeline":"ok","git":"degraded","duration_seconds":0.003}"#,
        &[],
    );
}

#[test]
fn self_heal_attempted() {
    check_full(
        SelfHealAttempted {
            check: Check::Database,
            action: "clear_locks",
            result: HealResult::Success,
            detail: "opened anew",
            duration_seconds: millis(3),
        },
        r#"{"level":"warning","logger":"danube.health","event":"self_heal_attempted","check":"database","action":"clear_locks","result":"success","detail":"opened anew","duration_seconds":0.003}"#,
        &[(
            r#"danube_self_heal_total{check="database",result="success"}"#,
            1.0,
        )],
    );
}

#[test]
fn registry_exited() {
    check_full(
        RegistryExited {
            exit: "signal: 9 (SIGKILL)",
            output: Some("panic"),
            restart_in_seconds: millis(1_000),
        },
        r#"{"level":"warning","logger":"danube.orchestrator","event":"registry_exited","exit":"signal: 9 (SIGKILL)","output":"panic","restart_in_seconds":1.0}"#,
        &[],
    );
}

#[test]
fn database_unavailable() {
    check_full(
        DatabaseUnavailable {
            error: "disk I/O error",
        },
        r#"{"level":"error","logger":"danube.store","event":"database_unavailable","error":"disk I/O error"}"#,
        &[],
    );
}

#[test]
fn blueprint_sync_completed() {
    check_full(
        BlueprintSyncCompleted {
            commit: "0123",
            pipelines: 3,
            users: 2,
            teams: 1,
            duration_seconds: millis(7),
        },
        r#"{"level":"info","logger":"danube.blueprint","event":"blueprint_sync_completed","commit":"0123","pipelines":3,"users":2,"teams":1,"duration_seconds":0.007}"#,
        &[],
    );
}

#[test]
fn webhook_rejected() {
    check_full(
        WebhookRejected {
            forge: "gitea",
            reason: "signature",
        },
        r#"{"level":"warning","logger":"danube.api","event":"webhook_rejected","forge":"gitea","reason":"signature"}"#,
        &[],
    );
}

#[test]
fn webhook_kept() {
    check_full(
        WebhookKept {
            forge: "gitea",
            credential_name: "work",
            starts: 2,
        },
        r#"{"level":"info","logger":"danube.api","event":"webhook_kept","forge":"gitea","credential_name":"work","starts":2}"#,
        &[],
    );
}

#[test]
fn webhook_dropped() {
    check_full(
        WebhookDropped {
            forge: "gitea",
            credential_name: "work",
            pipeline: "build",
            trigger_ref: "main",
            reason: "a later commit of the same ref came",
        },
        r#"{"level":"warning","logger":"danube.api","event":"webhook_dropped","forge":"gitea","credential_name":"work","pipeline":"build","trigger_ref":"main","reason":"a later commit of the same ref came"}"#,
        &[],
    );
}

#[test]
fn commit_status_failed() {
    check_full(
        CommitStatusFailed {
            job_id: "0192",
            forge: "gitea",
            credential_name: "work",
            error: "status 503",
        },
        r#"{"level":"warning","logger":"danube.api","event":"commit_status_failed","job_id":"0192","forge":"gitea","credential_name":"work","error":"status 503"}"#,
        &[],
    );
}

#[test]
fn blueprint_sync_failed() {
    check_full(
        BlueprintSyncFailed {
            error: "teams/a.yaml:3:7: is nobody",
        },
        r#"{"level":"error","logger":"danube.blueprint","event":"blueprint_sync_failed","error":"teams/a.yaml:3:7: is nobody"}"#,
        &[],
    );
}

#[test]
fn reaper_completed() {
    check_full(
        ReaperCompleted {
            logs_deleted: 2,
            artifacts_deleted: 0,
            images_deleted: 0,
            bytes_freed: 4096,
            traces_deleted: 1,
            workspaces_deleted: 0,
            reason: ReapReason::Daily,
            duration_seconds: millis(7),
        },
        r#"{"level":"info","logger":"danube.reaper","event":"reaper_completed","logs_deleted":2,"artifacts_deleted":0,"images_deleted":0,"bytes_freed":4096,"traces_deleted":1,"workspaces_deleted":0,"reason":"daily","duration_seconds":0.007}"#,
        &[],
    );
}

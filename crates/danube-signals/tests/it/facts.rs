//! Every live fact, told through `Signals`: its line exactly, and what it moves.

use std::time::Duration;

use danube_signals::*;
use danube_telemetry::{Recorder, TraceContext};

const JOB: &str = "0190-a";

/// One fact told once: its line after the timestamp, and the metrics that moved.
pub(crate) struct Told {
    name: &'static str,
    fields: &'static [&'static str],
    line: String,
    pub(crate) signals: Signals,
}

pub(crate) fn tell<F: Fact>(fact: F) -> Told {
    let signals = Signals::new(BuildInfo::default(), Limits::default());
    let recorder = Recorder::new();
    recorder.run(|| signals.emit(fact));
    let lines = recorder.take();
    assert_eq!(lines.len(), 1, "one fact is one line");
    let line = lines[0]
        .strip_prefix(r#"{"timestamp":"1970-01-01T00:00:00.000Z","#)
        .expect("the timestamp is first");
    let decl = F::DECL;
    Told {
        name: decl.name,
        fields: decl.fields,
        line: format!("{{{line}"),
        signals,
    }
}

/// `line` is the whole line without its timestamp; every metric is 0 or absent before.
pub(crate) fn check<F: Fact>(fact: F, line: &str, metrics: &[(&str, f64)]) {
    let told = tell(fact);
    assert_eq!(told.line, line);
    let before = Signals::new(BuildInfo::default(), Limits::default());
    for (selector, value) in metrics {
        assert_eq!(
            told.signals.registry().value(selector),
            Some(*value),
            "{selector}"
        );
        assert!(
            matches!(before.registry().value(selector), None | Some(0.0)),
            "{selector}"
        );
    }
}

/// Like [`check`], for a fact with all its fields: they come in the declared order.
pub(crate) fn check_full<F: Fact>(fact: F, line: &str, metrics: &[(&str, f64)]) {
    let keys: Vec<&str> = F::DECL.fields.to_vec();
    let at = |key: &str| {
        line.find(&format!("\"{key}\":"))
            .unwrap_or_else(|| panic!("{key}"))
    };
    assert!(keys.is_sorted_by_key(|key| at(key)), "{keys:?}");
    assert_eq!(
        line.matches("\":").count(),
        keys.len() + 3,
        "level, logger, event and its own"
    );
    check(fact, line, metrics);
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn master_ready() {
    check_full(
        MasterReady {
            address: "127.0.0.1:8080",
            pid: 7,
            version: "0.1.0",
        },
        r#"{"level":"info","logger":"danube.master","event":"master_ready","address":"127.0.0.1:8080","pid":7,"version":"0.1.0"}"#,
        &[],
    );
}

#[test]
fn master_stopping() {
    check_full(
        MasterStopping { reason: "SIGTERM" },
        r#"{"level":"info","logger":"danube.master","event":"master_stopping","reason":"SIGTERM"}"#,
        &[],
    );
}

#[test]
fn profile_started() {
    check_full(
        ProfileStarted {
            kind: ProfileKind::Cpu,
            file: "/var/lib/danube/profile-cpu.pb.gz",
        },
        r#"{"level":"info","logger":"danube.telemetry","event":"profile_started","kind":"cpu","file":"/var/lib/danube/profile-cpu.pb.gz"}"#,
        &[],
    );
}

#[test]
fn profile_taken() {
    check_full(
        ProfileTaken {
            kind: ProfileKind::Heap,
            user: Some("admin"),
            file: Some("/var/lib/danube/profile-heap.pb.gz"),
            duration_seconds: millis(10_000),
            samples: 7,
        },
        r#"{"level":"info","logger":"danube.telemetry","event":"profile_taken","kind":"heap","user":"admin","file":"/var/lib/danube/profile-heap.pb.gz","duration_seconds":10.0,"samples":7}"#,
        &[],
    );
}

#[test]
fn profile_failed() {
    check_full(
        ProfileFailed {
            kind: ProfileKind::Cpu,
            error: "no space left on device",
        },
        r#"{"level":"warning","logger":"danube.telemetry","event":"profile_failed","kind":"cpu","error":"no space left on device"}"#,
        &[],
    );
}

#[test]
fn log_level_changed() {
    check_full(
        LogLevelChanged {
            new_level: "debug",
            old_level: "info,danube.api=error",
            reason: LogLevelReason::Api,
            user: Some("admin"),
            for_seconds: Some(millis(600_000)),
        },
        r#"{"level":"info","logger":"danube.telemetry","event":"log_level_changed","new_level":"debug","old_level":"info,danube.api=error","reason":"api","user":"admin","for_seconds":600.0}"#,
        &[],
    );
}

#[test]
fn settings_refused() {
    check_full(
        SettingsRefused {
            error: "/server: unknown",
        },
        r#"{"level":"warning","logger":"danube.master","event":"settings_refused","error":"/server: unknown"}"#,
        &[],
    );
}

#[test]
fn job_submitted() {
    check_full(
        JobSubmitted {
            playbook: None,
            job_id: JOB,
            source_type: "pipeline",
            api_key_name: Some("admin"),
        },
        r#"{"level":"info","logger":"danube.api","event":"job_submitted","job_id":"0190-a","source_type":"pipeline","api_key_name":"admin"}"#,
        &[],
    );
    check(
        JobSubmitted {
            playbook: None,
            job_id: JOB,
            source_type: "spec",
            api_key_name: None,
        },
        r#"{"level":"info","logger":"danube.api","event":"job_submitted","job_id":"0190-a","source_type":"spec"}"#,
        &[],
    );
}

#[test]
fn pipeline_triggered() {
    check_full(
        PipelineTriggered {
            pipeline: "build",
            trigger_type: "api",
            trigger_ref: Some("main"),
            user: Some("admin"),
        },
        r#"{"level":"info","logger":"danube.orchestrator","event":"pipeline_triggered","pipeline":"build","trigger_type":"api","trigger_ref":"main","user":"admin"}"#,
        &[],
    );
}

#[test]
fn job_started() {
    check_full(
        JobStarted {
            job_id: JOB,
            pipeline: Some("build"),
            trigger_type: Some("api"),
            trigger_ref: Some("main"),
            user: Some("admin"),
            source_type: Some("inline"),
            worker_id: Some("w1"),
            queue_wait: millis(250),
        },
        r#"{"level":"info","logger":"ansible_api.worker","event":"job_started","job_id":"0190-a","pipeline":"build","trigger_type":"api","trigger_ref":"main","user":"admin","source_type":"inline","worker_id":"w1"}"#,
        &[
            (r#"danube_job_queue_wait_seconds_bucket{le="0.5"}"#, 1.0),
            ("danube_job_queue_wait_seconds_count", 1.0),
            ("danube_job_queue_wait_seconds_sum", 0.25),
        ],
    );
    check(
        JobStarted {
            job_id: JOB,
            pipeline: None,
            trigger_type: None,
            trigger_ref: None,
            user: None,
            source_type: None,
            worker_id: None,
            queue_wait: millis(0),
        },
        r#"{"level":"info","logger":"danube.orchestrator","event":"job_started","job_id":"0190-a"}"#,
        &[],
    );
}

#[test]
fn job_completed() {
    check_full(
        JobCompleted {
            playbook: None,
            job_id: JOB,
            status: JobResult::Success,
            duration_seconds: Some(Duration::from_nanos(2_500_000_400)),
            pipeline: "build",
            max_rss_bytes: Some(4096),
            run: RunEnd::default(),
        },
        r#"{"level":"info","logger":"danube.orchestrator","event":"job_completed","job_id":"0190-a","status":"success","duration_seconds":2.5}"#,
        &[
            (
                r#"danube_jobs_total{pipeline="build",status="success"}"#,
                1.0,
            ),
            (
                r#"danube_job_duration_seconds_bucket{pipeline="build",le="5.0"}"#,
                1.0,
            ),
            (
                r#"danube_job_duration_seconds_count{pipeline="build"}"#,
                1.0,
            ),
            (r#"danube_job_max_rss_bytes{pipeline="build"}"#, 4096.0),
        ],
    );
    let told = tell(JobCompleted {
        playbook: None,
        job_id: JOB,
        status: JobResult::Cancelled,
        duration_seconds: None,
        pipeline: "build",
        max_rss_bytes: None,
        run: RunEnd::default(),
    });
    assert!(
        told.line
            .ends_with(r#""job_id":"0190-a","status":"cancelled"}"#),
        "{}",
        told.line
    );
    let value = |selector: &str| told.signals.registry().value(selector);
    assert_eq!(
        value(r#"danube_jobs_total{status="cancelled",pipeline="build"}"#),
        Some(1.0)
    );
    // The pipeline's other results are there at 0, so that a rate sees the first one.
    assert_eq!(
        value(r#"danube_jobs_total{status="failure",pipeline="build"}"#),
        Some(0.0)
    );
    assert_eq!(
        value(r#"danube_job_duration_seconds_count{pipeline="build"}"#),
        None
    );
    assert_eq!(value(r#"danube_job_max_rss_bytes{pipeline="build"}"#), None);
}

#[test]
fn job_failed() {
    check_full(
        JobFailed {
            is_playbook: false,
            job_id: JOB,
            error_type: "step_failed",
            error_message: "exit 1",
            retry_count: 2,
        },
        r#"{"level":"error","logger":"danube.orchestrator","event":"job_failed","job_id":"0190-a","error_type":"step_failed","error_message":"exit 1","retry_count":2}"#,
        &[],
    );
}

#[test]
fn job_retried() {
    check_full(
        JobRetried {
            job_id: JOB,
            attempt: 2,
            reason: "worker lost",
            pipeline: "p",
            error: None,
        },
        r#"{"level":"info","logger":"danube.orchestrator","event":"job_retried","job_id":"0190-a","attempt":2,"reason":"worker lost"}"#,
        &[],
    );
}

#[test]
fn job_cancelled() {
    check_full(
        JobCancelled {
            job_id: JOB,
            user: Some("admin"),
            reason: Some("asked"),
        },
        r#"{"level":"info","logger":"danube.orchestrator","event":"job_cancelled","job_id":"0190-a","user":"admin","reason":"asked"}"#,
        &[],
    );
}

#[test]
fn job_timed_out() {
    check_full(
        JobTimedOut {
            job_id: JOB,
            step: Some("test"),
            timeout_seconds: Some(millis(30_000)),
            pipeline: "build",
        },
        r#"{"level":"warning","logger":"danube.orchestrator","event":"job_timed_out","job_id":"0190-a","step":"test","timeout_seconds":30.0}"#,
        &[(r#"danube_job_timeouts_total{pipeline="build"}"#, 1.0)],
    );
}

#[test]
fn job_orphan_rescued() {
    check_full(
        JobOrphanRescued {
            job_id: JOB,
            worker_id: Some("w1"),
            attempt: 1,
        },
        r#"{"level":"warning","logger":"danube.orchestrator","event":"job_orphan_rescued","job_id":"0190-a","worker_id":"w1","attempt":1}"#,
        &[("danube_orphaned_jobs_rescued_total", 1.0)],
    );
}

#[test]
fn step_started() {
    check_full(
        StepStarted {
            job_id: JOB,
            step: "test",
        },
        r#"{"level":"info","logger":"danube.worker","event":"step_started","job_id":"0190-a","step":"test"}"#,
        &[],
    );
}

#[test]
fn step_completed() {
    check_full(
        StepCompleted {
            job_id: JOB,
            step: "test",
            exit_code: Some(-1),
            duration_seconds: millis(1_250),
            pipeline: "build",
            cpu_seconds: Some(0.75),
        },
        r#"{"level":"info","logger":"danube.worker","event":"step_completed","job_id":"0190-a","step":"test","exit_code":-1,"duration_seconds":1.25}"#,
        &[
            (
                r#"danube_step_duration_seconds_sum{pipeline="build"}"#,
                1.25,
            ),
            (
                r#"danube_step_duration_seconds_bucket{pipeline="build",le="5.0"}"#,
                1.0,
            ),
            (r#"danube_job_cpu_seconds_total{pipeline="build"}"#, 0.75),
        ],
    );
}

#[test]
fn log_write_failed() {
    check_full(
        LogWriteFailed {
            job_id: JOB,
            error: "no space left",
            is_again: false,
        },
        r#"{"level":"warning","logger":"danube.worker","event":"log_write_failed","job_id":"0190-a","error":"no space left"}"#,
        &[],
    );
}

#[test]
fn workspace_left() {
    check_full(
        WorkspaceLeft {
            job_id: JOB,
            error: "remove workspace: device busy",
        },
        r#"{"level":"warning","logger":"danube.worker","event":"workspace_left","job_id":"0190-a","error":"remove workspace: device busy"}"#,
        &[],
    );
}

#[test]
fn login_succeeded() {
    check_full(
        LoginSucceeded {
            user: "admin",
            resource: Some("pages"),
            action: Some("login_link"),
        },
        r#"{"level":"info","logger":"danube.auth","event":"login_succeeded","user":"admin","resource":"pages","action":"login_link"}"#,
        &[(r#"danube_auth_logins_total{status="success"}"#, 1.0)],
    );
}

#[test]
fn login_failed() {
    check_full(
        LoginFailed {
            user: Some("someone"),
            resource: Some("api"),
            action: Some("api_key"),
        },
        r#"{"level":"warning","logger":"danube.auth","event":"login_failed","user":"someone","resource":"api","action":"api_key"}"#,
        &[(r#"danube_auth_logins_total{status="failure"}"#, 1.0)],
    );
}

#[test]
fn permission_denied() {
    check_full(
        PermissionDenied {
            user: "ci",
            resource: "pipeline/build",
            action: "cancel",
            kind: Some(DeniedResource::Pipeline),
        },
        r#"{"level":"warning","logger":"danube.auth","event":"permission_denied","user":"ci","resource":"pipeline/build","action":"cancel"}"#,
        &[(
            r#"danube_auth_permission_denied_total{resource="pipeline"}"#,
            1.0,
        )],
    );
}

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
            duration_seconds: millis(3),
        },
        r#"{"level":"debug","logger":"danube.health","event":"health_checks_completed","database":"ok","k8s":"disabled","dex":"disabled","registry":"disabled","blueprint_sync":"disabled","queue":"disabled","disk":"degraded","workers":"disabled","duration_seconds":0.003}"#,
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
fn reaper_completed() {
    check_full(
        ReaperCompleted {
            logs_deleted: 2,
            artifacts_deleted: 0,
            images_deleted: 0,
            bytes_freed: 4096,
        },
        r#"{"level":"info","logger":"danube.reaper","event":"reaper_completed","logs_deleted":2,"artifacts_deleted":0,"images_deleted":0,"bytes_freed":4096}"#,
        &[],
    );
}

#[test]
fn alert_fired() {
    let fired = AlertFired {
        alert: "disk_nearly_full",
        severity: Severity::Warning,
        labels: Some("job=\"danube\""),
        value: 0.0625,
        summary: "More than 90 % of the disk are used",
    };
    check_full(
        fired,
        r#"{"level":"warning","logger":"danube.watch","event":"alert_fired","alert":"disk_nearly_full","severity":"warning","labels":"job=\"danube\"","value":0.0625,"summary":"More than 90 % of the disk are used"}"#,
        &[],
    );
    check(
        AlertFired {
            severity: Severity::Critical,
            labels: None,
            ..fired
        },
        r#"{"level":"error","logger":"danube.watch","event":"alert_fired","alert":"disk_nearly_full","severity":"critical","value":0.0625,"summary":"More than 90 % of the disk are used"}"#,
        &[],
    );
}

#[test]
fn alert_resolved() {
    check(
        AlertResolved {
            alert: "api_slow",
            severity: Severity::Warning,
            labels: None,
            duration_seconds: Duration::from_secs(90),
        },
        r#"{"level":"info","logger":"danube.watch","event":"alert_resolved","alert":"api_slow","severity":"warning","duration_seconds":90.0}"#,
        &[],
    );
}

#[test]
fn alerts_not_sent() {
    check_full(
        AlertsNotSent {
            error: "connection refused",
            alerts: 2,
        },
        r#"{"level":"warning","logger":"danube.watch","event":"alerts_not_sent","error":"connection refused","alerts":2}"#,
        &[],
    );
}

#[test]
fn webhook_sent() {
    check_full(
        WebhookSent {
            job_id: "0190-a",
            callback_url: "https://hooks.example/a",
            status_code: 204,
            attempt: 2,
            is_playbook: true,
        },
        r#"{"level":"info","logger":"danube.api","event":"webhook_sent","job_id":"0190-a","callback_url":"https://hooks.example/a","status_code":204,"attempt":2}"#,
        &[
            (r#"danube_webhook_deliveries_total{success="true"}"#, 1.0),
            (
                r#"ansible_api_webhook_deliveries_total{success="true"}"#,
                1.0,
            ),
        ],
    );
}

#[test]
fn webhook_failed() {
    check_full(
        WebhookFailed {
            job_id: "0190-a",
            callback_url: "https://hooks.example/a",
            error: "status 500",
            attempt: 1,
            is_playbook: false,
        },
        r#"{"level":"warning","logger":"danube.api","event":"webhook_failed","job_id":"0190-a","callback_url":"https://hooks.example/a","error":"status 500","attempt":1}"#,
        &[
            (r#"danube_webhook_deliveries_total{success="false"}"#, 1.0),
            (
                r#"ansible_api_webhook_deliveries_total{success="false"}"#,
                0.0,
            ),
        ],
    );
}

#[test]
fn sql_query() {
    check_full(
        SqlQuery {
            operation: DbOperation::Insert,
            duration_ms: Millis(Duration::from_micros(750)),
        },
        r#"{"level":"debug","logger":"danube.store","event":"sql_query","operation":"insert","duration_ms":0.75}"#,
        &[
            (r#"danube_db_queries_total{operation="insert"}"#, 1.0),
            (
                r#"danube_db_query_duration_seconds_bucket{operation="insert",le="0.001"}"#,
                1.0,
            ),
            (
                r#"danube_db_query_duration_seconds_bucket{operation="insert",le="0.0005"}"#,
                0.0,
            ),
        ],
    );
}

#[test]
fn otlp_export_failed() {
    check(
        OtlpExportFailed {
            signal: DroppedSignal::Metric,
            error: "connection refused",
            dropped: 7,
        },
        r#"{"level":"warning","logger":"danube.telemetry","event":"otlp_export_failed","signal":"metric","error":"connection refused","dropped":7}"#,
        &[],
    );
}

#[test]
fn otlp_export_recovered() {
    check(
        OtlpExportRecovered {
            signal: DroppedSignal::Span,
            duration_seconds: millis(61_500),
            dropped: 0,
        },
        r#"{"level":"info","logger":"danube.telemetry","event":"otlp_export_recovered","signal":"span","duration_seconds":61.5,"dropped":0}"#,
        &[],
    );
}

#[test]
fn each_live_event_has_a_test_above() {
    let tests = concat!(
        include_str!("facts.rs"),
        include_str!("playbook_facts.rs"),
        include_str!("worker_facts.rs")
    );
    for event in events().filter(|event| event.state == State::Live) {
        assert!(
            tests.contains(&format!("fn {}", event.name)),
            "{}",
            event.name
        );
    }
}

#[test]
fn facts_show_the_ids_of_the_request_and_the_job_around_them() {
    let context =
        TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let signals = Signals::new(BuildInfo::default(), Limits::default());
    let recorder = Recorder::new();
    recorder.run(|| {
        let request = RequestSpan {
            request_id: "req-1",
            context: &context,
            parent: None,
            method: "GET",
            route: None,
            path: "/",
        };
        request_span(&request).in_scope(|| {
            signals.emit(StepStarted {
                job_id: JOB,
                step: "a",
            });
        });
        job_span(JOB, &context).in_scope(|| {
            signals.emit(StepStarted {
                job_id: JOB,
                step: "b",
            });
        });
    });
    let ids = r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","#;
    let lines = recorder.lines();
    assert!(lines[0].contains(&format!(
        "\"step_started\",{ids}\"request_id\":\"req-1\",\"job_id\""
    )));
    assert!(lines[1].contains(&format!(
        "\"step_started\",{ids}\"job_id\":\"0190-a\",\"step\":\"b\""
    )));
}

#[test]
fn hostile_names_stay_inside_their_quotes() {
    let hostile = "x\"} 1\ndanube_jobs_total{a=\"\\";
    let told = tell(JobCompleted {
        playbook: None,
        job_id: hostile,
        status: JobResult::Failure,
        duration_seconds: None,
        pipeline: hostile,
        max_rss_bytes: None,
        run: RunEnd::default(),
    });
    assert_eq!((told.name, told.fields.len()), ("job_completed", 3));
    let line: serde_json::Value = serde_json::from_str(&told.line).unwrap();
    assert_eq!(line["job_id"], hostile);
    let text = told
        .signals
        .registry()
        .encode(danube_telemetry::Format::Text004);
    let series: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("danube_jobs_total"))
        .collect();
    assert_eq!(series.len(), 4);
    assert_eq!(
        series[1],
        r#"danube_jobs_total{status="failure",pipeline="x\"} 1\ndanube_jobs_total{a=\"\\"} 1"#
    );
}

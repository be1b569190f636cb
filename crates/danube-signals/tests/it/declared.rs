//! The declarations as a whole, and the families that no fact moves.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use danube_signals::*;
use danube_telemetry::log::build;
use danube_telemetry::metric::{Kind, LabelValues};
use danube_telemetry::{Format, LogOptions, Output};

fn signals() -> Signals {
    Signals::new(
        BuildInfo {
            version: "1.2.3",
            commit: "abc",
        },
        Limits::default(),
    )
}

#[test]
fn names_follow_the_rules_and_occur_once() {
    let mut seen = BTreeSet::new();
    for family in families() {
        let decl = family.decl;
        let name = decl.name();
        assert!(seen.insert(name), "{name} is declared twice");
        assert!(!decl.help.is_empty() && !decl.help.contains('\n'), "{name}");
        assert_eq!(
            decl.kind == Kind::Counter,
            name.ends_with("_total"),
            "{name}"
        );
        assert_eq!(decl.kind == Kind::Info, name.ends_with("_info"), "{name}");
        assert_eq!(
            decl.kind == Kind::Histogram,
            !decl.buckets.is_empty(),
            "{name}"
        );
        assert!(decl.buckets.is_sorted_by(|a, b| a < b), "{name}");
        for reserved in ["_created", "_bucket", "_sum"] {
            assert!(!name.ends_with(reserved), "{name}");
        }
        let ours = ["danube_", "ansible_api_", "cicd_", "process_"];
        assert!(ours.iter().any(|prefix| name.starts_with(prefix)), "{name}");
        let unit = decl.unit_word();
        let stem = name.trim_end_matches("_total");
        assert!(
            unit.is_empty() || stem.ends_with(unit) || decl.is_named(),
            "{name} is in {unit}"
        );
        for label in decl.labels() {
            assert!(
                !["le", "quantile", "job", "instance"].contains(&label.name()),
                "{name}"
            );
        }
    }
    let mut seen = BTreeSet::new();
    for event in events() {
        assert!(seen.insert(event.name), "{} is declared twice", event.name);
        let own = event.logger.split('.').next().unwrap();
        assert!(OWN_LOGGERS.contains(&own), "{}", event.logger);
        for field in event.fields {
            let reserved = [
                "timestamp",
                "level",
                "logger",
                "event",
                "message",
                "trace_id",
                "span_id",
                "request_id",
            ];
            assert!(!reserved.contains(field), "{}", event.name);
        }
    }
}

#[test]
fn only_job_ids_expire_and_only_where_the_specification_says() {
    let expiring: Vec<_> = families()
        .filter(|it| {
            it.decl
                .labels()
                .iter()
                .any(|it| it.values == LabelValues::Expiring)
        })
        .map(|it| it.decl.name())
        .collect();
    assert_eq!(expiring, ["danube_log_bytes_written_total"]);
}

#[test]
fn every_family_of_the_specification_is_declared() {
    let mut missing = Vec::new();
    let names: BTreeSet<&str> = families().map(|it| it.decl.name()).collect();
    for (prefix, stems) in [
        (
            "danube_",
            "jobs_total job_duration_seconds active_jobs job_queue_size job_timeouts_total \
             db_queries_total db_query_duration_seconds db_connections_active db_lock_wait_seconds_total \
             k8s_api_calls_total k8s_api_call_duration_seconds k8s_pods_active secret_requests_total \
             secret_cache_hits_total secret_cache_misses_total log_bytes_written_total sse_clients_active \
             sse_messages_sent_total blueprint_sync_total blueprint_sync_last_success \
             blueprint_sync_duration_seconds blueprint_changes_applied_total registry_pulls_total \
             registry_pushes_total registry_storage_bytes auth_logins_total auth_permission_denied_total \
             auth_active_sessions http_request_duration_seconds rpc_requests_total \
             rpc_request_duration_seconds job_queue_wait_seconds step_duration_seconds job_cpu_seconds_total \
             job_max_rss_bytes disk_usage_bytes disk_free_ratio log_redactions_total \
             log_ingest_blocked_seconds_total log_bytes_ingested_total sse_clients_dropped_total \
             health_check_status health_check_consecutive_failures self_heal_total workers_active \
             orphaned_jobs_rescued_total webhook_deliveries_total telemetry_dropped_total \
             metrics_series_overflow_total build_info",
        ),
        (
            "ansible_api_",
            "jobs_submitted_total jobs_completed_total webhook_deliveries_total job_duration_seconds \
             request_duration_seconds queue_length active_workers active_jobs",
        ),
        (
            "cicd_",
            "pipeline_run_duration_seconds pipeline_run_active pipeline_run_errors_total workers \
             system_errors_total",
        ),
    ] {
        missing.extend(
            stems
                .split_whitespace()
                .map(|stem| format!("{prefix}{stem}"))
                .filter(|name| !names.contains(name.as_str())),
        );
    }
    assert_eq!(missing, [""; 0]);
}

#[test]
fn a_job_log_s_bytes_are_shown_for_five_minutes_after_its_end() {
    let start = Instant::now();
    let now = Arc::new(Mutex::new(start));
    let clock = {
        let now = Arc::clone(&now);
        Arc::new(move || *now.lock().unwrap())
    };
    let signals = Signals::new(
        BuildInfo::default(),
        Limits {
            clock,
            ..Limits::default()
        },
    );
    let bytes = signals.log_bytes_written_total.open("j1");
    bytes.add(100);
    signals.log_bytes_ingested_total.add(100);
    drop(bytes);
    let value = || {
        signals
            .registry()
            .value(r#"danube_log_bytes_written_total{job_id="j1"}"#)
    };
    assert_eq!(value(), Some(100.0));
    *now.lock().unwrap() = start + Duration::from_secs(300);
    assert_eq!(value(), None);
    assert_eq!(
        signals.registry().value("danube_log_bytes_ingested_total"),
        Some(100.0)
    );
}

#[test]
fn requests_are_counted_by_template_and_known_methods_only() {
    let signals = signals();
    signals.http_request("GET", "/api/v1/jobs/{id}", 404, Duration::from_millis(20));
    signals.http_request("BREW", "/", 7, Duration::from_millis(20));
    let count = |labels: &str| {
        signals.registry().value(&format!(
            "danube_http_request_duration_seconds_count{{{labels}}}"
        ))
    };
    assert_eq!(
        count(r#"method="GET",route="/api/v1/jobs/{id}",status="404""#),
        Some(1.0)
    );
    assert_eq!(count(r#"method="OTHER",route="/",status="000""#), Some(1.0));
}

#[test]
fn only_requests_of_the_api_count_as_such() {
    let signals = signals();
    let time = Duration::from_millis(20);
    for route in [
        "/api/v1/jobs/{id}",
        "/health",
        "/metrics",
        "/style.css",
        "none",
    ] {
        signals.http_request("GET", route, 200, time);
    }
    let text = signals.registry().encode(Format::Text004);
    let series = |family: &str| {
        let lines = text.lines();
        lines.filter(|it| it.starts_with(family)).count()
    };
    assert_eq!(series("danube_http_request_duration_seconds_count{"), 5);
    assert_eq!(series("ansible_api_request_duration_seconds_count{"), 1);
    let own = r#"ansible_api_request_duration_seconds_count{method="GET",endpoint="/api/v1/jobs/{id}",status_code="200"}"#;
    assert_eq!(signals.registry().value(own), Some(1.0));
}

#[test]
fn what_counts_for_a_pipeline_is_there_before_its_first_job_has_ended() {
    let signals = signals();
    signals.expect_runs("p");
    let value = |sample: &str| signals.registry().value(sample);
    for family in [
        "danube_job_duration_seconds_count",
        "danube_job_timeouts_total",
        "danube_step_duration_seconds_count",
        "danube_job_cpu_seconds_total",
    ] {
        assert_eq!(
            value(&format!("{family}{{pipeline=\"p\"}}")),
            Some(0.0),
            "{family}"
        );
    }
    let failed = r#"danube_jobs_total{status="failure",pipeline="p"}"#;
    assert_eq!(value(failed), Some(0.0));
}

#[test]
fn a_check_that_is_not_configured_is_not_shown_as_failed() {
    let signals = signals();
    let value = |family: &str| {
        signals
            .registry()
            .value(&format!("{family}{{check=\"queue\"}}"))
    };
    assert_eq!(value("danube_health_check_status"), None);
    for (status, shown) in [
        (HealthStatus::Ok, Some(1.0)),
        (HealthStatus::Degraded, Some(0.5)),
        (HealthStatus::Stale, Some(0.5)),
        (HealthStatus::Failed, Some(0.0)),
        (HealthStatus::Disabled, None),
    ] {
        signals.health(Check::Queue, status, 1);
        assert_eq!(value("danube_health_check_status"), shown, "{status:?}");
        let failures = shown.map(|_| 1.0);
        assert_eq!(
            value("danube_health_check_consecutive_failures"),
            failures,
            "{status:?}"
        );
    }
}

#[test]
fn pipelines_past_the_limit_are_counted_as_overflow() {
    let limits = Limits {
        series_max: Some(1),
        ..Limits::default()
    };
    let signals = Signals::new(BuildInfo::default(), limits);
    for pipeline in ["a", "b", "c"] {
        signals
            .jobs_total
            .with([pipeline])
            .at(JobResult::Success)
            .inc();
    }
    let value = |selector| signals.registry().value(selector);
    assert_eq!(
        value(r#"danube_jobs_total{status="success",pipeline="__other__"}"#),
        Some(2.0)
    );
    assert_eq!(
        value(r#"danube_metrics_series_overflow_total{family="danube_jobs_total"}"#),
        Some(2.0)
    );
}

#[test]
fn lines_that_the_log_lost_show_in_the_metrics() {
    let signals = signals();
    let output = Output::Writer(Box::new(std::io::sink()));
    let options = LogOptions {
        output,
        ..LogOptions::new(OWN_LOGGERS, LOG_LOGGER)
    };
    let (subscriber, handle, guard) = build(options).unwrap();
    signals.watch_lost(&handle, None);
    let lost = r#"danube_telemetry_dropped_total{signal="log"}"#;
    assert_eq!(signals.registry().value(lost), Some(0.0));
    assert!(guard.finish(Duration::from_secs(10)));
    tracing::subscriber::with_default(subscriber, || {
        signals.emit(MasterStopping {
            reason: "after the log has ended",
        });
    });
    assert_eq!(signals.registry().value(lost), Some(1.0));
}

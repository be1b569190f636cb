//! The panels and alerts as a whole: they ask only for what is declared.

use std::collections::BTreeSet;

use danube_signals::*;
use danube_telemetry::query::{Expr, UP};

/// Every question of the catalogue, with the name of what asks it.
fn questions() -> Vec<(&'static str, Expr)> {
    let panels = panels()
        .iter()
        .flat_map(|it| it.queries.iter().map(|query| (it.name, query.expr.clone())));
    let alerts = alerts(Expected::default());
    let alerts = alerts.into_iter().map(|it| (it.name, it.condition));
    panels.chain(alerts).collect()
}

#[test]
fn every_question_fits_its_families() {
    for (name, expr) in questions() {
        assert_eq!(expr.mistakes(), Vec::<String>::new(), "{name}");
        for family in expr.families() {
            let is_declared = families().any(|it| std::ptr::eq(it.decl, family));
            assert!(
                is_declared || std::ptr::eq(family, &UP),
                "{name}: {}",
                family.name()
            );
        }
    }
}

#[test]
fn every_panel_of_the_specification_is_there() {
    let of = |dashboard| -> Vec<&str> {
        let all = panels().iter().filter(|it| it.dashboard == dashboard);
        all.map(|it| it.name).collect()
    };
    assert_eq!(
        of(Dashboard::JobOverview),
        [
            "jobs_per_hour",
            "job_success_rate",
            "job_duration_average",
            "active_jobs"
        ]
    );
    assert_eq!(
        of(Dashboard::Performance),
        ["rpc_rate", "k8s_latency", "db_latency", "log_throughput"]
    );
    assert_eq!(
        of(Dashboard::Errors),
        [
            "failed_jobs",
            "k8s_errors",
            "db_lock_waits",
            "blueprint_sync_failures"
        ]
    );
    assert_eq!(
        of(Dashboard::Capacity),
        ["pods", "disk_usage", "disk_free", "memory", "cpu"]
    );
    assert_eq!(
        of(Dashboard::Playbooks),
        [
            "playbook_jobs_per_minute",
            "playbook_success_rate",
            "playbook_queue_depth",
            "playbook_duration",
            "playbook_workers",
            "api_latency"
        ]
    );
}

#[test]
fn every_alert_of_the_specification_is_there() {
    let of = |severity| -> Vec<&str> {
        let all = alerts(Expected::default()).into_iter();
        all.filter(|it| it.severity == severity)
            .map(|it| it.name)
            .collect()
    };
    assert_eq!(
        of(Severity::Critical),
        [
            "master_down",
            "database_unavailable",
            "k8s_unreachable",
            "disk_nearly_full",
            "job_failures"
        ]
    );
    assert_eq!(
        of(Severity::Warning),
        [
            "job_timeouts",
            "workers_missing",
            "playbook_failures",
            "playbook_slow",
            "playbook_queue_long",
            "api_slow",
            "dex_restart",
            "registry_restart",
            "blueprint_stale",
            "db_lock_contention",
            "sse_clients_dropped",
            "webhooks_failing",
            "health_check_failing"
        ]
    );
}

#[test]
fn names_occur_once_and_texts_are_whole() {
    let mut seen = BTreeSet::new();
    for panel in panels() {
        assert!(seen.insert(panel.name), "{}", panel.name);
        assert!(panel.description.ends_with('.'), "{}", panel.name);
        assert!(!panel.queries.is_empty(), "{}", panel.name);
    }
    for alert in alerts(Expected::default()) {
        assert!(seen.insert(alert.name), "{}", alert.name);
        assert!(alert.description.ends_with('.'), "{}", alert.name);
        assert!(!alert.summary.ends_with('.'), "{}", alert.name);
        assert_eq!(alert.runbook(), format!("docs/runbooks/{}.md", alert.name));
    }
    let down = alerts(Expected::default()).remove(0);
    assert_eq!(down.rule_name(), "DanubeMasterDown");
}

#[test]
fn legends_name_labels_that_their_lines_have() {
    for panel in panels() {
        for query in &panel.queries {
            let named: Vec<&str> = query
                .legend
                .split("{{")
                .skip(1)
                .filter_map(|it| it.split("}}").next())
                .collect();
            for label in named {
                let kept = format!(" by ({label})");
                assert!(query.grafana().contains(&kept), "{}: {label}", panel.name);
            }
        }
    }
}

#[test]
fn what_asks_live_families_is_live() {
    for panel in panels() {
        let uses: Vec<_> = panel
            .queries
            .iter()
            .flat_map(|it| it.expr.families())
            .collect();
        let all_live = uses.iter().all(|used| {
            families().any(|it| it.decl.name() == used.name() && it.state == State::Live)
        });
        assert_eq!(panel.state() == State::Live, all_live, "{}", panel.name);
    }
    let live = [
        "jobs_per_hour",
        "job_success_rate",
        "job_duration_average",
        "active_jobs",
        "db_latency",
        "log_throughput",
        "failed_jobs",
        "db_lock_waits",
        "disk_usage",
        "disk_free",
        "memory",
        "cpu",
    ];
    for name in live {
        assert_eq!(panel(name).unwrap().state(), State::Live, "{name}");
    }
    let state = |name| {
        let found = alerts(Expected::default()).into_iter();
        let mut found = found.filter(|it| it.name == name);
        found.next().unwrap().state()
    };
    for name in [
        "master_down",
        "database_unavailable",
        "disk_nearly_full",
        "job_failures",
    ] {
        assert_eq!(state(name), State::Live, "{name}");
    }
    assert_eq!(
        state("k8s_unreachable"),
        State::NotYet("the Kubernetes executor")
    );
}

#[test]
fn the_alert_on_workers_compares_with_what_the_operator_expects() {
    let all = alerts(Expected { workers: 3 });
    let workers = all.iter().find(|it| it.name == "workers_missing").unwrap();
    assert_eq!(
        workers.condition.promql("5m"),
        "sum(danube_workers_active) < 3"
    );
}

#[test]
fn the_questions_are_those_that_were_reviewed() {
    let mut text = String::new();
    for (name, expr) in questions() {
        text.push_str(&format!("{name}: {}\n", expr.promql("$__rate_interval")));
    }
    crate::golden::check("tests/golden/questions.txt", &text);
}

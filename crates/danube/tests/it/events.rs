//! Every live event of the catalogue, provoked through the door in a real master: its
//! line has the fields that are declared, in the order of the schema, and no other.

mod line;
mod provoked;

use std::collections::BTreeSet;

use danube_signals::{State, events};

use line::Line;

/// What was provoked, and what is expected of it.
pub(crate) struct Scenario {
    /// Each event with the fields of its own that it has here.
    expected: &'static [(&'static str, &'static [&'static str])],
    /// Provokes them; the lines of the server log. `None` where this machine doesn't
    /// allow it, which it has said then.
    provoke: fn() -> Option<Vec<String>>,
}

impl Scenario {
    #[track_caller]
    fn check(&self) {
        let Some(lines) = (self.provoke)() else {
            return;
        };
        let lines: Vec<Line> = lines.iter().map(|it| Line::read(it)).collect();
        for line in &lines {
            line.check_schema();
        }
        for (event, fields) in self.expected {
            let mut told = lines.iter().filter(|it| it.event() == *event);
            assert!(
                told.any(|it| it.own_keys() == *fields),
                "no {event} with {fields:?}: {:#?}",
                lines
                    .iter()
                    .filter(|it| it.event() == *event)
                    .collect::<Vec<_>>()
            );
        }
    }
}

/// A test for each scenario, and the list of them.
macro_rules! scenarios {
    ($($test:ident: $provoke:path => [$($event:literal: [$($field:literal),*]),+ $(,)?];)+) => {
        const SCENARIOS: &[Scenario] = &[$(Scenario {
            expected: &[$(($event, &[$($field),*])),+],
            provoke: $provoke,
        }),+];

        scenarios!(@test 0usize; $($test)+);
    };
    (@test $index:expr; $test:ident $($rest:ident)*) => {
        #[test]
        fn $test() {
            SCENARIOS[$index].check();
        }
        scenarios!(@test $index + 1; $($rest)*);
    };
    (@test $index:expr;) => {};
}

scenarios! {
    a_master_tells_of_its_life_and_of_its_jobs: provoked::work => [
        "master_ready": ["address", "pid", "version"],
        "job_submitted": ["job_id", "source_type", "api_key_name"],
        "pipeline_triggered": ["pipeline", "trigger_type", "trigger_ref", "user"],
        "pipeline_triggered": ["pipeline", "trigger_type", "user"],
        "job_started": ["job_id", "pipeline", "trigger_type", "trigger_ref", "user", "worker_id"],
        "step_started": ["job_id", "step"],
        "step_completed": ["job_id", "step", "exit_code", "duration_seconds"],
        "job_failed": ["job_id", "error_type", "error_message", "retry_count"],
        "job_completed": ["job_id", "status", "duration_seconds"],
        "job_timed_out": ["job_id", "step", "timeout_seconds"],
        "job_cancelled": ["job_id", "user", "reason"],
        "sql_query": ["operation", "duration_ms"],
        "master_stopping": ["reason"],
        "worker_drained": ["worker_id", "jobs_handed_back", "duration_seconds"],
    ];
    a_master_that_was_killed_tells_of_the_jobs_that_it_takes_back: provoked::killed => [
        "job_orphan_rescued": ["job_id", "worker_id", "attempt"],
        "job_retried": ["job_id", "attempt", "reason"],
    ];
    a_workspace_that_can_not_be_removed_is_told: provoked::left_workspace => [
        "workspace_left": ["job_id", "error"],
    ];
    a_worker_elsewhere_tells_of_its_way_to_the_master: provoked::elsewhere => [
        "worker_connected": ["worker_id", "server", "jobs_at_once"],
        "worker_disconnected": ["worker_id", "server", "error"],
        "rpc_call": ["method", "duration_ms"],
    ];
    those_who_come_in_or_do_not_are_told: provoked::people => [
        "login_succeeded": ["user", "action"],
        "login_failed": ["action"],
        "permission_denied": ["user", "resource", "action"],
    ];
    a_change_of_the_log_level_is_told_and_so_are_settings_that_are_wrong: provoked::level => [
        "log_level_changed": ["new_level", "old_level", "reason", "user", "for_seconds"],
        "log_level_changed": ["new_level", "old_level", "reason"],
        "settings_refused": ["error"],
    ];
    profiles_of_a_run_and_one_that_was_asked_for_are_told: provoked::profiles => [
        "profile_started": ["kind", "file"],
        "profile_taken": ["kind", "user", "duration_seconds", "samples"],
        "profile_taken": ["kind", "file", "duration_seconds", "samples"],
        "profile_failed": ["kind", "error"],
    ];
    a_database_that_can_not_be_written_is_told_and_so_is_its_return: provoked::database => [
        "health_check_failed": ["check", "status", "error", "consecutive_failures"],
        "database_unavailable": ["error"],
        "self_heal_attempted": ["check", "action", "result", "detail", "duration_seconds"],
        "health_check_recovered": ["check", "status", "consecutive_failures"],
    ];
    a_registry_of_its_own_that_ends_is_told: crate::registry::started::provoked => [
        "registry_exited": ["exit", "restart_in_seconds"],
    ];
    a_loop_that_stalls_is_told_and_so_is_that_it_goes_on: provoked::stalled => [
        "loop_stalled": ["loop_name", "silent_seconds"],
        "loop_resumed": ["loop_name", "silent_seconds"],
    ];
    an_alert_is_told_when_it_fires_when_it_is_over_and_when_nobody_takes_it: provoked::alerts => [
        "health_checks_completed": ["database", "dex", "registry", "blueprint_sync", "queue", "disk", "workers", "otlp_export", "webhooks", "forges", "log_pipeline", "git", "duration_seconds"],
        "alert_fired": ["alert", "severity", "labels", "value", "summary"],
        "alert_resolved": ["alert", "severity", "labels", "duration_seconds"],
        "alerts_not_sent": ["error", "alerts"],
    ];
    a_collector_that_is_away_is_told_and_so_is_its_return: provoked::collector => [
        "otlp_export_failed": ["signal", "error", "dropped"],
        "otlp_export_recovered": ["signal", "duration_seconds", "dropped"],
    ];
    a_redis_that_comes_and_goes_is_told: provoked::redis => [
        "queue_connected": ["server"],
        "queue_refilled": ["server", "found", "removed", "added", "reason"],
        "queue_disconnected": ["server", "error"],
    ];
    webhooks_that_arrive_and_that_do_not_are_told: provoked::webhooks => [
        "webhook_sent": ["job_id", "callback_url", "status_code", "attempt"],
        "webhook_failed": ["job_id", "callback_url", "error", "attempt"],
    ];
    a_playbook_and_its_credentials_are_told: crate::playbooks::provoked => [
        "ansible_checked": ["worker_id", "version"],
        "job_submitted": ["job_id", "source_type", "api_key_name"],
        "job_started": ["job_id", "pipeline", "trigger_type", "user", "source_type", "worker_id"],
        "credential_accessed": ["credential_name", "job_id"],
    ];
    secrets_that_jobs_get_and_do_not_get_are_told: crate::secrets::provoked => [
        "secret_accessed": ["secret_key", "pipeline", "job_id", "user"],
        "secret_access_failed": ["secret_key", "pipeline", "job_id", "reason", "user"],
    ];
    logs_that_were_deleted_are_told: provoked::reaper => [
        "reaper_completed": ["logs_deleted", "artifacts_deleted", "images_deleted", "bytes_freed", "traces_deleted", "workspaces_deleted", "reason", "duration_seconds"],
    ];
    a_backup_is_told_and_so_is_one_that_nobody_takes: crate::backup::provoked => [
        "backup_completed": ["user", "bytes", "files", "jobs", "with_keys", "duration_seconds"],
        "backup_failed": ["user", "error", "duration_seconds"],
    ];
    a_blueprint_that_is_taken_and_one_that_is_wrong_are_told: crate::blueprint::provoked => [
        "blueprint_sync_completed": ["commit", "pipelines", "users", "teams", "duration_seconds"],
        "blueprint_sync_failed": ["error"],
    ];
    a_webhook_that_is_refused_and_a_forge_that_can_not_be_told_are_told: crate::forges::provoked => [
        "webhook_rejected": ["forge", "reason"],
        "webhook_kept": ["forge", "credential_name", "starts"],
        "webhook_dropped": ["forge", "credential_name", "pipeline", "trigger_ref", "reason"],
        "commit_status_failed": ["job_id", "forge", "credential_name", "error"],
    ];
    a_log_that_can_not_be_written_is_told: provoked::full_disk => [
        "log_write_failed": ["job_id", "error"],
    ];
}

#[test]
fn each_live_event_is_provoked_by_a_scenario() {
    let provoked: BTreeSet<&str> = SCENARIOS
        .iter()
        .flat_map(|it| it.expected)
        .map(|(event, _)| *event)
        .collect();
    let live: BTreeSet<&str> = events()
        .filter(|it| it.state == State::Live)
        .map(|it| it.name)
        .collect();
    assert_eq!(provoked, live);
}

//! Facts about the server itself: its life, who comes in, its health, its database.

use std::time::Duration;

use super::fact;
use super::value::Millis;
use crate::alerts::Severity;
use crate::labels::{
    Check, DbOperation, DeniedResource, DroppedSignal, HealResult, HealthStatus, LogLevelReason,
    LoginResult, ProfileKind, ReapReason,
};

/// From this failure in a row on, a failed check is an error.
const FAILURES_OF_AN_ERROR: u64 = 3;

fact! {
    /// The server answers on its address.
    MasterReady<'a> = "master_ready", INFO, "danube.master";
    {
        address: &'a str,
        pid: u32,
        version: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// The server was asked to stop and begins to drain.
    MasterStopping<'a> = "master_stopping", INFO, "danube.master";
    {
        /// The signal's name, or who asked.
        reason: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// The level of the server's log was changed, or set again.
    LogLevelChanged<'a> = "log_level_changed", INFO, "danube.telemetry";
    {
        new_level: &'a str,
        old_level: &'a str,
        /// `api`, `hangup` (the settings were read again) or `expired`.
        reason: LogLevelReason,
        /// Who asked.
        user: Option<&'a str>,
        /// After so long the configured level comes back.
        for_seconds: Option<Duration>,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// The settings were read again (SIGHUP) and can't be used; nothing was changed.
    SettingsRefused<'a> = "settings_refused", WARN, "danube.master";
    {
        /// The first mistake.
        error: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// The whole run of the server is profiled from now on.
    ProfileStarted<'a> = "profile_started", INFO, "danube.telemetry";
    {
        kind: ProfileKind,
        /// Where it is written when the server stops.
        file: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// The server was profiled.
    ProfileTaken<'a> = "profile_taken", INFO, "danube.telemetry";
    {
        kind: ProfileKind,
        /// Who asked, unless it was the profile of the whole run.
        user: Option<&'a str>,
        /// Where the profile of the whole run was written.
        file: Option<&'a str>,
        duration_seconds: Duration,
        samples: u64,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A profile could not be taken or written.
    ProfileFailed<'a> = "profile_failed", WARN, "danube.telemetry";
    {
        kind: ProfileKind,
        error: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// Someone logged in.
    LoginSucceeded<'a> = "login_succeeded", INFO, "danube.auth";
    {
        user: &'a str,
        resource: Option<&'a str>,
        action: Option<&'a str>,
    }
    also {}
    metrics |_, signals| {
        signals.auth_logins_total.at(LoginResult::Success).inc();
    }
}

fact! {
    /// Someone could not log in.
    LoginFailed<'a> = "login_failed", WARN, "danube.auth";
    {
        /// Who they said they are, where they said it.
        user: Option<&'a str>,
        resource: Option<&'a str>,
        action: Option<&'a str>,
    }
    also {}
    metrics |_, signals| {
        signals.auth_logins_total.at(LoginResult::Failure).inc();
    }
}

fact! {
    /// Someone known was not allowed to do something.
    PermissionDenied<'a> = "permission_denied", WARN, "danube.auth";
    {
        user: &'a str,
        resource: &'a str,
        action: &'a str,
    }
    also {
        /// What the resource is, where the metric knows its kind; a job counts as its
        /// pipeline.
        kind: Option<DeniedResource>,
    }
    metrics |fact, signals| {
        if let Some(kind) = fact.kind {
            signals.auth_permission_denied_total.at(kind).inc();
        }
    }
}

fact! {
    /// A health check failed.
    HealthCheckFailed<'a> = "health_check_failed", WARN, "danube.health",
        error when "from the 3rd in a row"
        if |fact| fact.consecutive_failures >= FAILURES_OF_AN_ERROR;
    {
        check: Check,
        status: HealthStatus,
        error: &'a str,
        consecutive_failures: u64,
    }
    also {}
    metrics |fact, signals| {
        signals.health(fact.check, fact.status, fact.consecutive_failures);
    }
}

fact! {
    /// A health check that had failed is well again.
    HealthCheckRecovered = "health_check_recovered", INFO, "danube.health";
    {
        check: Check,
        status: HealthStatus,
        /// How many failures there were.
        consecutive_failures: u64,
    }
    also {}
    metrics |fact, signals| {
        signals.health(fact.check, fact.status, 0);
    }
}

fact! {
    /// A round of health checks is done. A check that isn't there yet is left out.
    HealthChecksCompleted = "health_checks_completed", DEBUG, "danube.health";
    {
        database: Option<HealthStatus>,
        k8s: Option<HealthStatus>,
        dex: Option<HealthStatus>,
        registry: Option<HealthStatus>,
        blueprint_sync: Option<HealthStatus>,
        queue: Option<HealthStatus>,
        disk: Option<HealthStatus>,
        workers: Option<HealthStatus>,
        otlp_export: Option<HealthStatus>,
        webhooks: Option<HealthStatus>,
        forges: Option<HealthStatus>,
        log_pipeline: Option<HealthStatus>,
        git: Option<HealthStatus>,
        duration_seconds: Duration,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A failed part was healed, or not; with `health.heal = "dry_run"`, what would have
    /// been tried.
    SelfHealAttempted<'a> = "self_heal_attempted", WARN, "danube.health";
    {
        check: Check,
        action: &'a str,
        result: HealResult,
        /// What was done, or why it didn't work.
        detail: &'a str,
        duration_seconds: Duration,
    }
    also {}
    metrics |fact, signals| {
        signals.self_heal_total.at((fact.check, fact.result)).inc();
    }
}

fact! {
    /// The registry that the server started has ended, or couldn't be started; it is started
    /// again.
    RegistryExited<'a> = "registry_exited", WARN, "danube.orchestrator";
    {
        /// How it ended.
        exit: &'a str,
        /// The last that it said; none when it said nothing.
        output: Option<&'a str>,
        restart_in_seconds: Duration,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// The database can't be read or written.
    DatabaseUnavailable<'a> = "database_unavailable", ERROR, "danube.store";
    {
        error: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// An SQL statement was run. Called from SQLite's hook for every statement.
    SqlQuery = "sql_query", DEBUG, "danube.store";
    {
        operation: DbOperation,
        duration_ms: Millis,
    }
    also {}
    metrics |fact, signals| {
        signals.db_queries_total.inc(fact.operation);
        signals.db_query_duration_seconds.at(fact.operation).observe_duration(fact.duration_ms.0);
    }
}

fact! {
    /// What had expired was deleted. Not told when nothing had, but where somebody asked.
    ReaperCompleted = "reaper_completed", INFO, "danube.reaper";
    {
        logs_deleted: u64,
        artifacts_deleted: u64,
        images_deleted: u64,
        bytes_freed: u64,
        /// Traces whose log was gone; those of deleted logs go with them.
        traces_deleted: u64,
        /// Workspaces of jobs that had ended.
        workspaces_deleted: u64,
        /// Why it looked: `start`, `hourly`, `daily`, `disk` or `asked`.
        reason: ReapReason,
        duration_seconds: Duration,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A backup was taken, whole, and handed over.
    BackupCompleted<'a> = "backup_completed", INFO, "danube.backup";
    {
        /// The name of the API key.
        user: &'a str,
        bytes: u64,
        files: u64,
        jobs: u64,
        /// What opens secrets is in it.
        with_keys: bool,
        duration_seconds: Duration,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A backup was begun, or asked for, and there is none.
    BackupFailed<'a> = "backup_failed", WARN, "danube.backup",
        error when "the server is why"
        if |fact| !fact.by_client;
    {
        /// The name of the API key.
        user: &'a str,
        error: &'a str,
        duration_seconds: Duration,
    }
    also {
        /// Whoever asked left, or took nothing.
        by_client: bool,
    }
    metrics |_, _| {}
}

fact! {
    /// An alert fires: somebody should look.
    AlertFired<'a> = "alert_fired", WARN, "danube.watch",
        error when "its severity is critical"
        if |fact| fact.severity == Severity::Critical;
    {
        alert: &'a str,
        severity: Severity,
        /// `check="disk",job="danube"`: which of them, where there may be several.
        labels: Option<&'a str>,
        value: f64,
        /// What is wrong, in a few words.
        summary: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// What an alert fired on is no longer so.
    AlertResolved<'a> = "alert_resolved", INFO, "danube.watch";
    {
        alert: &'a str,
        severity: Severity,
        labels: Option<&'a str>,
        /// How long it fired.
        duration_seconds: Duration,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// Alerts could not be handed to Alertmanager. Told once a minute at most; they are
    /// sent again.
    AlertsNotSent<'a> = "alerts_not_sent", WARN, "danube.watch";
    {
        error: &'a str,
        alerts: u64,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// The collector can't be reached, or doesn't take what it is sent. Told at most once
    /// a minute.
    OtlpExportFailed<'a> = "otlp_export_failed", WARN, "danube.telemetry";
    {
        /// What couldn't be sent.
        signal: DroppedSignal,
        error: &'a str,
        /// Items of all signals that were lost since it was told of last.
        dropped: u64,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// The collector takes everything again.
    OtlpExportRecovered = "otlp_export_recovered", INFO, "danube.telemetry";
    {
        /// What it took last.
        signal: DroppedSignal,
        /// How long it went on.
        duration_seconds: Duration,
        /// Items of all signals that were lost since it was told of last.
        dropped: u64,
    }
    also {}
    metrics |_, _| {}
}

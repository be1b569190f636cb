//! The alerts: when somebody must look, how urgent it is, and what to read then.

use std::time::Duration;

use danube_telemetry::LabelEnum;
use danube_telemetry::query::{Expr, UP, Window, absent, buckets, quantile, series, time};
use danube_telemetry::{FamilyDecl, label_enum};

use crate::declared::{State, state_of};
use crate::family;
use crate::labels::Check;
use crate::not_yet;
use crate::panels::{Unit, share, share_beyond};
use crate::runbooks::PAGES;

label_enum! {
    /// How urgent an alert is.
    pub enum Severity {
        /// Somebody is woken.
        Critical = "critical",
        /// Somebody looks in the day.
        Warning = "warning",
    }
}

/// What alerts are compared with that only the operator knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Workers that there should be.
    pub workers: u32,
}

impl Default for Expected {
    fn default() -> Self {
        Self { workers: 1 }
    }
}

/// An alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Name, in `snake_case`.
    pub name: &'static str,
    /// How urgent it is.
    pub severity: Severity,
    /// Fires for every series of the answer; its value is the alert's.
    pub condition: Expr,
    /// How long the condition has to hold before it fires.
    pub holds_for: Duration,
    /// What its value is.
    pub unit: Unit,
    /// What is wrong, in a few words.
    pub summary: &'static str,
    /// What that means and where to look first.
    pub description: &'static str,
    /// The part that must be there before it can fire, where its families don't say so.
    needs: Option<&'static str>,
}

impl Alert {
    /// Whether it can fire: live when all its families are.
    pub fn state(&self) -> State {
        match self.needs {
            Some(part) => State::NotYet(part),
            None => state_of(self.condition.families()),
        }
    }

    /// Name of the rule in Prometheus: `DanubeMasterDown`.
    pub fn rule_name(&self) -> String {
        let mut out = "Danube".to_owned();
        for word in self.name.split('_') {
            let mut letters = word.chars();
            out.extend(letters.next().map(|it| it.to_ascii_uppercase()));
            out.push_str(letters.as_str());
        }
        out
    }

    /// Its page, from the root of the repository.
    pub fn runbook(&self) -> String {
        format!("docs/runbooks/{}.md", self.name)
    }

    /// What its page says, as Markdown: what it means, what to look at, what to do.
    pub fn page(&self) -> &'static str {
        let found = PAGES.iter().find(|(name, _)| *name == self.name);
        // A test holds that every alert has one.
        found.map_or("", |(_, page)| page)
    }

    /// What whoever is told of it reads, by name. `value` is how its value is shown, empty
    /// where that says nothing; `page` is where its page is.
    pub fn annotations(&self, value: &str, page: String) -> [(&'static str, String); 3] {
        let now = if value.is_empty() {
            String::new()
        } else {
            format!(" Now: {value}.")
        };
        let (name, about) = (self.name, self.description);
        let description = format!("{about}{now} `danube signals explain {name}` says what to do.");
        [
            ("summary", self.summary.to_owned()),
            ("description", description),
            ("runbook_url", page),
        ]
    }

    /// Whether only Prometheus can tell: a master that is down evaluates nothing.
    pub fn is_seen_from_outside_only(&self) -> bool {
        let asked = self.condition.families();
        asked.iter().any(|it| it.name() == UP.name())
    }

    fn needing(mut self, part: &'static str) -> Self {
        self.needs = Some(part);
        self
    }
}

fn alert(
    (name, severity): (&'static str, Severity),
    condition: Expr,
    (holds_for, unit): (Duration, Unit),
    summary: &'static str,
    description: &'static str,
) -> Alert {
    Alert {
        name,
        severity,
        condition,
        holds_for,
        unit,
        summary,
        description,
        needs: None,
    }
}

/// Fires when it has held for so many seconds.
const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Calls: long enough that one slow call is none of it.
const FIVE_MINUTES: Window = Window::minutes(5);
/// Deliveries and restarts: few.
const QUARTER: Window = Window::minutes(15);
/// Jobs: few, and long.
const HOUR: Window = Window::minutes(60);

/// Free share of the disk under which it is nearly full: 90 % are used.
const DISK_FREE_RATIO_MIN: f64 = 0.10;
/// Share of failed jobs above which something other than the jobs is likely wrong.
const FAILURES_RATIO_MAX: f64 = 0.5;
/// Jobs that must have ended before a share of failed ones says something: one failed job
/// of one is its owner's business.
const FAILURES_JOBS_MIN: f64 = 5.0;
/// Followers too slow to be kept that are sent away in a quarter of an hour before somebody
/// should look: one is a laptop that was closed.
const SLOW_FOLLOWERS_MIN: f64 = 10.0;
/// Share of jobs that may run out of time.
const TIMEOUTS_RATIO_MAX: f64 = 0.1;
/// Share of playbook jobs that may fail.
const PLAYBOOK_FAILURES_RATIO_MAX: f64 = 0.1;
/// Share of webhook deliveries that may fail.
const DELIVERIES_RATIO_MAX: f64 = 0.1;
/// Seconds waited for the database in a second: one writer waits half of its time.
const LOCK_WAIT_MAX: f64 = 0.5;
/// Age of the last sync, in seconds.
const SYNC_AGE_SECONDS_MAX: f64 = 600.0;
/// Time of the slowest playbook jobs, in seconds.
const PLAYBOOK_SECONDS_MAX: f64 = 1_800.0;
/// Playbook jobs that may wait.
const QUEUE_LENGTH_MAX: f64 = 100.0;
/// Time of the slowest API requests, in seconds.
const REQUEST_SECONDS_MAX: f64 = 5.0;
/// Failures of a check in a row after which somebody should look.
const CHECK_FAILURES_MAX: f64 = 2.0;

/// All alerts, the critical ones first.
pub fn alerts(expected: Expected) -> Vec<Alert> {
    let mut all = critical();
    all.extend(warnings_of_jobs(expected));
    all.extend(warnings_of_parts());
    all
}

/// Status of a check, which is 0 when it failed.
fn failed(check: Check) -> Expr {
    series(&family::health_check_status)
        .with("check", check.as_str())
        .now()
        .equal_to(0.0)
}

fn healed(check: &'static str) -> Expr {
    series(&family::self_heal_total)
        .with("check", check)
        .increase(QUARTER)
        .sum()
        .above(0.0)
}

/// Followers that were sent away for this reason.
fn dropped(reason: &'static str) -> Expr {
    series(&family::sse_clients_dropped_total)
        .with("reason", reason)
        .increase(QUARTER)
        .sum_by(&["reason"])
}

/// What so many are above. Between two numbers, as an increase is extrapolated and a little
/// off.
const fn at_least(count: f64) -> f64 {
    count - 0.5
}

fn p99(family: &'static FamilyDecl, window: Window) -> Expr {
    quantile(0.99, buckets(family), window, &[])
}

fn critical() -> Vec<Alert> {
    let severity = Severity::Critical;
    let up = || series(&UP).ours();
    vec![
        alert(
            ("master_down", severity),
            up().now().equal_to(0.0).or(absent(up())),
            (seconds(60), Unit::Flag),
            "The master doesn't answer",
            "Prometheus can't scrape the master: no job is accepted or started. Look whether the process runs and what its log ends with.",
        ),
        alert(
            ("database_unavailable", severity),
            failed(Check::Database),
            (seconds(60), Unit::Flag),
            "The database can't be read or written",
            "The database check fails: no job is accepted, and what runs can't report. Look for `database_unavailable` in the server log.",
        ),
        alert(
            ("k8s_unreachable", severity),
            failed(Check::K8s),
            (seconds(120), Unit::Flag),
            "The Kubernetes API can't be reached",
            "No pod can be made or ended, so jobs for Kubernetes wait.",
        )
        .needing(not_yet::KUBERNETES),
        alert(
            ("disk_nearly_full", severity),
            series(&family::disk_free_ratio)
                .now()
                .below(DISK_FREE_RATIO_MIN),
            (seconds(300), Unit::Ratio),
            "More than 90 % of the disk are used",
            "On a full disk no job is started. The panel `disk_usage` shows what uses the space; retention of logs is a setting.",
        ),
        alert(
            ("job_failures", severity),
            share_beyond(
                at_least(FAILURES_JOBS_MIN),
                (&family::jobs_total, "status", "failure"),
                HOUR,
            )
            .above(FAILURES_RATIO_MAX),
            (seconds(300), Unit::Ratio),
            "More than half of the jobs failed within an hour",
            "Of five jobs or more. When most jobs fail, something that they share is likely broken. The panel `failed_jobs` shows which pipelines.",
        ),
    ]
}

fn warnings_of_jobs(expected: Expected) -> Vec<Alert> {
    let severity = Severity::Warning;
    vec![
        alert(
            ("job_timeouts", severity),
            share(&family::jobs_total, "status", "timeout", HOUR).above(TIMEOUTS_RATIO_MAX),
            (seconds(300), Unit::Ratio),
            "More than 10 % of the jobs ran out of time within an hour",
            "Jobs hang, or their limits are too low. `danube jobs --status timeout` lists them.",
        ),
        alert(
            ("workers_missing", severity),
            series(&family::workers_active)
                .now()
                .sum()
                .below(f64::from(expected.workers)),
            (seconds(120), Unit::Count),
            "There are fewer workers than expected",
            "Jobs wait longer. `observability.workers_expected` says how many there should be.",
        ),
        alert(
            ("playbook_failures", severity),
            share(
                &family::playbook_jobs_completed_total,
                "status",
                "failed",
                HOUR,
            )
            .above(PLAYBOOK_FAILURES_RATIO_MAX),
            (seconds(300), Unit::Ratio),
            "More than 10 % of the playbook jobs failed within an hour",
            "Look which hosts and which playbooks the failed jobs have in common.",
        ),
        alert(
            ("playbook_slow", severity),
            p99(&family::playbook_job_duration_seconds, HOUR).above(PLAYBOOK_SECONDS_MAX),
            (seconds(300), Unit::Seconds),
            "The slowest playbook jobs take more than 30 minutes",
            "The 99th percentile of an hour is above 30 minutes: hosts may be slow to answer.",
        ),
        alert(
            ("playbook_queue_long", severity),
            series(&family::playbook_queue_length)
                .now()
                .sum_by(&["queue_name"])
                .above(QUEUE_LENGTH_MAX),
            (seconds(300), Unit::Count),
            "More than 100 playbook jobs wait",
            "There are too few workers for what is submitted, or those that there are hang.",
        ),
        alert(
            ("api_slow", severity),
            p99(&family::api_request_duration_seconds, FIVE_MINUTES).above(REQUEST_SECONDS_MAX),
            (seconds(300), Unit::Seconds),
            "The slowest API requests take more than 5 seconds",
            "The 99th percentile of 5 minutes is above 5 seconds. The panels `db_latency` and `db_lock_waits` show whether it is the database.",
        ),
    ]
}

fn warnings_of_parts() -> Vec<Alert> {
    let severity = Severity::Warning;
    vec![
        alert(
            ("dex_restart", severity),
            healed("dex"),
            (seconds(0), Unit::Count),
            "Dex was restarted",
            "Its pod failed and was made anew. Logins through it failed meanwhile.",
        )
        .needing(not_yet::KUBERNETES),
        alert(
            ("registry_restart", severity),
            healed("registry"),
            (seconds(0), Unit::Count),
            "The registry was restarted",
            "It didn't answer, and was ended and started again. Pulls and pushes failed meanwhile.",
        ),
        alert(
            ("blueprint_stale", severity),
            time()
                .minus(series(&family::blueprint_sync_last_success).now())
                .above(SYNC_AGE_SECONDS_MAX),
            (seconds(60), Unit::Seconds),
            "The blueprint has not been synced for more than 10 minutes",
            "Changes of pipelines, users and teams don't arrive. Look for `blueprint_sync_failed` in the server log.",
        ),
        alert(
            ("db_lock_contention", severity),
            series(&family::db_lock_wait_seconds_total)
                .rate(FIVE_MINUTES)
                .sum()
                .above(LOCK_WAIT_MAX),
            (seconds(600), Unit::Seconds),
            "Writers wait for the database",
            "In each second, writers wait for half a second or more: the disk is slow to sync, or something else holds the database.",
        ),
        alert(
            ("sse_clients_dropped", severity),
            dropped("limit")
                .above(0.0)
                .or(dropped("slow").above(at_least(SLOW_FOLLOWERS_MIN))),
            (seconds(0), Unit::Count),
            "Followers of job logs were sent away",
            "`limit`: there were more than may be open at once. `slow`: ten or more stopped reading within a quarter of an hour.",
        ),
        alert(
            ("webhooks_failing", severity),
            share(
                &family::webhook_deliveries_total,
                "success",
                "false",
                QUARTER,
            )
            .above(DELIVERIES_RATIO_MAX),
            (seconds(600), Unit::Ratio),
            "More than 10 % of the webhook deliveries fail",
            "Those who wait for an answer don't get it. Look for `webhook_failed` in the server log.",
        ),
        alert(
            ("health_check_failing", severity),
            series(&family::health_check_consecutive_failures)
                .now()
                .above(CHECK_FAILURES_MAX),
            (seconds(0), Unit::Count),
            "A health check has failed three times in a row or more",
            "The label `check` says which; `health_check_failed` in the server log says why.",
        ),
    ]
}

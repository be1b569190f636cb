//! The latest results. Checks write here, probes and pages read: a probe costs a lock and a
//! small answer, and never looks at anything itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use danube_api::{CheckView, HealView, HealthReport};
use danube_model::Timestamp;
use danube_signals::{
    Check, DatabaseUnavailable, HealResult, HealthCheckFailed, HealthCheckRecovered, HealthStatus,
    Signals,
};
use danube_store::StoreError;
use danube_telemetry::LabelEnum;
use tokio::sync::Notify;

use super::check::{Answer, HealthCheck};
use crate::settings::{HealMode, HealthSettings};

/// From this failure in a row on, people are told.
const FAILURES_OF_AN_ALERT: u64 = 3;

/// How much later than it should a result may come before it counts as none: a busy machine
/// takes its time, and one that hangs must not look like a good one.
const RESULT_LATE_MAX: Duration = Duration::from_secs(4);

/// The checks as they are declared, and what they found last.
pub(crate) struct Health {
    signals: Signals,
    state: Mutex<State>,
    settings: HealthSettings,
    stopping: AtomicBool,
    /// Rings when people are to be told: whoever watches the alerts looks at once.
    pub(crate) alarm: Notify,
    /// Rings when a check has answered.
    pub(super) answered: Notify,
    /// Rings when a check is to run now.
    wake: Vec<Notify>,
}

/// By check, in the order in which they are declared.
type State = BTreeMap<usize, Entry>;

/// A check on the board.
struct Entry {
    check: Check,
    period: Duration,
    deadline: Duration,
    gates: bool,
    /// What may be tried.
    action: Option<&'static str>,
    found: Option<Found>,
    healed: Option<Healed>,
}

/// What a check found last.
#[derive(Clone)]
struct Found {
    status: HealthStatus,
    message: String,
    failures: u64,
    at: Instant,
    time: Timestamp,
    took: Duration,
}

/// The last attempt to heal.
#[derive(Clone)]
struct Healed {
    result: HealResult,
    detail: String,
    time: Timestamp,
}

/// What a probe is told.
pub(crate) struct Report {
    pub(crate) is_ready: bool,
    pub(crate) checks: BTreeMap<&'static str, &'static str>,
}

impl Entry {
    /// What is true now: a result that should have been renewed long ago is none.
    fn status(&self, now: Instant) -> HealthStatus {
        match &self.found {
            None => HealthStatus::Stale,
            Some(it) if it.status == HealthStatus::Disabled => it.status,
            Some(it) if now.saturating_duration_since(it.at) > self.age_max() => {
                HealthStatus::Stale
            }
            Some(it) => it.status,
        }
    }

    fn age_max(&self) -> Duration {
        self.period + self.deadline + RESULT_LATE_MAX
    }

    fn lets_work_in(&self, now: Instant) -> bool {
        let is_bad = matches!(self.status(now), HealthStatus::Failed | HealthStatus::Stale);
        !self.gates || !is_bad
    }
}

impl Health {
    pub(crate) fn new(signals: Signals, settings: HealthSettings) -> Self {
        Self {
            signals,
            state: Mutex::default(),
            settings,
            stopping: AtomicBool::new(false),
            alarm: Notify::new(),
            answered: Notify::new(),
            wake: Check::ALL.iter().map(|_| Notify::new()).collect(),
        }
    }

    /// What everything is told to.
    pub(crate) fn signals(&self) -> &Signals {
        &self.signals
    }

    pub(super) fn settings(&self) -> &HealthSettings {
        &self.settings
    }

    /// Puts the checks on the board, before any of them has looked.
    pub(super) fn declare(&self, checks: &[HealthCheck]) {
        let mut state = self.lock();
        for it in checks {
            let entry = Entry {
                check: it.name,
                period: it.period,
                deadline: it.deadline,
                gates: it.gates && !self.settings.not_gating.contains(&it.name),
                action: it.heal.as_ref().map(|it| it.action),
                found: None,
                healed: None,
            };
            state.insert(it.name.index(), entry);
        }
    }

    /// The latest results, for a probe. Of parts that aren't there yet it says `disabled`.
    pub(crate) fn report(&self) -> Report {
        let (state, now) = (self.lock(), Instant::now());
        let all = Check::ALL.iter().map(|check| {
            let entry = state.get(&check.index());
            let status = entry.map_or(HealthStatus::Disabled, |it| it.status(now));
            (check.as_str(), status.as_str())
        });
        let checks = all.collect();
        let is_ready = self.is_ready(&state, now);
        Report { is_ready, checks }
    }

    fn is_ready(&self, state: &State, now: Instant) -> bool {
        let is_stopping = self.stopping.load(Ordering::Relaxed);
        !is_stopping && !state.is_empty() && state.values().all(|it| it.lets_work_in(now))
    }

    /// Everything that is known, for people and pages.
    pub(crate) fn view(&self) -> HealthReport {
        let (state, now) = (self.lock(), Instant::now());
        let is_ready = self.is_ready(&state, now);
        HealthReport {
            status: if is_ready { "ready" } else { "not_ready" }.to_owned(),
            is_stopping: self.stopping.load(Ordering::Relaxed),
            healing: self.settings.heal.as_str().to_owned(),
            checks: state.values().map(|it| self.check_view(it, now)).collect(),
            timestamp: Timestamp::now(),
        }
    }

    fn check_view(&self, entry: &Entry, now: Instant) -> CheckView {
        let found = entry.found.as_ref();
        let age = found.map(|it| now.saturating_duration_since(it.at));
        CheckView {
            name: entry.check.as_str().to_owned(),
            status: entry.status(now).as_str().to_owned(),
            message: found.map(|it| it.message.clone()).unwrap_or_default(),
            gates_readiness: entry.gates,
            consecutive_failures: found.map_or(0, |it| it.failures),
            checked_at: found.map(|it| it.time),
            age_seconds: age.map(|it| it.as_secs_f64()),
            duration_seconds: found.map(|it| it.took.as_secs_f64()),
            period_seconds: entry.period.as_secs_f64(),
            deadline_seconds: entry.deadline.as_secs_f64(),
            healing: entry.action.map(|action| HealView {
                action: action.to_owned(),
                hands_off: self.is_hands_off(entry.check),
                last_result: entry
                    .healed
                    .as_ref()
                    .map(|it| it.result.as_str().to_owned()),
                last_detail: entry.healed.as_ref().map(|it| it.detail.clone()),
                last_at: entry.healed.as_ref().map(|it| it.time),
            }),
        }
    }

    /// Whether the operator wants nobody to touch it.
    pub(super) fn is_hands_off(&self, check: Check) -> bool {
        self.settings.heal == HealMode::Off || self.settings.hands_off.contains(&check)
    }

    /// The master takes no more work.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// An operation of the store failed: known at once, not at the next look, which follows
    /// at once too.
    pub(crate) fn database_failed(&self, error: &StoreError) {
        let is_known = self.lock().get(&Check::Database.index()).is_some_and(|it| {
            let found = it.found.as_ref();
            found.is_some_and(|it| it.status == HealthStatus::Failed)
        });
        if !is_known {
            let answer = Answer::failed(error.to_string());
            self.note(Check::Database, &answer, Duration::ZERO);
        }
        self.wake(Check::Database);
    }

    /// Lets a check run now.
    pub(crate) fn wake(&self, check: Check) {
        self.wake[check.index()].notify_one();
    }

    /// Waits until somebody wants the check to run.
    pub(super) async fn woken(&self, check: Check) {
        self.wake[check.index()].notified().await;
    }

    /// The status of each check that has run at `since` or later.
    pub(super) fn since(&self, since: Instant) -> BTreeMap<usize, HealthStatus> {
        let state = self.lock();
        let all = state.iter().filter_map(|(index, it)| {
            let found = it.found.as_ref().filter(|it| it.at >= since)?;
            Some((*index, found.status))
        });
        all.collect()
    }

    /// How many checks there are.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn healed(&self, check: Check, result: HealResult, detail: &str) {
        if let Some(entry) = self.lock().get_mut(&check.index()) {
            entry.healed = Some(Healed {
                result,
                detail: detail.to_owned(),
                time: Timestamp::now(),
            });
        }
    }

    /// Takes an answer down and tells what is new about it. How often the check has failed
    /// in a row.
    pub(super) fn note(&self, check: Check, answer: &Answer, took: Duration) -> u64 {
        // Held until it is told: two that note at once are told in the order in which
        // they count.
        let mut state = self.lock();
        let Some(entry) = state.get_mut(&check.index()) else {
            return 0;
        };
        let before = entry.found.as_ref().map(|it| (it.status, it.failures));
        let (was, failures_before) = before.map_or((None, 0), |it| (Some(it.0), it.1));
        let failures = if answer.is_bad() {
            failures_before + 1
        } else {
            0
        };
        entry.found = Some(Found {
            status: answer.status,
            message: answer.message.clone(),
            failures,
            at: Instant::now(),
            time: Timestamp::now(),
            took,
        });
        self.tell(check, answer, (was, failures_before, failures));
        drop(state);
        self.answered.notify_waiters();
        let is_alert = |failures| failures >= FAILURES_OF_AN_ALERT;
        if is_alert(failures_before) != is_alert(failures) {
            self.alarm.notify_one();
        }
        failures
    }

    fn tell(
        &self,
        check: Check,
        answer: &Answer,
        (was, failures_before, failures): (Option<HealthStatus>, u64, u64),
    ) {
        let status = answer.status;
        let is_news = was != Some(status);
        if failures == 0 && failures_before > 0 {
            self.signals.emit(HealthCheckRecovered {
                check,
                status,
                consecutive_failures: failures_before,
            });
        } else if failures > 0 && (is_news || failures == FAILURES_OF_AN_ALERT) {
            let error = answer.message.as_str();
            self.signals.emit(HealthCheckFailed {
                check,
                status,
                error,
                consecutive_failures: failures,
            });
            if check == Check::Database && status == HealthStatus::Failed && is_news {
                self.signals.emit(DatabaseUnavailable { error });
            }
        } else {
            self.signals.health(check, status, failures);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every line that changes it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

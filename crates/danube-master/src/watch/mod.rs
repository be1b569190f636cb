//! Watches the server's own metrics: keeps their last day, draws panels from it, and
//! tells when an alert fires.
//!
//! `engine` decides; this file samples, asks and tells; `alertmanager` hands on.

mod alertmanager;
mod engine;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use danube_api::{AlertView, HistoryHeld};
use danube_model::Timestamp;
use danube_signals::{Alert, AlertFired, AlertResolved, Expected, Signals, alerts, panels};
use danube_telemetry::LabelEnum;
use danube_telemetry::query::{Bounds, History, Labels, Times, answer};
use danube_telemetry::tasks;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::app::{Shared, blocking};
use crate::settings::WatchSettings;
use engine::{Change, Instance, Key, Known, Phase, decide};

/// What is seen of the server's metrics.
pub(crate) struct Watch {
    alerts: Vec<Alert>,
    /// What panels draw from.
    pub(crate) history: History,
    signals: Signals,
    known: Mutex<Known>,
    /// Something fires or is over.
    changed: Notify,
}

impl Watch {
    /// Begins without history.
    pub(crate) fn new(settings: &WatchSettings, signals: &Signals) -> Self {
        let mut alerts = alerts(Expected {
            workers: settings.workers_expected,
        });
        alerts.retain(|it| !it.is_seen_from_outside_only());
        let mut asked = Vec::new();
        let queries = panels().iter().flat_map(|it| &it.queries);
        for expr in queries
            .map(|it| &it.expr)
            .chain(alerts.iter().map(|it| &it.condition))
        {
            expr.selectors(&mut |it| asked.push(it));
        }
        Self {
            history: History::new(asked, Bounds::default()),
            alerts,
            signals: signals.clone(),
            known: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// How much history there is.
    pub(crate) fn held(&self) -> HistoryHeld {
        let held = self.history.held();
        HistoryHeld {
            series: held.series as u64,
            bytes: held.bytes as u64,
            samples: held.ticks as u64,
            left_out: held.left_out,
        }
    }

    /// What fires, then what is about to; the critical ones first, as they are declared.
    pub(crate) fn alerts(&self) -> Vec<AlertView> {
        let known = self.lock();
        let on = |phase: fn(Phase) -> bool| {
            known
                .iter()
                .filter(move |(_, it)| phase(it.phase))
                .map(|(key, it)| self.view(key, it))
        };
        let firing = on(|it| matches!(it, Phase::Firing(_)));
        firing.chain(on(|it| it == Phase::Pending)).collect()
    }

    /// How many fire.
    pub(crate) fn firing(&self) -> u64 {
        let known = self.lock();
        let firing = known.values();
        let firing = firing.filter(|it| matches!(it.phase, Phase::Firing(_)));
        firing.count() as u64
    }

    fn view(&self, (at, labels): &Key, it: &Instance) -> AlertView {
        let alert = &self.alerts[*at];
        let is_firing = matches!(it.phase, Phase::Firing(_));
        AlertView {
            name: alert.name.to_owned(),
            severity: alert.severity.as_str().to_owned(),
            state: if is_firing { "firing" } else { "pending" }.to_owned(),
            since: Timestamp::from_millis(it.since).to_string(),
            labels: labels.iter().cloned().collect(),
            value: it.value.is_finite().then_some(it.value),
            unit: alert.unit.as_str().to_owned(),
            summary: alert.summary.to_owned(),
            description: alert.description.to_owned(),
            runbook: alert.runbook(),
            promql: alert.condition.promql("5m"),
        }
    }

    /// Samples, asks every alert's condition, and tells what changed.
    fn round(&self, now: i64) {
        self.history.sample(self.signals.registry(), now);
        let answers = self.alerts.iter().map(|it| self.ask(it, now)).collect();
        let mut known = self.lock();
        let (next, changes) = decide(&self.alerts, std::mem::take(&mut known), answers, now);
        *known = next;
        for (key, change) in &changes {
            self.tell(key, *change, &known);
        }
        drop(known);
        if !changes.is_empty() {
            self.changed.notify_one();
        }
    }

    fn ask(&self, alert: &Alert, now: i64) -> Option<Vec<(Labels, f64)>> {
        let lines = answer(&alert.condition, &self.history, Times::once(now)).ok()?;
        let values = lines
            .into_iter()
            .filter_map(|it| Some((it.labels, it.values[0]?)));
        Some(values.collect())
    }

    fn tell(&self, key: &Key, change: Change, known: &Known) {
        let (at, labels) = key;
        let alert = &self.alerts[*at];
        let text = rendered(labels);
        let labels = (!text.is_empty()).then_some(text.as_str());
        match change {
            Change::Fired => self.signals.emit(AlertFired {
                alert: alert.name,
                severity: alert.severity,
                labels,
                value: known.get(key).map_or(f64::NAN, |it| it.value),
                summary: alert.summary,
            }),
            Change::Resolved(millis) => self.signals.emit(AlertResolved {
                alert: alert.name,
                severity: alert.severity,
                labels,
                duration_seconds: Duration::from_millis(millis.unsigned_abs()),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Whole after every line that changes it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Labels as they stand in a question.
fn rendered(labels: &Labels) -> String {
    let all: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    all.join(",")
}

/// Watches for ever; ends with the server.
pub(crate) async fn run(app: Shared) {
    let settings = &app.settings.watch;
    if let Some(url) = &settings.alertmanager_url {
        let sender = alertmanager::Sender::new(url, &app);
        let told = alertmanager::run(Arc::clone(&app), sender);
        tokio::spawn(tasks::watched("alertmanager", told));
    }
    let mut ticks = interval(settings.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // A check that people are to be told of doesn't wait for the next tick.
        tokio::select! {
            _ = ticks.tick() => {}
            () = app.health.alarm.notified() => {}
        }
        let app = Arc::clone(&app);
        // A round that broke was told by the panic's own line; the next one is its own.
        let _ = blocking(move || app.watch.round(Timestamp::now().as_millis())).await;
    }
}

#[cfg(test)]
mod tests {
    use danube_signals::{BuildInfo, JobCompleted, JobResult, Limits, RunEnd};

    use super::*;

    const TICK: i64 = 15_000;

    fn watch(signals: &Signals) -> Watch {
        let settings = WatchSettings {
            interval: Duration::from_secs(15),
            workers_expected: 1,
            alertmanager_url: None,
        };
        Watch::new(&settings, signals)
    }

    fn names(watch: &Watch, state: &str) -> Vec<String> {
        let all = watch.alerts().into_iter();
        all.filter(|it| it.state == state)
            .map(|it| it.name)
            .collect()
    }

    #[test]
    fn jobs_that_fail_make_the_alert_pend_fire_and_be_over() {
        let signals = Signals::new(BuildInfo::default(), Limits::default());
        signals.workers_active.set(1);
        let watch = watch(&signals);
        let ended = |status| {
            signals.emit(JobCompleted {
                playbook: None,
                job_id: "x",
                status,
                duration_seconds: None,
                pipeline: "p",
                max_rss_bytes: None,
                run: RunEnd::default(),
            });
        };
        ended(JobResult::Success);
        watch.round(0);
        watch.round(TICK);
        assert_eq!(watch.alerts(), []);
        for _ in 0..4 {
            ended(JobResult::Failure);
        }
        watch.round(2 * TICK);
        // So few say nothing.
        assert_eq!(watch.alerts(), []);
        ended(JobResult::Failure);
        watch.round(3 * TICK);
        assert_eq!(names(&watch, "pending"), ["job_failures"]);
        for tick in 4..=23 {
            watch.round(tick * TICK);
        }
        assert_eq!(names(&watch, "firing"), ["job_failures"]);
        let view = watch.alerts().remove(0);
        assert_eq!(view.value, Some(1.0));
        assert_eq!(view.severity, "critical");
        assert_eq!(view.since, "1970-01-01T00:00:45.000Z");
        assert_eq!(view.runbook, "docs/runbooks/job_failures.md");
        for _ in 0..6 {
            ended(JobResult::Success);
        }
        watch.round(24 * TICK);
        assert_eq!(watch.alerts(), []);
    }

    #[test]
    fn a_worker_that_is_missing_is_told_of() {
        let signals = Signals::new(BuildInfo::default(), Limits::default());
        signals.workers_active.set(0);
        let watch = watch(&signals);
        for tick in 0..=8 {
            watch.round(tick * TICK);
        }
        assert_eq!(names(&watch, "firing"), ["workers_missing"]);
        signals.workers_active.set(1);
        watch.round(9 * TICK);
        assert_eq!(watch.alerts(), []);
    }

    #[test]
    fn a_clock_that_is_set_back_blinds_nobody_and_tells_of_no_master_that_is_down() {
        let signals = Signals::new(BuildInfo::default(), Limits::default());
        signals.workers_active.set(1);
        let watch = watch(&signals);
        for tick in 1_000..1_010 {
            watch.round(tick * TICK);
        }
        signals.workers_active.set(0);
        // By an hour, for longer than any alert waits.
        for tick in 770..=850 {
            watch.round(tick * TICK);
        }
        assert_eq!(names(&watch, "firing"), ["workers_missing"]);
        assert_eq!(watch.alerts().len(), 1);
        assert_eq!(watch.history.reach(), Some((770 * TICK, 850 * TICK)));
    }

    #[test]
    fn labels_are_told_as_they_stand_in_a_question() {
        let labels = vec![
            ("a".to_owned(), "x\"y".to_owned()),
            ("b".to_owned(), String::new()),
        ];
        assert_eq!(rendered(&labels), "a=\"x\\\"y\",b=\"\"");
    }
}

//! Runs the checks: each in a task of its own, so that one that hangs holds up no other, and
//! all of them together in a round now and then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use danube_signals::{Check, HealthChecksCompleted};
use danube_telemetry::{LabelEnum, tasks};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::board::Health;
use super::check::{Answer, HealthCheck};
use super::heal::try_to_heal;
use super::pace::{Attempts, pause};
use crate::auth::random;

/// How long a round waits for its last check. Those that take longer are left out of what
/// is told of it, and fail by their own deadline.
const ROUND_DEADLINE: Duration = Duration::from_secs(15);

/// A check with what is known of its healing.
pub(super) struct Watched {
    pub(super) check: HealthCheck,
    pub(super) attempts: Mutex<Attempts>,
}

/// One look of all checks, one after the other, on a thread that may block.
pub(super) fn look_once(health: &Health, checks: &[HealthCheck]) {
    let began = Instant::now();
    health.declare(checks);
    for check in checks {
        let asked = Instant::now();
        let answer = (check.run)();
        health.note(check.name, &answer, asked.elapsed());
    }
    completed(health, began);
}

/// Runs them until the server ends.
pub(crate) async fn watch(health: Arc<Health>, checks: Vec<HealthCheck>) {
    for check in checks {
        let watched = Watched {
            check,
            attempts: Mutex::default(),
        };
        let looking = keep_looking(Arc::clone(&health), Arc::new(watched));
        tokio::spawn(tasks::watched("health-check", looking));
    }
    rounds(health).await;
}

async fn keep_looking(health: Arc<Health>, watched: Arc<Watched>) {
    let (name, period) = (watched.check.name, watched.check.period);
    let mut failures = 0;
    loop {
        let until = pause(failures, period, jitter());
        let _ = timeout(until, health.woken(name)).await;
        failures = look(&health, &watched).await;
    }
}

/// Asks the check once; how often it has failed in a row.
async fn look(health: &Arc<Health>, watched: &Arc<Watched>) -> u64 {
    let (name, deadline) = (watched.check.name, watched.check.deadline);
    let asked = Instant::now();
    let mut running = {
        let watched = Arc::clone(watched);
        spawn_blocking(move || (watched.check.run)())
    };
    loop {
        let answer = match timeout(deadline / 2, &mut running).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(_)) => Some(Answer::failed("the check itself broke").beyond_healing()),
            // It goes on, and nobody asks it a second time meanwhile.
            Err(_) => None,
        };
        let is_over = answer.is_some();
        let answer = answer.unwrap_or_else(|| overdue(asked.elapsed(), deadline));
        let failures = health.note(name, &answer, asked.elapsed());
        if answer.is_bad() && answer.can_heal {
            try_to_heal(health, watched);
        }
        if is_over {
            return failures;
        }
    }
}

/// What is said of a check that hasn't answered yet.
fn overdue(waited: Duration, deadline: Duration) -> Answer {
    let message = format!("no answer within {} ms", waited.as_millis());
    if waited < deadline {
        Answer::degraded(message)
    } else {
        Answer::failed(message)
    }
}

/// Lets all of them run, and tells what they found.
async fn rounds(health: Arc<Health>) {
    let interval = health.settings().interval;
    loop {
        tokio::time::sleep(interval).await;
        let began = Instant::now();
        Check::ALL.iter().for_each(|it| health.wake(*it));
        let all = async {
            loop {
                let answered = health.answered.notified();
                tokio::pin!(answered);
                answered.as_mut().enable();
                if health.since(began).len() >= health.count() {
                    return;
                }
                answered.await;
            }
        };
        let _ = timeout(ROUND_DEADLINE, all).await;
        completed(&health, began);
    }
}

fn completed(health: &Health, began: Instant) {
    let found = health.since(began);
    let of = |check: Check| found.get(&check.index()).copied();
    health.signals().emit(HealthChecksCompleted {
        database: of(Check::Database),
        k8s: of(Check::K8s),
        dex: of(Check::Dex),
        registry: of(Check::Registry),
        blueprint_sync: of(Check::BlueprintSync),
        queue: of(Check::Queue),
        disk: of(Check::Disk),
        workers: of(Check::Workers),
        otlp_export: of(Check::OtlpExport),
        webhooks: of(Check::Webhooks),
        forges: of(Check::Forges),
        log_pipeline: of(Check::LogPipeline),
        git: of(Check::Git),
        duration_seconds: began.elapsed(),
    });
}

impl Watched {
    /// Takes the turn at healing, if there is one now.
    pub(super) fn begin(&self, every: Duration) -> bool {
        let now = Instant::now();
        let mut attempts = self.attempts();
        let may = attempts.may_begin(now, every);
        if may {
            attempts.begin(now);
        }
        may
    }

    pub(super) fn end(&self) {
        self.attempts().end();
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        // Whole after every line that changes it.
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From 0 to 1.
fn jitter() -> f64 {
    let [byte] = random::<1>();
    f64::from(byte) / 255.0
}

//! Tries to heal what a check found broken: one attempt at a time, none too often, none
//! where the operator said no; each is an event, a metric and a span.

use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_signals::{HealResult, SelfHealAttempted, heal_failed, heal_span};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::Instrument;

use super::board::Health;
use super::watch::Watched;
use crate::settings::HealMode;

/// How long an attempt may take before it counts as failed. It goes on, and no other begins
/// until it has ended.
const HEAL_DEADLINE: Duration = Duration::from_secs(60);

/// Begins an attempt, if there may be one now. Nobody waits for it.
pub(super) fn try_to_heal(health: &Arc<Health>, watched: &Arc<Watched>) {
    let Some(heal) = &watched.check.heal else {
        return;
    };
    if health.is_hands_off(watched.check.name) || !watched.begin(heal.every) {
        return;
    }
    let span = heal_span(watched.check.name, heal.action);
    let attempt = attempt(Arc::clone(health), Arc::clone(watched));
    tokio::spawn(attempt.instrument(span));
}

async fn attempt(health: Arc<Health>, watched: Arc<Watched>) {
    let began = Instant::now();
    if health.settings().heal == HealMode::DryRun {
        tell(
            &health,
            &watched,
            HealResult::DryRun,
            "nothing was done: health.heal is dry_run",
            began,
        );
        watched.end();
        return;
    }
    let mut running = {
        let watched = Arc::clone(&watched);
        spawn_blocking(move || watched.check.heal.as_ref().map(|it| (it.run)()))
    };
    let (result, detail) = match timeout(HEAL_DEADLINE, &mut running).await {
        Ok(Ok(Some(Ok(done)))) => (HealResult::Success, done),
        Ok(Ok(Some(Err(why)))) => (HealResult::Error, why),
        Ok(_) => (HealResult::Error, "the attempt itself broke".to_owned()),
        Err(_) => {
            let seconds = HEAL_DEADLINE.as_secs();
            (HealResult::Error, format!("not done within {seconds} s"))
        }
    };
    tell(&health, &watched, result, &detail, began);
    if !running.is_finished() {
        let _ = running.await;
    }
    watched.end();
    // Whether it helped.
    health.wake(watched.check.name);
}

fn tell(health: &Health, watched: &Watched, result: HealResult, detail: &str, began: Instant) {
    let check = watched.check.name;
    if result == HealResult::Error {
        heal_failed();
    }
    health.healed(check, result, detail);
    health.signals().emit(SelfHealAttempted {
        check,
        action: watched.check.heal.as_ref().map_or("", |it| it.action),
        result,
        detail,
        duration_seconds: began.elapsed(),
    });
}

//! Jobs are handed out, and each worker elsewhere is heard of.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use danube_signals::Check;

use super::super::beat::Beat;
use super::super::check::{Answer, CHEAP_DEADLINE, CHEAP_EVERY, Heal, HealthCheck};
use super::shown;
use crate::app::Shared;
use crate::remote::Silent;

/// How long an attempt waits until the scheduler has taken the jobs back.
const RESCUE_WITHIN: Duration = Duration::from_secs(5);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Jobs are taken back by hand at most this often; the scheduler does it by itself as soon
/// as a lease is over.
const HEAL_EVERY: Duration = Duration::from_secs(30);

/// Names that a message shows.
const NAMES_SHOWN: usize = 5;

pub(super) fn check(app: &Shared, beat: Arc<Beat>) -> HealthCheck {
    let (asked, healed) = (app.clone(), app.clone());
    HealthCheck {
        name: Check::Workers,
        period: CHEAP_EVERY,
        deadline: CHEAP_DEADLINE,
        // Failed is only a scheduler that has ended: nothing would run any more.
        gates: true,
        run: Box::new(move || look(&asked, &beat)),
        heal: Some(Heal {
            action: "rescue_jobs",
            every: HEAL_EVERY,
            run: Box::new(move || rescue(&healed)),
        }),
    }
}

fn look(app: &Shared, beat: &Beat) -> Answer {
    if beat.is_gone() {
        return Answer::failed("the scheduler has ended; restart the server").beyond_healing();
    }
    let silent = app.remote.silent();
    if !silent.is_empty() {
        return Answer::degraded(told(&silent));
    }
    if app.settings.jobs_at_once == 0 && app.remote.connected().is_empty() {
        return Answer::disabled("no worker has been heard of");
    }
    Answer::ok()
}

fn told(silent: &[Silent]) -> String {
    let one = |it: &Silent| format!("`{}` for {}", it.worker, shown(it.silent_for));
    let mut names: Vec<String> = silent.iter().take(NAMES_SHOWN).map(one).collect();
    if silent.len() > NAMES_SHOWN {
        names.push(format!("{} more", silent.len() - NAMES_SHOWN));
    }
    format!("workers that aren't heard of: {}", names.join(", "))
}

/// Has the scheduler take back what silent workers hold.
fn rescue(app: &Shared) -> Result<String, String> {
    let held = || app.remote.held_by_silent();
    app.remote.dispatch.bell.ring();
    let until = Instant::now() + RESCUE_WITHIN;
    while held() > 0 {
        if Instant::now() >= until {
            return Err(format!("{} jobs are still held by silent workers", held()));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok("the jobs of silent workers were taken back".to_owned())
}

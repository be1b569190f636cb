//! The registry answers.

use std::time::Duration;

use danube_signals::Check;

use super::super::check::{Answer, Heal, HealthCheck};
use crate::app::Shared;
use crate::registry::Started;

/// How long it may take: a call ends by itself before.
const DEADLINE: Duration = Duration::from_secs(12);

/// How often it is restarted at most.
const HEAL_EVERY: Duration = Duration::from_secs(60);

pub(super) fn check(app: &Shared, interval: Duration) -> HealthCheck {
    let asked = app.clone();
    HealthCheck {
        name: Check::Registry,
        period: interval,
        deadline: DEADLINE,
        // Jobs that need no image run without it.
        gates: false,
        run: Box::new(move || look(&asked)),
        heal: app.registry.started().is_some().then(|| heal(app)),
    }
}

/// One that runs and doesn't answer is ended, and started anew. One that ended is started by
/// whoever looks after it.
fn heal(app: &Shared) -> Heal {
    let app = app.clone();
    Heal {
        action: "restart_registry",
        every: HEAL_EVERY,
        run: Box::new(move || {
            let started = app.registry.started().ok_or("it isn't ours to restart")?;
            started.restart()?;
            Ok("it was ended and started again".to_owned())
        }),
    }
}

fn look(app: &Shared) -> Answer {
    let Some(api) = app.registry.api() else {
        return Answer::disabled("registry.url names no registry");
    };
    match api.answers() {
        // It answers, but the last look at its images, or a deletion, went wrong.
        Ok(()) => match app.registry.last().error {
            Some(why) => Answer::degraded(why).beyond_healing(),
            None => Answer::ok(),
        },
        Err(_) if app.registry.started().is_some_and(Started::is_paused) => {
            let why = "the registry is stopped while what no image names any more is collected";
            Answer::degraded(why).beyond_healing()
        }
        Err(why) => Answer::failed(why),
    }
}

//! The registry answers.

use std::time::Duration;

use danube_signals::Check;

use super::super::check::{Answer, HealthCheck};
use crate::app::Shared;

/// How long it may take: a call ends by itself before.
const DEADLINE: Duration = Duration::from_secs(12);

pub(super) fn check(app: &Shared, interval: Duration) -> HealthCheck {
    let asked = app.clone();
    HealthCheck {
        name: Check::Registry,
        period: interval,
        deadline: DEADLINE,
        // Jobs that need no image run without it.
        gates: false,
        run: Box::new(move || look(&asked)),
        heal: None,
    }
}

fn look(app: &Shared) -> Answer {
    let Some(api) = app.registry.api() else {
        return Answer::disabled("registry.url names no registry");
    };
    match api.answers() {
        Ok(()) => Answer::ok(),
        Err(why) => Answer::failed(why),
    }
}

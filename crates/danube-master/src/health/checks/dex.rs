//! The OpenID provider answers, and is the one that the settings name.

use std::time::Duration;

use danube_signals::Check;

use super::super::check::{Answer, HealthCheck};
use crate::app::Shared;

/// How long it may take: both calls end by themselves before.
const DEADLINE: Duration = Duration::from_secs(25);

pub(super) fn check(app: &Shared, interval: Duration) -> HealthCheck {
    let asked = app.clone();
    HealthCheck {
        name: Check::Dex,
        period: interval,
        deadline: DEADLINE,
        // Sessions and keys go on without it.
        gates: false,
        run: Box::new(move || look(&asked)),
        heal: None,
    }
}

fn look(app: &Shared) -> Answer {
    if !app.oidc.is_on() {
        return Answer::disabled("oidc.issuer names no provider");
    }
    match app.oidc.answers() {
        Ok(()) => Answer::ok(),
        Err(why) => Answer::failed(why),
    }
}

//! Webhooks leave in time.

use std::time::Duration;

use danube_model::Timestamp;
use danube_signals::Check;

use super::super::check::{Answer, HealthCheck};
use super::shown;
use crate::app::Shared;

/// How long one may wait for its turn after it became due: longer, and there are more than
/// can be sent, or nobody sends.
const LATE_MAX: Duration = Duration::from_secs(60);

/// How long one may stay undelivered, with all the attempts in between, before somebody
/// should know that its receiver doesn't take it.
const AGE_MAX: Duration = Duration::from_secs(900);

/// How long the database may take to say what waits.
const DEADLINE: Duration = Duration::from_secs(10);

pub(super) fn check(app: &Shared, interval: Duration) -> HealthCheck {
    let app = app.clone();
    HealthCheck {
        name: Check::Webhooks,
        period: interval,
        deadline: DEADLINE,
        gates: false,
        run: Box::new(move || look(&app)),
        // Attempts go on by themselves; a person can replay what was given up.
        heal: None,
    }
}

fn look(app: &Shared) -> Answer {
    let outbox = match app.store.webhook_outbox() {
        Ok(outbox) => outbox,
        Err(error) => return Answer::failed(error.to_string()),
    };
    let now = Timestamp::now().as_millis();
    let since = |time: Option<Timestamp>| {
        let millis = time.map_or(0, |it| now.saturating_sub(it.as_millis()));
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    };
    let (late, age) = (since(outbox.oldest_due_at), since(outbox.oldest_ended_at));
    if late > LATE_MAX {
        return Answer::degraded(format!(
            "{} webhooks wait, one of them for its turn for {}",
            outbox.waiting,
            shown(late)
        ));
    }
    if age > AGE_MAX {
        return Answer::degraded(format!(
            "{} webhooks aren't delivered, the oldest for {}; `danube webhooks list` says why",
            outbox.waiting,
            shown(age)
        ));
    }
    Answer::ok()
}

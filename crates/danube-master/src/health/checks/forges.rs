//! Forges answer and take their tokens, hear how jobs stand, and what they asked for begins.

use std::time::Duration;

use danube_model::Timestamp;
use danube_signals::Check;
use danube_store::StoreError;

use super::super::check::{Answer, HealthCheck};
use super::shown;
use crate::app::{App, Shared};
use crate::forges::look;

/// How long it may take: the calls end by themselves before.
const DEADLINE: Duration = Duration::from_secs(20);

/// How long a status may wait for its turn after it became due.
const LATE_MAX: Duration = Duration::from_secs(60);

/// How long what a forge asked for may wait until somebody should know.
const KEPT_MAX: Duration = Duration::from_secs(900);

/// Jobs whose statuses were given up are told of for so long after they came.
const GIVEN_UP_SHOWN: Duration = Duration::from_secs(2 * 24 * 3_600);

/// How long it is told that webhooks were refused for a full inbox.
const REFUSED_SHOWN: Duration = Duration::from_secs(3_600);

pub(super) fn check(app: &Shared, interval: Duration) -> HealthCheck {
    let app = app.clone();
    HealthCheck {
        name: Check::Forges,
        period: interval,
        deadline: DEADLINE,
        // People still start jobs, and what runs goes on.
        gates: false,
        run: Box::new(move || find(&app).unwrap_or_else(|it| Answer::failed(it.to_string()))),
        heal: None,
    }
}

fn find(app: &App) -> Result<Answer, StoreError> {
    let looked = look::at_all(&app.forges, &app.store)?;
    let known = looked.len();
    let wrong = looked
        .into_iter()
        .filter_map(|(name, it)| Some(format!("{name}: {}", it.err()?)));
    let mut said: Vec<String> = wrong.collect();
    let is_down = known > 0 && said.len() == known;
    said.extend(untold(app)?);
    said.extend(waiting(app)?);
    Ok(match (known, said.is_empty()) {
        (0, true) => Answer::disabled("no credential is a forge's"),
        (_, true) => Answer::ok(),
        // One of several is that one's own trouble.
        _ if is_down => Answer::failed(said.join("; ")),
        _ => Answer::degraded(said.join("; ")),
    })
}

/// How long ago that was.
fn since(time: Timestamp) -> Duration {
    let millis = Timestamp::now().as_millis() - time.as_millis();
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// What forges should know, and don't.
fn untold(app: &App) -> Result<Vec<String>, StoreError> {
    let shown_millis = i64::try_from(GIVEN_UP_SHOWN.as_millis()).unwrap_or(i64::MAX);
    let from = Timestamp::from_millis(Timestamp::now().as_millis() - shown_millis);
    let outbox = app.store.status_outbox(from)?;
    let mut said = Vec::new();
    let late = outbox.oldest_due_at.map(since).unwrap_or_default();
    if late > LATE_MAX {
        said.push(format!(
            "{} statuses of commits wait, one of them for its turn for {}",
            outbox.waiting,
            shown(late)
        ));
    }
    if outbox.given_up > 0 {
        said.push(format!(
            "{} statuses of commits were given up; `danube forge statuses` says why, and \
             `danube forge replay JOB` tells one again",
            outbox.given_up
        ));
    }
    Ok(said)
}

/// What forges asked for, and wasn't begun.
fn waiting(app: &App) -> Result<Vec<String>, StoreError> {
    let mut said = Vec::new();
    for it in app.store.forge_inboxes()? {
        let age = since(it.oldest_at);
        if age > KEPT_MAX {
            said.push(format!(
                "{}: {} starts wait for room, the oldest for {}; `queue.max_pending` or `max_pending` of a pipeline is too small, or too few jobs begin",
                it.name,
                it.starts,
                shown(age)
            ));
        }
    }
    if let Some((count, ago)) = app.forges.overflow.seen()
        && ago < REFUSED_SHOWN
    {
        said.push(format!(
            "{count} webhooks were refused since the start because as much waited as may, the last {} ago: \
             send them again from the forge's list",
            shown(ago)
        ));
    }
    Ok(said)
}

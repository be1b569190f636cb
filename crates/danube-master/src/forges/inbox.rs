//! Keeps what forges asked for while no more jobs may wait, and starts it when some have begun.
//!
//! The store holds the order: of each pipeline the oldest is tried, and those behind it wait
//! for it. Room is made by commits, which ring; nothing is asked while nothing waits.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use danube_api::Problem;
use danube_model::JobId;
use danube_signals::{WebhookDropped, WebhookKept};
use danube_store::{Delivery, ForgeStart, Kept, NewStart, StoreError, WaitingStart};
use tokio::time::sleep;

use super::Forge;
use super::take::{finds_room_later, submit};
use crate::app::Shared;

/// How often what waits is tried when nothing rings: a store that couldn't be written rings
/// for nobody.
const TRY_EVERY: Duration = Duration::from_secs(5);

/// How often it looks whether something waits when nothing rings.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What was refused because the inbox was full. Handlers add, health reads.
#[derive(Default)]
pub(crate) struct Overflow(Mutex<Option<(u64, Instant)>>);

impl Overflow {
    /// One more.
    pub(crate) fn count(&self) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = seen.map_or(0, |it| it.0);
        *seen = Some((refused + 1, Instant::now()));
    }

    /// How many since the start, and how long ago the last was; none without any.
    pub(crate) fn seen(&self) -> Option<(u64, Duration)> {
        let seen = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.map(|(refused, last)| (refused, last.elapsed()))
    }
}

/// Has starts wait; `false` when there is no room for all of them.
pub(super) async fn keep(
    app: &Shared,
    forge: &Forge,
    (delivery, jobs): (Delivery, &[JobId]),
    starts: Vec<NewStart>,
) -> Result<bool, Problem> {
    let count = starts.len() as u64;
    let kept = app.store.keep_starts(delivery, jobs, starts).await;
    let replaced = match kept.map_err(|error| app.problem(&error))? {
        Kept::Full => return Ok(false),
        Kept::Waiting(replaced) => replaced,
    };
    app.signals.emit(WebhookKept {
        forge: forge.kind.as_str(),
        credential_name: &forge.name,
        starts: count,
    });
    for it in replaced {
        dropped(app, &it.start, "a later commit of the same ref came");
    }
    app.forges.kept.notify_one();
    Ok(true)
}

fn dropped(app: &Shared, start: &ForgeStart, reason: &str) {
    app.signals.emit(WebhookDropped {
        forge: start.from.kind.as_str(),
        credential_name: &start.from.name,
        pipeline: &start.pipeline,
        trigger_ref: &start.git_ref,
        reason,
    });
}

/// Starts what waits, for ever; ends with the server.
pub(crate) async fn start_what_waits(app: Shared) {
    loop {
        let first = app.read(danube_store::Store::first_starts).await;
        let waits = first.as_ref().map_or(true, |it| !it.is_empty());
        let mut has_begun = false;
        for it in first.unwrap_or_default() {
            has_begun |= start(&app, it).await;
        }
        if has_begun {
            continue;
        }
        let until = if waits { TRY_EVERY } else { LOOK_EVERY };
        tokio::select! {
            () = app.forges.room.notified(), if waits => {}
            () = app.forges.kept.notified() => {}
            () = sleep(until) => {}
        }
    }
}

/// Tries one; whether it waits no more.
async fn start(app: &Shared, WaitingStart { entry, start }: WaitingStart) -> bool {
    let (job, why) = match submit(app, &start).await {
        Ok(Ok(job)) => (Some(job), None),
        Ok(Err(why)) => (None, Some(why)),
        Err(problem) if finds_room_later(problem.code) => return false,
        // A disk that is full, a database that gives odd answers: it stays.
        Err(problem) if problem.status >= 500 => return false,
        Err(problem) => (None, Some(problem.detail)),
    };
    // Untold, it is tried again, and the idempotency key gives the same job.
    match app.store.start_settled(entry, job).await {
        Ok(()) => {}
        Err(StoreError::Closed) => return false,
        Err(error) => {
            drop(app.problem(&error));
            return false;
        }
    }
    if let Some(why) = why {
        dropped(app, &start, &why);
    }
    true
}

//! Starts pipelines when their time has come: once for each time, whatever is killed when.
//!
//! The job and its idempotency key are one commit, and up to which time a trigger was looked
//! at is noted after it. A server that is killed between the two looks again, and finds the
//! key.

use std::collections::BTreeMap;
use std::time::Duration;

use danube_api::{Code, Problem};
use danube_model::{Timestamp, Trigger};
use danube_store::{Idempotency, Role};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::timetable::{Entry, Timetable, time};
use crate::app::Shared;
use crate::auth::Caller;
use crate::http::{Ask, accept};

/// How often the clock of the machine is looked at, which somebody may set.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// Who submits.
const NAME: &str = "cron";

/// Looks for ever; ends with the server.
pub(crate) async fn start_in_time(app: Shared) {
    if app.settings.blueprint.is_none() && app.settings.blueprint_dir.is_none() {
        return;
    }
    let mut of = None;
    let mut table = Timetable::default();
    loop {
        let changed = app.blueprint.changed.notified();
        let now = seconds();
        let blueprint = app.blueprint.get();
        let is_same = match (&of, &blueprint) {
            (Some(old), Some(new)) => std::sync::Arc::ptr_eq(old, new),
            (old, new) => old.is_none() && new.is_none(),
        };
        if !is_same && let Some(new) = &blueprint {
            // What can't be read now can be at the next look.
            if let Ok(seen) = app.read(danube_store::Store::cron_times).await {
                table = Timetable::of(new, &seen, now);
                if table.seen() == seen || app.store.set_cron_times(table.seen()).await.is_ok() {
                    of = Some(std::sync::Arc::clone(new));
                }
            }
        }
        start_due(&app, &mut table, now).await;
        tokio::select! {
            () = changed => {}
            () = sleep(until(&table, seconds())) => {}
        }
    }
}

fn seconds() -> i64 {
    Timestamp::now().as_millis().div_euclid(1_000)
}

fn until(table: &Timetable, now: i64) -> Duration {
    let left = table.next().map(|it| it.saturating_sub(now).max(1));
    let left = left.map_or(LOOK_EVERY, |it| Duration::from_secs(it.unsigned_abs()));
    left.min(LOOK_EVERY)
}

async fn start_due(app: &Shared, table: &mut Timetable, now: i64) {
    let mut done = Vec::new();
    let mut refused = BTreeMap::new();
    for (entry, at) in table.due(now) {
        match start(app, entry, at).await {
            Ok(()) => done.push((entry.key.clone(), entry.pipeline.clone(), at)),
            Err(problem) => {
                let why = format!("{}: {}", entry.pipeline, said(&problem));
                refused.insert(entry.pipeline.clone(), why);
                if !passes(problem.code) {
                    done.push((entry.key.clone(), entry.pipeline.clone(), at));
                }
            }
        }
    }
    for (key, pipeline, at) in done {
        // Untold, it is looked at again, and the key says that it ran.
        let _ = app.store.note_cron_time(&key, time(at)).await;
        table.see(&key, at);
        app.blueprint.started(&pipeline, refused.remove(&pipeline));
    }
    for (pipeline, why) in refused {
        app.blueprint.started(&pipeline, Some(why));
    }
}

/// Whether the same may be taken a little later.
fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::TooMany
            | Code::QueueFull
            | Code::Unavailable
            | Code::TooSlow
            | Code::NoSpace
            | Code::Internal
    )
}

fn said(problem: &Problem) -> String {
    let first = problem.errors.first();
    first.map_or_else(|| problem.detail.clone(), |it| it.message.clone())
}

async fn start(app: &Shared, entry: &Entry, at: i64) -> Result<(), Problem> {
    let caller = Caller {
        role: Role::Member,
        ..Caller::own(NAME)
    };
    let mut body = json!({"pipeline": entry.pipeline});
    if let Some(git_ref) = &entry.trigger.git_ref {
        body["ref"] = Value::from(git_ref.as_str());
    }
    if !entry.trigger.parameters.is_empty() {
        body["parameters"] = json!(entry.trigger.parameters);
    }
    let key = format!("{} {at}", entry.key);
    let ask = Ask {
        body,
        body_bytes: 0,
        idempotency: Some(Idempotency {
            body_sha256: Sha256::digest(key.as_bytes()).into(),
            key,
        }),
        trigger: Trigger::Cron,
        subject: None,
        forge: None,
        asked: None,
    };
    accept(app, &caller, ask).await.map(drop)
}

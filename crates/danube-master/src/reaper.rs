//! Deletes the logs that are kept no longer: at the start, and then every hour.
//!
//! Which ones, `danube_joblog::expired` decides from a list and a time. This file
//! acts on it, a few at a time, so that nobody waits for it.

use std::time::{Duration, SystemTime};

use danube_api::Problem;
use danube_joblog::{Expired, expired};
use danube_model::JobId;
use danube_signals::ReaperCompleted;
use danube_store::{LogDeletion, StoreError};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::app::{Shared, blocking};
use crate::webhooks;

/// How often it looks. Days are what the setting counts in; the limit in bytes
/// is passed by what jobs write in an hour at most.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

/// Logs that are deleted in one go: one commit, and some milliseconds of the disk.
const SLICE_LOGS: usize = 64;

/// The pause after each: others get their turn at the disk.
const SLICE_PAUSE: Duration = Duration::from_millis(50);

/// Looks for ever; ends with the server.
pub(crate) async fn run(app: Shared) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        round(&app).await;
    }
}

/// What one round, or one slice of it, came to.
#[derive(Default)]
struct Freed {
    logs: u64,
    bytes: u64,
}

async fn round(app: &Shared) {
    webhooks::purge(app).await;
    let (logs, keep) = (app.logs.clone(), app.settings.retention);
    if keep.days.is_none() && keep.total_bytes.is_none() {
        return;
    }
    let listed = blocking(move || logs.stored()).await;
    // A folder that can't be read is told by the disk's health check.
    let Ok(Ok(stored)) = listed else { return };
    let all = expired(&stored, SystemTime::now(), keep);
    let mut freed = Freed::default();
    for slice in all.chunks(SLICE_LOGS) {
        // What can't be deleted now is still there in an hour.
        if let Ok(more) = delete_all(app, slice).await {
            freed.logs += more.logs;
            freed.bytes += more.bytes;
        }
        sleep(SLICE_PAUSE).await;
    }
    if freed.logs > 0 {
        app.signals.emit(ReaperCompleted {
            logs_deleted: freed.logs,
            artifacts_deleted: 0,
            images_deleted: 0,
            bytes_freed: freed.bytes,
        });
    }
}

/// Deletes the logs of a slice whose jobs have ended. The files go first: a log
/// that was told to be gone and is there would never be looked for again.
async fn delete_all(app: &Shared, slice: &[Expired]) -> Result<Freed, Problem> {
    let names: Vec<String> = slice.iter().map(|it| it.job.clone()).collect();
    let store = app.store.clone();
    let (logs, traces) = (app.logs.clone(), app.traces.clone());
    let gone = blocking(move || {
        let mut freed = Freed::default();
        let mut gone = Vec::new();
        for name in names {
            let job = name.parse::<JobId>().ok();
            // A log of nobody's (of a database that was put back) is old, too.
            let job = job.map(|id| store.job(id)).transpose()?.flatten();
            if job.as_ref().is_some_and(|it| !it.state.is_terminal()) {
                continue;
            }
            // The trace first: without its log nobody would look for it again.
            let Ok(of_trace) = traces.delete(&name) else {
                continue;
            };
            freed.bytes += of_trace;
            let Ok(bytes) = logs.delete(&name) else {
                continue;
            };
            freed.logs += 1;
            freed.bytes += bytes;
            gone.extend(job.map(|it| it.id));
        }
        Ok((freed, gone))
    });
    let (freed, gone) = gone
        .await?
        .map_err(|error: StoreError| app.problem(&error))?;
    // Asked for together, they are one commit.
    let told: Vec<_> = gone.iter().map(|id| app.store.log_deleted(*id)).collect();
    for answer in told {
        // Untold, readers find that its files are gone.
        let _ = answer.await;
    }
    Ok(freed)
}

/// Why a log isn't deleted by hand.
pub(crate) enum Undeleted {
    /// Its job hasn't ended.
    NotEnded,
    /// There is no such job.
    NoJob,
    /// A file can't be deleted.
    Io,
    /// The store can't say so.
    Store(StoreError),
}

/// Deletes the log of one ended job; the bytes that are free again.
pub(crate) async fn delete(app: &Shared, id: JobId) -> Result<u64, Undeleted> {
    let own = app.clone();
    let deleted = blocking(move || delete_files(&own, id)).await;
    let freed = deleted.map_err(|_| Undeleted::Io)??;
    match app.store.log_deleted(id).await {
        Ok(LogDeletion::Deleted(_)) => Ok(freed),
        Ok(LogDeletion::NotEnded(_)) => Err(Undeleted::NotEnded),
        Ok(LogDeletion::NotFound) => Err(Undeleted::NoJob),
        Err(error) => Err(Undeleted::Store(error)),
    }
}

fn delete_files(app: &Shared, id: JobId) -> Result<u64, Undeleted> {
    let job = app.store.job(id).map_err(Undeleted::Store)?;
    let job = job.ok_or(Undeleted::NoJob)?;
    if !job.state.is_terminal() {
        return Err(Undeleted::NotEnded);
    }
    // An ended job stays ended, so nobody writes its log again.
    let name = id.to_string();
    let of_trace = app.traces.delete(&name).map_err(|_| Undeleted::Io)?;
    let of_log = app.logs.delete(&name).map_err(|error| match error.kind() {
        std::io::ErrorKind::ResourceBusy => Undeleted::NotEnded,
        _ => Undeleted::Io,
    })?;
    Ok(of_log + of_trace)
}

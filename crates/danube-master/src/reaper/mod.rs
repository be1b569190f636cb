//! Deletes what is kept no longer: logs with their traces and indexes, traces and workspaces
//! that nobody looks for any more, webhooks that were settled long ago, artifacts and images
//! of the registry that had their time.
//!
//! Everything in its time at 03:00 UTC and at the start, what the limits of size and disk don't
//! allow every hour as well, and all of it when the disk fills or somebody asks. Which logs,
//! `danube_joblog::expired` decides from a list and a time; when, `time.rs`. This file acts on
//! it, a few at a time, so that nobody waits for it.

mod artifacts;
mod images;
mod kept;
mod orphans;
mod time;

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use danube_api::{Problem, ReapView};
use danube_joblog::{Expired, Retention, expired};
use danube_model::{JobId, Timestamp};
use danube_signals::{ReapReason, ReaperCompleted};
use danube_store::{LogDeletion, StoreError};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::app::{App, Shared, blocking};
use crate::health::usage::room;
use crate::webhooks;
pub(crate) use kept::Kept;

/// Logs that are deleted in one go: one commit, and some milliseconds of the disk.
const SLICE_LOGS: usize = 64;

/// The pause after each: others get their turn at the disk.
const SLICE_PAUSE: Duration = Duration::from_millis(50);

/// One at a time: two would delete the same.
#[derive(Default)]
pub(crate) struct Reaper(Mutex<()>);

/// Looks for ever; ends with the server.
pub(crate) async fn run(app: Shared) {
    let mut reason = ReapReason::Start;
    loop {
        reap(&app, reason).await;
        let (pause, next) = time::next(Timestamp::now());
        sleep(pause).await;
        reason = next;
    }
}

/// What one look came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reaped {
    pub(crate) logs: u64,
    pub(crate) traces: u64,
    pub(crate) workspaces: u64,
    pub(crate) artifacts: u64,
    pub(crate) images: u64,
    pub(crate) bytes_freed: u64,
}

impl fmt::Display for Reaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            logs,
            traces,
            workspaces,
            artifacts,
            images,
            bytes_freed,
        } = self;
        write!(
            f,
            "{logs} logs, {traces} traces, {workspaces} workspaces, {artifacts} artifacts and {images} images were deleted, {bytes_freed} bytes freed"
        )
    }
}

impl Reaped {
    fn add(&mut self, other: Self) {
        self.logs += other.logs;
        self.traces += other.traces;
        self.workspaces += other.workspaces;
        self.artifacts += other.artifacts;
        self.images += other.images;
        self.bytes_freed += other.bytes_freed;
    }

    fn view(self, dry_run: bool, began: Instant) -> ReapView {
        ReapView {
            logs_deleted: self.logs,
            traces_deleted: self.traces,
            workspaces_deleted: self.workspaces,
            artifacts_deleted: self.artifacts,
            images_deleted: self.images,
            bytes_freed: self.bytes_freed,
            dry_run,
            duration_seconds: began.elapsed().as_secs_f64(),
        }
    }
}

/// Looks once and deletes what is kept no longer. Waits while another look is under way.
pub(crate) async fn reap(app: &Shared, reason: ReapReason) -> Reaped {
    let _turn = app.reaper.0.lock().await;
    let began = Instant::now();
    let keep = limits(app, reason);
    let mut reaped = logs(app, keep).await;
    if reason != ReapReason::Hourly {
        webhooks::purge(app).await;
        // What can't be forgotten now is so at the next start.
        let over = app.sessions.reap(Timestamp::now());
        let _ = app.store.end_sessions(over).await;
        reaped.add(orphans::delete(app, keep.days).await);
        reaped.add(artifacts::delete(app).await);
        reaped.add(images::delete(app).await);
    } else {
        reaped.add(artifacts::fit(app).await);
        images::measure(app).await;
    }
    if reaped != Reaped::default() || reason == ReapReason::Asked {
        app.signals.emit(ReaperCompleted {
            logs_deleted: reaped.logs,
            artifacts_deleted: reaped.artifacts,
            images_deleted: reaped.images,
            bytes_freed: reaped.bytes_freed,
            traces_deleted: reaped.traces,
            workspaces_deleted: reaped.workspaces,
            reason,
            duration_seconds: began.elapsed(),
        });
    }
    reaped
}

/// Looks because somebody asks; with `dry_run`, only at the logs that would go.
pub(crate) async fn asked(app: &Shared, dry_run: bool) -> Result<ReapView, Problem> {
    let began = Instant::now();
    if !dry_run {
        return Ok(reap(app, ReapReason::Asked).await.view(false, began));
    }
    let all = due(app, limits(app, ReapReason::Asked)).await?;
    let mut would = Reaped {
        logs: all.len() as u64,
        bytes_freed: all.iter().map(|it| it.bytes).sum(),
        ..Reaped::default()
    };
    would.add(artifacts::due(app).await?);
    would.add(images::due(app).await);
    Ok(would.view(true, began))
}

/// What is kept at this look.
fn limits(app: &App, reason: ReapReason) -> Retention {
    let keep = app.retention();
    Retention {
        // Days are what that setting counts in.
        days: keep.days.filter(|_| reason != ReapReason::Hourly),
        free_bytes: to_free(app),
        ..keep
    }
}

/// Bytes that are to be freed so that the share of the disk is free that the settings want.
fn to_free(app: &App) -> Option<u64> {
    let percent = u64::from(app.disk_free_percent()?);
    // A folder that can't be read is told by the disk's health check.
    let room = room(&app.settings.data_dir).ok()?;
    let wanted = room.bytes / 100 * percent;
    wanted.checked_sub(room.free_bytes).filter(|it| *it > 0)
}

/// The logs that have had their time.
async fn due(app: &Shared, keep: Retention) -> Result<Vec<Expired>, Problem> {
    if keep == Retention::default() {
        return Ok(Vec::new());
    }
    let own = app.clone();
    blocking(move || {
        // A folder that can't be read is told by the disk's health check.
        let stored = own.logs.stored().unwrap_or_default();
        let kept = Kept::of(&own);
        expired(&stored, SystemTime::now(), keep, |name, age| {
            kept.has(&own, name, age)
        })
    })
    .await
}

async fn logs(app: &Shared, keep: Retention) -> Reaped {
    let mut reaped = Reaped::default();
    for slice in due(app, keep).await.unwrap_or_default().chunks(SLICE_LOGS) {
        // What can't be deleted now is still there at the next look.
        if let Ok(more) = delete_all(app, slice).await {
            reaped.add(more);
        }
        sleep(SLICE_PAUSE).await;
    }
    reaped
}

/// Deletes the logs of a slice whose jobs have ended. The files go first: a log
/// that was told to be gone and is there would never be looked for again.
async fn delete_all(app: &Shared, slice: &[Expired]) -> Result<Reaped, Problem> {
    let names: Vec<String> = slice.iter().map(|it| it.job.clone()).collect();
    let store = app.store.clone();
    let (logs, traces) = (app.logs.clone(), app.traces.clone());
    let gone = blocking(move || {
        let mut freed = Reaped::default();
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
            freed.bytes_freed += of_trace;
            let Ok(bytes) = logs.delete(&name) else {
                continue;
            };
            freed.logs += 1;
            freed.bytes_freed += bytes;
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

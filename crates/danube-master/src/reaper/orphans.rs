//! What nobody looks for any more: traces whose log is gone or never was, and workspaces of
//! jobs that ended without their worker.

use std::fs;
use std::time::{Duration, SystemTime};

use danube_executor::Workspace;
use danube_model::{Job, JobId, Timestamp};

use super::{Kept, Reaped, SLICE_PAUSE};
use crate::app::{App, Shared, blocking};

/// A workspace is removed by whoever ran its job. So long after the job's end it is nobody's.
const WORKSPACE_LEFT: Duration = Duration::from_secs(600);

/// Files that are looked at in one go: reads of the store, and some deletions.
const SLICE: usize = 256;

/// Deletes traces without a log that are older than so many days, and workspaces that were
/// left.
pub(super) async fn delete(app: &Shared, days: Option<u32>) -> Reaped {
    let mut reaped = Reaped::default();
    if let Some(days) = days {
        for slice in old_traces(app, days).await.chunks(SLICE) {
            let (own, slice) = (app.clone(), slice.to_vec());
            let deleted = blocking(move || delete_traces(&own, &slice)).await;
            reaped.add(deleted.unwrap_or_default());
            tokio::time::sleep(SLICE_PAUSE).await;
        }
    }
    let own = app.clone();
    reaped.add(
        blocking(move || delete_workspaces(&own))
            .await
            .unwrap_or_default(),
    );
    reaped
}

async fn old_traces(app: &Shared, days: u32) -> Vec<String> {
    let before = SystemTime::now().checked_sub(Duration::from_secs(24 * 3_600) * days);
    let (Some(before), traces) = (before, app.traces.clone()) else {
        return Vec::new();
    };
    let listed = blocking(move || traces.older_than(before)).await;
    // What can't be listed now still can at the next look.
    listed.ok().and_then(Result::ok).unwrap_or_default()
}

/// Of these, deletes those whose job has ended and isn't kept, or isn't known, and has no log.
fn delete_traces(app: &App, names: &[String]) -> Reaped {
    let (mut reaped, kept) = (Reaped::default(), Kept::of(app));
    let is_over = |job: Job| {
        let git_ref = job.trigger_ref.as_deref();
        let end = job.finished_at;
        end.is_some_and(|end| !kept.has_since((&job.pipeline, git_ref), end))
    };
    for name in names {
        let is_over = match name.parse::<JobId>() {
            Err(_) => true,
            Ok(id) => match app.store.job(id) {
                Ok(job) => job.is_none_or(&is_over),
                Err(_) => false,
            },
        };
        if !is_over || app.logs.reader(name).is_ok() {
            continue;
        }
        if let Ok(bytes) = app.traces.delete(name) {
            reaped.traces += 1;
            reaped.bytes_freed += bytes;
        }
    }
    reaped
}

fn delete_workspaces(app: &App) -> Reaped {
    let mut reaped = Reaped::default();
    let work = app.settings.data_dir.join("work");
    let Ok(entries) = fs::read_dir(&work) else {
        return reaped;
    };
    let names = entries.filter_map(|it| it.ok()?.file_name().into_string().ok());
    for name in names {
        let Ok(id) = name.parse::<JobId>() else {
            continue;
        };
        let Ok(job) = app.store.job(id) else {
            continue;
        };
        let is_left = job.is_none_or(|it| it.finished_at.is_some_and(is_long_ago));
        if !is_left || app.is_run(id) {
            continue;
        }
        if Workspace::adopt(&work, &name)
            .and_then(Workspace::remove)
            .is_ok()
        {
            reaped.workspaces += 1;
        }
    }
    reaped
}

fn is_long_ago(end: Timestamp) -> bool {
    let since = Timestamp::now().as_millis().saturating_sub(end.as_millis());
    u128::try_from(since).is_ok_and(|it| it > WORKSPACE_LEFT.as_millis())
}

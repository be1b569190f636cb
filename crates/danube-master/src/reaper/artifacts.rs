//! Artifacts that had their time, files that no artifact names, and artifacts whose file is
//! gone.
//!
//! The store forgets first, then the file goes: what is left of a crash is a file that
//! nobody names, which is found here.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use danube_api::Problem;
use danube_model::{JobId, Timestamp};
use danube_store::StoredArtifact;
use tokio::time::sleep;

use super::{Reaped, SLICE_PAUSE};
use crate::app::{App, Shared, blocking};

/// Artifacts that go at once: one commit for each of their jobs.
const SLICE: usize = 256;

/// As many are counted for a look that deletes nothing.
const COUNTED_MAX: usize = 100_000;

/// Before when they are old.
fn before(days: u32) -> Timestamp {
    let kept = Duration::from_secs(24 * 3_600) * days;
    let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(Timestamp::now().as_millis().saturating_sub(kept))
}

/// What would go now.
pub(super) async fn due(app: &Shared) -> Result<Reaped, Problem> {
    let Some(days) = app.settings.artifacts.days else {
        return Ok(Reaped::default());
    };
    let old = app.read(move |store| store.old_artifacts(before(days), COUNTED_MAX));
    let old = old.await?;
    Ok(Reaped {
        artifacts: old.len() as u64,
        bytes_freed: old.iter().map(|it| it.artifact.bytes).sum(),
        ..Reaped::default()
    })
}

/// Deletes what had its time, then what nobody looks for any more.
pub(super) async fn delete(app: &Shared) -> Reaped {
    let mut reaped = Reaped::default();
    if let Some(days) = app.settings.artifacts.days {
        loop {
            let old = app.read(move |store| store.old_artifacts(before(days), SLICE));
            let Ok(old) = old.await else { break };
            let more = forget(app, old).await;
            if more == Reaped::default() {
                break;
            }
            reaped.add(more);
            sleep(SLICE_PAUSE).await;
        }
    }
    let own = app.clone();
    let left = blocking(move || (nameless(&own), lost(&own))).await;
    let (nameless, lost) = left.unwrap_or_default();
    reaped.bytes_freed += nameless;
    for (job, files) in lost {
        // What isn't forgotten now still is at the next look.
        let gone = app.store.forget_artifacts(job, files).await;
        reaped.artifacts += gone.map_or(0, |it| it.len() as u64);
    }
    reaped
}

/// Forgets artifacts, and deletes their files.
async fn forget(app: &Shared, all: Vec<StoredArtifact>) -> Reaped {
    let mut jobs: BTreeMap<JobId, Vec<String>> = BTreeMap::new();
    for it in all {
        jobs.entry(it.job).or_default().push(it.artifact.file);
    }
    let mut reaped = Reaped::default();
    for (job, files) in jobs {
        let Ok(gone) = app.store.forget_artifacts(job, files).await else {
            continue;
        };
        reaped.artifacts += gone.len() as u64;
        let artifacts = app.artifacts.clone();
        let freed = blocking(move || {
            let freed = gone.iter().map(|it| artifacts.delete(job, it));
            // What can't be deleted now is a file that nobody names.
            let freed: u64 = freed.map(Result::unwrap_or_default).sum();
            artifacts.tidy(job);
            freed
        });
        reaped.bytes_freed += freed.await.unwrap_or_default();
    }
    reaped
}

/// Deletes files that no artifact names; the bytes that are free again. First the files are
/// listed, then what is just being written is left out, and only then the store is asked:
/// so a file that is remembered meanwhile isn't taken for one that nobody names.
fn nameless(app: &App) -> u64 {
    let mut freed = 0;
    for job in app.artifacts.jobs().unwrap_or_default() {
        let Ok(files) = app.artifacts.files(job) else {
            continue;
        };
        let Ok(known) = app.store.artifacts(job) else {
            continue;
        };
        let known: HashSet<String> = known.into_iter().map(|it| it.file).collect();
        for file in files.iter().filter(|it| !known.contains(*it)) {
            freed += app.artifacts.delete(job, file).unwrap_or_default();
        }
        if known.is_empty() && !app.is_run(job) {
            app.artifacts.tidy(job);
        }
    }
    freed
}

/// Artifacts whose file is gone. Where nothing at all is there, rather a disk isn't mounted
/// or a backup was restored: then they stay until they are old.
fn lost(app: &App) -> Vec<(JobId, Vec<String>)> {
    if app.artifacts.jobs().is_ok_and(|it| it.is_empty()) {
        return Vec::new();
    }
    let mut all = Vec::new();
    for job in app.store.jobs_with_artifacts().unwrap_or_default() {
        let known = app.store.artifacts(job).unwrap_or_default();
        let is_lost = |file: &String| matches!(app.artifacts.has(job, file), Ok(false));
        let files: Vec<String> = known
            .into_iter()
            .map(|it| it.file)
            .filter(is_lost)
            .collect();
        if !files.is_empty() {
            all.push((job, files));
        }
    }
    all
}

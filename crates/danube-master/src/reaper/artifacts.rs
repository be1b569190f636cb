//! Artifacts that had their time or are too much of all, files that no artifact names, and artifacts whose file is
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

use super::{Kept, Reaped, SLICE_PAUSE};
use crate::app::{App, Shared, blocking};
use crate::settings::ArtifactSettings;

/// Artifacts that go at once: one commit for each of their jobs.
const SLICE: usize = 256;

/// As many are counted for a look that deletes nothing.
const COUNTED_MAX: usize = 100_000;

/// Which of these go, oldest first: what had its time, and what is too much of all.
fn going(oldest: Vec<StoredArtifact>, sum: u64, keep: &ArtifactSettings) -> Vec<StoredArtifact> {
    let before = keep.days.map(|days| {
        let kept = Duration::from_secs(24 * 3_600) * days;
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(Timestamp::now().as_millis().saturating_sub(kept))
    });
    let mut excess = keep.total_bytes_max.map_or(0, |it| sum.saturating_sub(it));
    let goes = |it: &StoredArtifact| {
        let is_old = before.is_some_and(|before| it.artifact.created_at < before);
        let is_much = excess > 0;
        excess = excess.saturating_sub(it.artifact.bytes);
        is_old || is_much
    };
    oldest.into_iter().take_while(goes).collect()
}

/// The first so many that go now.
async fn first(
    app: &Shared,
    limit: usize,
    keep: ArtifactSettings,
) -> Result<Vec<StoredArtifact>, Problem> {
    if keep.days.is_none() && keep.total_bytes_max.is_none() {
        return Ok(Vec::new());
    }
    let kept = Kept::of(app);
    let read = app.read(move |store| {
        let sum = store.artifact_bytes()?;
        let oldest = store.oldest_artifacts(limit, |pipeline, git_ref, at| {
            kept.has_since((pipeline, git_ref), at)
        })?;
        Ok(going(oldest, sum, &keep))
    });
    read.await
}

/// What would go now.
pub(super) async fn due(app: &Shared) -> Result<Reaped, Problem> {
    let old = first(app, COUNTED_MAX, app.artifact_limits()).await?;
    Ok(Reaped {
        artifacts: old.len() as u64,
        bytes_freed: old.iter().map(|it| it.artifact.bytes).sum(),
        ..Reaped::default()
    })
}

/// Deletes the oldest until all of them have no more bytes than they may.
pub(super) async fn fit(app: &Shared) -> Reaped {
    let keep = ArtifactSettings {
        days: None,
        ..app.artifact_limits()
    };
    delete_first(app, keep).await
}

async fn delete_first(app: &Shared, keep: ArtifactSettings) -> Reaped {
    let mut reaped = Reaped::default();
    loop {
        let Ok(old) = first(app, SLICE, keep).await else {
            break;
        };
        let more = forget(app, old).await;
        if more == Reaped::default() {
            break;
        }
        reaped.add(more);
        sleep(SLICE_PAUSE).await;
    }
    reaped
}

/// Deletes what had its time or is too much, then what nobody looks for any more.
pub(super) async fn delete(app: &Shared) -> Reaped {
    let mut reaped = delete_first(app, app.artifact_limits()).await;
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

#[cfg(test)]
mod tests {
    use danube_store::Artifact;

    use super::*;

    #[test]
    fn the_oldest_go_until_the_rest_is_little_enough_and_young() {
        let day = 24 * 3_600 * 1_000;
        let now = Timestamp::now().as_millis();
        let stored = |name: &str, days: i64, bytes| StoredArtifact {
            job: JobId::new(),
            artifact: Artifact {
                name: name.to_owned(),
                file: name.to_owned(),
                bytes,
                sha256: [0; 32],
                step: None,
                attempt: 1,
                created_at: Timestamp::from_millis(now - days * day),
                is_kept: false,
            },
        };
        let all = vec![stored("a", 40, 10), stored("b", 20, 10), stored("c", 1, 10)];
        let check = |days, total_bytes_max, sum, expected: &[&str]| {
            let keep = ArtifactSettings {
                file_bytes_max: 1,
                job_bytes_max: 1,
                days,
                total_bytes_max,
            };
            let gone = going(all.clone(), sum, &keep);
            let names: Vec<&str> = gone.iter().map(|it| it.artifact.name.as_str()).collect();
            assert_eq!(names, expected, "{days:?} {total_bytes_max:?} {sum}");
        };
        check(None, None, 30, &[]);
        check(Some(30), None, 30, &["a"]);
        check(None, Some(30), 30, &[]);
        check(None, Some(29), 30, &["a"]);
        check(None, Some(11), 30, &["a", "b"]);
        // Others are kept, or of jobs that run: then none of these may be left.
        check(None, Some(11), 90, &["a", "b", "c"]);
        check(Some(10), Some(29), 30, &["a", "b"]);
    }
}

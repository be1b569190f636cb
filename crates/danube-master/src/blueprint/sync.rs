//! One sync at a time: fetch, check whole, store in one transaction, put in force, tell.

use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_api::{BlueprintChangeView, BlueprintError, BlueprintSynced, Problem};
use danube_blueprint::{Blueprint, Change, Part, changes};
use danube_model::Timestamp;
use danube_signals::{
    BlueprintChange, BlueprintSyncCompleted, BlueprintSyncFailed, Check, Outcome, Signals,
};
use tokio::time::sleep;

use super::fetch::{Fetched, Follower, NotFetched};
use super::mistakes::{away, sentence};
use crate::app::{Shared, blocking};

/// Why a sync that was asked for came to nothing.
pub(crate) enum NotSynced {
    /// No blueprint is followed.
    NotFollowed,
    /// The server stops.
    Stopped,
    /// This; what was in force stays.
    Failed(BlueprintError),
    /// The server itself can't.
    Problem(Problem),
}

/// Looks at the repository for ever, where one is followed; ends with the server.
pub(crate) async fn run(app: Shared) {
    let Some(interval) = app.blueprint.interval() else {
        return;
    };
    loop {
        // Whatever it came to is told and shown.
        let _ = sync(&app, false).await;
        // One that was asked for meanwhile is made up for.
        tokio::select! {
            () = sleep(interval) => {}
            () = app.blueprint.look_now.notified() => {}
        }
    }
}

/// Syncs once, in its turn; with `asked`, also tells that nothing is new.
pub(crate) async fn sync(app: &Shared, asked: bool) -> Result<BlueprintSynced, NotSynced> {
    let Some(follower) = app.blueprint.follower.clone() else {
        return Err(NotSynced::NotFollowed);
    };
    let _turn = app.blueprint.turn.lock().await;
    let began = Instant::now();
    let done = once(app, &follower, (began, asked)).await;
    let outcome = match &done {
        Err(NotSynced::Stopped | NotSynced::NotFollowed) => return done,
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Error,
    };
    app.signals.blueprint_sync_total.at(outcome).inc();
    let duration = &app.signals.blueprint_sync_duration_seconds;
    duration.observe_duration(began.elapsed());
    if let Err(NotSynced::Problem(problem)) = &done {
        let error = away(problem.detail.clone());
        let _ = tell_failed(app, (&error, asked));
    }
    app.blueprint.told().has_looked = true;
    app.health.wake(Check::BlueprintSync);
    done
}

async fn once(
    app: &Shared,
    follower: &Arc<Follower>,
    (began, asked): (Instant, bool),
) -> Result<BlueprintSynced, NotSynced> {
    let known = app.blueprint.told().taken.clone().map(|it| it.0);
    let fetched = {
        let (app, follower) = (Arc::clone(app), Arc::clone(follower));
        blocking(move || {
            let stopping = || *app.phases.stopping.borrow();
            follower.fetch(&app.store, known.as_deref(), &stopping)
        })
    };
    match fetched.await.map_err(NotSynced::Problem)? {
        Ok(Fetched { commit, blueprint }) => {
            let was_bad = app.blueprint.told().error.is_some();
            let found = match blueprint {
                Some(new) => take(app, follower, (&commit, new)).await?,
                None => {
                    if was_bad {
                        note(app, follower, None).await?;
                    }
                    Vec::new()
                }
            };
            Ok(succeeded(app, (commit, found, was_bad), (began, asked)))
        }
        Err(NotFetched::Stopped) => Err(NotSynced::Stopped),
        Err(NotFetched::Failed(error)) => {
            failed(app, follower, (&error, asked)).await?;
            Err(NotSynced::Failed(error))
        }
    }
}

/// Puts a blueprint in force: in the store first, whole, so that a server that is killed
/// begins again with this one or the one before.
async fn take(
    app: &Shared,
    follower: &Follower,
    (commit, new): (&str, Blueprint),
) -> Result<Vec<Change>, NotSynced> {
    let before = app.blueprint.get().unwrap_or_default();
    let found = changes(&before, &new);
    let content = serde_json::to_string(&new).expect("texts and numbers");
    let stored = app
        .store
        .take_blueprint(follower.location(), commit, content);
    let at = stored
        .await
        .map_err(|error| NotSynced::Problem(app.problem(&error)))?;
    app.blueprint.set(Arc::new(new));
    app.blueprint.told().taken = Some((commit.to_owned(), at));
    app.adopt();
    count(&app.signals, &found);
    Ok(found)
}

fn count(signals: &Signals, found: &[Change]) {
    for change in found {
        let what = match change.part {
            Part::Pipeline => BlueprintChange::Pipeline,
            Part::User => BlueprintChange::User,
            Part::Team => BlueprintChange::Team,
            Part::Config => continue,
        };
        signals.blueprint_changes_applied_total.at(what).inc();
    }
}

fn succeeded(
    app: &Shared,
    (commit, found, was_bad): (String, Vec<Change>, bool),
    (began, asked): (Instant, bool),
) -> BlueprintSynced {
    let now = Timestamp::now();
    let is_first = {
        let mut told = app.blueprint.told();
        told.error = None;
        told.success.replace((Instant::now(), now)).is_none()
    };
    let seconds = now.as_millis() / 1_000;
    app.signals.blueprint_sync_last_success.set(seconds);
    let blueprint = app.blueprint.get().unwrap_or_default();
    let synced = BlueprintSynced {
        pipelines: blueprint.pipelines.len() as u64,
        users: blueprint.users.len() as u64,
        teams: blueprint.teams.len() as u64,
        changes: found.iter().map(view).collect(),
        commit,
    };
    if asked || was_bad || is_first || !found.is_empty() {
        tell(&app.signals, &synced, began.elapsed());
    }
    synced
}

fn tell(signals: &Signals, synced: &BlueprintSynced, took: Duration) {
    signals.emit(BlueprintSyncCompleted {
        commit: &synced.commit,
        pipelines: synced.pipelines,
        users: synced.users,
        teams: synced.teams,
        duration_seconds: took,
    });
}

fn view(change: &Change) -> BlueprintChangeView {
    BlueprintChangeView {
        part: change.part.as_str().to_owned(),
        kind: change.kind.as_str().to_owned(),
        name: change.name.clone(),
    }
}

/// Remembers why, where that is news.
async fn failed(
    app: &Shared,
    follower: &Follower,
    (error, asked): (&BlueprintError, bool),
) -> Result<(), NotSynced> {
    if let Some(error) = tell_failed(app, (error, asked)) {
        note(app, follower, Some(&error)).await?;
    }
    Ok(())
}

/// Shows what is wrong from now on, and tells it where it is news or somebody asked; what is
/// wrong, where it is news.
fn tell_failed(app: &Shared, (error, asked): (&BlueprintError, bool)) -> Option<BlueprintError> {
    let (is_news, now) = {
        let mut told = app.blueprint.told();
        let before = told.error.take();
        let now = BlueprintError {
            at: since(before.as_ref(), error),
            ..error.clone()
        };
        told.error = Some(now.clone());
        (before != told.error || !told.has_looked, now)
    };
    if is_news || asked {
        let error = &sentence(error);
        app.signals.emit(BlueprintSyncFailed { error });
    }
    is_news.then_some(now)
}

/// Since when it is so: the same trouble doesn't begin anew with each look, whatever words it
/// comes in.
fn since(before: Option<&BlueprintError>, now: &BlueprintError) -> Timestamp {
    let what = |it: &BlueprintError| (it.commit.clone(), it.mistakes.is_empty());
    let same = before.filter(|it| what(it) == what(now));
    same.map_or(now.at, |it| it.at)
}

async fn note(
    app: &Shared,
    follower: &Follower,
    error: Option<&BlueprintError>,
) -> Result<(), NotSynced> {
    let text = error.map(|it| serde_json::to_string(it).expect("texts and numbers"));
    let noted = app.store.note_blueprint(follower.location(), text).await;
    noted.map_err(|error| NotSynced::Problem(app.problem(&error)))
}

#[cfg(test)]
mod tests {
    use danube_api::BlueprintMistake;

    use super::*;

    #[test]
    fn the_same_trouble_lasts_and_another_one_begins() {
        let error = |millis, commit: Option<&str>, is_wrong: bool, message: &str| {
            let mistake = BlueprintMistake {
                file: "a".to_owned(),
                line: None,
                column: None,
                code: "x".to_owned(),
                message: "y".to_owned(),
            };
            BlueprintError {
                at: Timestamp::from_millis(millis),
                commit: commit.map(str::to_owned),
                message: message.to_owned(),
                mistakes: is_wrong.then_some(mistake).into_iter().collect(),
            }
        };
        let away = error(1, None, false, "refused");
        let wrong = error(1, Some("a"), true, "1 mistake");
        for (before, now, expected) in [
            (None, error(9, None, false, "refused"), 9),
            (Some(&away), error(9, None, false, "timed out"), 1),
            (Some(&away), error(9, Some("a"), true, "1 mistake"), 9),
            (Some(&wrong), error(9, Some("a"), true, "1 mistake"), 1),
            (Some(&wrong), error(9, Some("b"), true, "1 mistake"), 9),
        ] {
            assert_eq!(since(before, &now).as_millis(), expected, "{now:?}");
        }
    }
}

//! Where the plays and tasks of a playbook stand in its job's log.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use danube_api::{FoldKind, FoldView, LogFolds, Problem};
use danube_joblog::{Fold, LogError};
use danube_store::RunNames;

use super::answer::Answer;
use super::caller::Looker;
use super::incoming::Id;
use super::jobs::find_logged;
use super::logs::unreadable;
use crate::app::{Shared, blocking};

/// Folds of one answer: as many as an attempt has at most.
const FOLDS_MAX: usize = 10_000;

/// Lists what plays and tasks wrote, for a viewer that folds them away.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/logs/folds", tag = "logs", params(("id" = String, Path, description = "Id or short id")),
    responses((status = 200, description = "Plays and tasks with their logical offsets; none of a pipeline", body = LogFolds),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn folds(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Id(id): Id,
) -> Answer<Json<LogFolds>> {
    let job = find_logged(&app, &caller, &id).await?;
    let (logs, name) = (app.logs.clone(), job.id.to_string());
    let found = blocking(move || match logs.reader(&name) {
        Ok(mut reader) => reader.folds(FOLDS_MAX),
        // It hasn't begun.
        Err(LogError::NotFound) => Ok(Vec::new()),
        Err(error) => Err(error),
    });
    let found = found.await?.map_err(|_| unreadable())?;
    let mut names = BTreeMap::new();
    for attempt in found.iter().map(|it| it.attempt) {
        if names.contains_key(&attempt) {
            continue;
        }
        let known = app
            .read(move |store| store.run_names(job.id, attempt, FOLDS_MAX))
            .await?;
        names.insert(attempt, known);
    }
    let view = |it: &Fold| view(it, names.get(&it.attempt));
    Ok(Json(LogFolds {
        folds: found.iter().map(view).collect(),
    }))
}

fn view(fold: &Fold, names: Option<&RunNames>) -> FoldView {
    let (kind, names) = match fold.kind {
        danube_joblog::FoldKind::Play => (FoldKind::Play, names.map(|it| &it.plays)),
        danube_joblog::FoldKind::Task => (FoldKind::Task, names.map(|it| &it.tasks)),
    };
    let number = usize::try_from(fold.number).ok();
    let name = names.zip(number).and_then(|(all, at)| all.get(at));
    FoldView {
        kind,
        number: fold.number,
        name: name.cloned(),
        attempt: fold.attempt,
        start: fold.start,
        end: fold.end,
    }
}

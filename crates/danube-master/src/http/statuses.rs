//! Statuses of commits that forges weren't told: list them, and have one told again.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use danube_api::{Code, ForgeStatus, ForgeStatusList, Problem};
use danube_store::{UntoldState, UntoldStatus};
use serde::Deserialize;

use super::answer::Answer;
use super::caller::{Doer, Looker};
use super::incoming::{Id, page_limit};
use super::jobs::find_id;
use crate::app::Shared;

/// The routes, below the API's own path.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/forges/statuses", get(list))
        .route("/forges/statuses/{id}/replay", post(replay))
}

/// What a list may be asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// `pending` or `failed`.
    #[param(pattern = "^(pending|failed)$")]
    status: Option<String>,
    /// Statuses a page, 1 to 1000; 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists statuses of commits that their forge doesn't know: those that are to be told, and those that were given
/// up. That of the newest job first, of the jobs that are seen.
#[utoipa::path(get, path = "/api/v1/forges/statuses", operation_id = "list_forge_statuses", tag = "forges", params(ListQuery),
    responses((status = 200, description = "One page", body = ForgeStatusList),
        (status = "4XX", description = "A wrong filter or key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<Shared>,
    Looker(caller): Looker,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Answer<Json<ForgeStatusList>> {
    let malformed = |detail: String| Problem::new(Code::Malformed, detail);
    let Query(query) = query.map_err(|error| malformed(error.body_text()))?;
    let state = match query.status.as_deref() {
        None => None,
        Some(word) => Some(
            UntoldState::parse(word)
                .ok_or_else(|| malformed("`status` must be `pending` or `failed`".to_owned()))?,
        ),
    };
    let limit = page_limit(query.limit)?;
    let sight = caller.reach.sight();
    let page = app
        .read(move |store| store.untold_statuses((&sight, state), query.cursor.as_deref(), limit))
        .await?;
    Ok(Json(ForgeStatusList {
        statuses: page.items.into_iter().map(view).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Has a forge be told again, at once and with a new round of attempts, how a job stands.
#[utoipa::path(post, path = "/api/v1/forges/statuses/{id}/replay", operation_id = "replay_forge_status", tag = "forges",
    params(("id" = String, Path, description = "The job's id or short id")),
    responses((status = 200, description = "It is due now", body = ForgeStatus),
        (status = "4XX", description = "Unknown, no forge asked for it, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn replay(
    State(app): State<Shared>,
    Doer(caller): Doer,
    Id(id): Id,
) -> Answer<Json<ForgeStatus>> {
    let job = find_id(&app, &caller, &id).await?;
    let due = app.store.tell_again(job).await;
    let due = due.map_err(|error| app.problem(&error))?;
    let detail = "no forge asked for this job, so none is told of it";
    let due = due.ok_or_else(|| Problem::new(Code::NotFound, detail))?;
    Ok(Json(view(due)))
}

fn view(it: UntoldStatus) -> ForgeStatus {
    let status = it.state().as_str().to_owned();
    ForgeStatus {
        job_id: it.job.id.to_string(),
        pipeline: it.job.pipeline,
        job_status: it.job.state.as_str().to_owned(),
        kind: it.from.kind.as_str().to_owned(),
        name: it.from.name,
        repository: it.from.repository,
        commit: it.from.commit,
        status,
        attempts: it.attempts,
        next_attempt_at: it.due_at,
        error: it.error,
    }
}

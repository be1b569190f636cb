//! Jobs of a fork's commit, which may have no secrets until somebody has looked at that commit.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use danube_api::{Code, ForgeView, JobView, Problem};
use danube_model::{FromForge, JobId};
use danube_store::ForgeJob;

use super::answer::Answer;
use super::asked::Asked;
use super::caller::DoerOnRecord;
use super::incoming::Id;
use super::jobs::find;
use super::retries::again;
use super::submits::accepted;
use crate::app::Shared;
use crate::auth::Caller;

/// Runs an ended job of a fork's commit again, as a new job that may have the secrets of its
/// pipeline. It is the same commit, whatever the fork has become since.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/approve", tag = "jobs", params(("id" = String, Path, description = "Id or short id")),
    responses((status = 202, description = "The new job", body = JobView),
        (status = "4XX", description = "Unknown, not ended, not of a fork or approved already, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn approve(
    State(app): State<Shared>,
    DoerOnRecord(caller): DoerOnRecord,
    Extension(asked): Extension<Asked>,
    Id(id): Id,
) -> Answer<Response> {
    Ok(accepted(approved(&app, caller, &asked, &id).await?))
}

/// The same in the name of this caller; the new job.
pub(super) async fn approved(
    app: &Shared,
    caller: Caller,
    asked: &Asked,
    id: &str,
) -> Result<JobView, Problem> {
    let began = asked.now();
    let id = find(app, &caller, id).await?.id;
    let found = app.read(move |store| store.forge_job(id)).await?;
    if !found.is_some_and(|it| it.from.is_untrusted()) {
        let detail = "the job has all that its pipeline may have: only one of a fork's commit is approved, and once";
        return Err(Problem::new(Code::WrongState, detail));
    }
    again(app, caller, (asked, began), (id, true)).await
}

/// Where a job comes from, if a forge asked for it.
pub(super) async fn origin(app: &Shared, job: JobId) -> Result<Option<ForgeView>, Problem> {
    let found = app.read(move |store| store.forge_job(job)).await?;
    Ok(found.map(view))
}

fn view(ForgeJob { from, error, .. }: ForgeJob) -> ForgeView {
    let FromForge {
        kind,
        name,
        repository,
        commit,
        request,
        is_fork,
        approved_by,
    } = from;
    ForgeView {
        kind: kind.as_str().to_owned(),
        name,
        repository,
        commit,
        request,
        is_fork,
        approved_by,
        status_error: error,
    }
}

//! Runs ended jobs again, each as a new job.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::Response;
use danube_api::{Code, JobView, Problem};
use danube_model::JobId;
use danube_signals::Stretch;
use danube_store::{Retry, RetryOutcome};

use super::answer::Answer;
use super::asked::Asked;
use super::caller::Doer;
use super::incoming::Id;
use super::jobs::{find_id, unknown};
use super::submits::{accepted, no_secrets, tell_submitted, traced};
use crate::app::{Shared, blocking};
use crate::auth::Caller;

/// Runs an ended job again, as a new job.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/retry", tag = "jobs", params(("id" = String, Path, description = "Id or short id")),
    responses((status = 202, description = "The new job", body = JobView),
        (status = "4XX", description = "Unknown, not ended, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn retry(
    State(app): State<Shared>,
    Doer(caller): Doer,
    Extension(asked): Extension<Asked>,
    Id(id): Id,
) -> Answer<Response> {
    Ok(accepted(retried(&app, caller, &asked, &id).await?))
}

/// Runs an ended job again in the name of this caller; the new job.
pub(super) async fn retried(
    app: &Shared,
    caller: Caller,
    asked: &Asked,
    id: &str,
) -> Result<JobView, Problem> {
    let began = asked.now();
    let id = find_id(app, &caller, id).await?;
    retriable(app, &caller, id).await?;
    again(app, caller, (asked, began), (id, false)).await
}

/// Runs it again; with `approve`, with what its pipeline may have.
pub(super) async fn again(
    app: &Shared,
    caller: Caller,
    (asked, began): (&Asked, u64),
    (id, approve): (JobId, bool),
) -> Result<JobView, Problem> {
    let load = Stretch {
        began,
        ended: asked.now(),
    };
    let context = asked.context();
    let retry = Retry {
        job: id,
        new: JobId::new(),
        by: caller.name,
        owner: caller.owner,
        trace_id: context.trace_hex(),
        traceparent: context.child().to_string(),
        trace: asked.trace("retry", load),
    };
    let outcome = match approve {
        true => app.store.approve(retry),
        false => app.store.retry(retry),
    };
    match outcome.await.map_err(|error| app.problem(&error))? {
        RetryOutcome::Made(job) => {
            let durable = asked.now();
            tell_submitted(app, &job, "retry");
            traced(app, asked, &job, (load, durable));
            app.phases.touch(job.id);
            Ok(JobView::whole(job))
        }
        RetryOutcome::NotEnded(job) => {
            let detail = format!(
                "the job hasn't ended: {}; cancel it first, or wait",
                job.state
            );
            Err(Problem::new(Code::WrongState, detail))
        }
        RetryOutcome::NotFound => Err(unknown(&id.to_string())),
    }
}

/// Whether what a job was given once may be given to it again: a user's own job may have been
/// that of a pipeline that is no pipeline any more.
async fn retriable(app: &Shared, caller: &Caller, id: JobId) -> Result<(), Problem> {
    if !caller.reach.is_member() {
        return Ok(());
    }
    let job = app.read(move |store| store.job(id)).await?;
    let Some(job) = job.filter(|it| caller.reach.asks_whose(&it.pipeline)) else {
        return Ok(());
    };
    let opens = app.read(move |store| store.opens_secrets(id)).await?;
    let shared = Arc::clone(app);
    let declared = blocking(move || shared.pipelines.find(&job.pipeline).is_ok()).await?;
    no_secrets(app, caller, opens && !declared)
}

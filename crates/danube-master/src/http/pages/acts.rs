//! What the buttons of a job's page do.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use danube_api::Problem;

use super::forms::Sent;
use super::frame::{Visit, base_of};
use crate::app::{App, Shared};
use crate::http::approvals::approved;
use crate::http::asked::Asked;
use crate::http::audit;
use crate::http::incoming::Id;
use crate::http::jobs::stop;
use crate::http::retries::retried;

/// Stops a job.
pub(super) async fn cancel(State(app): State<Shared>, Id(id): Id, Sent(visit): Sent) -> Response {
    let stopped = stop(&app, visit.caller.clone(), &id).await;
    on(&app, &visit, stopped.map(|it| it.id.to_string()))
}

/// Runs an ended job again.
pub(super) async fn retry(
    State(app): State<Shared>,
    Extension(asked): Extension<Asked>,
    Id(id): Id,
    Sent(visit): Sent,
) -> Response {
    let made = retried(&app, visit.caller.clone(), &asked, &id).await;
    on(&app, &visit, made.map(|it| it.id))
}

/// Runs an ended job of a fork's commit again, with the secrets of its pipeline.
pub(super) async fn approve(
    State(app): State<Shared>,
    Extension(asked): Extension<Asked>,
    Id(id): Id,
    Sent(visit): Sent,
) -> Response {
    if let Err(problem) = audit::ask_for(&app, &asked, &visit.caller).await {
        return visit.refuse(&app, problem);
    }
    let made = approved(&app, visit.caller.clone(), &asked, &id).await;
    on(&app, &visit, made.map(|it| it.id))
}

/// The page of the job that there is now, or why there is none.
fn on(app: &App, visit: &Visit, job: Result<String, Problem>) -> Response {
    match job {
        // Sent again by a reload, nothing happens twice.
        Ok(job) => Redirect::to(&format!("{}/jobs/{job}", base_of(&app.settings))).into_response(),
        Err(problem) => visit.refuse(app, problem),
    }
}

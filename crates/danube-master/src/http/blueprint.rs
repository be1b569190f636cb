//! The blueprint: how it stands, and a sync now.

use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use danube_api::{BlueprintError, BlueprintSynced, BlueprintView, Code, FieldProblem, Problem};

use super::answer::Answer;
use super::caller::Manager;
use crate::app::Shared;
use crate::blueprint::{NotSynced, sync};

/// How long a sync is waited for: an answer has 30 seconds.
const WAIT: Duration = Duration::from_secs(25);

/// Where it is.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/blueprint", get(blueprint))
        .route("/blueprint/sync", post(sync_now))
}

/// How the blueprint stands: the commit in force, what it declares by name, and what is wrong
/// with a later one.
#[utoipa::path(get, path = "/api/v1/blueprint", tag = "blueprint",
    responses((status = 200, description = "How it stands; without `url` none is followed", body = BlueprintView),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn blueprint(State(app): State<Shared>, _: Manager) -> Json<BlueprintView> {
    Json(app.blueprint.view(&app.settings))
}

/// Looks at the blueprint's repository now, and answers with what came of it.
#[utoipa::path(post, path = "/api/v1/blueprint/sync", tag = "blueprint", operation_id = "sync",
    responses((status = 200, description = "The branch's commit is in force", body = BlueprintSynced),
        (status = "4XX", description = "A wrong key, none is followed, or the commit is wrong: `errors` says where, and what was in force stays", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The repository can't be read, or not in time; what was in force stays", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn sync_now(
    State(app): State<Shared>,
    _: Manager,
) -> Answer<Json<BlueprintSynced>> {
    // A task of its own: it goes on when nobody waits any more.
    let syncing = tokio::spawn(async move { sync(&app, true).await });
    let Ok(done) = tokio::time::timeout(WAIT, syncing).await else {
        let detail = "the sync goes on; `GET /api/v1/blueprint` tells how it ends";
        return Err(Problem::new(Code::TooSlow, detail).into());
    };
    let done = done.map_err(|_| Problem::new(Code::Internal, "the sync ended early"))?;
    Ok(Json(done.map_err(problem)?))
}

fn problem(why: NotSynced) -> Problem {
    match why {
        NotSynced::NotFollowed => Problem::new(
            Code::NoBlueprint,
            "this server follows no blueprint: `blueprint.url` isn't set",
        ),
        NotSynced::Stopped => Problem::new(Code::Unavailable, "the server is stopping"),
        NotSynced::Problem(problem) => problem,
        NotSynced::Failed(error) => failed(error),
    }
}

fn failed(error: BlueprintError) -> Problem {
    if error.mistakes.is_empty() {
        return Problem::new(Code::BlueprintAway, error.message);
    }
    let errors = error.mistakes.iter().map(|it| FieldProblem {
        pointer: it.place(),
        message: it.message.clone(),
    });
    Problem {
        errors: errors.collect(),
        ..Problem::new(Code::BlueprintWrong, error.message)
    }
}

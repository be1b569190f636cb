//! Workers on other machines: make, list, revoke.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use danube_api::{Code, FieldProblem, NewWorker, NewWorkerView, Problem, WorkerList, WorkerView};
use danube_model::spec::is_name;
use danube_store::WorkerRecord;

use super::answer::{Answer, json};
use super::audit::OnRecord;
use super::caller::Manager;
use super::incoming::{Id, Whole};
use crate::app::Shared;
use crate::auth::MintedWorker;
use crate::remote::is_elsewhere;

/// Makes a worker.
#[utoipa::path(post, path = "/api/v1/workers", tag = "workers", request_body = NewWorker,
    responses((status = 201, description = "The worker with its token, shown this once", body = NewWorkerView),
        (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<Shared>,
    _: Manager,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Answer<Response> {
    let value = json(&headers, &body)?;
    let new: NewWorker =
        serde_json::from_value(value).map_err(|error| wrong("", error.to_string()))?;
    if !is_name(&new.name) {
        let why = "must be a name: letters, digits, spaces and `-_./:()+#&,`";
        return Err(wrong("/name", why.to_owned()).into());
    }
    if !is_elsewhere(&new.name) {
        let why = "must not begin with `local-`: so the server names its own worker";
        return Err(wrong("/name", why.to_owned()).into());
    }
    let minted = MintedWorker::new(&new.name);
    let record = app
        .store
        .create_worker(minted.record)
        .await
        .map_err(|error| app.problem(&error))?;
    app.workers.learn(&record);
    let made = OnRecord(format!("worker `{}`", record.name));
    let view = NewWorkerView {
        token: minted.token,
        about: view(record, &HashMap::new()),
    };
    Ok((StatusCode::CREATED, Extension(made), Json(view)).into_response())
}

fn wrong(pointer: &str, message: String) -> Problem {
    Problem {
        errors: vec![FieldProblem {
            pointer: pointer.to_owned(),
            message,
        }],
        ..Problem::new(Code::Invalid, "nothing was changed")
    }
}

/// Lists the workers, without their tokens.
#[utoipa::path(get, path = "/api/v1/workers", tag = "workers",
    responses((status = 200, description = "Every worker on another machine", body = WorkerList),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<Shared>, _: Manager) -> Answer<Json<WorkerList>> {
    Ok(Json(all(&app).await?))
}

/// Every worker on another machine.
pub(super) async fn all(app: &Shared) -> Result<WorkerList, Problem> {
    let workers = app.read(danube_store::Store::workers).await?;
    let connected = app.remote.connected();
    let workers = workers.into_iter().map(|it| view(it, &connected));
    Ok(WorkerList {
        workers: workers.collect(),
    })
}

/// Revokes a worker's token, at once and for ever. What it runs goes to others when
/// its lease is over.
#[utoipa::path(delete, path = "/api/v1/workers/{name}", tag = "workers",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "It is worth nothing now", body = WorkerView),
        (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn revoke(
    State(app): State<Shared>,
    _: Manager,
    Id(name): Id,
) -> Answer<Json<WorkerView>> {
    let revoked = app
        .store
        .revoke_worker(&name)
        .await
        .map_err(|error| app.problem(&error))?;
    let Some(record) = revoked else {
        return Err(Problem::new(Code::NotFound, "there is no live worker with this name").into());
    };
    app.workers.learn(&record);
    Ok(Json(view(record, &HashMap::new())))
}

fn view(record: WorkerRecord, connected: &HashMap<String, usize>) -> WorkerView {
    let jobs = connected
        .get(&record.name)
        .filter(|_| record.revoked_at.is_none());
    WorkerView {
        jobs: jobs.map_or(0, |it| *it as u64),
        is_connected: jobs.is_some(),
        name: record.name,
        prefix: record.prefix,
        created_at: record.created_at,
        revoked_at: record.revoked_at,
        last_seen_at: record.last_seen_at,
    }
}

//! What an administrator changes while the server runs: the level of its log, and the
//! key that seals what it stores.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use danube_api::{
    Code, ConfigView, FieldProblem, LogLevelView, NewLogLevel, Problem, ReapView, SealKeyView,
};

use super::answer::{Answer, json};
use super::caller::Manager;
use super::incoming::Small;
use crate::app::Shared;
use crate::log_level::LEVEL_SECS_MAX;
use crate::{reaper, seal_key};

/// Bytes of a request: the longest level has 64 loggers.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024;

/// The settings that hold now, and who said each: a flag, the environment, the file, the
/// blueprint, or nobody.
#[utoipa::path(get, path = "/api/v1/admin/config", tag = "admin",
    responses((status = 200, description = "All of them", body = ConfigView),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn config(State(app): State<Shared>, _: Manager) -> Json<ConfigView> {
    Json(app.config())
}

/// How the level of the server's log stands.
#[utoipa::path(get, path = "/api/v1/admin/log-level", tag = "admin",
    responses((status = 200, description = "The level", body = LogLevelView),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn log_level(State(app): State<Shared>, _: Manager) -> Json<LogLevelView> {
    Json(app.log_level.view())
}

/// Changes the level of the server's log at once, for some time or until it is changed
/// again.
#[utoipa::path(put, path = "/api/v1/admin/log-level", tag = "admin", request_body = NewLogLevel,
    responses((status = 200, description = "The level as it stands now", body = LogLevelView),
        (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn set_log_level(
    State(app): State<Shared>,
    Manager(caller): Manager,
    headers: HeaderMap,
    Small(body): Small<BODY_BYTES_MAX>,
) -> Answer<Json<LogLevelView>> {
    let value = json(&headers, &body)?;
    let new: NewLogLevel =
        serde_json::from_value(value).map_err(|error| wrong("", error.to_string()))?;
    let time = match new.for_seconds {
        None => None,
        Some(secs @ 1..=LEVEL_SECS_MAX) => Some(Duration::from_secs(secs)),
        Some(_) => {
            let message = format!("must be between 1 and {LEVEL_SECS_MAX} seconds");
            return Err(wrong("/for_seconds", message).into());
        }
    };
    let view = app.log_level.set(&new.level, time, &caller.name);
    Ok(Json(
        view.map_err(|error| wrong("/level", error.to_string()))?,
    ))
}

/// How the key stands that seals what is stored.
#[utoipa::path(get, path = "/api/v1/admin/seal-key", tag = "admin",
    responses((status = 200, description = "The key and its rotation", body = SealKeyView),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn seal_key(State(app): State<Shared>, _: Manager) -> Json<SealKeyView> {
    Json(seal_key::view(&app))
}

/// Replaces the key that seals what is stored, while everything goes on. Asked again, a
/// rotation that runs or stopped goes on.
#[utoipa::path(post, path = "/api/v1/admin/seal-key/rotate", tag = "admin",
    responses((status = 202, description = "It has begun; ask for the state to see its end", body = SealKeyView),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn rotate_seal_key(
    State(app): State<Shared>,
    _: Manager,
) -> Answer<(StatusCode, Json<SealKeyView>)> {
    seal_key::rotate(&app).await?;
    Ok((StatusCode::ACCEPTED, Json(seal_key::view(&app))))
}

/// Deletes now what is kept no longer, which otherwise happens in its time.
#[utoipa::path(post, path = "/api/v1/admin/reaper", tag = "admin",
    params(("dry_run" = Option<bool>, Query, description = "Only say which logs would go")),
    responses((status = 200, description = "What was deleted, or would be", body = ReapView),
        (status = "4XX", description = "Nothing was deleted", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "It may go on", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn reap(
    State(app): State<Shared>,
    _: Manager,
    query: Result<Query<Reap>, QueryRejection>,
) -> Answer<Json<ReapView>> {
    let Query(Reap { dry_run }) =
        query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    Ok(Json(reaper::asked(&app, dry_run).await?))
}

/// How it is asked for.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reap {
    #[serde(default)]
    dry_run: bool,
}

fn wrong(pointer: &str, message: String) -> Problem {
    let error = FieldProblem {
        pointer: pointer.to_owned(),
        message,
    };
    Problem {
        errors: vec![error],
        ..Problem::new(Code::Invalid, "nothing was changed")
    }
}

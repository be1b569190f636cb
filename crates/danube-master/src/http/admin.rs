//! What an administrator changes while the server runs: the level of its log.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use danube_api::{Code, FieldProblem, LogLevelView, NewLogLevel, Problem};

use super::answer::{Answer, json};
use super::caller::Manager;
use super::incoming::Small;
use crate::app::Shared;
use crate::log_level::LEVEL_SECS_MAX;

/// Bytes of a request: the longest level has 64 loggers.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024;

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

//! Health, the API's own description, and what isn't there.

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use danube_api::{Code, HealthReport, HealthView, Problem, ReadyView};
use danube_model::Timestamp;

use super::answer::Refusal;
use super::caller::{Local, Reader};
use super::openapi;
use crate::app::Shared;

/// The process answers; it asks nothing else, so that a broken dependency never
/// restarts the server.
#[utoipa::path(get, path = "/health", tag = "health", security(()),
    responses((status = 200, description = "The process answers", body = HealthView)))]
pub(crate) async fn health() -> Json<HealthView> {
    Json(HealthView {
        status: "ok".to_owned(),
        timestamp: Timestamp::now(),
    })
}

/// Whether the master can take work, from the latest results of its checks.
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()),
    responses((status = 200, description = "Ready", body = ReadyView),
        (status = 503, description = "Not ready; `checks` says why", body = ReadyView)))]
pub(crate) async fn ready(State(app): State<Shared>) -> Response {
    let report = app.health.report();
    let (code, status) = if report.is_ready {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    let checks = report.checks.into_iter();
    let body = ReadyView {
        status: status.to_owned(),
        checks: checks
            .map(|(check, result)| (check.to_owned(), result.to_owned()))
            .collect(),
        timestamp: Timestamp::now(),
    };
    (code, Json(body)).into_response()
}

/// Each check with what it found last, how old that is, and what was tried.
#[utoipa::path(get, path = "/api/v1/health", tag = "health",
    responses((status = 200, description = "Whatever was found", body = HealthReport),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn report(State(app): State<Shared>, _: Reader) -> Json<HealthReport> {
    Json(app.health.view())
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "health", security((), ("bearer" = []), ("x-api-key" = [])),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = serde_json::Value)))]
pub(crate) async fn openapi(_: Local) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        openapi::document(),
    )
        .into_response()
}

pub(crate) async fn not_found(uri: Uri) -> Refusal {
    Problem::new(
        Code::NotFound,
        format!("there is nothing at `{}`", shown(&uri)),
    )
    .into()
}

pub(crate) async fn method_not_allowed(method: Method, uri: Uri) -> Refusal {
    Problem::new(
        Code::MethodNotAllowed,
        format!("`{}` doesn't take {method}", shown(&uri)),
    )
    .into()
}

/// The path without its query, which might hold something private.
fn shown(uri: &Uri) -> String {
    uri.path().chars().take(200).collect()
}

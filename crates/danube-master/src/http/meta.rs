//! Health, the API's own description, and what isn't there.

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use danube_api::{Code, HealthReport, HealthView, Problem, ReadyView};
use danube_model::Timestamp;
use danube_telemetry::LabelEnum;

use super::answer::Refusal;
use super::caller::{Local, Reader};
use super::openapi;
use crate::app::Shared;

/// Whether the process lives: it answers, and none of its own loops has stalled. It asks
/// nothing else, so that a broken dependency never restarts the server.
#[utoipa::path(get, path = "/health", tag = "health", security(()),
    responses((status = 200, description = "The process lives", body = HealthView),
        (status = 503, description = "A loop has stalled; only a restart helps", body = HealthView)))]
pub(crate) async fn health(State(app): State<Shared>) -> Response {
    let stalled = app.liveness.stalled();
    let (code, status) = if stalled.is_empty() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "failed")
    };
    let body = HealthView {
        status: status.to_owned(),
        stalled: stalled.iter().map(|it| it.as_str().to_owned()).collect(),
        timestamp: Timestamp::now(),
    };
    (code, Json(body)).into_response()
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

/// The answer to a method that a path doesn't take.
pub(crate) fn method_not_allowed(method: &Method, uri: &Uri) -> Refusal {
    Problem::new(
        Code::MethodNotAllowed,
        format!("`{}` doesn't take {method}", shown(uri)),
    )
    .into()
}

/// The path without its query, which might hold something private.
fn shown(uri: &Uri) -> String {
    uri.path().chars().take(200).collect()
}

//! Health, the API's own description, and what isn't there.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use danube_api::{Code, Problem};
use danube_model::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::answer::Refusal;
use super::caller::Local;
use super::openapi;
use crate::app::Shared;

/// The process answers; it asks nothing else, so that a broken dependency never
/// restarts the server.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, description = "The process answers")))]
pub(crate) async fn health() -> Json<serde_json::Value> {
    Json(json!({"status": "ok", "timestamp": Timestamp::now()}))
}

/// Whether the master can take work, from the latest results of its checks.
#[utoipa::path(get, path = "/health/ready", tag = "health",
    responses((status = 200, description = "Ready"), (status = 503, description = "Not ready; `checks` says why")))]
pub(crate) async fn ready(State(app): State<Shared>) -> Response {
    let report = app.health.report();
    let (code, status) = if report.is_ready {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    let body = Readiness {
        status,
        checks: report.checks,
        timestamp: Timestamp::now(),
    };
    (code, Json(body)).into_response()
}

/// In the order in which the documents show it.
#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    checks: BTreeMap<&'static str, &'static str>,
    timestamp: Timestamp,
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "health", responses((status = 200, description = "OpenAPI 3.1")))]
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

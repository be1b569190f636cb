//! Artifacts that are kept whatever the settings say, because somebody said so.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use danube_api::{ArtifactList, Code, KeepArtifacts, Problem};

use super::answer::{Answer, json};
use super::artifacts::{listed, one};
use super::caller::DoerOnRecord;
use super::incoming::{Id, Small};
use super::jobs::find;
use crate::app::Shared;

/// Bytes of the body: a name of 255 bytes, each written as `\u0000`, and some JSON around it.
const BODY_BYTES_MAX: usize = 4096;

/// Has artifacts of a job be kept until they are released, whatever `retention` says, or
/// releases them.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/artifacts", tag = "artifacts", request_body = KeepArtifacts,
    params(("id" = String, Path, description = "Id or short id")),
    responses((status = 200, description = "All that the job left", body = ArtifactList),
        (status = "4XX", description = "Unknown, or a wrong key or body; nothing was changed", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn keep(
    State(app): State<Shared>,
    DoerOnRecord(caller): DoerOnRecord,
    Id(id): Id,
    headers: HeaderMap,
    Small(body): Small<BODY_BYTES_MAX>,
) -> Answer<Json<ArtifactList>> {
    let asked: KeepArtifacts = serde_json::from_value(json(&headers, &body)?)
        .map_err(|error| Problem::new(Code::Malformed, error.to_string()))?;
    let found = find(&app, &caller, &id).await?;
    let job = found.id;
    if let Some(name) = &asked.name {
        one(&app, job, name).await?;
    }
    let kept = app.store.keep_artifacts(job, asked.name, asked.keep).await;
    kept.map_err(|error| app.problem(&error))?;
    Ok(Json(listed(&app, &found).await?))
}

//! Where artifacts come from, signed; and the key to check it with.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use danube_api::{Code, Envelope, Problem};
use danube_store::StoreError;

use super::answer::Answer;
use super::caller::Looker;
use super::incoming::Id;
use super::jobs::find;
use crate::app::{Shared, blocking};
use crate::provenance::{self, Known};

/// Says where a job's artifacts come from: SLSA provenance in an in-toto statement, signed
/// (DSSE, Ed25519).
#[utoipa::path(get, path = "/api/v1/jobs/{id}/provenance", tag = "artifacts", params(("id" = String, Path, description = "Id or short id")),
    responses((status = 200, description = "The signed statement about what the last attempt left", body = Envelope),
        (status = "4XX", description = "Unknown, still running, nothing left, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn of_job(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Id(id): Id,
) -> Answer<Json<Envelope>> {
    let job = find(&app, &caller, &id).await?;
    if !job.state.is_terminal() {
        let detail = "the job hasn't ended yet, and may leave more";
        return Err(Problem::new(Code::WrongState, detail).into());
    }
    let nothing = || {
        let detail = "the job's last attempt left no artifacts, or none is kept any more";
        Problem::new(Code::NotFound, detail)
    };
    let own = app.clone();
    let made = app.read(move |store| {
        let Some(of) = store.job_trace(job.id)? else {
            return Ok(None);
        };
        let artifacts = store.artifacts(job.id)?;
        let commit = match of.repository {
            Some(_) => own
                .traces
                .of(job.id)?
                .as_deref()
                .and_then(|it| provenance::commit(&of, it)),
            None => None,
        };
        let builder = own.settings.public_url.clone();
        let known = Known {
            artifacts: &artifacts,
            commit,
            secrets: &own.traces.secrets(&of),
            builder: &builder.unwrap_or_else(|| format!("http://{}", own.settings.listen)),
            of: &of,
        };
        let Some(statement) = provenance::statement(&known) else {
            return Ok(None);
        };
        let signed = provenance::sign(&own.provenance, &statement);
        let signed = signed.map_err(|error| StoreError::Io(format!("sign it: {error}")))?;
        Ok(Some(signed))
    });
    Ok(Json(made.await?.ok_or_else(nothing)?))
}

/// The public keys that provenance is signed with: the current one first, then those before.
#[utoipa::path(get, path = "/api/v1/provenance/key", tag = "artifacts",
    responses((status = 200, description = "PEM", body = String, content_type = "application/x-pem-file"),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn key(State(app): State<Shared>, _: Looker) -> Answer<Response> {
    let pem = blocking(move || app.provenance.public()).await?;
    let pem = pem.map_err(|error| {
        let detail = format!("the key that signs can't be read or made: {error}");
        Problem::new(Code::Unavailable, detail)
    })?;
    let kind = HeaderValue::from_static("application/x-pem-file");
    Ok(([(header::CONTENT_TYPE, kind)], pem).into_response())
}

//! Credentials: set, list, delete, and who was given them. Admins set and delete;
//! members see names and metadata, because their jobs name them; viewers see
//! nothing. A value comes in and never goes out again.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use danube_api::{
    CREDENTIALS_PATH, Code, CredentialList, CredentialUsage, CredentialUseView, CredentialView,
    NewCredential, Problem,
};
use danube_model::limits::CREDENTIAL_VALUE_BYTES_MAX;
use danube_store::CredentialRecord;

use super::answer::{Answer, json};
use super::audit::OnRecord;
use super::caller::{Manager, Steward};
use super::incoming::{Id, Small};
use crate::app::{Shared, blocking};
use crate::credentials;

/// Bytes of a body: a key and its passphrase, each byte of which may be written as
/// `\u0000`, and some JSON around them.
pub(crate) const BODY_BYTES_MAX: usize = 2 * 6 * CREDENTIAL_VALUE_BYTES_MAX + 8 * 1024;

/// Makes a credential.
#[utoipa::path(post, path = "/api/v1/credentials", tag = "credentials",
    request_body(content = NewCredential, example = json!({"name": "deploy", "kind": "password", "username": "deploy", "password": "correct horse battery"})),
    responses((status = 201, description = "What is known of it", body = CredentialView),
        (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<Shared>,
    Manager(caller): Manager,
    headers: HeaderMap,
    Small(body): Small<BODY_BYTES_MAX>,
) -> Answer<Response> {
    let new = read(&app, &headers, &body, None).await?;
    let made = app.store.create_credential(new, &caller.name).await;
    let record = made.map_err(|error| app.problem(&error))?;
    Ok(made_answer(record))
}

/// Makes a credential, or sets it anew.
#[utoipa::path(put, path = "/api/v1/credentials/{name}", tag = "credentials",
    request_body(content = NewCredential, example = json!({"kind": "password", "username": "deploy", "password": "correct horse battery"})),
    params(("name" = String, Path, description = "Its name; the body has none")),
    responses((status = 200, description = "It was set anew", body = CredentialView),
        (status = 201, description = "It is new", body = CredentialView),
        (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn put(
    State(app): State<Shared>,
    Manager(caller): Manager,
    Id(name): Id,
    headers: HeaderMap,
    Small(body): Small<BODY_BYTES_MAX>,
) -> Answer<Response> {
    let new = read(&app, &headers, &body, Some(name)).await?;
    let put = app.store.put_credential(new, &caller.name).await;
    let (record, is_new) = put.map_err(|error| app.problem(&error))?;
    if is_new {
        return Ok(made_answer(record));
    }
    Ok(Json(view(record)).into_response())
}

/// Lists what is known of the credentials; never their values.
#[utoipa::path(get, path = "/api/v1/credentials", tag = "credentials",
    responses((status = 200, description = "Every credential", body = CredentialList),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<Shared>, _: Steward) -> Answer<Json<CredentialList>> {
    Ok(Json(all(&app).await?))
}

/// What is known of every credential.
pub(super) async fn all(app: &Shared) -> Result<CredentialList, Problem> {
    let all = app.read(danube_store::Store::credentials).await?;
    Ok(CredentialList {
        credentials: all.into_iter().map(view).collect(),
    })
}

/// What is known of one credential.
#[utoipa::path(get, path = "/api/v1/credentials/{name}", tag = "credentials", params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "What is known of it", body = CredentialView),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn one(
    State(app): State<Shared>,
    _: Steward,
    Id(name): Id,
) -> Answer<Json<CredentialView>> {
    let asked = name.clone();
    let found = app.read(move |store| store.credential(&asked)).await?;
    let record = found.ok_or_else(|| unknown(&name))?;
    Ok(Json(view(record)))
}

/// Forgets a credential. A job that names it fails from now on, and says so.
#[utoipa::path(delete, path = "/api/v1/credentials/{name}", tag = "credentials", params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "What was known of it", body = CredentialView),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(app): State<Shared>,
    _: Manager,
    Id(name): Id,
) -> Answer<Json<CredentialView>> {
    let deleted = app.store.delete_credential(&name).await;
    let deleted = deleted.map_err(|error| app.problem(&error))?;
    let record = deleted.ok_or_else(|| unknown(&name))?;
    Ok(Json(view(record)))
}

/// Which jobs were given a credential, the latest first. Known also when it was deleted.
#[utoipa::path(get, path = "/api/v1/credentials/{name}/usage", tag = "credentials", params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "Jobs and times", body = CredentialUsage),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn usage(
    State(app): State<Shared>,
    _: Steward,
    Id(name): Id,
) -> Answer<Json<CredentialUsage>> {
    let asked = name.clone();
    let found = app.read(move |store| store.credential_uses(&asked)).await?;
    let uses = found.ok_or_else(|| unknown(&name))?;
    let uses = uses.into_iter().map(|it| CredentialUseView {
        job_id: it.job.to_string(),
        attempt: it.attempt,
        at: it.at,
    });
    Ok(Json(CredentialUsage {
        uses: uses.collect(),
    }))
}

/// The body, checked; the server's log never shows its values from here on.
async fn read(
    app: &Shared,
    headers: &HeaderMap,
    body: &[u8],
    name: Option<String>,
) -> Result<danube_model::credential::Credential, Problem> {
    let body = json(headers, body)?;
    // Values are tried on a redactor, which takes a processor.
    let checked = blocking(move || credentials::check(body, name.as_deref())).await?;
    let new = checked.map_err(|mistakes| Problem::invalid(&mistakes))?;
    for value in new.values.values() {
        (app.log_mask)(value.reveal().as_bytes());
    }
    Ok(new)
}

fn made_answer(record: CredentialRecord) -> Response {
    // A name has nothing that would have to be escaped.
    let place = format!("{CREDENTIALS_PATH}/{}", record.name);
    let head = (StatusCode::CREATED, [(header::LOCATION, place)]);
    let made = OnRecord(format!("credential `{}`", record.name));
    (head.0, head.1, Extension(made), Json(view(record))).into_response()
}

fn unknown(name: &str) -> Problem {
    let detail = format!("there is no credential `{}`", name.escape_debug());
    Problem::new(Code::NotFound, detail)
}

fn view(record: CredentialRecord) -> CredentialView {
    CredentialView {
        name: record.name,
        kind: record.kind,
        metadata: record.metadata,
        version: record.version,
        created_at: record.created_at,
        created_by: record.created_by,
        updated_at: record.updated_at,
        updated_by: record.updated_by,
        last_used_at: record.last_used_at,
    }
}

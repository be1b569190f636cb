//! Secrets of pipelines: set, list, delete. Only admins do, of the pipeline or of everything; a
//! value comes in and goes out to jobs alone.

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, get};
use axum::{Extension, Json, Router};
use danube_api::{Code, NewSecret, Problem, SecretList, SecretView};
use danube_blueprint::Permission;
use danube_model::limits::{NAME_BYTES_MAX, SECRET_VALUE_BYTES_MAX};
use danube_store::SecretRecord;
use serde::Deserialize;
use utoipa::IntoParams;
use zeroize::Zeroizing;

use super::answer::{Answer, json};
use super::audit::OnRecord;
use super::caller::{Doer, DoerOnRecord};
use super::incoming::{Id, Small};
use crate::app::{Shared, blocking};
use crate::auth::Caller;
use crate::secrets;

/// Bytes of a body: each of the value's may be written as `\u0000`, and there is some JSON
/// around it.
const BODY_BYTES_MAX: usize = 6 * SECRET_VALUE_BYTES_MAX + 1024;

/// Where secrets are.
pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/secrets", get(list)).route(
        "/secrets/{name}",
        routing::put(put)
            .delete(delete)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX)),
    )
}

/// The query, as it came.
type Asked = Result<Query<SecretQuery>, QueryRejection>;

/// Whose secret it is.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretQuery {
    /// The pipeline that it is for; of every pipeline that names it when absent.
    #[param(min_length = 1)]
    pipeline: Option<String>,
}

/// Sets a secret. A pipeline that names it in `secrets` may have it in its steps; one that is
/// set for a pipeline goes before one of the same name that is set for all.
#[utoipa::path(put, path = "/api/v1/secrets/{name}", tag = "secrets",
    params(("name" = String, Path, description = "Its name: letters, digits and `-_.`"), SecretQuery),
    request_body(content = NewSecret, example = json!({"value": "correct horse battery"})),
    responses((status = 200, description = "It has another value now", body = SecretView),
        (status = 201, description = "It is new", body = SecretView),
        (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn put(
    State(app): State<Shared>,
    DoerOnRecord(caller): DoerOnRecord,
    (Id(name), query): (Id, Asked),
    headers: HeaderMap,
    Small(body): Small<BODY_BYTES_MAX>,
) -> Answer<Response> {
    let pipeline = whose(query)?;
    permit(&app, &caller, pipeline.as_deref())?;
    let mut body = json(&headers, &body)?;
    // The value is tried on a redactor, which takes a processor.
    let checked = blocking(move || {
        let checked = secrets::check(&body, name, pipeline);
        wipe(&mut body);
        checked
    });
    let new = checked
        .await?
        .map_err(|mistakes| Problem::invalid(&mistakes))?;
    (app.log_mask)(new.value.reveal().as_bytes());
    let put = app.store.put_secret(new, &caller.name).await;
    let (record, is_new) = put.map_err(|error| app.problem(&error))?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let about = on_record(&record);
    Ok((status, about, Json(view(record))).into_response())
}

/// Lists names; never values.
#[utoipa::path(get, path = "/api/v1/secrets", tag = "secrets",
    responses((status = 200, description = "Every secret of the pipelines that the caller is an admin of", body = SecretList),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<Shared>,
    Doer(caller): Doer,
) -> Answer<Json<SecretList>> {
    Ok(Json(known(&app, &caller, caller.wish.right).await?))
}

/// What is known of the secrets of pipelines to which the caller has this right.
pub(super) async fn known(
    app: &Shared,
    caller: &Caller,
    right: Permission,
) -> Result<SecretList, Problem> {
    let mut all = app.read(danube_store::Store::secrets).await?;
    all.retain(|it| match &it.pipeline {
        Some(pipeline) => caller.reach.right(pipeline, None) >= Some(right),
        None => caller.reach.is_all(),
    });
    Ok(SecretList {
        secrets: all.into_iter().map(view).collect(),
    })
}

/// Forgets a secret. A job that asks for it fails from now on, and says so.
#[utoipa::path(delete, path = "/api/v1/secrets/{name}", tag = "secrets",
    params(("name" = String, Path, description = "Its name"), SecretQuery),
    responses((status = 200, description = "What was known of it", body = SecretView),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(app): State<Shared>,
    DoerOnRecord(caller): DoerOnRecord,
    Id(name): Id,
    query: Asked,
) -> Answer<Response> {
    let pipeline = whose(query)?;
    permit(&app, &caller, pipeline.as_deref())?;
    let deleted = app.store.delete_secret(pipeline.as_deref(), &name).await;
    let deleted = deleted.map_err(|error| app.problem(&error))?;
    let Some(record) = deleted else {
        let of = pipeline.map_or_else(
            || "for all pipelines".to_owned(),
            |it| format!("of pipeline `{}`", it.escape_debug()),
        );
        let detail = format!("there is no secret `{}` {of}", name.escape_debug());
        return Err(Problem::new(Code::NotFound, detail).into());
    };
    app.vault.deleted(&record.name);
    let about = on_record(&record);
    Ok((about, Json(view(record))).into_response())
}

fn whose(query: Asked) -> Result<Option<String>, Problem> {
    let query = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let pipeline = query.0.pipeline;
    if pipeline.as_ref().is_some_and(String::is_empty) {
        let detail = "`pipeline` is empty; leave it out for a secret of all pipelines";
        return Err(Problem::new(Code::Malformed, detail));
    }
    Ok(pipeline)
}

/// Whether the caller may change secrets of this pipeline, or those of all.
fn permit(app: &Shared, caller: &Caller, pipeline: Option<&str>) -> Result<(), Problem> {
    if let Some(pipeline) = pipeline {
        let permitted = app.permits(caller, (pipeline, None));
        return permitted.map_err(|it| it.or(|| no_pipeline(pipeline)));
    }
    if caller.reach.is_all() {
        return Ok(());
    }
    app.denied(caller, "all pipelines");
    let detail = format!(
        "`{}` is no administrator of all pipelines; name one with `pipeline`",
        caller.name
    );
    Err(Problem::new(Code::Forbidden, detail))
}

fn no_pipeline(name: &str) -> Problem {
    let name: String = name.chars().take(NAME_BYTES_MAX).collect();
    let detail = format!("there is no pipeline `{}`", name.escape_debug());
    Problem::new(Code::NotFound, detail)
}

/// Overwrites the value.
fn wipe(body: &mut serde_json::Value) {
    if let Some(serde_json::Value::String(text)) = body.get_mut("value") {
        drop(Zeroizing::new(std::mem::take(text)));
    }
}

/// The path doesn't say whose it is.
fn on_record(it: &SecretRecord) -> Extension<OnRecord> {
    let of = it.pipeline.as_ref();
    let of = of.map_or_else(String::new, |it| format!(" of pipeline `{it}`"));
    Extension(OnRecord(format!("secret `{}`{of}", it.name)))
}

fn view(it: SecretRecord) -> SecretView {
    SecretView {
        name: it.name,
        pipeline: it.pipeline,
        version: it.version,
        created_at: it.created_at,
        created_by: it.created_by,
        updated_at: it.updated_at,
        updated_by: it.updated_by,
        last_used_at: it.last_used_at,
    }
}

//! The audit log: what was asked for in the name of a key and changes more than a job, and who
//! signed in and out; put down before it is done, and how it was answered.
//!
//! An entry that can't be written refuses the request, so nothing is done off the record.
//! [`danube_model::AuditHead`] says how entries are bound to each other.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::request::Parts;
use axum::response::Response;
use danube_api::{
    AUDIT_PAGE_DEFAULT, AUDIT_PAGE_MAX, AuditEntry, AuditFact, AuditList, Code, Problem,
};
use danube_model::Timestamp;
use danube_telemetry::trace::hex;
use serde::Deserialize;
use utoipa::IntoParams;

use super::answer::{Answer, Refusal};
use super::asked::Asked;
use super::caller::Overseer;
use crate::app::{App, Shared};
use crate::auth::Caller;

/// Characters of a path that are kept: names are far shorter, and a path is bounded by its
/// request's head alone.
const PATH_CHARS_MAX: usize = 512;

/// What an answer's handler adds to the entry: what was made, where the path doesn't say so.
/// Never a secret.
#[derive(Clone)]
pub(crate) struct OnRecord(pub(crate) String);

/// Puts down what is asked for, before it is done.
pub(crate) async fn ask(app: &App, parts: &Parts, caller: &Caller) -> Result<(), Refusal> {
    let Some(asked) = parts.extensions.get::<Asked>() else {
        return Err(Problem::new(Code::Internal, "the request isn't known").into());
    };
    Ok(ask_for(app, asked, caller).await?)
}

/// The same, where the handler finds out who asks. Only for who is known: strangers could fill
/// the disk with what is never deleted.
pub(crate) async fn ask_for(app: &App, asked: &Asked, caller: &Caller) -> Result<(), Problem> {
    let fact = AuditFact::Asked {
        user: caller.name.clone(),
        key: caller.key_name(),
        method: asked.method().to_string(),
        path: asked.path().chars().take(PATH_CHARS_MAX).collect(),
        trace_id: hex(&asked.context().trace_id),
    };
    let seq = put_down(app, fact).await?;
    asked.put_down(seq);
    Ok(())
}

/// Puts down how what was asked for was answered, if it was put down.
pub(crate) async fn answered(app: &App, asked: &Asked, mut response: Response) -> Response {
    let Some(seq) = asked.entry() else {
        return response;
    };
    let about = response.extensions_mut().remove::<OnRecord>();
    let fact = AuditFact::Answered {
        to: seq,
        status: response.status().as_u16(),
        about: about.map(|OnRecord(text)| text),
    };
    // It is done by now, and the first entry says that it was asked for. Trouble with the
    // disk is told to health by `problem`.
    let _ = put_down(app, fact).await;
    response
}

async fn put_down(app: &App, fact: AuditFact) -> Result<u64, Problem> {
    let entry = AuditEntry {
        time: Timestamp::now(),
        fact,
    };
    let text = serde_json::to_string(&entry).expect("texts and numbers");
    let added = app.store.audit(text).await;
    added.map_err(|error| app.problem(&error))
}

/// Which entries are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    /// The number of the entry before the first one that is wanted; 0 when absent.
    #[param(minimum = 0)]
    after: Option<u64>,
    /// So many at most, 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// The audit log, oldest first. Each entry is a JSON text, hashed as it is here.
#[utoipa::path(get, path = "/api/v1/audit", tag = "admin", params(AuditQuery),
    responses((status = 200, description = "Entries after a number, and how far the log goes", body = AuditList),
        (status = "4XX", description = "A wrong key or query", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<Shared>,
    _: Overseer,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Answer<Json<AuditList>> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let limit = query.limit.unwrap_or(AUDIT_PAGE_DEFAULT);
    if !(1..=AUDIT_PAGE_MAX).contains(&limit) {
        let why = format!("`limit` must be 1 to {AUDIT_PAGE_MAX}");
        return Err(Problem::new(Code::Malformed, why).into());
    }
    let after = query.after.unwrap_or(0);
    if i64::try_from(after).is_err() {
        let why = "`after` must be the number of an entry, or 0";
        return Err(Problem::new(Code::Malformed, why).into());
    }
    let (rows, head) = app
        .read(move |store| store.audit_entries(after, limit))
        .await?;
    let entries = rows.into_iter().map(|it| danube_api::AuditRow {
        seq: it.seq,
        entry: it.entry,
        hash: hex(&it.hash),
    });
    Ok(Json(AuditList {
        entries: entries.collect(),
        head: head.to_string(),
    }))
}

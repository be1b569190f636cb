//! API keys: make, list, revoke.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use danube_api::{Code, FieldProblem, KeyList, KeyView, NewKey, NewKeyView, Problem};
use danube_model::spec::is_name;
use danube_store::{KeyRecord, Role};

use super::answer::{Answer, json};
use super::audit::OnRecord;
use super::caller::Manager;
use super::incoming::{Id, Whole};
use crate::app::Shared;
use crate::auth::{MintedKey, owner};

/// Makes an API key.
#[utoipa::path(post, path = "/api/v1/api-keys", tag = "keys", request_body = NewKey,
    responses((status = 201, description = "The key, shown this once", body = NewKeyView),
        (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<Shared>,
    _: Manager,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Answer<Response> {
    let value = json(&headers, &body)?;
    let new: NewKey =
        serde_json::from_value(value).map_err(|error| wrong(vec![("", error.to_string())]))?;
    let role = Role::parse(&new.role);
    let mut mistakes = Vec::new();
    if !is_name(&new.name) {
        mistakes.push((
            "/name",
            "must be a name: letters, digits, spaces and `-_./:()+#&,`".to_owned(),
        ));
    }
    if role.is_none() {
        mistakes.push(("/role", "must be `viewer`, `member` or `admin`".to_owned()));
    }
    let (Some(role), []) = (role, mistakes.as_slice()) else {
        return Err(wrong(mistakes).into());
    };
    let minted = MintedKey::new(&new.name, role);
    let record = app
        .store
        .create_key(minted.record)
        .await
        .map_err(|error| app.problem(&error))?;
    app.keys.learn(&record);
    let made = OnRecord(format!(
        "key {} `{}` with the role `{}`",
        record.id.0,
        record.name,
        record.role.as_str()
    ));
    let view = NewKeyView {
        key: minted.key,
        about: view(record),
    };
    Ok((StatusCode::CREATED, Extension(made), Json(view)).into_response())
}

fn wrong(mistakes: Vec<(&str, String)>) -> Problem {
    let errors = mistakes.into_iter().map(|(pointer, message)| FieldProblem {
        pointer: pointer.to_owned(),
        message,
    });
    Problem {
        errors: errors.collect(),
        ..Problem::new(Code::Invalid, "nothing was changed")
    }
}

/// Lists the keys, without the keys themselves.
#[utoipa::path(get, path = "/api/v1/api-keys", tag = "keys",
    responses((status = 200, description = "Every key", body = KeyList),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<Shared>, _: Manager) -> Answer<Json<KeyList>> {
    let keys = app.read(danube_store::Store::keys).await?;
    Ok(Json(KeyList {
        keys: keys.into_iter().map(view).collect(),
    }))
}

/// Revokes a key, by id or name, at once and for ever.
#[utoipa::path(delete, path = "/api/v1/api-keys/{id}", tag = "keys", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The revoked key", body = KeyView),
        (status = "4XX", description = "Unknown, the last admin key, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn revoke(
    State(app): State<Shared>,
    _: Manager,
    Id(id): Id,
) -> Answer<Json<KeyView>> {
    let _alone = app.keys.revoking.lock().await;
    let keys = app.read(danube_store::Store::keys).await?;
    let live: Vec<&KeyRecord> = keys.iter().filter(|it| it.revoked_at.is_none()).collect();
    let Some(key) = live
        .iter()
        .find(|it| it.id.0.to_string() == id || it.name == id)
    else {
        return Err(
            Problem::new(Code::NotFound, "there is no live key with this id or name").into(),
        );
    };
    let admins = live.iter().filter(|it| it.role == Role::Admin).count();
    if key.role == Role::Admin && admins == 1 {
        let detail = "this is the last admin key; make another one first";
        return Err(Problem::new(Code::WrongState, detail).into());
    }
    let revoked = app
        .store
        .revoke_key(key.id)
        .await
        .map_err(|error| app.problem(&error))?;
    let Some(record) = revoked else {
        return Err(Problem::new(Code::NotFound, "the key was revoked already").into());
    };
    app.keys.learn(&record);
    // Browsers that came in with the key go out with it.
    app.sessions.end_all(&owner(&record));
    Ok(Json(view(record)))
}

fn view(record: KeyRecord) -> KeyView {
    KeyView {
        id: record.id.0.to_string(),
        name: record.name,
        role: record.role.as_str().to_owned(),
        prefix: record.prefix,
        created_at: record.created_at,
        revoked_at: record.revoked_at,
    }
}

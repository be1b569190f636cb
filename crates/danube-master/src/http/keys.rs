//! API keys: make, list, revoke.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use danube_api::{Code, FieldProblem, KeyList, KeyView, NewKey, NewKeyView, Problem};
use danube_model::Timestamp;
use danube_model::limits::KEY_PIPELINES_MAX;
use danube_model::spec::is_name;
use danube_store::{KeyBounds, KeyRecord, Role};

use super::answer::{Answer, json};
use super::audit::OnRecord;
use super::caller::Manager;
use super::incoming::{Id, Whole};
use crate::app::Shared;
use crate::auth::{MintedKey, is_pattern};

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
    let mut mistakes = wrong_bounds(&new);
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
    let bounds = KeyBounds {
        expires_at: new.expires_at,
        account: new.account,
        pipelines: new.pipelines,
        user: None,
    };
    let minted = MintedKey::new(&new.name, role, bounds);
    let record = app
        .store
        .create_key(minted.record)
        .await
        .map_err(|error| app.problem(&error))?;
    app.keys.learn(&record);
    let made = OnRecord(about(&record));
    let view = NewKeyView {
        key: minted.key,
        about: view(record),
    };
    Ok((StatusCode::CREATED, Extension(made), Json(view)).into_response())
}

/// What is wrong with what bounds a key.
fn wrong_bounds(new: &NewKey) -> Vec<(&'static str, String)> {
    let mut mistakes = Vec::new();
    if let Some(at) = new.expires_at
        && at <= Timestamp::now()
    {
        mistakes.push(("/expires_at", format!("must be in the future, not {at}")));
    }
    if new.account.as_ref().is_some_and(|it| !is_name(it)) {
        let what = "must be a name: letters, digits, spaces and `-_./:()+#&,`";
        mistakes.push(("/account", what.to_owned()));
    }
    let Some(pipelines) = &new.pipelines else {
        return mistakes;
    };
    if !(1..=KEY_PIPELINES_MAX).contains(&pipelines.len()) {
        let what = format!("must be 1 to {KEY_PIPELINES_MAX} patterns; leave it out for all");
        mistakes.push(("/pipelines", what));
    }
    if let Some(text) = pipelines.iter().find(|it| !is_pattern(it)) {
        let text: String = text.chars().take(40).collect();
        let what = format!(
            "`{}` must be a name of a pipeline, in which `*` stands for any text",
            text.escape_debug()
        );
        mistakes.push(("/pipelines", what));
    }
    if new.role == Role::Admin.as_str() {
        let what = "an admin key reaches everything; make it `member` or `viewer`, or leave \
                    `pipelines` out";
        mistakes.push(("/role", what.to_owned()));
    }
    mistakes
}

/// A new key, for the audit log.
pub(crate) fn about(record: &KeyRecord) -> String {
    let KeyBounds {
        expires_at,
        account,
        pipelines,
        user,
    } = &record.bounds;
    let may = match user {
        // Whatever they are at each request.
        Some(user) => format!("the rights of user `{user}`"),
        None => format!("the role `{}`", record.role.as_str()),
    };
    let mut text = format!("key {} `{}` with {may}", record.id.0, record.name);
    if let Some(account) = account {
        text.push_str(&format!(" of account `{account}`"));
    }
    if let Some(at) = expires_at {
        text.push_str(&format!(" until {at}"));
    }
    if let Some(pipelines) = pipelines {
        text.push_str(&format!(" for {}", pipelines.join(", ")));
    }
    text
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
    Ok(Json(all(&app).await?))
}

/// Every key.
pub(super) async fn all(app: &Shared) -> Result<KeyList, Problem> {
    let keys = app.read(danube_store::Store::keys).await?;
    Ok(KeyList {
        keys: keys.into_iter().map(view).collect(),
    })
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
    // One that expires leaves nobody, in its time.
    let lasts = |it: &KeyRecord| it.role == Role::Admin && it.bounds.expires_at.is_none();
    if lasts(key) && live.iter().filter(|it| lasts(it)).count() == 1 {
        let detail = "this is the last admin key that doesn't expire; make another one first";
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
    app.sessions.end_all(record.id);
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
        is_expired: record
            .bounds
            .expires_at
            .is_some_and(|it| it <= Timestamp::now()),
        expires_at: record.bounds.expires_at,
        account: record.bounds.account,
        pipelines: record.bounds.pipelines,
    }
}

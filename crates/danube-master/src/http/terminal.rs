//! `danube login`: a browser that is signed in hands a key to the command line on its machine.
//!
//! The key goes over no address: the browser takes a one-time code to a port of loopback, and only
//! who began there knows what makes a key of it (PKCE).

use std::time::{Duration, Instant};

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use danube_api::{Code, LoginEnded, LoginKey, LoginProof, Problem};
use danube_model::Timestamp;
use danube_pages::login::TerminalPage;
use danube_signals::LoginSucceeded;
use danube_store::{KeyBounds, Role, SessionOf};
use danube_telemetry::trace::hex;
use serde::Deserialize;

use super::answer::{Answer, json};
use super::asked::Asked;
use super::audit::{self, OnRecord};
use super::caller::{Looker, caller, cookie};
use super::incoming::Small;
use super::keys::about;
use super::pages::{bare, base_of, is_foreign, is_ours, leading, refused, secure};
use crate::app::{App, Shared};
use crate::auth::{MintedKey, random};

/// How long a key of `danube login` is good: a working day, as a session.
const KEY_LIFE: Duration = Duration::from_secs(12 * 3_600);

/// Such keys of one user at once.
const KEYS_MAX: usize = 20;

/// Bytes of what is sent here.
pub(crate) const BODY_BYTES_MAX: usize = 4 * 1024;

/// Holds where somebody wanted to go before they signed in.
const NEXT_COOKIE: &str = "danube_next";

/// What the command line asks for.
#[derive(Deserialize)]
pub(crate) struct Wish {
    port: u16,
    challenge: String,
    state: String,
}

impl Wish {
    /// Whether each part is what it says, and so nothing that means anything in a page.
    fn is_sound(&self) -> bool {
        let is_token = |it: &str| {
            (22..=86).contains(&it.len())
                && it
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
        };
        self.port >= 1_024 && is_token(&self.challenge) && is_token(&self.state)
    }

    fn path(&self) -> String {
        let Self {
            port,
            challenge,
            state,
        } = self;
        format!("/login/cli?port={port}&challenge={challenge}&state={state}")
    }
}

/// Asks whether the command line may act for who is signed in.
pub(crate) async fn ask(
    State(app): State<Shared>,
    headers: HeaderMap,
    query: Result<Query<Wish>, QueryRejection>,
) -> Response {
    let Some(wish) = query.ok().map(|Query(it)| it).filter(Wish::is_sound) else {
        return refused(&app, StatusCode::BAD_REQUEST, WRONG);
    };
    let Ok(caller) = caller(&app, &headers) else {
        let to = if app.oidc.is_on() {
            "/login/oidc"
        } else {
            "/login"
        };
        let to = format!("{}{to}", base_of(&app.settings));
        let mut response = Redirect::to(&to).into_response();
        keep_next(&app, &mut response, &wish.path(), 600);
        return response;
    };
    match caller.user {
        Some(user) => bare(
            &app,
            &TerminalPage {
                user,
                port: wish.port,
                challenge: wish.challenge,
                state: wish.state,
            },
        ),
        None => refused(&app, StatusCode::FORBIDDEN, NO_USER),
    }
}

const WRONG: &str = "This isn't an address that `danube login` prints.";
const NO_USER: &str = "You are signed in with a key or a link, and not as a user: give the command line that key, as \
                       DANUBE_API_KEY or with --key-file. To sign in as a user, log out first.";

/// Where somebody wanted to go before they signed in, if they did.
pub(crate) fn next(headers: &HeaderMap) -> Option<String> {
    let kept = cookie(headers, NEXT_COOKIE)?;
    let Some(query) = kept.strip_prefix("/login/cli?") else {
        return Some(kept.to_owned()).filter(|it| is_ours(it));
    };
    let mut wish = (None, None, None);
    for (name, value) in query.split('&').filter_map(|it| it.split_once('=')) {
        match name {
            "port" => wish.0 = value.parse().ok(),
            "challenge" => wish.1 = Some(value.to_owned()),
            "state" => wish.2 = Some(value.to_owned()),
            _ => {}
        }
    }
    let wish = Wish {
        port: wish.0?,
        challenge: wish.1?,
        state: wish.2?,
    };
    wish.is_sound().then(|| wish.path())
}

/// Keeps where somebody wants to go once they are signed in.
pub(super) fn keep_next(app: &App, response: &mut Response, path: &str, seconds: u32) {
    let (base, secure) = (base_of(&app.settings), secure(app));
    let text = format!(
        "{NEXT_COOKIE}={path}; HttpOnly; SameSite=Lax; Path={base}/login; Max-Age={seconds}{secure}"
    );
    let value = HeaderValue::from_str(&text).expect("it is sound");
    response.headers_mut().append(header::SET_COOKIE, value);
}

/// Sends the browser back to the command line with a code.
pub(crate) async fn allow(
    State(app): State<Shared>,
    headers: HeaderMap,
    form: Result<Form<Wish>, FormRejection>,
) -> Response {
    let Some(wish) = form.ok().map(|Form(it)| it).filter(Wish::is_sound) else {
        return refused(&app, StatusCode::BAD_REQUEST, WRONG);
    };
    // No foreign page may say yes for somebody.
    let who = caller(&app, &headers)
        .ok()
        .filter(|_| !is_foreign(&headers));
    let Some(user) = who.and_then(|it| it.user) else {
        return refused(&app, StatusCode::FORBIDDEN, NO_USER);
    };
    let code = app.codes.new_code(&user, &wish.challenge, Instant::now());
    let mut response = leading(&format!(
        "http://127.0.0.1:{}/?code={code}&state={}",
        wish.port, wish.state
    ));
    keep_next(&app, &mut response, "", 0);
    response
}

/// Makes a key of a code.
pub(crate) async fn key(
    State(app): State<Shared>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    Small(body): Small<BODY_BYTES_MAX>,
) -> Answer<(Extension<OnRecord>, Json<LoginKey>)> {
    let proof: LoginProof = serde_json::from_value(json(&headers, &body)?)
        .map_err(|error| Problem::new(Code::Malformed, error.to_string()))?;
    let user = app.codes.take(&proof.code, &proof.verifier, Instant::now());
    let user = user.ok_or_else(|| {
        let detail = "the code was used, is too old, or isn't yours; run `danube login` again";
        Problem::new(Code::Unauthorized, detail)
    })?;
    let caller = app.behind(&SessionOf::User(user.clone()));
    let caller = caller.map_err(|it| Problem::new(Code::Unauthorized, it.detail()))?;
    audit::ask_for(&app, &asked, &caller).await?;
    if app.keys.of_user(&user) >= KEYS_MAX {
        let detail = format!(
            "`{user}` is logged in {KEYS_MAX} times already; `danube logout` where it isn't needed, or \
             wait until one expires"
        );
        return Err(Problem::new(Code::WrongState, detail).into());
    }
    let millis = i64::try_from(KEY_LIFE.as_millis()).unwrap_or(i64::MAX);
    let expires_at = Timestamp::from_millis(Timestamp::now().as_millis() + millis);
    let bounds = KeyBounds {
        expires_at: Some(expires_at),
        user: Some(user.clone()),
        ..KeyBounds::default()
    };
    let number = hex(&random::<4>());
    // What the role is, the blueprint says at each request.
    let minted = MintedKey::new(&format!("login/{user}/{number}"), Role::Viewer, bounds);
    let record = app.store.create_key(minted.record).await;
    let record = record.map_err(|error| app.problem(&error))?;
    app.keys.learn(&record);
    let made = OnRecord(about(&record));
    app.signals.emit(LoginSucceeded {
        user: &user,
        resource: None,
        action: Some("login from the command line"),
    });
    let shown = LoginKey {
        key: minted.key,
        user,
        expires_at,
    };
    Ok((Extension(made), Json(shown)))
}

/// Ends a key that `danube login` got, with that key.
pub(crate) async fn end(
    State(app): State<Shared>,
    Extension(asked): Extension<Asked>,
    Looker(caller): Looker,
) -> Answer<(Extension<OnRecord>, Json<LoginEnded>)> {
    let (Some(key), Some(user)) = (caller.key, caller.user.clone()) else {
        let detail = "this key isn't one of `danube login`; an administrator revokes it";
        return Err(Problem::new(Code::WrongState, detail).into());
    };
    audit::ask_for(&app, &asked, &caller).await?;
    let revoked = app.store.revoke_key(key).await;
    if let Some(record) = revoked.map_err(|error| app.problem(&error))? {
        app.keys.learn(&record);
    }
    let ended = OnRecord(format!("key {} of user `{user}` is no more", key.0));
    Ok((Extension(ended), Json(LoginEnded { user })))
}

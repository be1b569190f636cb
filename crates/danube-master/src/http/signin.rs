//! Sign-in at an OpenID provider: a browser leaves for it and comes back.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use danube_store::SessionOf;
use serde::Deserialize;

use super::answer::Refusal;
use super::asked::Asked;
use super::caller::cookie;
use super::pages::{base_of, entered, is_ours, refused, secure};
use super::terminal;
use crate::app::{App, Shared, blocking};
use crate::oidc::Failed;
use crate::settings::Settings;
use crate::start::address;

/// Holds what the browser has to bring back, so that nobody can finish a sign-in in another's.
const STATE_COOKIE: &str = "danube_signin";

/// Where browsers come back to; the provider must know it.
pub(crate) const BACK: &str = "/login/oidc/callback";

/// Where somebody wanted to go.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    next: Option<String>,
}

/// Sends a browser to the provider.
pub(crate) async fn begin(
    State(app): State<Shared>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let begun = match asking(&app, |it| it.oidc.begin(&back(it))).await {
        Ok(begun) => begun,
        Err(refusal) => return refusal,
    };
    let mut response = Redirect::to(&begun.url).into_response();
    keep(&app, &mut response, &begun.state, 600);
    let next = wanted.ok().and_then(|Query(it)| it.next);
    if let Some(next) = next.filter(|it| is_ours(it)) {
        terminal::keep_next(&app, &mut response, &next, 600);
    }
    response
}

/// What the provider sends along.
#[derive(Deserialize)]
pub(crate) struct CameBack {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Takes a browser back from the provider, and signs it in if it is a user's.
pub(crate) async fn back_again(
    State(app): State<Shared>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    query: Result<Query<CameBack>, QueryRejection>,
) -> Response {
    let mut response = finish(&app, &asked, &headers, query).await;
    // It is worth nothing any more.
    keep(&app, &mut response, "", 0);
    response
}

async fn finish(
    app: &Shared,
    asked: &Asked,
    headers: &HeaderMap,
    query: Result<Query<CameBack>, QueryRejection>,
) -> Response {
    let Ok(Query(came)) = query else {
        return told(app, &Failed::Stale);
    };
    let state = came.state.unwrap_or_default();
    if state.is_empty() || cookie(headers, STATE_COOKIE) != Some(&state) {
        return told(app, &Failed::Stale);
    }
    if let Some(error) = came.error {
        let more = came.error_description.unwrap_or_default();
        let said: String = format!("{error} {more}").chars().take(200).collect();
        return told(app, &Failed::Provider(said.trim().to_owned()));
    }
    let code = came.code.unwrap_or_default();
    match asking(app, move |it| it.oidc.finish(&state, &code, &back(it))).await {
        Ok(email) => sign_in(app, asked, &email, terminal::next(headers)).await,
        Err(refusal) => refusal,
    }
}

/// Asks the provider in its turn, on a thread that may block; what is shown, when that fails.
async fn asking<T: Send + 'static>(
    app: &Shared,
    ask: impl FnOnce(&App) -> Result<T, Failed> + Send + 'static,
) -> Result<T, Response> {
    let Ok(turn) = Arc::clone(&app.oidc.turns).try_acquire_owned() else {
        return Err(told(app, &Failed::Busy));
    };
    let asked = app.clone();
    let answer = blocking(move || {
        let _turn = turn;
        ask(&asked)
    });
    match answer.await {
        Ok(answer) => answer.map_err(|failed| told(app, &failed)),
        Err(problem) => Err(Refusal(problem).into_response()),
    }
}

/// Somebody was taken out of the blueprint while they signed in.
const GONE: &str = "You aren't signed in: you were a user of this server until just now.";

/// Begins a session for the user with this address, if the blueprint in force has one.
async fn sign_in(app: &App, asked: &Asked, email: &str, next: Option<String>) -> Response {
    let blueprint = app.blueprint.get();
    let user = blueprint.as_ref().and_then(|it| it.user_by_email(email));
    let Some((name, _)) = user else {
        let email: String = email.chars().take(200).collect();
        let why = format!(
            "The provider knows you as {email}, but no user of this server has that address. \
             Ask an administrator to declare you in the blueprint."
        );
        return refused(app, StatusCode::FORBIDDEN, &why);
    };
    let who = SessionOf::User(name.to_owned());
    entered(app, asked, Some(who), (GONE, next)).await
}

fn told(app: &App, failed: &Failed) -> Response {
    let status = match failed {
        Failed::Off => StatusCode::NOT_FOUND,
        Failed::Busy => StatusCode::TOO_MANY_REQUESTS,
        Failed::Provider(_) => StatusCode::BAD_GATEWAY,
        Failed::Stale | Failed::Refused(_) | Failed::NoEmail | Failed::Unverified => {
            StatusCode::UNAUTHORIZED
        }
    };
    refused(app, status, &format!("You aren't signed in: {failed}."))
}

fn keep(app: &App, response: &mut Response, state: &str, seconds: u32) {
    let (base, secure) = (base_of(&app.settings), secure(app));
    let text = format!(
        "{STATE_COOKIE}={state}; HttpOnly; SameSite=Lax; Path={base}/login/oidc; \
         Max-Age={seconds}{secure}"
    );
    let value = HeaderValue::from_str(&text).expect("states are base64");
    response.headers_mut().append(header::SET_COOKIE, value);
}

fn back(app: &App) -> String {
    back_of(&app.settings)
}

/// Where browsers come back to from the provider, with these settings.
pub(crate) fn back_of(settings: &Settings) -> String {
    let base = match &settings.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => address(settings),
    };
    format!("{base}{BACK}")
}

//! The sign-in by a one-time link or a key, and the sign-out.

use std::time::Instant;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use danube_api::Problem;
use danube_model::Timestamp;
use danube_pages::login::{LoginPage, StayedPage};
use danube_signals::{LoginFailed, LoginSucceeded};
use danube_store::SessionOf;
use serde::Deserialize;

use super::frame::{bare, base_of, is_foreign, leading, secure};
use crate::app::{App, Shared};
use crate::auth::SESSION_COOKIE;
use crate::http::asked::Asked;
use crate::http::audit::{self, OnRecord};
use crate::http::caller::session;

/// What the login page may be given.
#[derive(Deserialize)]
pub(crate) struct LoginQuery {
    /// The token of a one-time link.
    token: Option<String>,
    /// The page that they asked for.
    next: Option<String>,
}

/// Follows a one-time link, or asks for a key.
pub(crate) async fn login(
    State(app): State<Shared>,
    Extension(asked): Extension<Asked>,
    query: Result<Query<LoginQuery>, QueryRejection>,
) -> Response {
    let Ok(Query(LoginQuery { token, next })) = query else {
        return page(&app, "", None);
    };
    let next = next.filter(|it| is_ours(it));
    let Some(token) = token else {
        return page(&app, "", next);
    };
    let is_good = app.sessions.follow_link(&token, Instant::now());
    entered(
        &app,
        &asked,
        is_good.then_some(SessionOf::Link),
        (
            "This link was used or is too old. Start the server again for a new one, or enter an API key.",
            None,
        ),
    )
    .await
}

/// The form of the login page.
#[derive(Deserialize)]
pub(crate) struct LoginForm {
    /// An API key.
    key: String,
    /// The page that they asked for.
    #[serde(default)]
    next: String,
}

/// Whether it is the address of one of our pages, and no other site's.
pub(crate) fn is_ours(next: &str) -> bool {
    // Nothing that means something in a cookie, a page or another notation of an address.
    let is_plain = next
        .bytes()
        .all(|it| it.is_ascii_graphic() && !b"\\\"'<>;,".contains(&it));
    next.starts_with('/') && !next.starts_with("//") && is_plain
}

/// Begins a session for somebody with a key.
pub(crate) async fn login_with_key(
    State(app): State<Shared>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    Form(form): Form<LoginForm>,
) -> Response {
    // A form on a foreign page must not log anybody in.
    let foreign = is_foreign(&headers);
    let who = app.keys.caller(form.key.trim()).ok().filter(|_| !foreign);
    entered(
        &app,
        &asked,
        who.and_then(|it| it.key).map(SessionOf::Key),
        (
            "This isn't a valid key, or it has expired.",
            Some(form.next).filter(|it| is_ours(it)),
        ),
    )
    .await
}

/// Begins a session for who was recognised, on record.
pub(crate) async fn entered(
    app: &App,
    asked: &Asked,
    of: Option<SessionOf>,
    (refusal, next): (&str, Option<String>),
) -> Response {
    let caller = of.as_ref().and_then(|it| app.behind(it).ok());
    let Some((of, caller)) = of.zip(caller) else {
        return refused(app, StatusCode::UNAUTHORIZED, refusal);
    };
    let begun = match audit::ask_for(app, asked, &caller).await {
        Ok(()) => app.sessions.begin(&app.store, of, Timestamp::now()).await,
        Err(problem) => return no_entry(app, &problem),
    };
    let token = match begun {
        Ok(token) => token,
        Err(error) => return no_entry(app, &app.problem(&error)),
    };
    app.signals.emit(LoginSucceeded {
        user: &caller.name,
        resource: None,
        action: Some("login"),
    });
    let cookie = cookie(app, &token, "");
    let mut response = with_cookie(app, &cookie, next.as_deref().unwrap_or("/"));
    let made = OnRecord("a browser's session".to_owned());
    response.extensions_mut().insert(made);
    response
}

/// The store refuses a session.
fn no_entry(app: &App, problem: &Problem) -> Response {
    let why = format!("You aren't signed in: {}.", problem.detail);
    refused(app, status(problem), &why)
}

fn status(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The login page with the reason why nobody is signed in.
pub(crate) fn refused(app: &App, status: StatusCode, why: &str) -> Response {
    app.signals.emit(LoginFailed {
        user: None,
        resource: None,
        action: Some("login"),
    });
    login_page(app, status, why)
}

/// The login page with a message.
pub(crate) fn login_page(app: &App, status: StatusCode, message: &str) -> Response {
    let mut response = page(app, message, None);
    *response.status_mut() = status;
    response
}

fn page(app: &App, message: &str, next: Option<String>) -> Response {
    bare(
        app,
        &LoginPage {
            message: message.to_owned(),
            is_oidc: app.oidc.is_on(),
            next: next.unwrap_or_default(),
        },
    )
}

/// The session's cookie, for the paths of this server alone.
fn cookie(app: &App, token: &str, more: &str) -> String {
    let (base, secure) = (base_of(&app.settings), secure(app));
    format!("{SESSION_COOKIE}={token}; HttpOnly; SameSite=Lax; Path={base}/{more}{secure}")
}

/// Ends the session, on record. A browser keeps its cookie until the session is no more: one that
/// only forgot it would look signed out, and whoever had copied it would be in.
pub(crate) async fn logout(
    State(app): State<Shared>,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
) -> Response {
    if is_foreign(&headers) {
        let why = "the page of another site asked for it";
        return stayed(&app, StatusCode::FORBIDDEN, why);
    }
    if let Some(token) = session(&headers)
        && let Err(problem) = end(&app, &asked, token).await
    {
        return stayed(&app, status(&problem), &problem.detail);
    }
    let gone = cookie(&app, "", "; Max-Age=0");
    with_cookie(&app, &gone, "/login")
}

async fn end(app: &App, asked: &Asked, token: &str) -> Result<(), Problem> {
    let seen = app.sessions.seen(token, Timestamp::now());
    // One whose key or user is gone opens nothing; it is forgotten all the same.
    if let Some(caller) = seen.and_then(|it| app.behind(&it.of).ok()) {
        audit::ask_for(app, asked, &caller).await?;
    }
    let ended = app.sessions.end(&app.store, token).await;
    ended.map_err(|error| app.problem(&error))
}

/// Nobody was signed out, and why not.
fn stayed(app: &App, status: StatusCode, why: &str) -> Response {
    let why = why.to_owned();
    let mut response = bare(app, &StayedPage { why });
    *response.status_mut() = status;
    response
}

/// A page that sets the cookie and leads on by itself.
fn with_cookie(app: &App, cookie: &str, to: &str) -> Response {
    let mut response = leading(&format!("{}{to}", base_of(&app.settings)));
    let value = HeaderValue::from_str(cookie).expect("tokens are base64");
    response.headers_mut().insert(header::SET_COOKIE, value);
    response
}

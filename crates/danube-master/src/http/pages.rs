//! The plain pages: jobs, one job and its log, a login and a logout. They only read.

use std::time::Instant;

use askama::Template;
use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use danube_api::{JobView, Problem};
use danube_joblog::Chunk;
use danube_model::Timestamp;
use danube_signals::{LoginFailed, LoginSucceeded};
use danube_store::{Filter, SessionOf};
use serde::Deserialize;

use super::answer::Answer;
use super::asked::Asked;
use super::audit::{self, OnRecord};
use super::caller::{caller, session};
use super::incoming::Id;
use super::jobs::{find, with_live_log, with_log};
use super::notice::{Notice, notice};
use super::text::Derive;
use crate::app::{App, Shared, blocking};
use crate::auth::{Caller, SESSION_COOKIE};

/// Jobs on the first page.
const JOBS_SHOWN: usize = 50;

/// Bytes of a log that the plain page shows: its end. The rest is behind the
/// link to the whole text.
const LOG_BYTES_SHOWN: u64 = 256 * 1024;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

#[derive(Template)]
#[template(path = "jobs.html")]
struct JobsPage {
    user: Option<String>,
    jobs: Vec<JobView>,
    is_live: bool,
    notice: Option<Notice>,
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    user: Option<String>,
    job: JobView,
    log: String,
    skipped_bytes: u64,
    is_live: bool,
    notice: Option<Notice>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    message: &'a str,
    is_oidc: bool,
}

/// The newest jobs.
pub(crate) async fn jobs(State(app): State<Shared>, headers: HeaderMap) -> Answer<Response> {
    let Ok(caller) = caller(&app, &headers) else {
        return Ok(Redirect::to("/login").into_response());
    };
    let filter = Filter {
        sight: caller.reach.sight(),
        ..Filter::default()
    };
    let page = app
        .read(move |store| store.list(&filter, None, JOBS_SHOWN))
        .await?;
    let jobs: Vec<JobView> = page
        .items
        .into_iter()
        .map(|job| JobView::brief(with_live_log(&app, job)))
        .collect();
    let is_live = jobs.iter().any(|job| !ended(job));
    Ok(render(&JobsPage {
        user: shown(&caller),
        jobs,
        is_live,
        notice: notice(&app, &caller),
    }))
}

/// One job and the end of its log.
pub(crate) async fn job(
    State(app): State<Shared>,
    headers: HeaderMap,
    Id(id): Id,
) -> Answer<Response> {
    let Ok(caller) = caller(&app, &headers) else {
        return Ok(Redirect::to("/login").into_response());
    };
    let job = JobView::whole(with_log(&app, find(&app, &caller, &id).await?).await?);
    let (log, skipped_bytes) = tail(&app, &job.id).await?;
    let is_live = !ended(&job);
    Ok(render(&JobPage {
        user: shown(&caller),
        job,
        log,
        skipped_bytes,
        is_live,
        notice: notice(&app, &caller),
    }))
}

/// Who a page says is signed in, and may sign out: a browser.
fn shown(caller: &Caller) -> Option<String> {
    caller.by_session.then(|| caller.name.clone())
}

fn ended(job: &JobView) -> bool {
    job.state().is_some_and(danube_model::State::is_terminal)
}

/// The end of a log without escape codes, and how many bytes stand before it.
async fn tail(app: &App, id: &str) -> Result<(String, u64), Problem> {
    let (logs, id) = (app.logs.clone(), id.to_owned());
    let read = blocking(move || {
        let Ok(mut reader) = logs.reader(&id) else {
            return (Vec::new(), 0);
        };
        let end = reader.end();
        let skipped = end.saturating_sub(LOG_BYTES_SHOWN);
        let (mut at, mut text, mut derive) = (skipped, Vec::new(), Derive::new(true, false));
        // To the end as it is now: a job may write faster than this reads.
        while at < end {
            match reader.read_raw(at, PIECE_BYTES) {
                Ok(Chunk::Data { offset, bytes, .. }) => {
                    at = offset + bytes.len() as u64;
                    text.extend(derive.push(bytes, None));
                }
                Ok(Chunk::Gap { to, .. }) => at = to,
                Ok(Chunk::End { .. }) | Err(_) => break,
            }
        }
        (text, skipped)
    });
    let (bytes, skipped) = read.await?;
    // A progress bar's `\r` shows as a new line on this plain page.
    Ok((
        String::from_utf8_lossy(&bytes)
            .replace("\r\n", "\n")
            .replace('\r', "\n"),
        skipped,
    ))
}

/// What the login page may be given.
#[derive(Deserialize)]
pub(crate) struct LoginQuery {
    /// The token of a one-time link.
    token: Option<String>,
}

/// Follows a one-time link, or asks for a key.
pub(crate) async fn login(
    State(app): State<Shared>,
    Extension(asked): Extension<Asked>,
    query: Result<Query<LoginQuery>, QueryRejection>,
) -> Response {
    let token = query.ok().and_then(|Query(query)| query.token);
    let Some(token) = token else {
        return render(&LoginPage {
            message: "",
            is_oidc: app.oidc.is_on(),
        });
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
        ("This isn't a valid key, or it has expired.", None),
    )
    .await
}

/// Whether a browser says that another site's page sent the request.
pub(crate) fn is_foreign(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_some_and(|it| it != "same-origin" && it != "none")
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
    let secure = secure(app);
    let mut response = with_cookie(
        &format!("{SESSION_COOKIE}={token}; HttpOnly; SameSite=Lax; Path=/{secure}"),
        next.as_deref().unwrap_or("/"),
    );
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
    let mut response = render(&LoginPage {
        message,
        is_oidc: app.oidc.is_on(),
    });
    *response.status_mut() = status;
    response
}

/// What a cookie says where the server is reached over TLS.
pub(crate) fn secure(app: &App) -> &'static str {
    let url = app.settings.public_url.as_deref();
    if url.is_some_and(|it| it.starts_with("https:")) {
        "; Secure"
    } else {
        ""
    }
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
        return stayed(StatusCode::FORBIDDEN, why);
    }
    if let Some(token) = session(&headers)
        && let Err(problem) = end(&app, &asked, token).await
    {
        return stayed(status(&problem), &problem.detail);
    }
    let secure = secure(&app);
    with_cookie(
        &format!("{SESSION_COOKIE}=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0{secure}"),
        "/login",
    )
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

#[derive(Template)]
#[template(path = "logout.html")]
struct StayedPage<'a> {
    why: &'a str,
}

/// Nobody was signed out, and why not.
fn stayed(status: StatusCode, why: &str) -> Response {
    let mut response = render(&StayedPage { why });
    *response.status_mut() = status;
    response
}

/// A page that sets the cookie and leads on by itself.
fn with_cookie(cookie: &str, to: &str) -> Response {
    let mut response = leading(to);
    let value = HeaderValue::from_str(cookie).expect("tokens are base64");
    response.headers_mut().insert(header::SET_COOKIE, value);
    response
}

/// A page that leads on by itself, to an address of ours that holds nothing from outside
/// but checked tokens.
pub(crate) fn leading(to: &str) -> Response {
    let to = to.replace('&', "&amp;");
    Html(format!("<!doctype html><meta http-equiv=\"refresh\" content=\"0; url={to}\"><a href=\"{to}\">Go on</a>")).into_response()
}

/// The style of all pages.
pub(crate) async fn style() -> Response {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8")],
        include_str!("../../templates/style.css"),
    )
        .into_response()
}

pub(crate) fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

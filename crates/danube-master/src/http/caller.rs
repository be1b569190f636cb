//! Who sent the request: extractors that say what a handler needs.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{FromRequestParts, Path};
use axum::http::{HeaderMap, header, request::Parts};
use danube_api::{Code, Problem};
use danube_blueprint::Permission;
use danube_model::{JobId, Timestamp};
use danube_signals::PermissionDenied;

use super::answer::Refusal;
use super::asked::Asked;
use super::audit;
use super::rights::{Right, Row};
use crate::app::{App, Shared};
use crate::auth::{Caller, Need, SESSION_COOKIE, Stranger, right_name};

/// May look at what belongs to no pipeline.
pub(crate) struct Reader;
/// May look, where what is seen depends on who looks.
pub(crate) struct Looker(pub(crate) Caller);
/// May work with what belongs to no pipeline.
pub(crate) struct Steward;
/// May submit, cancel and retry, with the pipelines that they reach.
pub(crate) struct Doer(pub(crate) Caller);
/// May submit, cancel and retry; what is asked for goes into the audit log first.
pub(crate) struct DoerOnRecord(pub(crate) Caller);
/// May manage keys and the server; what is asked for goes into the audit log first, but for
/// a look.
pub(crate) struct Manager(pub(crate) Caller);
/// May manage keys and the server, and takes something out of it that opens more.
pub(crate) struct ManagerOnRecord(pub(crate) Caller);
/// May send a page's form.
pub(crate) struct Sender(pub(crate) Caller);
/// May look at a page of what belongs to no pipeline.
pub(crate) struct PageReader(pub(crate) Caller);
/// May see what others were allowed to do.
pub(crate) struct Overseer;
/// May add a value to mask: whoever may submit, and the job itself, which shows
/// the token of its attempt. That token is good for nothing else.
pub(crate) struct Masker(pub(crate) Caller);

impl FromRequestParts<Shared> for Reader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let fits = |it| it == Right::Server(Need::Read);
        allowed(parts, app, fits).map(|_| Self)
    }
}

impl FromRequestParts<Shared> for Steward {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let fits = |it| it == Right::Server(Need::Work);
        allowed(parts, app, fits).map(|_| Self)
    }
}

impl FromRequestParts<Shared> for Looker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let fits = |it| matches!(it, Right::Known | Right::Pipeline(Permission::Read));
        allowed(parts, app, fits).map(Self)
    }
}

impl FromRequestParts<Shared> for Doer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        allowed(parts, app, is_doing).map(Self)
    }
}

impl FromRequestParts<Shared> for DoerOnRecord {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let caller = allowed(parts, app, is_doing)?;
        audit::ask(app, parts, &caller).await?;
        Ok(Self(caller))
    }
}

impl FromRequestParts<Shared> for Manager {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let caller = allowed(parts, app, is_managing)?;
        if !parts.method.is_safe() {
            audit::ask(app, parts, &caller).await?;
        }
        Ok(Self(caller))
    }
}

impl FromRequestParts<Shared> for ManagerOnRecord {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let caller = allowed(parts, app, is_managing)?;
        audit::ask(app, parts, &caller).await?;
        Ok(Self(caller))
    }
}

impl Sender {
    /// Who sent it. Whether the form is from a page of ours is for who reads it to find out.
    pub(crate) fn of(parts: &Parts, app: &App) -> Result<Self, Refusal> {
        allowed(parts, app, |it| matches!(it, Right::Form(_))).map(Self)
    }
}

impl PageReader {
    /// Who looks. That a stranger is led to the sign-in is for the page.
    pub(crate) fn of(parts: &Parts, app: &App) -> Result<Self, Refusal> {
        let fits = |it| matches!(it, Right::PageOf(_));
        allowed(parts, app, fits).map(Self)
    }
}

impl FromRequestParts<Shared> for Overseer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        allowed(parts, app, is_managing).map(|_| Self)
    }
}

impl FromRequestParts<Shared> for Masker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let token = key(&parts.headers).map(str::to_owned);
        let id = Path::<String>::from_request_parts(parts, app).await;
        let job = id.ok().and_then(|Path(id)| id.parse::<JobId>().ok());
        if let Some((token, job)) = token.zip(job)
            && app.knows(job, &token)
        {
            // It reaches no job but the one in the path.
            return Ok(Self(Caller::own("job")));
        }
        let fits = |it| matches!(it, Right::JobOr(_));
        allowed(parts, app, fits).map(Self)
    }
}

/// Whoever may see telemetry and documentation: programs on this machine, and
/// readers when the request came from anywhere else.
pub(crate) struct Local;

impl FromRequestParts<Shared> for Local {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        if is_private(app) && came_directly(&parts.headers) {
            return Ok(Self);
        }
        let fits = |it| it == Right::Local;
        allowed(parts, app, fits).map(|_| Self)
    }
}

fn is_doing(right: Right) -> bool {
    match right {
        Right::Own => true,
        Right::Pipeline(it) | Right::Listed(it) => it > Permission::Read,
        _ => false,
    }
}

fn is_managing(right: Right) -> bool {
    right == Right::Server(Need::Manage)
}

/// Whether a request to a loopback address was meant for it: not passed on by a
/// proxy for somebody outside, and not sent by a browser that was led to believe
/// that a foreign name is this machine (DNS rebinding).
fn came_directly(headers: &HeaderMap) -> bool {
    const BY_PROXY: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    if BY_PROXY.iter().any(|it| headers.contains_key(*it)) {
        return false;
    }
    let Some(host) = headers.get(header::HOST).and_then(|it| it.to_str().ok()) else {
        return true;
    };
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|it| it.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// Whether nobody outside this machine is served: it listens on loopback, and
/// nobody said that a proxy stands in front.
pub(crate) fn is_private(app: &App) -> bool {
    is_for_this_machine(app.settings.listen, app.settings.public_url.as_deref())
}

fn is_for_this_machine(listen: SocketAddr, public_url: Option<&str>) -> bool {
    listen.ip().is_loopback() && public_url.is_none()
}

/// Who asks, if the route's row lets them. The handler says which rows fit it, so that a row
/// can't ask for less than what the handler was written for.
fn allowed(parts: &Parts, app: &App, fits: fn(Right) -> bool) -> Result<Caller, Refusal> {
    let row = parts.extensions.get::<&'static Row>();
    let Some(row) = row.filter(|it| fits(it.right)) else {
        let detail = "the table of rights says something else of this route than its handler";
        return Err(Problem::new(Code::Internal, detail).into());
    };
    let caller = Caller {
        wish: row.right.wish(row.path),
        ..authenticated(parts, app)?
    };
    match row.right {
        Right::PageOf(need) => {
            // A page only shows: a browser's session may see it, too.
            let may = caller.is_trusted_with(need);
            must(parts, app, &caller, (may, action(need)))?;
            everything(parts, app, caller)
        }
        Right::Server(need) => {
            must(parts, app, &caller, (caller.may(need), action(need)))?;
            everything(parts, app, caller)
        }
        Right::Local => {
            must(
                parts,
                app,
                &caller,
                (caller.may(Need::Read), action(Need::Read)),
            )?;
            everything(parts, app, caller)
        }
        Right::Own | Right::Pipeline(_) | Right::Listed(_) | Right::JobOr(_) | Right::Form(_) => {
            let least = match row.right {
                Right::Own => Permission::Write,
                _ => caller.wish.right,
            };
            let is_form = matches!(row.right, Right::Form(_));
            let by_browser = caller.by_session && least > Permission::Read && !is_form;
            let may = !by_browser && caller.reach.cap() >= least;
            must(parts, app, &caller, (may, right_name(least)))?;
            Ok(caller)
        }
        Right::Known | Right::Open | Right::Page | Right::Token(_) => Ok(caller),
    }
}

fn authenticated(parts: &Parts, app: &App) -> Result<Caller, Problem> {
    let asked = parts.extensions.get::<Asked>();
    let since = asked.map(Asked::now);
    let caller = caller(app, &parts.headers);
    if let Some((asked, since)) = asked.zip(since) {
        asked.authenticated(since);
    }
    caller.map_err(|it| Problem::new(Code::Unauthorized, it.detail()))
}

const fn action(need: Need) -> &'static str {
    match need {
        Need::Read => "read",
        Need::Work => "write",
        Need::Manage => "manage keys or the server",
    }
}

/// Whether the kind of caller may do that at all.
fn must(
    parts: &Parts,
    app: &App,
    caller: &Caller,
    (may, action): (bool, &'static str),
) -> Result<(), Problem> {
    if may {
        return Ok(());
    }
    tell_denied(parts, app, caller, action);
    let detail = if caller.by_session {
        "a browser session may only read; use an API key".to_owned()
    } else {
        format!(
            "`{}` has the role `{}`, which may not {action}",
            caller.name,
            caller.role.as_str()
        )
    };
    Err(Problem::new(Code::Forbidden, detail))
}

/// Only who reaches all pipelines may see what tells of all, or of the server.
fn everything(parts: &Parts, app: &App, caller: Caller) -> Result<Caller, Refusal> {
    if caller.reach.is_all() {
        return Ok(caller);
    }
    tell_denied(parts, app, &caller, "read");
    let detail = format!(
        "`{}` reaches some pipelines only, and this belongs to none or to all",
        caller.name
    );
    Err(Problem::new(Code::Forbidden, detail).into())
}

fn tell_denied(parts: &Parts, app: &App, caller: &Caller, action: &'static str) {
    let row = parts.extensions.get::<&'static Row>();
    // What belongs to no pipeline has no kind in the metric.
    let kind = row.and_then(|it| match it.right {
        Right::Server(_) | Right::PageOf(_) | Right::Local => None,
        _ => Some(caller.wish.kind),
    });
    app.signals.emit(PermissionDenied {
        user: &caller.name,
        resource: parts.uri.path(),
        action,
        kind,
    });
}

/// Who showed a key or a session, if anybody.
pub(crate) fn caller(app: &App, headers: &HeaderMap) -> Result<Caller, Stranger> {
    if let Some(key) = key(headers) {
        // A wrong key isn't excused by a good cookie.
        return app.with_rights(app.keys.caller(key)?);
    }
    let token = session(headers).ok_or(Stranger::Unknown)?;
    let seen = app.sessions.seen(token, Timestamp::now());
    let seen = seen.ok_or(Stranger::Unknown)?;
    if let Some(sha256) = seen.to_tell {
        // Nobody waits for it: it says no more than that the browser isn't idle.
        drop(app.store.session_seen(sha256, Timestamp::now()));
    }
    app.behind(&seen.of)
}

/// The key or token that came with a request.
pub(crate) fn key(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get("x-api-key") {
        return value.to_str().ok();
    }
    let (scheme, key) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The session's token from the cookies.
pub(crate) fn session(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, SESSION_COOKIE)
}

/// A cookie's value.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    cookies
        .filter_map(|it| it.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == wanted)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_that_others_reach_is_not_private() {
        for (listen, public_url, expected) in [
            ("127.0.0.1:80", None, true),
            ("[::1]:80", None, true),
            ("127.0.0.1:80", Some("https://ci.example.org"), false),
            ("0.0.0.0:80", None, false),
            ("[::]:80", None, false),
            ("192.0.2.1:80", None, false),
        ] {
            let listen = listen.parse().unwrap();
            let found = is_for_this_machine(listen, public_url);
            assert_eq!(found, expected, "{listen} {public_url:?}");
        }
    }

    #[test]
    fn only_a_request_meant_for_this_machine_needs_no_key() {
        let check = |pairs: &[(&'static str, &'static str)], expected: bool| {
            let headers = pairs.iter().map(|(name, value)| {
                (
                    header::HeaderName::from_static(name),
                    header::HeaderValue::from_static(value),
                )
            });
            assert_eq!(came_directly(&headers.collect()), expected, "{pairs:?}");
        };
        check(&[("host", "127.0.0.1:8080")], true);
        check(&[("host", "localhost:8080")], true);
        check(&[("host", "[::1]:8080")], true);
        check(&[("host", "[::1]")], true);
        check(&[("host", "rebound.example.org:8080")], false);
        check(&[("host", "127.0.0.1.example.org")], false);
        check(
            &[
                ("host", "127.0.0.1:8080"),
                ("x-forwarded-for", "203.0.113.9"),
            ],
            false,
        );
    }
}

//! What is the same of all pages: who may see them, what stands around them, and how they are sent.

use std::io::Write;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use danube_api::{Code, Problem};
use danube_model::Timestamp;
use danube_pages::error::ErrorPage;
use danube_pages::{Page, Shell, Viewer, words};
use danube_store::Role;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::forms;
use crate::app::{App, Shared};
use crate::auth::{Caller, Need};
use crate::http::answer::Refusal;
use crate::http::caller::{PageReader, caller, session};
use crate::http::notice::notice;
use crate::http::rights::{Right, Row};
use crate::settings::Settings;

/// What a page may do in a browser: load our files, call us, send its forms to us. Nothing else,
/// and nothing that stands in the page itself.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// Bytes from which on an answer is packed: below, its head is all that counts.
const PACK_BYTES_MIN: usize = 1_024;

/// How hard it is packed: pages are made for one request, and a higher level takes longer than
/// its bytes.
const PACK_LEVEL: u32 = 4;

/// Somebody who looks at a page.
pub(super) struct Visit {
    pub(super) caller: Caller,
    /// The token of their forms.
    csrf: String,
    wants: Wants,
}

/// How an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wants {
    json: bool,
    packed: bool,
}

impl Wants {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|it| it.to_str().ok());
        Self {
            json: is_json_wanted(headers),
            packed: text(header::ACCEPT_ENCODING).is_some_and(takes_gzip),
        }
    }
}

/// Whether JSON is preferred to HTML (RFC 9110, section 12.5.1). Who takes anything gets a page.
pub(super) fn is_json_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
    prefers_json(accept.unwrap_or_default())
}

fn prefers_json(accept: &str) -> bool {
    let quality = |wanted: &str| {
        let named = accept.split(',').filter_map(|it| {
            let mut parts = it.split(';').map(str::trim);
            let is_it = parts.next()?.eq_ignore_ascii_case(wanted);
            let q = parts.find_map(|it| it.strip_prefix("q="));
            is_it.then(|| q.map_or(1.0, |it| it.parse::<f64>().unwrap_or(0.0)))
        });
        named.fold(0.0, f64::max)
    };
    quality("application/json") > quality("text/html")
}

fn takes_gzip(accept: &str) -> bool {
    accept.split(',').any(|it| {
        let mut parts = it.split(';').map(str::trim);
        let is_it = parts
            .next()
            .is_some_and(|it| it.eq_ignore_ascii_case("gzip"));
        is_it && !parts.any(|it| matches!(it, "q=0" | "q=0.0"))
    })
}

impl FromRequestParts<Shared> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Response> {
        let row = parts.extensions.get::<&'static Row>();
        match row.map(|it| it.right) {
            Some(Right::Page) => Self::known(parts, app),
            Some(Right::PageOf(_)) => {
                let visit = Self::known(parts, app)?;
                match PageReader::of(parts, app) {
                    Ok(PageReader(caller)) => Ok(visit.by(caller)),
                    Err(Refusal(problem)) => Err(visit.refuse(app, problem)),
                }
            }
            _ => {
                let detail =
                    "the table of rights says something else of this route than its handler";
                Err(Refusal(Problem::new(Code::Internal, detail)).into_response())
            }
        }
    }
}

impl Visit {
    /// The same by a caller whose right was checked.
    pub(super) fn by(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// Who looks, whatever they may. A stranger is led to the sign-in.
    pub(super) fn known(parts: &Parts, app: &App) -> Result<Self, Response> {
        let wants = Wants::of(&parts.headers);
        match caller(app, &parts.headers) {
            Ok(caller) => Ok(Self {
                csrf: forms::token(session(&parts.headers).unwrap_or_default()),
                caller,
                wants,
            }),
            Err(stranger) if wants.json => {
                let problem = Problem::new(Code::Unauthorized, stranger.detail());
                Err(Refusal(problem).into_response())
            }
            Err(_) => Err(Redirect::to(&to_login(app, &parts.uri)).into_response()),
        }
    }
}

/// The sign-in, from which one comes back to where one wanted to go.
fn to_login(app: &App, wanted: &Uri) -> String {
    let base = base_of(&app.settings);
    match wanted.path_and_query().map(PathAndQuery::as_str) {
        None | Some("/") => format!("{base}/login"),
        Some(wanted) => format!("{base}/login?next={}", words::in_query(wanted)),
    }
}

impl Visit {
    /// The page, or why there is none.
    pub(super) fn show<P: Page>(&self, app: &App, page: Result<P, Problem>) -> Response {
        let page = match page {
            Ok(page) => page,
            Err(problem) => return self.refuse(app, problem),
        };
        if self.wants.json {
            let body = serde_json::to_vec(&page).expect("pages hold texts and numbers");
            return sent(body, "application/json", self.wants.packed);
        }
        match page.html(&self.shell(app)) {
            Ok(text) => sent(text.into_bytes(), HTML, self.wants.packed),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }

    /// A value for the script of a page, or why there is none.
    pub(super) fn give<T: Serialize>(&self, value: Result<T, Problem>) -> Response {
        match value {
            Ok(value) => {
                let body = serde_json::to_vec(&value).expect("our own types are JSON");
                sent(body, "application/json", self.wants.packed)
            }
            Err(problem) => Refusal(problem).into_response(),
        }
    }

    /// Why something isn't shown or wasn't done.
    pub(super) fn refuse(&self, app: &App, problem: Problem) -> Response {
        if self.wants.json {
            return Refusal(problem).into_response();
        }
        let status = problem.status;
        let page = ErrorPage {
            status,
            title: problem.title,
            detail: problem.detail,
        };
        let mut response = self.show(app, Ok(page));
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response
    }

    fn shell(&self, app: &App) -> Shell {
        let has_forms = self.caller.by_session;
        let reads_server = self.caller.may(Need::Read) && self.caller.reach.is_all();
        Shell {
            base: base_of(&app.settings).to_owned(),
            now: Timestamp::now(),
            viewer: Some(Viewer {
                name: self.caller.name.clone(),
                csrf: if has_forms {
                    self.csrf.clone()
                } else {
                    String::new()
                },
                is_admin: self.caller.role == Role::Admin && self.caller.reach.is_all(),
                reads_server,
            }),
            notice: notice(app, &self.caller),
            firing: if reads_server { app.watch.firing() } else { 0 },
        }
    }
}

const HTML: &str = "text/html; charset=utf-8";

/// An answer of this type, packed where that is taken and worth it.
pub(super) fn sent(body: Vec<u8>, kind: &'static str, packed: bool) -> Response {
    let packed = packed && body.len() >= PACK_BYTES_MIN;
    let body = if packed { pack(&body) } else { body };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(
        header::VARY,
        HeaderValue::from_static("accept, accept-encoding, cookie"),
    );
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    if packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn pack(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(PACK_LEVEL));
    let written = encoder.write_all(body);
    written
        .and_then(|()| encoder.finish())
        .expect("memory takes what is written")
}

/// A page for who isn't known, or needn't be.
pub(crate) fn bare(app: &App, page: &impl Page) -> Response {
    let shell = Shell {
        base: base_of(&app.settings).to_owned(),
        now: Timestamp::now(),
        viewer: None,
        notice: None,
        firing: 0,
    };
    match page.html(&shell) {
        Ok(text) => sent(text.into_bytes(), HTML, false),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The path below which others reach the server: that of `server.public_url`, without a `/` at
/// its end; empty where there is none.
pub(crate) fn base_of(settings: &Settings) -> &str {
    let url = settings.public_url.as_deref().unwrap_or_default();
    let after = url.split_once("://").map_or("", |(_, after)| after);
    let path = after.find('/').map_or("", |at| &after[at..]);
    path.trim_end_matches('/')
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

/// Whether a browser says that another site's page sent the request.
pub(crate) fn is_foreign(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_some_and(|it| it != "same-origin" && it != "none")
}

/// A page that leads on by itself, to an address of ours that holds nothing from outside
/// but checked tokens.
pub(crate) fn leading(to: &str) -> Response {
    let to = to.replace('&', "&amp;");
    Html(format!("<!doctype html><meta http-equiv=\"refresh\" content=\"0; url={to}\"><a href=\"{to}\">Go on</a>")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_for_who_prefers_it() {
        for (accept, json) in [
            ("", false),
            ("*/*", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("application/json", true),
            ("text/html;q=0.5, Application/JSON", true),
            ("text/html, application/json", false),
            ("application/json;q=nonsense", false),
        ] {
            assert_eq!(prefers_json(accept), json, "{accept}");
        }
    }

    #[test]
    fn gzip_is_for_who_takes_it() {
        assert!(takes_gzip("deflate, gzip;q=1.0"));
        assert!(!takes_gzip("deflate, gzip;q=0"));
        assert!(!takes_gzip("br"));
    }
}

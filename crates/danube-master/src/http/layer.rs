//! What every request passes: an id, a trace context, a deadline, a metric; and a wait for
//! the job's end, where a submit asks for it.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use danube_api::{Code, Problem};
use danube_signals::{RequestSpan, SystemError, request_answered, request_span};
use tracing::{Instrument, Span};

use super::answer::Refusal;
use super::asked::Asked;
use super::audit;
use super::incoming::{BODY_DEADLINE, Lingering};
use super::meta;
use super::rights::{self, Found};
use super::tries::Try;
use super::wait::{self, Wait};
use crate::app::Shared;
use crate::auth::random;

/// How long a handler may take for the head of its answer. Bodies that stream
/// a log may take for ever.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// The route whose body may be as long as an artifact: nobody knows how long that takes,
/// and the handler gives up when nothing comes.
const UPLOAD_ROUTE: &str = "/api/v1/jobs/{id}/artifacts/{name}";

/// The same as coordinators call it.
const UPLOAD_CALL: &str = "/rpc/upload-artifact";

/// How long an upload may take in all: a gigabyte at 300 kB/s. What comes slower holds a
/// turn that others wait for.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(3_600);

/// The route of requests that match none, so that strangers can't make series.
const NO_ROUTE: &str = "none";

/// The status of a request whose client left before the head of an answer was there:
/// nobody was sent it.
const CLIENT_LEFT: u16 = 499;

pub(crate) async fn around(
    State(app): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (body_deadline, deadline) = deadlines(&method, route.as_ref());
    // A path that leads nowhere needs none: it is answered as such.
    let row = route.as_ref().map(|it| rights::of(&method, it.as_str()));
    let mut tries = None;
    if let Some(Found::Row(row)) = row {
        request.extensions_mut().insert(row);
        tries = Try::of(&app, &request, row);
    }
    let asked = Asked::of(&request);
    let id = request_id();
    let span = request_span(&RequestSpan {
        request_id: &id,
        context: &asked.context(),
        parent: asked.parent(),
        method: method.as_str(),
        route: route.as_ref().map(MatchedPath::as_str),
        path: request.uri().path(),
    });
    request.extensions_mut().insert(asked.clone());
    let mut told = Told {
        app: app.clone(),
        span: span.clone(),
        started,
        method: method.clone(),
        route,
        status: CLIENT_LEFT,
        time: None,
    };
    let request = Lingering::around(request, body_deadline);
    let recorded = app.clone();
    let handled = async move {
        let response = match row {
            Some(Found::NoMethod(allowed)) => no_method(&request, &allowed),
            Some(Found::NoRow) => no_row(),
            Some(Found::Row(_)) | None => next.run(request).await,
        };
        let response = match tries {
            Some(it) => it.answered(&recorded, response),
            None => response,
        };
        audit::answered(&recorded, &asked, response).await
    };
    let handled = handled.instrument(span);
    let answered = if method.is_safe() {
        tokio::time::timeout(deadline, handled).await
    } else {
        // A client that leaves must not cut a write off from what follows it: a
        // task of its own runs to its end whoever waits for it.
        let task = tokio::spawn(handled);
        let joined = tokio::time::timeout(deadline, task).await;
        joined.map(|it| it.unwrap_or_else(|_| broke()))
    };
    let mut response = answered.unwrap_or_else(|_| {
        let seconds = deadline.as_secs();
        Refusal(Problem::new(
            Code::TooSlow,
            format!("no answer within {seconds} s"),
        ))
        .into_response()
    });
    if let Some(wait) = response.extensions_mut().remove::<Wait>() {
        told.time = Some(started.elapsed());
        response = wait::for_end(&app, wait, response).await;
    }
    harden(&mut response, &id);
    told.status = response.status().as_u16();
    response
}

/// How long its body may take, and how long its answer.
fn deadlines(method: &Method, route: Option<&MatchedPath>) -> (Duration, Duration) {
    let is_upload = match route.map(MatchedPath::as_str) {
        Some(UPLOAD_ROUTE) => *method == Method::PUT,
        Some(UPLOAD_CALL) => true,
        _ => false,
    };
    match is_upload {
        true => (UPLOAD_DEADLINE, UPLOAD_DEADLINE + ANSWER_DEADLINE),
        false => (BODY_DEADLINE, ANSWER_DEADLINE),
    }
}

/// A request, told when its answer begins or its client has left. What follows of a
/// streaming answer isn't measured: a followed log may take for ever.
struct Told {
    app: Shared,
    /// The request's, so that its time shows its trace.
    span: Span,
    started: Instant,
    method: Method,
    route: Option<MatchedPath>,
    status: u16,
    /// How long its work took, when it waits for a job beyond that: its wait says nothing of
    /// the server.
    time: Option<Duration>,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.status = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
        }
        let _in_request = self.span.enter();
        let route = self.route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
        let time = self.time.unwrap_or_else(|| self.started.elapsed());
        let signals = &self.app.signals;
        signals.http_request(self.method.as_str(), route, self.status, time);
        // Full disks and drains are told by whoever finds them.
        if self.status == StatusCode::INTERNAL_SERVER_ERROR.as_u16() {
            signals.system_error(SystemError::Internal);
        }
        request_answered(&self.span, self.status);
    }
}

fn no_method(request: &Request, allowed: &str) -> Response {
    let refusal = meta::method_not_allowed(request.method(), request.uri());
    let mut response = refusal.into_response();
    if let Ok(value) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

/// A route that was added without saying who may call it: nobody may.
fn no_row() -> Response {
    let detail = "this route has no row in the table of rights";
    Refusal(Problem::new(Code::Internal, detail)).into_response()
}

fn broke() -> Response {
    Refusal(Problem::new(
        Code::Internal,
        "the request's task ended early",
    ))
    .into_response()
}

fn request_id() -> String {
    format!("{:016x}", u64::from_be_bytes(random::<8>()))
}

fn harden(response: &mut Response, id: &str) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let csp = HeaderValue::from_static(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    );
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(csp);
}

//! The way out of a job without network: a socket in its sandbox that leads to a few routes
//! of its master, and to nothing else.
//!
//! Each request is read here and made anew: to one of those routes, with a token of this very
//! attempt, and with no header but those that the routes need. Bodies go through as they come,
//! in both directions.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use danube_api::rpc::{
    GET_SECRET_PATH, REPORT_STATUS_PATH, RUN_STEP_PATH, UPLOAD_ARTIFACT_PATH, mask_path,
};
use danube_api::{Code, PROBLEM_TYPE, Problem};
use danube_worker::Door;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::transport::Channel;

use crate::link::chain;

/// Connections of a job at once: one a call that waits, and as many files under way.
const CONNECTIONS_MAX: usize = 32;

/// Requests of one connection at once.
const STREAMS_MAX: u32 = 16;

/// Bytes that wait in a connection of HTTP/2 in each direction.
const WINDOW_BYTES: u32 = 256 * 1024;

/// Bytes of the head of a request.
const HEAD_BYTES_MAX: u32 = 16 * 1024;

/// How long the head of a request may take, and a connection be silent before the first.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);

/// How often a connection of HTTP/2 is asked whether somebody is there, and how long it may
/// take to say so.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long the head of an answer may take: as long as the master gives an upload, and some
/// more, so that it is the master who says what was too slow.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3_700);

/// How long to wait when the system gives no connection (out of descriptors).
const ACCEPT_RETRY_AFTER: Duration = Duration::from_millis(50);

/// What goes on to the master of a request's head.
const HEADERS: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// What hands a request on to the master.
type Forward = Arc<dyn Fn(Request<Incoming>) -> Forwarded + Send + Sync>;

/// Its answer; an error says why the master isn't reached.
type Forwarded = Pin<Box<dyn Future<Output = Result<Response<Body>, String>> + Send>>;

/// A socket of a job that is served. Dropped, all of its connections end.
pub struct Relay(JoinHandle<()>);

impl Drop for Relay {
    fn drop(&mut self) {
        // What it holds, the connections too, goes with it.
        self.0.abort();
    }
}

/// Serves a job's socket: what may go on is handed to `forward`, whose error says why the
/// master isn't reached.
///
/// # Errors
/// When the system refuses the socket.
pub fn serve<F, R, B>(runtime: &Handle, door: Door, forward: F) -> io::Result<Relay>
where
    F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Response<B>, String>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let _in_runtime = runtime.enter();
    door.listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(door.listener.try_clone()?)?;
    let forward: Forward = Arc::new(move |request| {
        let forwarded = forward(request);
        Box::pin(async move { Ok(forwarded.await?.map(Body::new)) })
    });
    let task = accept(listener, Arc::new(door), forward);
    Ok(Relay(runtime.spawn(task)))
}

async fn accept(listener: UnixListener, door: Arc<Door>, forward: Forward) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut open = JoinSet::new();
    loop {
        let place = Arc::clone(&room).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                sleep(ACCEPT_RETRY_AFTER).await;
                continue;
            }
        };
        while open.try_join_next().is_some() {}
        let (door, forward) = (Arc::clone(&door), Arc::clone(&forward));
        open.spawn(async move {
            connection(stream, door, forward).await;
            drop(place);
        });
    }
}

async fn connection(stream: UnixStream, door: Arc<Door>, forward: Forward) {
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    let service = service_fn(move |request| {
        begins.notify_one();
        let (door, forward) = (Arc::clone(&door), Arc::clone(&forward));
        async move { Ok::<_, std::convert::Infallible>(answer(request, &door, &forward).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(WINDOW_BYTES as usize)
        .max_header_list_size(HEAD_BYTES_MAX);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    // Who says nothing holds no place; whoever breaks off is their own affair.
    let first = timeout(HEAD_DEADLINE, async {
        tokio::select! {
            _ = &mut served => false,
            () = begun.notified() => true,
        }
    });
    if let Ok(true) = first.await {
        let _ = served.await;
    }
}

async fn answer(request: Request<Incoming>, door: &Door, forward: &Forward) -> Response<Body> {
    let request = match admitted(request, door) {
        Ok(request) => request,
        Err(problem) => return refused(&problem),
    };
    match timeout(ANSWER_DEADLINE, forward(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => {
            let detail = format!("the server can't be reached now, try again: {why}");
            refused(&Problem::new(Code::Unavailable, detail))
        }
        Err(_) => {
            let seconds = ANSWER_DEADLINE.as_secs();
            let detail = format!("no answer within {seconds} s");
            refused(&Problem::new(Code::TooSlow, detail))
        }
    }
}

/// The request as it goes on, if it may.
fn admitted<B>(request: Request<B>, door: &Door) -> Result<Request<B>, Problem> {
    let mask = mask_path(&door.attempt.job.to_string());
    let routes = [
        RUN_STEP_PATH,
        GET_SECRET_PATH,
        REPORT_STATUS_PATH,
        UPLOAD_ARTIFACT_PATH,
        &mask,
    ];
    let (mut head, body) = request.into_parts();
    if head.method != Method::POST || !routes.contains(&head.uri.path()) {
        let detail = format!(
            "the socket of a job leads to POST {} alone",
            routes.join(", ")
        );
        return Err(Problem::new(Code::NotFound, detail));
    }
    let bearer = head.headers.get(header::AUTHORIZATION);
    let bearer = bearer.and_then(|it| it.to_str().ok()?.split_once(' '));
    let is_own = bearer.is_some_and(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("bearer") && door.opens_to(token.trim())
    });
    if !is_own {
        let detail = "send the token of the job that this socket belongs to, DANUBE_JOB_TOKEN";
        return Err(Problem::new(Code::Unauthorized, detail));
    }
    let target = head.uri.path_and_query().cloned();
    head.uri = target.map(Uri::from).unwrap_or_default();
    let mut headers = http::HeaderMap::new();
    for name in HEADERS {
        if let Some(value) = head.headers.remove(&name) {
            headers.insert(name, value);
        }
    }
    let mut made = Request::new(body);
    *made.method_mut() = head.method;
    *made.uri_mut() = head.uri;
    *made.headers_mut() = headers;
    Ok(made)
}

fn refused(problem: &Problem) -> Response<Body> {
    let text = serde_json::to_vec(problem).expect("wire types are plain data");
    let mut response = Response::new(Body::new(Full::from(text)));
    *response.status_mut() =
        http::StatusCode::from_u16(problem.status).expect("codes have good ones");
    let kind = HeaderValue::from_static(PROBLEM_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Hands a request on over a connection to the master.
pub(crate) async fn forward(
    mut channel: Channel,
    request: Request<Incoming>,
) -> Result<Response<Body>, String> {
    let request = request.map(Body::new);
    poll_fn(|context| GrpcService::<Body>::poll_ready(&mut channel, context))
        .await
        .map_err(|error| chain(&error))?;
    let answer = GrpcService::<Body>::call(&mut channel, request).await;
    answer.map_err(|error| chain(&error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use danube_model::{Attempt, JobId};
    use danube_worker::JobToken;

    use super::*;

    struct Rig {
        door: Door,
        token: JobToken,
        _dir: tempfile::TempDir,
    }

    impl Rig {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let token = JobToken::mint();
            let door = Door {
                listener: UnixListener::bind(dir.path().join("s")).unwrap(),
                attempt: Attempt {
                    job: JobId::new(),
                    fence: 1,
                    number: 1,
                },
                tokens: vec![token.hash(), token.of_steps().hash()],
            };
            Self {
                door,
                token,
                _dir: dir,
            }
        }

        fn ask(&self, method: &str, uri: &str, token: &str) -> Result<Request<()>, Code> {
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .header("authorization", format!("Bearer {token}"))
                .header("x-api-key", "dnb_other")
                .header("cookie", "session=x")
                .header("content-type", "application/json");
            admitted(request.body(()).unwrap(), &self.door).map_err(|it| it.code)
        }
    }

    #[test]
    fn only_calls_of_this_job_go_on_and_nothing_else_of_them() {
        let rig = Rig::new();
        let own = rig.token.text();
        let mask = mask_path(&rig.door.attempt.job.to_string());
        for uri in [
            "/rpc/run-step",
            "/rpc/get-secret",
            "/rpc/report-status",
            "http://any:1/rpc/upload-artifact?name=a&step=b",
            &mask,
        ] {
            let on = rig.ask("POST", uri, own).unwrap();
            assert!(on.uri().host().is_none() && uri.ends_with(&on.uri().to_string()));
            let names: Vec<&str> = on.headers().keys().map(HeaderName::as_str).collect();
            assert_eq!(names, ["authorization", "content-type"]);
        }
        rig.ask("POST", "/rpc/upload-artifact", rig.token.of_steps().text())
            .unwrap();
        let other = JobToken::mint();
        for token in [other.text(), other.of_steps().text(), "", "dnb_admin"] {
            let refused = rig.ask("POST", "/rpc/run-step", token).unwrap_err();
            assert_eq!(refused, Code::Unauthorized);
        }
    }

    #[test]
    fn no_other_route_is_reached_by_any_spelling() {
        let rig = Rig::new();
        let other = mask_path(&JobId::new().to_string());
        for (method, uri) in [
            ("GET", "/rpc/run-step"),
            ("POST", "/rpc/run-step/"),
            ("POST", "//rpc/run-step"),
            ("POST", "/rpc/run-step/../claim"),
            ("POST", "/rpc/%72un-step"),
            ("POST", "/rpc/claim"),
            ("POST", "/api/v1/jobs"),
            ("GET", "/metrics"),
            ("GET", "/"),
            ("OPTIONS", "*"),
            ("POST", &other),
        ] {
            let refused = rig.ask(method, uri, rig.token.text()).unwrap_err();
            assert_eq!(refused, Code::NotFound, "{method} {uri}");
        }
    }
}

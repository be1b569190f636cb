//! What comes with a request: the id in its path, and its body.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::{StatusCode, header, request::Parts};
use danube_api::{Code, Problem};
use danube_model::limits::{PAGE_JOBS_DEFAULT, PAGE_JOBS_MAX};
use futures_util::future::poll_fn;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep, timeout};

use super::answer::Refusal;
use crate::app::Shared;

/// Bytes of a refused request that are still read: more than clients have under
/// way when the answer leaves.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// How long a body may take to come, below what a handler has for its answer.
pub(crate) const BODY_DEADLINE: Duration = Duration::from_secs(25);

/// How long a refused request is still read.
const LINGER_TIME_MAX: Duration = Duration::from_secs(5);

/// The id or name in a path. One that isn't even text names nothing.
pub(crate) struct Id(pub(crate) String);

impl FromRequestParts<Shared> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        path.map(|Path(id)| Self(id)).map_err(|_| {
            Problem::new(
                Code::NotFound,
                "the path names nothing: it isn't UTF-8 when decoded",
            )
            .into()
        })
    }
}

/// How many entries a page has, as its `limit` asks for; some when it doesn't.
pub(crate) fn page_limit(asked: Option<usize>) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(PAGE_JOBS_DEFAULT);
    if !(1..=PAGE_JOBS_MAX).contains(&limit) {
        let detail = format!("`limit` must be 1 to {PAGE_JOBS_MAX}");
        return Err(Problem::new(Code::Malformed, detail));
    }
    Ok(limit)
}

/// A whole body within the limit. Comes last of a handler's arguments, so that
/// strangers send nothing.
pub(crate) struct Whole(pub(crate) Bytes);

impl FromRequest<Shared> for Whole {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Refusal> {
        let bytes_max = app.settings.body_bytes_max;
        read(request, app, bytes_max).await.map(Self)
    }
}

/// The same of a request that has little to say. Its route has the limit as well.
pub(crate) struct Small<const BYTES_MAX: usize>(pub(crate) Bytes);

impl<const BYTES_MAX: usize> FromRequest<Shared> for Small<BYTES_MAX> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Refusal> {
        let bytes_max = app.settings.body_bytes_max.min(BYTES_MAX);
        read(request, app, bytes_max).await.map(Self)
    }
}

/// A whole body of a program of ours, whatever the limit for others is. Its route has
/// the limit as well.
pub(crate) struct Ours<const BYTES_MAX: usize>(pub(crate) Bytes);

impl<const BYTES_MAX: usize> FromRequest<Shared> for Ours<BYTES_MAX> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Refusal> {
        read(request, app, BYTES_MAX).await.map(Self)
    }
}

async fn read(request: Request, app: &Shared, bytes_max: usize) -> Result<Bytes, Refusal> {
    let too_large = || {
        let detail =
            format!("the body is larger than the {bytes_max} bytes that this server takes");
        Refusal(Problem::new(Code::TooLarge, detail))
    };
    // Refused by what it announces: nobody waits for bytes that won't be used.
    if announced(&request).is_some_and(|it| it > bytes_max as u64) {
        return Err(too_large());
    }
    match Bytes::from_request(request, app).await {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large()),
        Err(_) => Err(Problem::new(Code::Malformed, "the body couldn't be read to its end").into()),
    }
}

fn announced(request: &Request) -> Option<u64> {
    let length = request.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// A body that is read a little further when its request was refused before its
/// end. Otherwise the connection would be reset under a client that still sends,
/// and the client would hear of a broken pipe and not of what was wrong.
pub(crate) struct Lingering {
    body: Option<Body>,
    /// When it must have come: a handler runs to its end whoever waits for it,
    /// and must not wait for a stranger's bytes for ever.
    deadline: Pin<Box<Sleep>>,
    /// Who asks first (`Expect`) sends nothing that could be lost, and must not
    /// be told to go on after the answer.
    lingers: bool,
}

impl Lingering {
    pub(crate) fn around(request: Request, deadline: Duration) -> Request {
        if request.body().is_end_stream() {
            return request;
        }
        let lingers = !request.headers().contains_key(header::EXPECT);
        request.map(|body| {
            Body::new(Self {
                body: Some(body),
                deadline: Box::pin(sleep(deadline)),
                lingers,
            })
        })
    }
}

impl hyper::body::Body for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        if polled.is_pending() && self.deadline.as_mut().poll(context).is_ready() {
            self.body = None;
            let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Poll::Ready(Some(Err(axum::Error::new(late))));
        }
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let lingers = self.lingers;
        let Some(body) = self.body.take().filter(|it| lingers && !it.is_end_stream()) else {
            return;
        };
        // What is announced as more than that won't come to its end anyway.
        if body.size_hint().lower() > LINGER_BYTES_MAX as u64 {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(LINGER_TIME_MAX, read_on(body)));
        }
    }
}

async fn read_on(mut body: Body) {
    let mut left = LINGER_BYTES_MAX;
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(bytes) else {
            return;
        };
        left = rest;
    }
}

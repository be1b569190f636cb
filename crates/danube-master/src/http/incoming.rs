//! What comes with a request: the id in its path, and its body.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::{StatusCode, header, request::Parts};
use danube_api::{Code, Problem};
use futures_util::future::poll_fn;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::answer::Refusal;
use crate::app::Shared;

/// Bytes of a refused request that are still read: more than clients have under
/// way when the answer leaves.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

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

/// A whole body within the limit. Comes last of a handler's arguments, so that
/// strangers send nothing.
pub(crate) struct Whole(pub(crate) Bytes);

impl FromRequest<Shared> for Whole {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Refusal> {
        let bytes_max = app.settings.body_bytes_max;
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
            Ok(bytes) => Ok(Self(bytes)),
            Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large()),
            Err(_) => {
                Err(Problem::new(Code::Malformed, "the body couldn't be read to its end").into())
            }
        }
    }
}

fn announced(request: &Request) -> Option<u64> {
    let length = request.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// A body that is read a little further when its request was refused before its
/// end. Otherwise the connection would be reset under a client that still sends,
/// and the client would hear of a broken pipe and not of what was wrong.
pub(crate) struct Lingering(Option<Body>);

impl Lingering {
    pub(crate) fn around(request: Request) -> Request {
        // Who asks first sends nothing that could be lost, and must not be told
        // to go on after the answer.
        if request.headers().contains_key(header::EXPECT) || request.body().is_end_stream() {
            return request;
        }
        request.map(|body| Body::new(Self(Some(body))))
    }
}

impl hyper::body::Body for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|it| !it.is_end_stream()) else {
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

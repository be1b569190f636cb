//! Calls to the master, over one connection of HTTP/2 that is made anew when it breaks.

use std::error::Error;
use std::future::poll_fn;
use std::time::{Duration, Instant};

use bytes::Bytes;
use danube_api::rpc::{INSTANCE_HEADER, LogPiece, PIECE_HEADER, PROTOCOL, PROTOCOL_HEADER};
use danube_api::{Code, Problem};
use danube_signals::{Millis, RpcCall, Signals};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use serde::de::DeserializeOwned;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// How long a connection may take to be made.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How often the master is asked whether it is there while an answer is waited for.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long it may take to say so.
const PING_DEADLINE: Duration = Duration::from_secs(10);

/// Bytes of an answer: an order may have 10 MiB, and some more as JSON.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where the master is, and what it knows this worker by.
pub struct Master {
    /// `http://host[:port]` or `https://host[:port]`.
    pub url: String,
    /// The worker's token.
    pub token: String,
    /// Certificates in PEM to trust beside the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// Why a call wasn't answered as hoped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody answered, or the master can't now: try again.
    #[error("{0}")]
    Away(String),
    /// The job is somebody else's.
    #[error("the lease is gone")]
    Fenced,
    /// The token isn't good (any more).
    #[error("{0}")]
    Unauthorized(String),
    /// Trying again can't help.
    #[error("{0}")]
    Wrong(String),
}

/// The connection to the master. Clones share it.
#[derive(Clone)]
pub(crate) struct Link {
    channel: Channel,
    endpoint: Endpoint,
    token: HeaderValue,
    instance: HeaderValue,
    signals: Signals,
}

impl Link {
    /// A link that connects when it is first needed. Within a runtime.
    pub(crate) fn new(master: &Master, signals: &Signals) -> Result<Self, String> {
        let mut endpoint = Endpoint::from_shared(master.url.clone())
            .and_then(|it| it.user_agent(concat!("danube/", env!("CARGO_PKG_VERSION"))))
            .map_err(|error| chain(&error))?
            .connect_timeout(CONNECT_DEADLINE)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_DEADLINE)
            .tcp_nodelay(true);
        if master.url.starts_with("https://") {
            let mut tls = ClientTlsConfig::new().with_native_roots();
            if let Some(pem) = &master.ca_pem {
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| chain(&error))?;
        }
        let mut token = HeaderValue::from_str(&format!("Bearer {}", master.token))
            .map_err(|_| "the token holds characters that no token has".to_owned())?;
        token.set_sensitive(true);
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).expect("Linux gives random bytes to every process since 3.17");
        let instance = format!("{:016x}", u64::from_be_bytes(bytes));
        Ok(Self {
            channel: endpoint.connect_lazy(),
            endpoint,
            token,
            instance: HeaderValue::from_str(&instance).expect("hexadecimal digits"),
            signals: signals.clone(),
        })
    }

    /// Another connection to the same master, made when it is first needed: what a job sends
    /// over it holds up nobody else. Within a runtime.
    pub(crate) fn another(&self) -> Channel {
        self.endpoint.connect_lazy()
    }

    /// Sends JSON and reads JSON.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        path: &'static str,
        body: &impl serde::Serialize,
        deadline: Duration,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).expect("wire types are plain data");
        self.send(path, (body.into(), None), deadline).await
    }

    /// Sends a piece of a log.
    pub(crate) async fn piece<T: DeserializeOwned>(
        &self,
        path: &'static str,
        (bytes, about): (Bytes, &LogPiece),
        deadline: Duration,
    ) -> Result<T, CallError> {
        let about = serde_json::to_string(about).expect("wire types are plain data");
        let about = HeaderValue::from_str(&about)
            .map_err(|_| CallError::Wrong("the piece can't be described".to_owned()))?;
        self.send(path, (bytes, Some(about)), deadline).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        path: &'static str,
        (body, piece): (Bytes, Option<HeaderValue>),
        deadline: Duration,
    ) -> Result<T, CallError> {
        let mut request = Request::new(Body::new(Full::new(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(path);
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, self.token.clone());
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(PROTOCOL_HEADER, HeaderValue::from(PROTOCOL));
        headers.insert(INSTANCE_HEADER, self.instance.clone());
        if let Some(piece) = piece {
            headers.insert(PIECE_HEADER, piece);
        }
        let began = Instant::now();
        let answered = tokio::time::timeout(deadline, self.ask(request)).await;
        self.signals.emit(RpcCall {
            method: path.rsplit('/').next().unwrap_or(path),
            duration_ms: Millis(began.elapsed()),
        });
        let (status, body) = answered.unwrap_or_else(|_| {
            let seconds = deadline.as_secs();
            Err(CallError::Away(format!("no answer within {seconds} s")))
        })?;
        understood(status, &body)
    }

    /// Sends a file as the job whose token is in the request. Whoever waits bounds the time.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        request: Request<Body>,
    ) -> Result<T, CallError> {
        let (status, body) = self.ask(request).await?;
        understood(status, &body)
    }

    async fn ask(&self, request: Request<Body>) -> Result<(StatusCode, Bytes), CallError> {
        let mut channel = self.channel.clone();
        poll_fn(|context| GrpcService::<Body>::poll_ready(&mut channel, context))
            .await
            .map_err(|error| CallError::Away(chain(&error)))?;
        let answer = GrpcService::<Body>::call(&mut channel, request)
            .await
            .map_err(|error| CallError::Away(chain(&error)))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let body = body
            .collect()
            .await
            .map_err(|error| CallError::Away(error.to_string()))?;
        Ok((status, body.to_bytes()))
    }
}

fn understood<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, CallError> {
    if status != StatusCode::OK {
        return Err(refused(status, body));
    }
    serde_json::from_slice(body)
        .map_err(|_| CallError::Wrong("the answer isn't one of a Danube master".to_owned()))
}

/// What a status that isn't 200 means.
fn refused(status: StatusCode, body: &[u8]) -> CallError {
    let problem: Option<Problem> = serde_json::from_slice(body).ok();
    let said = problem.as_ref().map_or_else(
        || format!("the server answered {}", status.as_u16()),
        |it| it.detail.clone(),
    );
    match problem.map(|it| it.code) {
        Some(Code::WrongState) => CallError::Fenced,
        Some(Code::Unauthorized | Code::Forbidden) => CallError::Unauthorized(said),
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            CallError::Away(said)
        }
        // A proxy may say anything while the master is away.
        None => CallError::Away(said),
        Some(_) => CallError::Wrong(said),
    }
}

/// An error with what caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_whether_to_try_again() {
        let problem = |code| serde_json::to_vec(&Problem::new(code, "why")).unwrap();
        let status = |it| StatusCode::from_u16(it).unwrap();
        let is = |status_code, body: &[u8]| refused(status(status_code), body);
        assert!(matches!(
            is(409, &problem(Code::WrongState)),
            CallError::Fenced
        ));
        assert!(matches!(
            is(401, &problem(Code::Unauthorized)),
            CallError::Unauthorized(_)
        ));
        for (status, body) in [
            (503, problem(Code::Unavailable)),
            (507, problem(Code::NoSpace)),
            (404, b"<html>".to_vec()),
            (502, Vec::new()),
        ] {
            assert!(matches!(is(status, &body), CallError::Away(_)), "{status}");
        }
        assert!(matches!(
            is(400, &problem(Code::Malformed)),
            CallError::Wrong(_)
        ));
    }
}

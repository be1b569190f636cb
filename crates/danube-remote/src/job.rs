//! Calls of a job's own processes to their master, with the token of the attempt: HTTP/2,
//! over TCP or over the socket that a job without network has.
//!
//! A call is tried again while the master is away, and it is the same call each time: its
//! request's id tells.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Seek};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use danube_api::rpc::LateProblem;
use danube_api::{Code, Problem};
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::Service;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use crate::link::chain;
use crate::upload::Pieces;

/// How long a call is tried again once the master is away: longer than it takes to restart,
/// shorter than a person waits before they look.
const RETRY_FOR: Duration = Duration::from_secs(30);

/// How long to wait before it is tried again, at first.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// And at most.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);

/// How long a connection may take to be made.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How long the head of an answer may take. The master gives up on a request before that.
const HEAD_DEADLINE: Duration = Duration::from_secs(35);

/// How long a file may take to be sent, and the head of its answer to come.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(3_700);

/// How long an answer may be silent: the master sends a space now and then while it waits.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Bytes of an answer: what a step wrote, in base64, and some JSON around it.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of a file that are read and sent at once.
const PIECE_BYTES: usize = 128 * 1024;

/// Pieces that wait for the network.
const PIECES_MAX: usize = 4;

/// What the server is called at a socket.
const BY_SOCKET_URL: &str = "http://localhost";

/// Connects by way of a socket, whatever the address says.
struct BySocket(PathBuf);

impl Service<Uri> for BySocket {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<UnixStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
    }
}

/// Where the master of a job is, and what the job shows there.
pub struct JobServer {
    /// `http://host[:port]` or `https://host[:port]`.
    pub url: String,
    /// The attempt's token.
    pub token: String,
    /// A socket that leads there, for a job without network.
    pub socket: Option<PathBuf>,
    /// W3C trace context of the caller.
    pub traceparent: Option<String>,
}

/// Why a call didn't succeed.
#[derive(Debug, thiserror::Error)]
pub enum JobCallError {
    /// The server answered with a problem.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// The server can't be reached, or broke off.
    #[error("{0}")]
    Away(String),
    /// The answer isn't what this program understands.
    #[error("{0}")]
    Answer(String),
    /// The file that is sent can't be read.
    #[error(transparent)]
    Unread(#[from] io::Error),
}

/// The connection of a job's process to its master.
pub struct JobLink {
    runtime: Runtime,
    channel: Channel,
    headers: http::HeaderMap,
}

impl JobLink {
    /// Connects when it is first needed.
    ///
    /// # Errors
    /// What can't be used of all this.
    pub fn new(server: &JobServer) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("start the runtime: {error}"))?;
        // Who listens at the socket speaks to the server as it is to be spoken to.
        let url = match &server.socket {
            Some(_) => BY_SOCKET_URL.to_owned(),
            None => server.url.clone(),
        };
        let mut endpoint = Endpoint::from_shared(url.clone())
            .and_then(|it| it.user_agent(concat!("danube/", env!("CARGO_PKG_VERSION"))))
            .map_err(|error| chain(&error))?
            .connect_timeout(CONNECT_DEADLINE)
            .tcp_nodelay(true);
        if url.starts_with("https://") {
            let tls = ClientTlsConfig::new().with_native_roots();
            endpoint = endpoint.tls_config(tls).map_err(|error| chain(&error))?;
        }
        let mut headers = http::HeaderMap::new();
        let mut token = HeaderValue::from_str(&format!("Bearer {}", server.token))
            .map_err(|_| "the token holds characters that no token has".to_owned())?;
        token.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, token);
        if let Some(context) = &server.traceparent
            && let Ok(value) = HeaderValue::from_str(context)
        {
            headers.insert("traceparent", value);
        }
        let _in_runtime = runtime.enter();
        let channel = match server.socket.clone() {
            None => endpoint.connect_lazy(),
            Some(socket) => endpoint.connect_with_connector_lazy(BySocket(socket)),
        };
        drop(_in_runtime);
        Ok(Self {
            runtime,
            channel,
            headers,
        })
    }

    /// Sends JSON and reads JSON, for as long as the master waits for what it answers.
    ///
    /// # Errors
    /// [`JobCallError`]
    pub fn call<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T, JobCallError> {
        let wrong = |_| JobCallError::Answer("its address can't be sent".to_owned());
        let uri: Uri = path.parse().map_err(wrong)?;
        let body = Bytes::from(serde_json::to_vec(body).expect("wire types are plain data"));
        self.tried(async || {
            let mut request = self.request(Body::new(Full::new(body.clone())));
            *request.uri_mut() = uri.clone();
            let kind = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, kind);
            self.ask(request, HEAD_DEADLINE).await
        })
    }

    /// Sends a file of so many bytes; `path` has all that is told of it.
    ///
    /// # Errors
    /// [`JobCallError`]
    pub fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        (file, bytes): (&File, u64),
    ) -> Result<T, JobCallError> {
        let wrong = |_| JobCallError::Answer("its name can't be sent".to_owned());
        let uri: Uri = path.parse().map_err(wrong)?;
        self.tried(async || {
            let mut from = file.try_clone()?;
            from.rewind()?;
            let (sender, pieces) = mpsc::channel(PIECES_MAX);
            let reading = tokio::task::spawn_blocking(move || feed(from, bytes, &sender));
            let mut request = self.request(Body::new(Pieces(pieces)));
            *request.uri_mut() = uri.clone();
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
            let kind = HeaderValue::from_static("application/octet-stream");
            headers.insert(header::CONTENT_TYPE, kind);
            let answer = self.ask(request, UPLOAD_DEADLINE).await;
            // With the answer there is nobody who takes more.
            match reading.await {
                Ok(Err(error)) if !matches!(answer, Ok(_) | Err(JobCallError::Problem(_))) => {
                    Err(error.into())
                }
                _ => answer,
            }
        })
    }

    fn request(&self, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Tries until it is answered, or the master has been away for too long.
    fn tried<T: DeserializeOwned, F: Future<Output = Result<Bytes, JobCallError>>>(
        &self,
        mut call: impl FnMut() -> F,
    ) -> Result<T, JobCallError> {
        let mut pause = RETRY_AFTER;
        let mut away_since = None;
        loop {
            let began = Instant::now();
            let answer = self.runtime.block_on(call());
            let error = match answer {
                Ok(body) => return understood(&body),
                Err(error) if !is_away(&error) => return Err(error),
                Err(error) => error,
            };
            // One that was under way for so long had its master until a moment ago.
            if began.elapsed() > RETRY_FOR {
                (away_since, pause) = (None, RETRY_AFTER);
            }
            let since: Instant = *away_since.get_or_insert_with(Instant::now);
            if since.elapsed() + pause > RETRY_FOR {
                return Err(error);
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(RETRY_AFTER_MAX);
        }
    }

    async fn ask(
        &self,
        request: Request<Body>,
        head_deadline: Duration,
    ) -> Result<Bytes, JobCallError> {
        let away = |error: &dyn std::error::Error| JobCallError::Away(chain(error));
        let mut channel = self.channel.clone();
        let head = async {
            std::future::poll_fn(|context| GrpcService::<Body>::poll_ready(&mut channel, context))
                .await
                .map_err(|error| away(&error))?;
            GrpcService::<Body>::call(&mut channel, request)
                .await
                .map_err(|error| away(&error))
        };
        let answer = in_time(head, head_deadline).await??;
        let (status, mut body) = (answer.status(), answer.into_body());
        let mut bytes = Vec::new();
        while let Some(frame) = in_time(body.frame(), SILENCE_MAX).await? {
            let frame = frame.map_err(|error| JobCallError::Away(error.to_string()))?;
            let piece = frame.into_data().unwrap_or_default();
            // What it sends while it waits doesn't count.
            if bytes.is_empty() && piece.iter().all(|it| *it == b' ') {
                continue;
            }
            bytes.extend_from_slice(&piece);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(JobCallError::Answer("it has too many bytes".to_owned()));
            }
        }
        if status == StatusCode::OK {
            return Ok(bytes.into());
        }
        Err(match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => JobCallError::Problem(Box::new(problem)),
            // A proxy may say anything while the master is away.
            Err(_) => JobCallError::Away(format!("the server answered {}", status.as_u16())),
        })
    }
}

async fn in_time<T>(it: impl Future<Output = T>, time: Duration) -> Result<T, JobCallError> {
    let done = tokio::time::timeout(time, it).await;
    done.map_err(|_| JobCallError::Away(format!("no answer within {} s", time.as_secs())))
}

/// Whether the same call may be answered in a moment.
fn is_away(error: &JobCallError) -> bool {
    match error {
        JobCallError::Away(_) => true,
        JobCallError::Problem(problem) => {
            matches!(
                problem.code,
                Code::Unavailable | Code::TooSlow | Code::TooMany
            )
        }
        JobCallError::Answer(_) | JobCallError::Unread(_) => false,
    }
}

fn understood<T: DeserializeOwned>(body: &[u8]) -> Result<T, JobCallError> {
    if let Ok(late) = serde_json::from_slice::<LateProblem>(body) {
        return Err(JobCallError::Problem(Box::new(late.problem)));
    }
    serde_json::from_slice(body)
        .map_err(|_| JobCallError::Answer("it isn't one of a Danube master".to_owned()))
}

/// Hands a file on as fast as it is sent; one that became shorter isn't taken for whole.
fn feed(mut from: File, mut left: u64, sender: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    while left > 0 {
        let length = usize::try_from(left).map_or(PIECE_BYTES, |it| it.min(PIECE_BYTES));
        let mut piece = vec![0; length];
        let read = from.read(&mut piece).and_then(|it| match it {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            it => Ok(it),
        });
        let have = match read {
            Ok(have) => have,
            Err(error) => {
                let why = io::Error::other("the file wasn't sent to its end");
                let _ = sender.blocking_send(Err(why));
                return Err(error);
            }
        };
        piece.truncate(have);
        left -= have as u64;
        if sender.blocking_send(Ok(piece.into())).is_err() {
            // Whoever takes no more says why.
            return Ok(());
        }
    }
    Ok(())
}

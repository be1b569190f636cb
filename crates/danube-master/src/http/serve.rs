//! Accepts connections, with the limits that keep strangers from holding them.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use std::error::Error as _;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::Uri;
use danube_signals::{Signals, SseDropReason};
use danube_telemetry::watchdog::BEAT_EVERY;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Interval, MissedTickBehavior};

use crate::watchdog::Liveness;

/// How long a client may take to send the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);

/// Connections at once: followers and room for everybody else.
const CONNECTIONS_MAX: usize = 16_384;

/// Bytes of a connection's read buffer, and so of a request's head; and of the
/// pieces of an answer that wait for a client, beside the last of them.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What a connection of HTTP/2 begins with, as far as it tells it from HTTP/1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// How often a preface that came in part is looked at again.
const PREFACE_LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often a client with HTTP/2 is asked whether it is there: a worker that waits for
/// a job says nothing by itself.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long it may take to say so.
const PING_DEADLINE: Duration = Duration::from_secs(20);

/// Requests of one connection with HTTP/2 at once: a worker has two polls open, and a
/// log or a report of each job that it runs.
const STREAMS_MAX: u32 = 256;

/// Bytes of the head of a request with HTTP/2.
const HEAD_LIST_BYTES_MAX: u32 = 16 * 1024;

/// How long to wait when the system gives no connection (out of descriptors).
const ACCEPT_RETRY_AFTER: Duration = Duration::from_millis(50);

/// How long open answers may go on after the stop; followers are cut then, and
/// come back with their offset.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// What is served, and how.
pub(crate) struct Served {
    pub(crate) router: Router,
    /// The path below which others reach it: empty, or without a `/` at its end.
    pub(crate) base: Arc<str>,
    pub(crate) signals: Signals,
    /// Hears that connections are accepted.
    pub(crate) liveness: Arc<Liveness>,
    /// How long a client may take no byte, or its machine be silent, before its
    /// connection is closed.
    pub(crate) client_silence: Duration,
}

/// Serves until `stop` is done.
pub(crate) async fn serve(
    listener: TcpListener,
    Served {
        router,
        base,
        signals,
        liveness,
        client_silence,
    }: Served,
    stop: impl Future<Output = ()>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let open = GracefulShutdown::new();
    let mut one = http1::Builder::new();
    one.timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX);
    let mut two = http2::Builder::new(TokioExecutor::new());
    two.timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_DEADLINE)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_LIST_BYTES_MAX);
    tokio::pin!(stop);
    let mut beats = beats();
    'served: loop {
        let accept = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            (permit, listener.accept().await)
        };
        tokio::pin!(accept);
        let (permit, accepted) = loop {
            tokio::select! {
                accepted = &mut accept => break accepted,
                _ = beats.tick() => liveness.accepts(),
                () = &mut stop => break 'served,
            }
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                after_failed_accept(&error).await;
                continue;
            }
        };
        prepare(&stream, client_silence);
        let line = Line::default();
        let service = OnLine {
            router: TowerToHyperService::new(router.clone()),
            line: line.clone(),
            peer: Peer(peer.ip()),
            base: Arc::clone(&base),
        };
        let (one, two) = (one.clone(), two.clone());
        let watcher = open.watcher();
        let signals = signals.clone();
        tokio::spawn(async move {
            // A client that breaks off is its own affair.
            let ended = match begins(&stream).await {
                Some(Begins::Two) => {
                    let served = two.serve_connection(TokioIo::new(stream), service);
                    watcher.watch(served).await
                }
                Some(Begins::One) => {
                    let served = one.serve_connection(TokioIo::new(stream), service);
                    watcher.watch(served).await
                }
                None => return,
            };
            if let Some(reason) = ended.err().and_then(|it| dropped_for(&it)) {
                let cut = line.cut();
                signals.sse_clients_dropped_total.at(reason).add(cut);
            }
            drop(permit);
        });
    }
    drop(listener);
    liveness.accepts_no_more();
    // Followers that don't end by themselves are cut at the deadline.
    let _ = tokio::time::timeout(CLOSE_DEADLINE, open.shutdown()).await;
}

/// When the loop gives a sign of life. After a stop of the process they aren't made up for.
fn beats() -> Interval {
    let mut beats = tokio::time::interval(BEAT_EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

/// Which HTTP a client speaks.
enum Begins {
    One,
    Two,
}

/// Looks at a connection's first bytes, which stay where they are: HTTP/2 without TLS
/// begins with a preface that no request of HTTP/1 begins with. None when nothing came
/// in time.
async fn begins(stream: &TcpStream) -> Option<Begins> {
    let looked = async {
        let mut seen = [0; PREFACE.len()];
        loop {
            let len = stream.peek(&mut seen).await.ok().filter(|it| *it > 0)?;
            if !PREFACE.starts_with(&seen[..len]) {
                return Some(Begins::One);
            }
            if len == PREFACE.len() {
                return Some(Begins::Two);
            }
            // A part of it: what is there stays readable, so only time tells.
            tokio::time::sleep(PREFACE_LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(HEAD_DEADLINE, looked).await.ok()?
}

/// A connection, as its requests see it: they find it in their extensions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line(Arc<AtomicU64>);

impl Line {
    /// A follower went before its log had ended.
    pub(crate) fn follower_went(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many followers went so.
    fn cut(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The address at a connection's other end: that of a proxy, where one stands before the
/// server. Requests find it in their extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The routes for the requests of one connection.
struct OnLine {
    router: TowerToHyperService<Router>,
    base: Arc<str>,
    line: Line,
    peer: Peer,
}

impl Service<Request<Incoming>> for OnLine {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.line.clone());
        request.extensions_mut().insert(self.peer);
        if let Some(uri) = below(&self.base, request.uri()) {
            *request.uri_mut() = uri;
        }
        self.router.call(request)
    }
}

/// The address without the path below which others reach the server, where a proxy has left
/// it there; none where there is nothing to take away.
fn below(base: &str, uri: &Uri) -> Option<Uri> {
    let text = uri.path_and_query()?.as_str();
    let rest = text.strip_prefix(base).filter(|_| !base.is_empty())?;
    let rest = match rest.as_bytes().first() {
        None => "/".to_owned(),
        Some(b'?') => format!("/{rest}"),
        Some(b'/') => rest.to_owned(),
        Some(_) => return None,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(rest.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Why a connection that broke took its followers with it; none when its client
/// left by itself.
fn dropped_for(error: &hyper::Error) -> Option<SseDropReason> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return match io.kind() {
                // The kernel gave it up: it took nothing, or its machine is gone.
                io::ErrorKind::TimedOut => Some(SseDropReason::Slow),
                io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::NotConnected
                | io::ErrorKind::UnexpectedEof => None,
                _ => Some(SseDropReason::Error),
            };
        }
        source = cause.source();
    }
    None
}

/// A failure here only makes an answer later, or a vanished client last longer.
fn prepare(stream: &TcpStream, silence: Duration) {
    // Small answers go out at once.
    let _ = stream.set_nodelay(true);
    // A follower whose machine is gone, or that takes nothing, doesn't keep its
    // place: `danube logs` and browsers come back with their offset.
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, silence);
    let millis = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
    let _ = sockopt::set_tcp_user_timeout(stream, millis);
}

async fn after_failed_accept(error: &io::Error) {
    // A connection that was reset before we took it says nothing about us.
    let theirs = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    );
    if !theirs {
        tokio::time::sleep(ACCEPT_RETRY_AFTER).await;
    }
}

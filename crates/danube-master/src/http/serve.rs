//! Accepts connections, with the limits that keep strangers from holding them.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// How long a client may take to send the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);

/// How long a client's machine may be silent, or take no byte, before its
/// connection is closed.
const PEER_SILENCE_MAX: Duration = Duration::from_secs(120);

/// The same, as the socket option wants it.
const PEER_SILENCE_MILLIS_MAX: u32 = 120_000;

/// Connections at once: followers and room for everybody else.
const CONNECTIONS_MAX: usize = 16_384;

/// Bytes of a connection's read buffer, and so of a request's head; and of the
/// pieces of an answer that wait for a client, beside the last of them.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long to wait when the system gives no connection (out of descriptors).
const ACCEPT_RETRY_AFTER: Duration = Duration::from_millis(50);

/// How long open answers may go on after the stop; followers are cut then, and
/// come back with their offset.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// Serves until `stop` is done.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let open = GracefulShutdown::new();
    let mut server = hyper::server::conn::http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX);
    tokio::pin!(stop);
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&room).acquire_owned() => permit.expect("the semaphore is never closed"),
            () = &mut stop => break,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    after_failed_accept(&error).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        prepare(&stream);
        let service = TowerToHyperService::new(router.clone());
        let connection = open.watch(server.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A client that breaks off is its own affair.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    // Followers that don't end by themselves are cut at the deadline.
    let _ = tokio::time::timeout(CLOSE_DEADLINE, open.shutdown()).await;
}

/// A failure here only makes an answer later, or a vanished client last longer.
fn prepare(stream: &TcpStream) {
    // Small answers go out at once.
    let _ = stream.set_nodelay(true);
    // A follower whose machine is gone, or that takes nothing, doesn't keep its
    // place: `danube logs` and browsers come back with their offset.
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, PEER_SILENCE_MAX);
    let _ = sockopt::set_tcp_user_timeout(stream, PEER_SILENCE_MILLIS_MAX);
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

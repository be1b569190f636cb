//! How workers on other machines hear what the coordinators of their jobs ask for.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use danube_api::rpc::{CallAnswered, CallsAnswer, CallsWanted, Taken};
use danube_model::Attempt;
use danube_model::coordinator::Call;

use super::answer::Answer;
use super::incoming::Ours;
use super::rpc::{BODY_BYTES_MAX, Known, later, on_thread, read};
use crate::app::Shared;
use crate::remote::{Peer, Remote};

/// How long a worker's wait for calls lasts.
const CALLS_WAIT: Duration = Duration::from_secs(25);

/// Waits for what a coordinator asks for. The head of the answer comes at once.
pub(crate) async fn calls(
    State(app): State<Shared>,
    Known(peer): Known,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<Response> {
    let CallsWanted { lease, heard } = read(&body)?;
    let attempt = Attempt::from(lease);
    let asking = peer.clone();
    on_thread(&app, move |remote| remote.has_calls(&asking, attempt)).await?;
    let remote = Arc::clone(&app.remote);
    Ok(later(async move {
        let calls = waited(&remote, &peer, (attempt, &heard)).await;
        CallsAnswer { calls }
    }))
}

async fn waited(remote: &Remote, peer: &Peer, (of, heard): (Attempt, &[String])) -> Vec<Call> {
    let until = tokio::time::Instant::now() + CALLS_WAIT;
    loop {
        let rung = remote.news().notified();
        tokio::pin!(rung);
        rung.as_mut().enable();
        match remote.calls(peer, of, heard) {
            Some(calls) if calls.is_empty() && !remote.is_closed() => {}
            calls => return calls.unwrap_or_default(),
        }
        if tokio::time::timeout_at(until, rung).await.is_err() {
            return Vec::new();
        }
    }
}

/// A worker tells what became of a call.
pub(crate) async fn answer(
    State(app): State<Shared>,
    Known(peer): Known,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<Json<Taken>> {
    let CallAnswered {
        lease,
        request_id,
        answer,
    } = read(&body)?;
    on_thread(&app, move |remote| {
        remote.answered(&peer, lease.into(), (&request_id, &answer))
    })
    .await?;
    Ok(Json(Taken {}))
}

//! How workers on other machines come to their jobs: they wait here for the next, or ask for
//! one of which they heard in Redis.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use danube_api::rpc::{self, Claim, ClaimAnswer, Given};
use danube_api::{Code, Problem};
use danube_model::Attempt;
use danube_worker::Work;

use super::answer::Answer;
use super::incoming::Ours;
use super::rpc::{BODY_BYTES_MAX, Known, later, read};
use crate::app::{App, Shared, blocking};
use crate::remote::{Offered, Remote, Waiting, Wants};

/// How long a worker's wait for a job lasts: below what proxies and clients usually
/// allow for an answer.
const CLAIM_WAIT: Duration = Duration::from_secs(25);

/// Waits for a job. The head of the answer comes at once, its body when there is one.
pub(crate) async fn claim(
    State(app): State<Shared>,
    Known(peer): Known,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<Response> {
    let claim: Claim = read(&body)?;
    known_queues(&app, claim.queues.as_deref())?;
    let running: Vec<Attempt> = claim.running.into_iter().map(Attempt::from).collect();
    let remote = Arc::clone(&app.remote);
    for attempt in remote.undelivered(&peer, &running) {
        let remote = Arc::clone(&remote);
        blocking(move || remote.take_back(attempt, "the job didn't reach its worker")).await?;
    }
    let wants = match claim.job {
        Some(job) => Wants::Job(job),
        None => Wants::Next(claim.queues),
    };
    let Some(waiting) = remote.offer(&peer, wants) else {
        let detail = "the server is stopping, or too many workers wait";
        return Err(Problem::new(Code::Unavailable, detail).into());
    };
    Ok(later(given(remote, waiting)))
}

/// A queue that isn't there would be waited for in vain.
pub(super) fn known_queues(app: &App, queues: Option<&[String]>) -> Result<(), Problem> {
    let unknown = queues.into_iter().flatten().find(|it| !app.queues.has(it));
    match unknown {
        None => Ok(()),
        Some(name) => {
            let detail = format!(
                "this server has no queue `{}`; it has {}",
                name.escape_debug(),
                app.queues.names()
            );
            Err(Problem::new(Code::Malformed, detail))
        }
    }
}

async fn given(remote: Arc<Remote>, mut waiting: Waiting) -> ClaimAnswer {
    match waiting.next(CLAIM_WAIT).await {
        None => ClaimAnswer {
            given: None,
            refused: false,
        },
        Some(Offered::Refused) => ClaimAnswer {
            given: None,
            refused: true,
        },
        Some(Offered::Work(work)) => {
            // A task of its own: a worker that leaves now must not leave half of it.
            let prepared = tokio::task::spawn_blocking(move || prepare(&remote, *work));
            ClaimAnswer {
                given: prepared.await.ok().flatten(),
                refused: false,
            }
        }
    }
}

/// Opens the job's log, so that its worker hears where its part begins.
fn prepare(remote: &Remote, work: Work) -> Option<Given> {
    match remote.open_log(work.attempt) {
        Ok(log_base) => Some(Given {
            lease: work.attempt.into(),
            order: work.order,
            traceparent: work.traceparent,
            queued_at: work.queued_at,
            log_base,
            token: work.token?.text().to_owned(),
        }),
        Err(_) => {
            remote.take_back(work.attempt, "its log couldn't be opened");
            None
        }
    }
}

/// What a worker of these queues is told of Redis: nothing while the master doesn't reach it,
/// so that the worker asks the master itself.
pub(super) fn dispatch(app: &App, queues: Option<&[String]>) -> Option<rpc::Dispatch> {
    if !app.feed.is_fine() {
        return None;
    }
    let mut dispatch = app.dispatch.clone()?;
    let takes = |it: &String| queues.is_none_or(|queues| queues.contains(it));
    dispatch.queues.retain(takes);
    Some(dispatch)
}

//! A submit that waits for its job's end: `?sync=true`.
//!
//! The handler only says that there is something to wait for ([`Wait`], in the extensions of
//! its answer): it runs to its end whoever waits for it. The waiting is done around it, where
//! a client that leaves ends it, and where no deadline for an answer's head cuts it short.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use danube_api::{Code, JOBS_PATH, JobView, Problem};
use danube_model::JobId;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::jobs::{unknown, with_log};
use super::logs::switch;
use crate::app::Shared;

/// How long a submit waits when it doesn't say: below the minute after which proxies
/// usually give up.
const SYNC_SECONDS_DEFAULT: u64 = 50;

/// How long it may wait: whoever has more time follows the job.
const SYNC_SECONDS_MAX: u64 = 600;

/// How a submit is answered.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmitQuery {
    /// `true`: answer when the job has ended, or the time is over.
    #[param(value_type = Option<bool>)]
    sync: Option<String>,
    /// With `sync`: how long to wait, 1 to 600; 50 when absent.
    #[param(minimum = 1, maximum = 600)]
    timeout_seconds: Option<u64>,
}

/// How long the submit is to wait, if at all.
pub(super) fn asked(
    query: Result<Query<SubmitQuery>, QueryRejection>,
) -> Result<Option<Duration>, Problem> {
    let malformed = |why: String| Problem::new(Code::Malformed, why);
    let Query(query) = query.map_err(|error| malformed(error.body_text()))?;
    let is_sync = switch("sync", query.sync.as_deref())?;
    let seconds = query.timeout_seconds;
    if !is_sync && seconds.is_some() {
        return Err(malformed("`timeout_seconds` goes with `sync=true`".into()));
    }
    let seconds = seconds.unwrap_or(SYNC_SECONDS_DEFAULT);
    if !(1..=SYNC_SECONDS_MAX).contains(&seconds) {
        let why = format!("`timeout_seconds` must be 1 to {SYNC_SECONDS_MAX}");
        return Err(malformed(why));
    }
    Ok(is_sync.then(|| Duration::from_secs(seconds)))
}

/// What an answer is held back for.
#[derive(Clone)]
pub(super) struct Wait {
    pub(super) job: JobId,
    pub(super) time: Duration,
    /// What whoever submitted it should know.
    pub(super) warnings: Vec<String>,
    /// One of as many as there may be.
    pub(super) _turn: Arc<OwnedSemaphorePermit>,
}

/// Holds the answer of a submit back until its job has ended, the time is over, or the
/// server stops. Other answers go on at once.
pub(super) async fn for_end(app: &Shared, wait: Wait, accepted: Response) -> Response {
    let until = Instant::now() + wait.time;
    let watch = app.phases.watch(wait.job);
    let mut stopping = app.phases.stopping.subscribe();
    let mut is_over = false;
    loop {
        let changed = watch.notify.notified();
        tokio::pin!(changed);
        // Listening begins here, before the look below, so that no end is missed.
        changed.as_mut().enable();
        if is_over || !is_running(app, wait.job) {
            match look(app, &wait).await {
                Ok((StatusCode::OK, job)) => return answer(StatusCode::OK, job),
                Ok((status, job)) if is_over => return answer(status, job),
                Ok(_) => {}
                // The job is durable all the same: that was the answer without waiting.
                Err(_) => return accepted,
            }
        }
        tokio::select! {
            () = changed => {}
            () = sleep_until(until) => is_over = true,
            _ = stopping.wait_for(|it| *it) => is_over = true,
        }
    }
}

/// Whether the job's log is being written: then it hasn't ended, and a look at the store,
/// at each of its steps and tasks, would tell nothing.
fn is_running(app: &Shared, job: JobId) -> bool {
    let progress = app.logs.progress(&job.to_string());
    progress.is_some_and(|it| !it.borrow().closed)
}

/// The job as it is, and 200 when it has ended.
async fn look(app: &Shared, wait: &Wait) -> Result<(StatusCode, JobView), Problem> {
    let id = wait.job;
    let job = app.read(move |store| store.job(id)).await?;
    let job = with_log(app, job.ok_or_else(|| unknown(&id.to_string()))?).await?;
    let status = if job.state.is_terminal() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let warnings = wait.warnings.clone();
    let view = JobView {
        warnings,
        ..JobView::whole(job)
    };
    Ok((status, view))
}

/// The answer to a submit: the job, and where it is.
pub(super) fn answer(status: StatusCode, job: JobView) -> Response {
    let location = format!("{JOBS_PATH}/{}", job.id);
    (status, [(header::LOCATION, location)], Json(job)).into_response()
}

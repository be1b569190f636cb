//! What a page hears while it is open: that something of it has changed, and no more. The page
//! asks again for what it shows, so a browser that was away has missed nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use danube_api::{Code, Problem};
use danube_joblog::Progress;
use danube_model::JobId;
use danube_signals::SseDropReason;
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::frame::Visit;
use crate::app::{PhaseWatch, Shared};
use crate::http::answer::Refusal;
use crate::http::follow::Place;
use crate::http::guard::Guard;
use crate::http::jobs::find;
use crate::http::serve::Line;
use crate::http::stream::{Counted, RETRY_MILLIS, answer};

/// The least time between two events of a page, however much happens: a page that is asked for
/// more often shows nobody more.
const EVERY: Duration = Duration::from_millis(200);

/// How often a silent page hears that the server is still there.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// What a page shows.
#[derive(Debug, Deserialize)]
pub(super) struct LiveQuery {
    /// The job; none on a list.
    job: Option<String>,
}

/// Follows what a page shows.
pub(super) async fn live(
    State(app): State<Shared>,
    visit: Visit,
    (headers, Extension(line)): (HeaderMap, Extension<Line>),
    query: Result<Query<LiveQuery>, QueryRejection>,
) -> Response {
    match open(app, &visit, &headers, line, query).await {
        Ok(live) => answer(unfold(live, |mut live| async move {
            let text = live.next().await?;
            Some((Bytes::from(text), live))
        })),
        Err(problem) => Refusal(problem).into_response(),
    }
}

/// One open page.
struct Live {
    app: Shared,
    _place: Place,
    sender: Counted,
    guard: Guard,
    /// The job that it shows; none of a list.
    job: Option<(JobId, PhaseWatch)>,
    /// Armed all the time, so that nothing is missed while an event is sent.
    changed: Pin<Box<OwnedNotified>>,
    notify: Arc<Notify>,
    /// How far its log has come, while it is written.
    log: Option<watch::Receiver<Progress>>,
    stopping: watch::Receiver<bool>,
    is_open: bool,
}

async fn open(
    app: Shared,
    visit: &Visit,
    headers: &HeaderMap,
    line: Line,
    query: Result<Query<LiveQuery>, QueryRejection>,
) -> Result<Live, Problem> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let place = Place::take(&app).inspect_err(|_| {
        let dropped = &app.signals.sse_clients_dropped_total;
        dropped.at(SseDropReason::Limit).inc();
    })?;
    let job = match query.job {
        Some(id) => Some(find(&app, &visit.caller, &id).await?),
        None => None,
    };
    let guard = match &job {
        Some(job) => Guard::new(&visit.caller, headers, job),
        None => Guard::of_list(headers),
    };
    let job = job.map(|it| (it.id, app.phases.watch(it.id)));
    let notify = match &job {
        Some((_, watch)) => Arc::clone(&watch.notify),
        None => Arc::clone(&app.phases.any),
    };
    let mut live = Live {
        changed: armed(&notify),
        notify,
        guard,
        job,
        log: None,
        stopping: app.phases.stopping.subscribe(),
        sender: Counted::new(app.clone(), line),
        app,
        _place: place,
        is_open: false,
    };
    live.look_for_log();
    Ok(live)
}

/// Why a page that waited hears something.
enum Woken {
    Changed,
    /// There is more of the log, or nobody writes it any more.
    Log {
        is_written: bool,
    },
    Quiet,
    Stopping,
}

fn armed(notify: &Arc<Notify>) -> Pin<Box<OwnedNotified>> {
    let mut changed = Box::pin(Arc::clone(notify).notified_owned());
    changed.as_mut().enable();
    changed
}

impl Live {
    /// What is sent next; none at the end.
    async fn next(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.is_open, true) {
            return Some(format!("retry: {RETRY_MILLIS}\n\n"));
        }
        sleep(EVERY).await;
        if self.guard.look(&self.app).is_err() {
            self.sender.drop_it();
            return None;
        }
        let grown = async {
            match &mut self.log {
                Some(log) => log.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let woken = tokio::select! {
            () = self.changed.as_mut() => Woken::Changed,
            is_written = grown => Woken::Log { is_written },
            _ = self.stopping.wait_for(|it| *it) => Woken::Stopping,
            () = sleep(HEARTBEAT_EVERY) => Woken::Quiet,
        };
        Some(match woken {
            Woken::Changed => {
                self.changed = armed(&self.notify);
                self.look_for_log();
                self.sender.sent();
                format!("event: changed\ndata: {{}}\n\n{}", self.log_event())
            }
            Woken::Log { is_written } => {
                self.sender.sent();
                let text = self.log_event();
                if !is_written {
                    self.log = None;
                }
                text
            }
            Woken::Quiet => ": still here\n\n".to_owned(),
            Woken::Stopping => return None,
        })
    }

    /// The log is there once its job has begun.
    fn look_for_log(&mut self) {
        if let (None, Some((job, _))) = (&self.log, &self.job) {
            self.log = self.app.logs.progress(&job.to_string());
        }
    }

    /// How far the log has come; nothing where none is written.
    fn log_event(&mut self) -> String {
        self.log.as_mut().map_or_else(String::new, |log| {
            let bytes = log.borrow_and_update().end;
            format!("event: log\ndata: {{\"bytes\":{bytes}}}\n\n")
        })
    }
}

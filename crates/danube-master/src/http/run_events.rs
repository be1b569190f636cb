//! What a playbook does, event by event: as a list, and live together with its log.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use danube_api::{Code, Problem, RunEventList, StreamEvent};
use danube_model::JobId;
use danube_model::playbook::{RunEvent, RunRecord};
use futures_util::stream::unfold;
use serde::Deserialize;

use super::answer::Answer;
use super::caller::Looker;
use super::guard::Guard;
use super::incoming::Id;
use super::jobs::{find_id, find_logged, unknown};
use super::serve::Line;
use super::stream::{Events, Sent, answer, last_event};
use crate::app::{PhaseWatch, Shared};

/// Events of one answer, and of one look of a live stream.
const EVENTS_AT_ONCE_MAX: usize = 1_000;

/// How often a job that runs is asked for new events: they are stored some 50 ms after
/// they were told.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often one that waits is.
const WAIT_EVERY: Duration = Duration::from_secs(15);

/// Which events are wanted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    /// The attempt; the latest when absent.
    #[param(format = "uint32")]
    attempt: Option<u32>,
    /// The number of the first event.
    #[param(format = "uint64")]
    from: Option<u64>,
    /// At most so many, 1 to 1000; as many when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Lists what a playbook did.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/events", operation_id = "events", tag = "jobs", params(("id" = String, Path, description = "Id or short id"), EventsQuery),
    responses((status = 200, description = "Plays, tasks and results in their order; none of a pipeline", body = RunEventList),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Id(id): Id,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Answer<Json<RunEventList>> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let limit = query.limit.unwrap_or(EVENTS_AT_ONCE_MAX);
    if !(1..=EVENTS_AT_ONCE_MAX).contains(&limit) {
        let why = format!("`limit` must be 1 to {EVENTS_AT_ONCE_MAX}");
        return Err(Problem::new(Code::Malformed, why).into());
    }
    let id = find_id(&app, &caller, &id).await?;
    let from = query.from.unwrap_or(0);
    let found = app
        .read(move |store| store.run_events(id, query.attempt, (from, limit)))
        .await?;
    let found = found.ok_or_else(|| unknown(&id.to_string()))?;
    let next = found.records.last().map_or(from, |it| it.n + 1);
    let is_all = found.records.len() < limit;
    let is_over = is_all && (found.has_ended || found.attempt < found.latest);
    Ok(Json(RunEventList {
        attempt: found.attempt,
        events: found.records,
        next: (!is_over).then_some(next),
    }))
}

/// What a live stream is to hold.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LiveQuery {
    /// `events`, `stdout` (the log), or both with a comma; both when absent.
    include: Option<String>,
}

/// Where a live stream stands: its ids are `OFFSET.ATTEMPT.N`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Position {
    /// The log's next byte.
    offset: u64,
    /// The attempt whose events come next.
    attempt: u32,
    /// The number of the next one.
    n: u64,
}

impl Position {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let position = Self {
            offset: parts.next()?.parse().ok()?,
            attempt: parts.next()?.parse().ok()?,
            n: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(position)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}.{}", self.offset, self.attempt, self.n)
    }
}

/// Follows a job: what its playbook does, and its log.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/stream", operation_id = "stream", tag = "jobs", params(("id" = String, Path, description = "Id or short id"), LiveQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that arrived")),
    responses((status = 200, description = "Events `play_started`, `task_started`, `host_result`, `summary`, and those of the log's stream; the last is `end`", content_type = "text/event-stream", body = StreamEvent),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn live(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Id(id): Id,
    (headers, line): (HeaderMap, Extension<Line>),
    query: Result<Query<LiveQuery>, QueryRejection>,
) -> Answer<Response> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let (with_events, with_log) = included(query.include.as_deref())?;
    let at = last_event(&headers, Position::read)?.unwrap_or_default();
    let job = find_logged(&app, &caller, &id).await?;
    let guard = Guard::new(&caller, &headers, &job);
    let log = Events::new(app.clone(), (job.id, guard), (at.offset, line.0))?;
    let live = Live {
        log,
        with_log,
        run: with_events.then(|| Run {
            watch: app.phases.watch(job.id),
            job: job.id,
            app,
            waiting: VecDeque::new(),
        }),
        at,
        end: None,
    };
    Ok(answer(unfold(live, |mut live| async move {
        let text = live.next().await?;
        Some((Bytes::from(text), live))
    })))
}

fn included(include: Option<&str>) -> Result<(bool, bool), Problem> {
    let Some(include) = include else {
        return Ok((true, true));
    };
    let (mut events, mut log) = (false, false);
    for word in include.split(',') {
        match word.trim() {
            "events" => events = true,
            "stdout" => log = true,
            _ => {
                let why = "`include` must be `events`, `stdout`, or both with a comma between them";
                return Err(Problem::new(Code::Malformed, why));
            }
        }
    }
    Ok((events, log))
}

/// A job that is followed.
struct Live {
    /// Also where the log isn't wanted: it knows when the job has ended.
    log: Events,
    with_log: bool,
    run: Option<Run>,
    at: Position,
    /// What closes the stream, until all events have been sent.
    end: Option<Vec<Sent>>,
}

impl Live {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = &self.end {
                let run = match &mut self.run {
                    Some(run) => run.next(&mut self.at).await,
                    None => None,
                };
                if let Some(text) = run {
                    return Some(text);
                }
                let text = end.iter().map(|it| it.text(&self.at.to_string())).collect();
                self.end = Some(Vec::new());
                self.run = None;
                return Some(text).filter(|it: &String| !it.is_empty());
            }
            let sent = match &mut self.run {
                Some(run) => {
                    // Both may be left at any point: what they have found, they keep.
                    tokio::select! {
                        text = run.next(&mut self.at) => match text {
                            Some(text) => return Some(text),
                            None => {
                                self.run = None;
                                continue;
                            }
                        },
                        sent = self.log.next() => sent,
                    }
                }
                None => self.log.next().await,
            };
            if let Some(text) = self.take(sent?) {
                return Some(text);
            }
        }
    }

    /// The text of what the log's stream says; none for what isn't wanted, and for the end,
    /// which is kept.
    fn take(&mut self, sent: Vec<Sent>) -> Option<String> {
        let mut text = String::new();
        let mut end = Vec::new();
        for it in sent {
            match &it {
                Sent::Event {
                    name: "end", at, ..
                } => {
                    self.at.offset = *at;
                    end.push(it);
                }
                Sent::Event { at, .. } => {
                    self.at.offset = *at;
                    if self.with_log {
                        text.push_str(&it.text(&self.at.to_string()));
                    }
                }
                Sent::Plain(plain) => text.push_str(plain),
            }
        }
        if !end.is_empty() {
            self.end = Some(end);
        }
        (!text.is_empty()).then_some(text)
    }
}

/// The events of a job's attempts, one after the other.
struct Run {
    app: Shared,
    job: JobId,
    watch: PhaseWatch,
    waiting: VecDeque<RunRecord>,
}

impl Run {
    /// The next one; none after the last.
    async fn next(&mut self, at: &mut Position) -> Option<String> {
        loop {
            if let Some(record) = self.waiting.pop_front() {
                at.n = record.n + 1;
                let data = serde_json::to_string(&record)
                    .expect("events hold nothing but texts and numbers");
                let name = name(&record.event);
                return Some(format!("event: {name}\nid: {at}\ndata: {data}\n\n"));
            }
            let notify = self.watch.notify.clone();
            let changed = notify.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (job, from) = (self.job, *at);
            let attempt = Some(from.attempt.max(1));
            let found = self
                .app
                .read(move |store| store.run_events(job, attempt, (from.n, EVENTS_AT_ONCE_MAX)))
                .await;
            // A database that is away is asked again.
            let found = found.ok().flatten();
            let mut wait = LOOK_EVERY;
            if let Some(found) = found {
                at.attempt = found.attempt;
                if !found.records.is_empty() {
                    self.waiting = found.records.into();
                    continue;
                }
                if found.attempt < found.latest {
                    at.attempt = found.attempt + 1;
                    at.n = 0;
                    continue;
                }
                if found.has_ended {
                    return None;
                }
                if found.latest == 0 {
                    wait = WAIT_EVERY;
                }
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

const fn name(event: &RunEvent) -> &'static str {
    match event {
        RunEvent::PlayStarted { .. } => "play_started",
        RunEvent::TaskStarted { .. } => "task_started",
        RunEvent::HostResult { .. } => "host_result",
        RunEvent::Summary { .. } => "summary",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_text() {
        let at = Position {
            offset: 12,
            attempt: 2,
            n: 7,
        };
        assert_eq!(Position::read(&at.to_string()), Some(at));
        for text in ["", "1", "1.2", "1.2.3.4", "a.b.c", "-1.0.0"] {
            assert_eq!(Position::read(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_included_is_named() {
        assert_eq!(included(None).ok(), Some((true, true)));
        assert_eq!(included(Some("events")).ok(), Some((true, false)));
        assert_eq!(included(Some("stdout, events")).ok(), Some((true, true)));
        assert!(included(Some("stderr")).is_err());
    }
}

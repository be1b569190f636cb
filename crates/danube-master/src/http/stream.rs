//! The log as server-sent events.
//!
//! Format: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
//! The data is JSON, so that `\r` and bytes that aren't UTF-8 survive.

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use danube_api::{Code, EndEvent, GapEvent, LogEvent, Problem, StreamEvent};
use danube_joblog::{GapReason, StreamKind};
use danube_model::{JobId, Timestamp};
use danube_signals::SseDropReason;
use futures_util::stream::{Stream, StreamExt, unfold};
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::caller::Looker;
use super::follow::{Follower, Part, Piece};
use super::guard::Guard;
use super::incoming::Id;
use super::jobs::find_logged;
use super::serve::Line;
use crate::app::Shared;

/// What a client waits before it connects again, told at the start.
pub(super) const RETRY_MILLIS: u32 = 1_000;

/// Where to begin, for clients that can't send a header.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamQuery {
    /// A logical offset. `Last-Event-ID` wins.
    #[param(format = "uint64")]
    from: Option<u64>,
}

/// Follows a job's log.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/logs/stream", tag = "logs", params(("id" = String, Path, description = "Id or short id"), StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, pattern = "^[0-9]+$", description = "The `id` of the last event that arrived")),
    responses((status = 200, description = "Events `log`, `gap`, `truncated`, `end`; `id` is the logical offset after the data", content_type = "text/event-stream", body = StreamEvent),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn stream(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Id(id): Id,
    (headers, line): (HeaderMap, Extension<Line>),
    query: Result<Query<StreamQuery>, QueryRejection>,
) -> Answer<Response> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let last = last_event(&headers, |it| it.parse().ok())?;
    let job = find_logged(&app, &caller, &id).await?;
    let from = last.or(query.from).unwrap_or(0);
    let guard = Guard::new(&caller, &headers, &job);
    let events = Events::new(app, (job.id, guard), (from, line.0))?;
    Ok(answer(unfold(events, |mut events| async move {
        let sent = events.next().await?;
        let text: String = sent.iter().map(|it| it.text(&it.at())).collect();
        Some((Bytes::from(text), events))
    })))
}

/// The position in `Last-Event-ID`, if one was sent.
pub(super) fn last_event<T>(
    headers: &HeaderMap,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let position = value.to_str().ok().and_then(|it| read(it.trim()));
    let wrong = || {
        Problem::new(
            Code::Malformed,
            "`Last-Event-ID` must be the `id` of an event of this stream",
        )
    };
    position.ok_or_else(wrong).map(Some)
}

/// An answer that is sent as it comes.
pub(super) fn answer(texts: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let body = Body::from_stream(texts.map(Ok::<Bytes, std::convert::Infallible>));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    // nginx holds answers back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// One thing that is sent.
pub(super) enum Sent {
    /// What readers of events pass over, or obey.
    Plain(String),
    /// An event; its id is where the log goes on after it.
    Event {
        name: &'static str,
        at: u64,
        data: String,
    },
}

impl Sent {
    fn event(name: &'static str, at: u64, data: &impl Serialize) -> Self {
        let data = serde_json::to_string(data).expect("events hold nothing but texts and numbers");
        Self::Event { name, at, data }
    }

    /// As it is written, under this id.
    pub(super) fn text(&self, id: &str) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Event { name, data, .. } => {
                format!("event: {name}\nid: {id}\ndata: {data}\n\n")
            }
        }
    }

    fn at(&self) -> String {
        match self {
            Self::Plain(_) => String::new(),
            Self::Event { at, .. } => at.to_string(),
        }
    }
}

/// Counts an open stream for as long as it lives.
pub(super) struct Counted {
    app: Shared,
    line: Line,
    /// The end was sent.
    is_done: bool,
}

impl Counted {
    pub(super) fn new(app: Shared, line: Line) -> Self {
        app.signals.sse_clients_active.inc();
        Self {
            app,
            line,
            is_done: false,
        }
    }

    /// The follower is sent away: its log can't be read on.
    pub(super) fn drop_it(&mut self) {
        self.is_done = true;
        let dropped = &self.app.signals.sse_clients_dropped_total;
        dropped.at(SseDropReason::Error).inc();
    }

    pub(super) fn sent(&self) {
        self.app.signals.sse_messages_sent_total.inc();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.app.signals.sse_clients_active.dec();
        if !self.is_done {
            self.line.follower_went();
        }
    }
}

enum Stage {
    Start,
    Open,
    Ended,
}

/// One open stream of a log.
pub(super) struct Events {
    follower: Follower,
    sender: Counted,
    /// The first bytes of a character whose end hasn't come yet.
    rest: Vec<u8>,
    state: Stage,
}

impl Events {
    /// A stream of the job's log from this offset on.
    pub(super) fn new(
        app: Shared,
        job: (JobId, Guard),
        (from, line): (u64, Line),
    ) -> Result<Self, Problem> {
        let part = Part {
            from,
            timed: true,
            ..Part::default()
        };
        let follower = Follower::new(app.clone(), job, part, true).inspect_err(|_| {
            let dropped = &app.signals.sse_clients_dropped_total;
            dropped.at(SseDropReason::Limit).inc();
        })?;
        Ok(Self {
            follower,
            sender: Counted::new(app, line),
            rest: Vec::new(),
            state: Stage::Start,
        })
    }

    /// What is sent next; none after the end.
    pub(super) async fn next(&mut self) -> Option<Vec<Sent>> {
        match self.state {
            Stage::Ended => return None,
            Stage::Start => {
                self.state = Stage::Open;
                return Some(vec![Sent::Plain(format!("retry: {RETRY_MILLIS}\n\n"))]);
            }
            Stage::Open => {}
        }
        loop {
            let piece = match self.follower.next().await {
                Ok(piece) => piece,
                Err(problem) => {
                    self.state = Stage::Ended;
                    self.sender.drop_it();
                    return Some(vec![Sent::Plain(format!(": {}\n\n", problem.detail))]);
                }
            };
            let sent = match piece {
                Piece::Quiet => return Some(vec![Sent::Plain(": still here\n\n".to_owned())]),
                Piece::Data {
                    offset,
                    bytes,
                    stream,
                    time_us,
                } => match self.data(offset, bytes, stream, time_us) {
                    Some(event) => vec![event],
                    None => continue,
                },
                Piece::Gap { from, to, reason } => {
                    let rest = self.last_rest(from).into_iter();
                    rest.chain([gap(from, to, reason)]).collect()
                }
                Piece::End { at, job } => {
                    self.state = Stage::Ended;
                    self.sender.is_done = true;
                    let data = EndEvent {
                        status: job.status().to_owned(),
                        offset: at,
                        log_complete: job.log_complete,
                    };
                    let rest = self.last_rest(at).into_iter();
                    rest.chain([Sent::event("end", at, &data)]).collect()
                }
            };
            self.sender.sent();
            return Some(sent);
        }
    }

    /// One `log` event; none when all that came is the start of a character.
    fn data(
        &mut self,
        offset: u64,
        bytes: Vec<u8>,
        stream: StreamKind,
        time_us: Option<u64>,
    ) -> Option<Sent> {
        let start = offset - self.rest.len() as u64;
        let mut bytes = if self.rest.is_empty() {
            bytes
        } else {
            let mut all = std::mem::take(&mut self.rest);
            all.extend_from_slice(&bytes);
            all
        };
        if let Err(error) = std::str::from_utf8(&bytes) {
            // Cut in the middle of a character: its end comes with the next piece.
            if error.error_len().is_none() {
                self.rest = bytes.split_off(error.valid_up_to());
            }
        }
        (!bytes.is_empty()).then(|| log_event(start, bytes, stream, time_us))
    }

    /// A character that never ended.
    fn last_rest(&mut self, at: u64) -> Option<Sent> {
        let rest = std::mem::take(&mut self.rest);
        let start = at - rest.len() as u64;
        (!rest.is_empty()).then(|| log_event(start, rest, StreamKind::Mixed, None))
    }
}

fn log_event(offset: u64, bytes: Vec<u8>, stream: StreamKind, time_us: Option<u64>) -> Sent {
    let after = offset + bytes.len() as u64;
    let (text, base64) = match String::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
    };
    let data = LogEvent {
        offset,
        encoding: base64.as_ref().map(|_| "base64".to_owned()),
        text,
        base64,
        stream: stream_name(stream).to_owned(),
        time: time_us
            .map(|us| Timestamp::from_millis(i64::try_from(us / 1_000).unwrap_or(i64::MAX))),
    };
    Sent::event("log", after, &data)
}

fn stream_name(stream: StreamKind) -> &'static str {
    match stream {
        StreamKind::Stdout => "stdout",
        StreamKind::Stderr => "stderr",
        StreamKind::Mixed => "mixed",
    }
}

fn gap(from: u64, to: u64, reason: GapReason) -> Sent {
    let name = match reason {
        GapReason::Truncated => "truncated",
        GapReason::Lost => "gap",
    };
    Sent::event(
        name,
        to,
        &GapEvent {
            from,
            to,
            missing_bytes: to - from,
        },
    )
}

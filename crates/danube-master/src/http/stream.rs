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
use danube_api::{Code, EndEvent, GapEvent, LogEvent, Problem};
use danube_joblog::{GapReason, StreamKind};
use danube_model::Timestamp;
use danube_signals::SseDropReason;
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::caller::Reader;
use super::follow::{Follower, Part, Piece};
use super::incoming::Id;
use super::jobs::find_logged;
use super::serve::Line;
use crate::app::Shared;

/// What a client waits before it connects again, told at the start.
const RETRY_MILLIS: u32 = 1_000;

/// Where to begin, for clients that can't send a header.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamQuery {
    /// A logical offset. `Last-Event-ID` wins.
    from: Option<u64>,
}

/// Follows a job's log.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/logs/stream", tag = "logs", params(("id" = String, Path, description = "Id or short id"), StreamQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "The `id` of the last event that arrived")),
    responses((status = 200, description = "Events `log`, `gap`, `truncated`, `end`; `id` is the logical offset after the data", content_type = "text/event-stream", body = LogEvent),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn stream(
    State(app): State<Shared>,
    _: Reader,
    Id(id): Id,
    (headers, line): (HeaderMap, Extension<Line>),
    query: Result<Query<StreamQuery>, QueryRejection>,
) -> Answer<Response> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let last = match headers.get("last-event-id") {
        None => None,
        Some(value) => {
            let offset = value.to_str().ok().and_then(|it| it.trim().parse().ok());
            let wrong = || {
                Problem::new(
                    Code::Malformed,
                    "`Last-Event-ID` must be the `id` of an event of this stream",
                )
            };
            Some(offset.ok_or_else(wrong)?)
        }
    };
    let job = find_logged(&app, &id).await?;
    let part = Part {
        from: last.or(query.from).unwrap_or(0),
        timed: true,
        ..Part::default()
    };
    let follower = Follower::new(app.clone(), job.id, part, true).inspect_err(|_| {
        let dropped = &app.signals.sse_clients_dropped_total;
        dropped.at(SseDropReason::Limit).inc();
    })?;
    let events = Events {
        follower,
        sender: Counted::new(app, line.0),
        rest: Vec::new(),
        state: Stage::Start,
    };
    let body = Body::from_stream(unfold(events, |mut events| async move {
        let event = events.next().await?;
        Some((
            Ok::<Bytes, std::convert::Infallible>(Bytes::from(event)),
            events,
        ))
    }));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    // nginx holds answers back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Counts an open stream for as long as it lives.
struct Counted {
    app: Shared,
    line: Line,
    /// The end was sent.
    is_done: bool,
}

impl Counted {
    fn new(app: Shared, line: Line) -> Self {
        app.signals.sse_clients_active.inc();
        Self {
            app,
            line,
            is_done: false,
        }
    }

    /// The follower is sent away: its log can't be read on.
    fn drop_it(&mut self) {
        self.is_done = true;
        let dropped = &self.app.signals.sse_clients_dropped_total;
        dropped.at(SseDropReason::Error).inc();
    }

    fn sent(&self) {
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

/// One open stream.
struct Events {
    follower: Follower,
    sender: Counted,
    /// The first bytes of a character whose end hasn't come yet.
    rest: Vec<u8>,
    state: Stage,
}

impl Events {
    async fn next(&mut self) -> Option<String> {
        match self.state {
            Stage::Ended => return None,
            Stage::Start => {
                self.state = Stage::Open;
                return Some(format!("retry: {RETRY_MILLIS}\n\n"));
            }
            Stage::Open => {}
        }
        loop {
            let piece = match self.follower.next().await {
                Ok(piece) => piece,
                Err(problem) => {
                    self.state = Stage::Ended;
                    self.sender.drop_it();
                    return Some(format!(": {}\n\n", problem.detail));
                }
            };
            let event = match piece {
                Piece::Quiet => return Some(": still here\n\n".to_owned()),
                Piece::Data {
                    offset,
                    bytes,
                    stream,
                    time_us,
                } => match self.data(offset, bytes, stream, time_us) {
                    Some(event) => event,
                    None => continue,
                },
                Piece::Gap { from, to, reason } => self.last_rest(from) + &gap(from, to, reason),
                Piece::End { at, job } => {
                    self.state = Stage::Ended;
                    self.sender.is_done = true;
                    let data = EndEvent {
                        status: job.status().to_owned(),
                        offset: at,
                        log_complete: job.log_complete,
                    };
                    self.last_rest(at) + &event("end", at, &data)
                }
            };
            self.sender.sent();
            return Some(event);
        }
    }

    /// One `log` event; none when all that came is the start of a character.
    fn data(
        &mut self,
        offset: u64,
        bytes: Vec<u8>,
        stream: StreamKind,
        time_us: Option<u64>,
    ) -> Option<String> {
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
    fn last_rest(&mut self, at: u64) -> String {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() {
            return String::new();
        }
        log_event(at - rest.len() as u64, rest, StreamKind::Mixed, None)
    }
}

fn log_event(offset: u64, bytes: Vec<u8>, stream: StreamKind, time_us: Option<u64>) -> String {
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
    event("log", after, &data)
}

fn stream_name(stream: StreamKind) -> &'static str {
    match stream {
        StreamKind::Stdout => "stdout",
        StreamKind::Stderr => "stderr",
        StreamKind::Mixed => "mixed",
    }
}

fn gap(from: u64, to: u64, reason: GapReason) -> String {
    let name = match reason {
        GapReason::Truncated => "truncated",
        GapReason::Lost => "gap",
    };
    event(
        name,
        to,
        &GapEvent {
            from,
            to,
            missing_bytes: to - from,
        },
    )
}

fn event(name: &str, id: u64, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("events hold nothing but texts and numbers");
    format!("event: {name}\nid: {id}\ndata: {data}\n\n")
}

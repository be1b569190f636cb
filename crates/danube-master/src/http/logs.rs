//! The log as text: whole, a range, derived, or live.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use danube_api::{Code, LogDeleted, Problem};
use danube_joblog::{Chunk, GapReason, LogError, LogReader};
use danube_model::Job;
use futures_util::stream::unfold;
use serde::Deserialize;

use super::answer::Answer;
use super::around;
use super::caller::{DoerOnRecord, Looker};
use super::follow::{Follower, Part, Piece, Step};
use super::guard::Guard;
use super::incoming::Id;
use super::jobs::{find, find_logged, unknown};
use super::lines::Lines;
use super::range::{self, Range};
use super::text::Derive;
use crate::app::{Shared, blocking};
use crate::reaper::{self, Undeleted};

/// With which line the answer begins.
const FIRST_LINE: HeaderName = HeaderName::from_static(danube_api::FIRST_LINE_HEADER);

/// Where the first byte of the answer stands in the log.
const LOG_OFFSET: HeaderName = HeaderName::from_static(danube_api::LOG_OFFSET_HEADER);

/// How a log may be asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogQuery {
    /// `1`: go on until the job ends.
    pub(super) follow: Option<String>,
    /// `1`: put the time in front of each line. Makes a derived text without ranges.
    timestamps: Option<String>,
    /// `strip`: without escape codes. Makes a derived text without ranges.
    ansi: Option<String>,
    /// Only the output of the step with this name. Makes a derived text without ranges.
    pub(super) step: Option<String>,
    /// Begin at this logical offset.
    #[param(format = "uint64")]
    pub(super) from: Option<u64>,
    /// Begin with this line; lines count from 1. `danube-first-line` says where
    /// the text begins, and is absent when there is no such line.
    #[param(format = "uint64")]
    pub(super) from_line: Option<u64>,
    /// So many lines.
    #[param(format = "uint64")]
    pub(super) lines: Option<u64>,
    /// Begin with the first line that was written to at or after this moment (RFC 3339).
    pub(super) since: Option<String>,
    /// What was written while this span of the job's trace was: its id, or the first
    /// digits of it. Makes a derived text without ranges.
    pub(super) around: Option<String>,
    /// `end`: where bytes are missing, end the answer instead of saying so in the
    /// text. An answer that begins there begins after them; `danube-log-offset`
    /// says where. So a client can count offsets.
    gaps: Option<String>,
}

/// What was asked for, understood.
struct Wanted {
    follow: bool,
    derive: Derive,
    part: Part,
    gaps: Gaps,
    guard: Guard,
}

/// What a text does where bytes are missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gaps {
    Mark,
    End,
}

/// Reads a job's log.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/logs", tag = "logs", params(("id" = String, Path, description = "Id or short id"), LogQuery,
        ("Range" = Option<String>, Header, description = "`bytes=…` in logical offsets; not with a derived text")),
    responses((status = 200, description = "The text; with `follow=1` until the job ends", content_type = "text/plain"),
        (status = 206, description = "The range", content_type = "text/plain"),
        (status = "4XX", description = "Unknown, or a wrong range or key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn log(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Id(id): Id,
    headers: HeaderMap,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Answer<Response> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let job = find_logged(&app, &caller, &id).await?;
    let lines = Lines::asked(&query, &headers)?;
    let range = headers.get(header::RANGE).and_then(|it| it.to_str().ok());
    let guard = Guard::new(&caller, &headers, &job);
    let mut wanted = wanted(&query, (&job, guard), range)?;
    if let Some(span) = around::asked(&query, &headers)? {
        let (from, until) = around::find(&app, job.id, span).await?;
        let part = Part {
            from,
            until: Some(until),
            ..Part::default()
        };
        return Ok(streamed(app, &job, Wanted { part, ..wanted })?);
    }
    if let Some(lines) = lines {
        return Ok(by_line(app, &job, wanted, lines).await?);
    }
    if wanted.gaps == Gaps::End {
        wanted.part.from = after_gap(&app, &job, wanted.part.from).await?;
    }
    if wanted.follow || !wanted.derive.is_plain() || query.step.is_some() {
        return Ok(streamed(app, &job, wanted)?);
    }
    Ok(stored(app, &job, range, wanted).await?)
}

/// The text of the lines that were asked for.
async fn by_line(
    app: Shared,
    job: &Job,
    wanted: Wanted,
    lines: Lines,
) -> Result<Response, Problem> {
    let place = lines.find(&app, job.id.to_string(), wanted.follow).await?;
    let part = Part {
        from: place.from,
        until: place.until,
        ..Part::default()
    };
    let mut response = streamed(app, job, Wanted { part, ..wanted })?;
    if let Some(line) = place.first_line {
        let headers = response.headers_mut();
        headers.insert(FIRST_LINE, HeaderValue::from(line));
    }
    Ok(response)
}

/// Deletes the log of a job that has ended; the job itself stays.
#[utoipa::path(delete, path = "/api/v1/jobs/{id}/logs", tag = "logs", params(("id" = String, Path, description = "Id or short id")),
    responses((status = 200, description = "Gone; who asks for it hears so with 410", body = LogDeleted),
        (status = "4XX", description = "Unknown, not ended, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(app): State<Shared>,
    DoerOnRecord(caller): DoerOnRecord,
    Id(id): Id,
) -> Answer<Json<LogDeleted>> {
    let job = find(&app, &caller, &id).await?;
    let deleted = reaper::delete(&app, job.id).await;
    let bytes_freed = deleted.map_err(|why| match why {
        Undeleted::NotEnded => {
            let detail = "the job hasn't ended; cancel it first, or wait";
            Problem::new(Code::WrongState, detail)
        }
        Undeleted::NoJob => unknown(&job.id.to_string()),
        Undeleted::Io => Problem::new(Code::Internal, "the log's files can't be deleted"),
        Undeleted::Store(error) => app.problem(&error),
    })?;
    Ok(Json(LogDeleted { bytes_freed }))
}

fn wanted(
    query: &LogQuery,
    (job, guard): (&Job, Guard),
    range: Option<&str>,
) -> Result<Wanted, Problem> {
    let follow = switch("follow", query.follow.as_deref())?;
    let timestamps = switch("timestamps", query.timestamps.as_deref())?;
    let strip = match query.ansi.as_deref() {
        None | Some("keep") => false,
        Some("strip") => true,
        Some(_) => {
            return Err(Problem::new(
                Code::Malformed,
                "`ansi` must be `strip` or `keep`",
            ));
        }
    };
    let gaps = match query.gaps.as_deref() {
        None | Some("mark") => Gaps::Mark,
        Some("end") => Gaps::End,
        Some(_) => {
            return Err(Problem::new(
                Code::Malformed,
                "`gaps` must be `mark` or `end`",
            ));
        }
    };
    let asked = query
        .from
        .or_else(|| range::start(range).filter(|_| follow || gaps == Gaps::End))
        .unwrap_or(0);
    let part = match &query.step {
        None => Part {
            from: asked,
            ..Part::default()
        },
        Some(name) => step_part(job, name)?,
    };
    Ok(Wanted {
        follow,
        derive: Derive::new(strip, timestamps),
        part,
        gaps,
        guard,
    })
}

pub(super) fn switch(name: &str, value: Option<&str>) -> Result<bool, Problem> {
    match value {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true" | "") => Ok(true),
        Some(_) => Err(Problem::new(
            Code::Malformed,
            format!("`{name}` must be 0 or 1"),
        )),
    }
}

fn step_part(job: &Job, name: &str) -> Result<Part, Problem> {
    let live = |step| Part {
        step,
        ..Part::default()
    };
    let step = job.steps.iter().zip(0..).find(|(it, _)| it.name == name);
    let Some((step, number)) = step else {
        if job.steps.is_empty() && !job.state.is_terminal() {
            // It hasn't begun, so nobody can say yet.
            return Ok(live(Step::Named(name.to_owned())));
        }
        let names: Vec<String> = job
            .steps
            .iter()
            .map(|it| format!("`{}`", it.name))
            .collect();
        return Err(Problem::new(
            Code::NotFound,
            format!("the job has no such step; there are {}", names.join(", ")),
        ));
    };
    Ok(match (step.log_start, step.log_end) {
        (_, None) if !job.state.is_terminal() => live(Step::Number(number)),
        (Some(from), until) => Part {
            from,
            until,
            ..Part::default()
        },
        (None, _) => Part {
            until: Some(0),
            ..Part::default()
        },
    })
}

/// A text whose length nobody knows yet.
fn streamed(app: Shared, job: &Job, wanted: Wanted) -> Result<Response, Problem> {
    let Wanted {
        follow,
        derive,
        part,
        gaps,
        guard,
    } = wanted;
    let from = part.from;
    let part = Part {
        timed: derive.has_times(),
        ..part
    };
    let follower = Follower::new(app, (job.id, guard), part, follow)?;
    let mut response = Response::new(body(follower, derive, gaps));
    text_headers(response.headers_mut(), from);
    Ok(response)
}

fn body(follower: Follower, derive: Derive, gaps: Gaps) -> Body {
    Body::from_stream(unfold(Some((follower, derive)), move |state| async move {
        let (mut follower, mut derive) = state?;
        loop {
            let bytes = match follower.next().await {
                Err(problem) => return Some((Err(problem), None)),
                Ok(Piece::End { .. }) => return None,
                Ok(Piece::Gap { .. }) if gaps == Gaps::End => return None,
                Ok(Piece::Quiet) => continue,
                Ok(Piece::Gap { from, to, reason }) => gap_line(from, to, reason).into_bytes(),
                Ok(Piece::Data { bytes, time_us, .. }) => derive.push(bytes, time_us),
            };
            // An empty piece would be taken for the end of the body.
            if !bytes.is_empty() {
                return Some((Ok(Bytes::from(bytes)), Some((follower, derive))));
            }
        }
    }))
}

fn gap_line(from: u64, to: u64, reason: GapReason) -> String {
    let why = match reason {
        GapReason::Truncated => "the log's size limit",
        GapReason::Lost => "a fault",
    };
    format!("\n[danube: {} bytes are missing here: {why}]\n", to - from)
}

/// The first offset from `from` on at which there are bytes, or will be.
async fn after_gap(app: &Shared, job: &Job, from: u64) -> Result<u64, Problem> {
    let (logs, name) = (app.logs.clone(), job.id.to_string());
    blocking(move || {
        let mut at = from;
        if let Ok(mut reader) = logs.reader(&name) {
            while let Ok(Chunk::Gap { to, .. }) = reader.read_raw(at, 1) {
                at = to;
            }
        }
        at
    })
    .await
}

/// What the file holds now: with a length, and ranges.
async fn stored(
    app: Shared,
    job: &Job,
    range: Option<&str>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let (logs, name) = (app.logs.clone(), job.id.to_string());
    let opened = blocking(move || logs.reader(&name)).await?;
    let reader = match opened {
        Ok(reader) => Some(reader),
        Err(LogError::NotFound) if job.state.is_terminal() && job.log_bytes > 0 => {
            // Deleted when the store couldn't take it down.
            return Err(Problem::new(Code::LogGone, "the log of this job is gone"));
        }
        Err(LogError::NotFound) => None,
        Err(_) => return Err(unreadable()),
    };
    let size = reader.as_ref().map_or(0, LogReader::end);
    let whole_until = |from| reader.as_ref().map_or(0, |it| it.whole_until(from));
    let (status, from, until) = match range::parse(range, size) {
        Range::Whole if whole_until(0) < size => {
            // With gaps in it the text has another length than the offsets say.
            let part = Part {
                until: Some(size),
                ..wanted.part
            };
            return streamed(app, job, Wanted { part, ..wanted });
        }
        Range::Whole => (StatusCode::OK, wanted.part.from.min(size), size),
        // A range ends where bytes are missing, and says so by its own range.
        Range::Part(from, until) => (
            StatusCode::PARTIAL_CONTENT,
            from,
            until.min(whole_until(from)),
        ),
        Range::Outside => return Ok(outside(size)),
    };
    if status == StatusCode::PARTIAL_CONTENT && until <= from {
        return Ok(outside(size));
    }
    let part = Part {
        from,
        until: Some(until),
        ..Part::default()
    };
    let follower = Follower::new(app, (job.id, wanted.guard), part, false)?;
    let mut response = Response::new(body(follower, wanted.derive, wanted.gaps));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    text_headers(headers, from);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(until - from));
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {from}-{}/{size}", until - 1);
        headers.insert(
            header::CONTENT_RANGE,
            HeaderValue::from_str(&text).expect("digits are a header's value"),
        );
    }
    Ok(response)
}

/// What is said when a log's file or index gives an error.
pub(super) fn unreadable() -> Problem {
    Problem::new(Code::Internal, "the job's log can't be read")
}

fn outside(size: u64) -> Response {
    let problem = Problem::new(
        Code::RangeNotSatisfiable,
        format!("the log has {size} bytes"),
    );
    let mut response = axum::response::IntoResponse::into_response(super::answer::Refusal(problem));
    let text = format!("bytes */{size}");
    response.headers_mut().insert(
        header::CONTENT_RANGE,
        HeaderValue::from_str(&text).expect("digits are a header's value"),
    );
    response
}

fn text_headers(headers: &mut HeaderMap, from: u64) {
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(LOG_OFFSET, HeaderValue::from(from));
}

//! Which part of a log was written while a span of the job's trace was.

use axum::http::{HeaderMap, header};
use danube_api::{Code, Problem};
use danube_joblog::{LogError, LogReader, StepRange};
use danube_model::JobId;
use danube_telemetry::trace::proto::Span;
use danube_telemetry::trace::{hex, spans};

use super::jobs::unknown;
use super::logs::{LogQuery, unreadable};
use crate::app::{Shared, blocking};

/// Hex digits of a span id, and how many name one at least: of 10,000 spans four would
/// seldom do, and an answer says so.
const DIGITS_MAX: usize = 16;
const DIGITS_MIN: usize = 4;

/// Spans that an ambiguous beginning lists.
const LISTED_MAX: usize = 5;

/// Where it lies: from there, and up to there.
pub(crate) type Stretch = (u64, u64);

/// The span that a query asks for, by its id or the beginning of it; none when it names
/// none.
pub(crate) fn asked<'a>(
    query: &'a LogQuery,
    headers: &HeaderMap,
) -> Result<Option<&'a str>, Problem> {
    let malformed = |detail: &str| Err(Problem::new(Code::Malformed, detail));
    let Some(span) = query.around.as_deref() else {
        return Ok(None);
    };
    let others = [
        query.follow.is_some(),
        query.step.is_some(),
        query.since.is_some(),
        query.from.is_some(),
        query.from_line.is_some(),
        query.lines.is_some(),
        headers.contains_key(header::RANGE),
    ];
    if others.contains(&true) {
        return malformed(
            "`around` can't be combined with `follow`, `step`, `since`, `from`, `from_line`, `lines` or a range",
        );
    }
    let is_id = (DIGITS_MIN..=DIGITS_MAX).contains(&span.len())
        && span
            .bytes()
            .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    if !is_id {
        return malformed(
            "`around` must be a span id, or its first digits: 4 to 16 of 0-9 and a-f",
        );
    }
    Ok(Some(span))
}

/// Finds it: the bytes of a step's span, which stands in the log's index; for any other
/// the lines that were written between its beginning and its end.
pub(crate) async fn find(app: &Shared, job: JobId, id: &str) -> Result<Stretch, Problem> {
    let (own, wanted) = (app.clone(), id.to_owned());
    let found = blocking(move || -> Result<Result<Stretch, Problem>, _> {
        let Some(all) = own.traces.of(job)? else {
            return Ok(Err(unknown(&job.to_string())));
        };
        let mut found = spans(&all).filter(|it| hex(&it.span_id).starts_with(&wanted));
        let Some(first) = found.next() else {
            let detail =
                format!("the job's trace has no span `{wanted}`; `danube trace` shows them");
            return Ok(Err(Problem::new(Code::NotFound, detail)));
        };
        let more: Vec<String> = found.take(LISTED_MAX).map(named).collect();
        if !more.is_empty() {
            let all = [vec![named(first)], more].concat().join(", ");
            let detail = format!("more than one span begins with `{wanted}`: {all}");
            return Ok(Err(Problem::new(Code::Ambiguous, detail)));
        }
        let stretch = match own.logs.reader(&job.to_string()) {
            Ok(mut reader) => place(&mut reader, first),
            Err(LogError::NotFound) => Ok((0, 0)),
            Err(error) => Err(error),
        };
        Ok(stretch.map_err(|_| unreadable()))
    });
    found.await?.map_err(|error| app.problem(&error))?
}

fn named(span: &Span) -> String {
    format!("{} (`{}`)", hex(&span.span_id), span.name)
}

fn place(reader: &mut LogReader, span: &Span) -> Result<Stretch, LogError> {
    reader.refresh()?;
    let end = reader.end();
    let own = |it: &StepRange| it.span_id.is_some_and(|id| id[..] == span.span_id[..]);
    if let Some(step) = reader.steps().into_iter().find(own) {
        let until = step.end.unwrap_or_else(|| end_of_open(reader, &step));
        return Ok((step.start.min(end), until.min(end)));
    }
    let micros = |nanos: u64| nanos / 1_000;
    let from = reader.offset_at_time(micros(span.start_time_unix_nano))?;
    let to = reader.offset_at_time(micros(span.end_time_unix_nano) + 1)?;
    Ok((
        line(reader, from, end, false)?,
        line(reader, to, end, true)?,
    ))
}

/// Where a step ends that nobody has ended: where the next attempt begins, or where the log
/// does.
fn end_of_open(reader: &LogReader, step: &StepRange) -> u64 {
    let next = reader
        .attempts()
        .into_iter()
        .find(|it| it.attempt > step.attempt);
    next.map_or_else(|| reader.end(), |it| it.start)
}

/// Where the line begins in which an offset lies; or where it ends, if it is begun.
fn line(reader: &mut LogReader, at: u64, end: u64, after: bool) -> Result<u64, LogError> {
    if at >= end {
        return Ok(end);
    }
    let number = reader.line_at(at)?;
    let start = reader.line_start(number)?.map_or(at, |it| it.offset);
    if !after || start == at {
        return Ok(start);
    }
    let next = reader.line_start(number + 1)?;
    Ok(next.map_or(end, |it| it.offset.min(end)))
}

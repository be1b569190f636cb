//! Searches a whole log; each hit is sent as soon as it is found.
//!
//! A search has a budget of time and bytes. Where it runs out the answer says how
//! to go on, so that no search holds a thread for long, however large the log
//! and however slow its reader.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use danube_api::{Code, FieldProblem, Hit, Problem, SearchEnd, SearchLine};
use danube_joblog::{
    LogError, LogReader, SearchBudget, SearchHit, SearchOptions, SearchOutcome, SearchQuery,
};
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout_at;

use super::answer::Answer;
use super::caller::Looker;
use super::incoming::Id;
use super::jobs::find_logged;
use super::logs::{switch, unreadable};
use crate::app::{Shared, blocking};

/// How long one request searches. A log of a gibibyte takes a few of them.
pub(super) const TIME_MAX: Duration = Duration::from_secs(2);

/// Bytes that one request looks at: more than [`TIME_MAX`] allows on most
/// machines, and a bound where that is fast.
pub(super) const BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Hits of one request, and when the caller says nothing.
const HITS_MAX: u64 = 10_000;
const HITS_DEFAULT: u64 = 1_000;

/// Bytes of a hit's text: a line on a screen, many times over.
const TEXT_BYTES_MAX: usize = 4 * 1024;

/// Of these, what stands before the match when the line has to be cut.
const TEXT_BYTES_BEFORE: usize = 1024;

/// Hits that wait for a slow client. It waits no longer than the search may take.
const HITS_WAITING_MAX: usize = 32;

/// How a log may be searched.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindQuery {
    /// A regular expression (Rust's `regex`: linear time, no look-around).
    q: String,
    /// `1`: `q` is a text, not an expression.
    literal: Option<String>,
    /// `1`: upper and lower case are the same.
    ignore_case: Option<String>,
    /// `keep`: search escape codes too; they are left out otherwise, as on a terminal.
    ansi: Option<String>,
    /// Begin at this logical offset; `resume` of the search before.
    #[param(format = "uint64")]
    from: Option<u64>,
    /// Hits, 1 to 10000; 1000 when absent.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
}

/// Searches a job's log.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/logs/search", tag = "logs", params(("id" = String, Path, description = "Id or short id"), FindQuery),
    responses((status = 200, description = "One object a line: a hit for each line that matches, and `end` last. Without `end` the answer broke off", content_type = "application/x-ndjson", body = SearchLine),
        (status = 422, description = "The expression is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many searches at once", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn search(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Id(id): Id,
    query: Result<Query<FindQuery>, QueryRejection>,
) -> Answer<Response> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let hits_max = query.limit.unwrap_or(HITS_DEFAULT);
    if !(1..=HITS_MAX).contains(&hits_max) {
        let detail = format!("`limit` must be 1 to {HITS_MAX}");
        return Err(Problem::new(Code::Malformed, detail).into());
    }
    let options = options(&query)?;
    let job = find_logged(&app, &caller, &id).await?;
    let turn = Arc::clone(&app.turns.searches).try_acquire_owned();
    let turn = turn.map_err(|_| {
        Problem::new(
            Code::TooMany,
            "too many searches at once; try again in a second",
        )
    })?;
    let (logs, name, from) = (
        app.logs.clone(),
        job.id.to_string(),
        query.from.unwrap_or(0),
    );
    // An expression can take a while to build.
    let opened = blocking(move || {
        let expression = SearchQuery::new(&query.q, options).map_err(|error| wrong(&error))?;
        match logs.reader(&name) {
            Ok(reader) => Ok((expression, Some(reader))),
            Err(LogError::NotFound) => Ok((expression, None)),
            Err(_) => Err(unreadable()),
        }
    });
    let (expression, reader) = opened.await??;
    let (sender, lines) = mpsc::channel(HITS_WAITING_MAX);
    let mut work = Search {
        sender,
        deadline: Instant::now() + TIME_MAX,
        hits: 0,
        hits_max,
        left_at: None,
    };
    let done = tokio::task::spawn_blocking(move || work.run(reader, &expression, from, turn));
    let mut response = Response::new(body(lines, done));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    Ok(response)
}

fn options(query: &FindQuery) -> Result<SearchOptions, Problem> {
    Ok(SearchOptions {
        literal: switch("literal", query.literal.as_deref())?,
        ignore_case: switch("ignore_case", query.ignore_case.as_deref())?,
        strip_ansi: match query.ansi.as_deref() {
            None | Some("strip") => true,
            Some("keep") => false,
            Some(_) => {
                let detail = "`ansi` must be `strip` or `keep`";
                return Err(Problem::new(Code::Malformed, detail));
            }
        },
    })
}

fn wrong(error: &danube_joblog::QueryError) -> Problem {
    Problem {
        errors: vec![FieldProblem {
            pointer: "/q".to_owned(),
            message: error.to_string(),
        }],
        ..Problem::new(Code::Invalid, "`q` can't be searched for")
    }
}

/// What came of a search: its last line, or an error that cuts the answer off.
type Done = Result<SearchEnd, LogError>;

/// The hits, and then how it ended. Dropped with the connection, which ends the
/// search at its next hit or when its time is up.
fn body(lines: mpsc::Receiver<Bytes>, done: tokio::task::JoinHandle<Done>) -> Body {
    Body::from_stream(unfold(Some((lines, done)), |state| async move {
        let (mut lines, done) = state?;
        if let Some(line) = lines.recv().await {
            return Some((Ok(line), Some((lines, done))));
        }
        let end = match done.await {
            Ok(Ok(end)) => Ok(line(&SearchLine::End { end })),
            Ok(Err(_)) | Err(_) => Err(io::Error::other("the job's log can't be read")),
        };
        Some((end, None))
    }))
}

fn line(value: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).expect("our own types are JSON");
    line.push(b'\n');
    Bytes::from(line)
}

/// One search on its thread.
struct Search {
    sender: mpsc::Sender<Bytes>,
    deadline: Instant,
    hits: u64,
    hits_max: u64,
    /// The line of a hit that wasn't sent any more.
    left_at: Option<u64>,
}

impl Search {
    fn run(
        &mut self,
        reader: Option<LogReader>,
        expression: &SearchQuery,
        from: u64,
        _turn: OwnedSemaphorePermit,
    ) -> Done {
        let Some(mut reader) = reader else {
            return Ok(SearchEnd {
                finished: true,
                resume: from,
                hits: 0,
                scanned_bytes: 0,
            });
        };
        let budget = SearchBudget {
            bytes: BYTES_MAX,
            deadline: Some(self.deadline),
        };
        let ended = reader.search(expression, from, budget, &mut |hit| self.found(&hit))?;
        let (finished, resume) = match ended.outcome {
            SearchOutcome::Finished => (true, reader.end().max(from)),
            SearchOutcome::Budget { resume } | SearchOutcome::Stopped { resume } => {
                (false, self.left_at.unwrap_or(resume))
            }
        };
        Ok(SearchEnd {
            finished,
            resume,
            hits: self.hits,
            scanned_bytes: ended.bytes,
        })
    }

    fn found(&mut self, hit: &SearchHit<'_>) -> ControlFlow<()> {
        let sending = timeout_at(self.deadline.into(), self.sender.send(line(&shown(hit))));
        // Gone, or too slow for this request: it may go on with another.
        if !matches!(Handle::current().block_on(sending), Ok(Ok(()))) {
            self.left_at = Some(hit.line_offset);
            return ControlFlow::Break(());
        }
        self.hits += 1;
        if self.hits < self.hits_max {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

/// A hit as it is sent.
pub(super) fn shown(hit: &SearchHit<'_>) -> Hit {
    let (from, to) = window(hit);
    let (start, end) = (hit.range.start, hit.range.end.min(to));
    let lossy = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    let before = lossy(&hit.text[from..start]);
    let found = lossy(&hit.text[start..end]);
    let after = lossy(&hit.text[end..to]);
    Hit {
        line: hit.line,
        offset: hit.line_offset,
        start: before.len(),
        end: before.len() + found.len(),
        text: before + &found + &after,
    }
}

/// The part of a line that is shown: all of it, or a piece with the match in it,
/// cut between characters where it is UTF-8.
fn window(hit: &SearchHit<'_>) -> (usize, usize) {
    let text = hit.text;
    if text.len() <= TEXT_BYTES_MAX {
        return (0, text.len());
    }
    let is_inside = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let mut from = hit.range.start.saturating_sub(TEXT_BYTES_BEFORE);
    while from < hit.range.start && is_inside(from) {
        from += 1;
    }
    let mut to = (from + TEXT_BYTES_MAX).min(text.len());
    while to > hit.range.start && is_inside(to) {
        to -= 1;
    }
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &[u8], range: std::ops::Range<usize>, found: &str) -> Hit {
        let hit = SearchHit {
            line: 3,
            line_offset: 7,
            text,
            range,
        };
        let shown = shown(&hit);
        assert_eq!(&shown.text[shown.start..shown.end], found);
        assert!(shown.text.len() <= 3 * TEXT_BYTES_MAX);
        shown
    }

    #[test]
    fn a_match_is_where_the_hit_says_whatever_stands_around_it() {
        check(b"one two", 4..7, "two");
        check(b"\xff\xfe two \xff", 3..6, "two");
        check(b"x", 0..0, "");
        let long = [vec![b'a'; 9_000], b"two".to_vec(), vec![b'b'; 9_000]].concat();
        let shown = check(&long, 9_000..9_003, "two");
        assert_eq!(shown.text.len(), TEXT_BYTES_MAX);
        let wide = format!("{}two{}", "ä".repeat(5_000), "€".repeat(5_000));
        let shown = check(wide.as_bytes(), 10_000..10_003, "two");
        assert!(!shown.text.contains('\u{fffd}'));
        check(&long, 0..18_003, &"a".repeat(TEXT_BYTES_MAX));
    }
}

//! The log of a job: a window of it as a page, or for the page's script, and what a search finds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use danube_api::{Code, Hit, JobView, Problem};
use danube_joblog::{FoldKind, LogError, SearchBudget, SearchOptions, SearchOutcome, SearchQuery};
use danube_model::{Job, Kind, StepStatus};
use danube_pages::log::{Find, LINES_MAX, LINES_SHOWN, LogPage, LogView, LogWindow, Times};
use serde::Deserialize;

use super::frame::Visit;
use super::window::{Known, Place, window};
use crate::app::{Shared, blocking};
use crate::auth::Caller;
use crate::http::incoming::Id;
use crate::http::jobs::{find, find_logged, with_log};
use crate::http::logs::unreadable;
use crate::http::search::{BYTES_MAX, TIME_MAX, shown};

/// Lines on the job's own page.
const LINES_FIRST: u64 = 100;

/// Plays and tasks that are named: as many as an attempt has at most.
const FOLDS_MAX: usize = 10_000;

/// Matches that a page lists.
const HITS_SHOWN: usize = 100;

/// Bytes of a match's line before the match, and of the match with what follows.
const HIT_BYTES_BEFORE: usize = 80;
const HIT_BYTES_AFTER: usize = 240;

/// Which part of a log, as a form or a link says it: what is empty says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LogQuery {
    /// The first line, from 1.
    from_line: String,
    /// The line after the last.
    before_line: String,
    /// The logical offset of a byte: from its line on.
    offset: String,
    /// `1`: the last lines.
    end: String,
    /// How many lines.
    lines: String,
    /// Which times stand beside them.
    times: String,
    /// What to search for.
    q: String,
    literal: String,
    ignore_case: String,
    /// The logical offset at which the search begins.
    from: String,
}

/// A page of the log.
pub(super) async fn log(
    State(app): State<Shared>,
    visit: Visit,
    Id(id): Id,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Response {
    let page = match query {
        Ok(Query(query)) => page(&app, &visit.caller, &id, query).await,
        Err(error) => Err(Problem::new(Code::Malformed, error.body_text())),
    };
    visit.show(&app, page)
}

/// Lines for the page's script.
pub(super) async fn rows(
    State(app): State<Shared>,
    visit: Visit,
    Id(id): Id,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Response {
    visit.give(match query {
        Ok(Query(query)) => part(&app, &visit.caller, &id, &query).await,
        Err(error) => Err(Problem::new(Code::Malformed, error.body_text())),
    })
}

async fn page(
    app: &Shared,
    caller: &Caller,
    id: &str,
    query: LogQuery,
) -> Result<LogPage, Problem> {
    let job = with_log(app, find(app, caller, id).await?).await?;
    let times = Times::parse(&query.times).unwrap_or_default();
    let is_gone = job.log_deleted_at.is_some();
    let is_search = !query.q.is_empty() && !is_gone;
    let window = if is_search || is_gone {
        // What was found is all that the page shows.
        Known::new(&job).empty()
    } else {
        read(app, &job, query.part(&job)?).await?
    };
    let line = match query.offset.is_empty() {
        true => number("from_line", &query.from_line)?,
        false => Some(window.first_line),
    };
    let find = match is_search {
        true => Some(search(app, &job, query).await?),
        false => None,
    };
    Ok(LogPage {
        log: LogView {
            line,
            times,
            find,
            ..view(&job, window)
        },
        job: JobView::whole(job),
    })
}

fn view(job: &Job, window: LogWindow) -> LogView {
    LogView {
        job: job.id.to_string(),
        short_id: job.id.short(),
        deleted_at: job.log_deleted_at,
        window,
        line: None,
        times: Times::default(),
        find: None,
    }
}

/// The log as the job's own page shows it: what somebody wants to see first.
pub(super) async fn first(app: &Shared, job: &Job) -> Result<LogView, Problem> {
    let window = match job.log_deleted_at {
        None => read(app, job, (first_look(job), LINES_FIRST)).await?,
        Some(_) => Known::new(job).empty(),
    };
    Ok(view(job, window))
}

async fn part(
    app: &Shared,
    caller: &Caller,
    id: &str,
    query: &LogQuery,
) -> Result<LogWindow, Problem> {
    let job = find_logged(app, caller, id).await?;
    let part = query.part(&job)?;
    read(app, &job, part).await
}

impl LogQuery {
    fn part(&self, job: &Job) -> Result<(Place, u64), Problem> {
        let lines = number("lines", &self.lines)?.unwrap_or(LINES_SHOWN);
        if !(1..=LINES_MAX).contains(&lines) {
            let detail = format!("`lines` must be 1 to {LINES_MAX}");
            return Err(Problem::new(Code::Malformed, detail));
        }
        let from = number("from_line", &self.from_line)?;
        let before = number("before_line", &self.before_line)?;
        let place = match (from, before) {
            (Some(_), Some(_)) => {
                let detail = "`from_line` and `before_line` can't be combined";
                return Err(Problem::new(Code::Malformed, detail));
            }
            (Some(line), None) => Place::From(line),
            (None, Some(line)) => Place::Before(line),
            (None, None) if self.end == "1" => Place::End,
            (None, None) => match number("offset", &self.offset)? {
                Some(offset) => Place::At(offset),
                None => first_look(job),
            },
        };
        Ok((place, lines))
    }
}

/// What somebody wants to see first: how the step ended that failed, else how the log ends.
fn first_look(job: &Job) -> Place {
    let mut steps = job.steps.iter();
    let failed = steps.find(|it| matches!(it.status, StepStatus::Failure | StepStatus::Timeout));
    failed
        .and_then(|it| it.log_end)
        .map_or(Place::End, Place::UpTo)
}

/// A number that a form or a link gives.
fn number(name: &str, text: &str) -> Result<Option<u64>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse().map(Some);
    number.map_err(|_| Problem::new(Code::Malformed, format!("`{name}` must be a number")))
}

async fn read(app: &Shared, job: &Job, part: (Place, u64)) -> Result<LogWindow, Problem> {
    let _turn = app.turns.log_reads.acquire().await;
    let mut known = Known::new(job);
    if job.kind == Kind::Playbook {
        known.folds = named(app, job).await?;
    }
    let (logs, name) = (app.logs.clone(), job.id.to_string());
    let read = blocking(move || match logs.reader(&name) {
        Ok(mut reader) => window(&mut reader, part, &known),
        // It hasn't begun.
        Err(LogError::NotFound) => Ok(known.empty()),
        Err(error) => Err(error),
    });
    read.await?.map_err(|_| unreadable())
}

/// The plays and tasks of the job's log.
async fn named(
    app: &Shared,
    job: &Job,
) -> Result<Vec<(danube_joblog::Fold, Option<String>)>, Problem> {
    let (logs, name, id) = (app.logs.clone(), job.id.to_string(), job.id);
    let found = blocking(move || match logs.reader(&name) {
        Ok(mut reader) => reader.folds(FOLDS_MAX),
        Err(LogError::NotFound) => Ok(Vec::new()),
        Err(error) => Err(error),
    });
    let found = found.await?.map_err(|_| unreadable())?;
    let attempts: BTreeSet<u32> = found.iter().map(|it| it.attempt).collect();
    let mut names = BTreeMap::new();
    for attempt in attempts {
        let known = app.read(move |store| store.run_names(id, attempt, FOLDS_MAX));
        names.insert(attempt, known.await?);
    }
    let name = |it: &danube_joblog::Fold| {
        let names = names.get(&it.attempt)?;
        let all = match it.kind {
            FoldKind::Play => &names.plays,
            FoldKind::Task => &names.tasks,
        };
        all.get(usize::try_from(it.number).ok()?).cloned()
    };
    Ok(found.iter().map(|it| (*it, name(it))).collect())
}

/// What a search through the whole log finds, in the time that one request has for it.
async fn search(app: &Shared, job: &Job, query: LogQuery) -> Result<Find, Problem> {
    let from = number("from", &query.from)?.unwrap_or(0);
    let turn = Arc::clone(&app.turns.searches).try_acquire_owned();
    let turn = turn.map_err(|_| {
        let detail = "too many searches at once; try again in a second";
        Problem::new(Code::TooMany, detail)
    })?;
    let mut find = Find {
        is_literal: query.literal == "1",
        ignores_case: query.ignore_case == "1",
        q: query.q,
        from,
        ..Find::default()
    };
    let (logs, name) = (app.logs.clone(), job.id.to_string());
    let done = blocking(move || {
        let _turn = turn;
        let options = SearchOptions {
            literal: find.is_literal,
            ignore_case: find.ignores_case,
            strip_ansi: true,
        };
        let expression = match SearchQuery::new(&find.q, options) {
            Ok(expression) => expression,
            Err(error) => {
                find.error = Some(error.to_string());
                return Ok(find);
            }
        };
        match logs.reader(&name) {
            Ok(mut reader) => search_in(&mut reader, &expression, find),
            Err(LogError::NotFound) => Ok(Find {
                is_finished: true,
                ..find
            }),
            Err(error) => Err(error),
        }
    });
    done.await?.map_err(|_| unreadable())
}

fn search_in(
    reader: &mut danube_joblog::LogReader,
    expression: &SearchQuery,
    mut find: Find,
) -> Result<Find, LogError> {
    let budget = SearchBudget {
        bytes: BYTES_MAX,
        deadline: Some(Instant::now() + TIME_MAX),
    };
    let ended = reader.search(expression, find.from, budget, &mut |hit| {
        find.found += 1;
        if find.hits.len() < HITS_SHOWN {
            find.hits.push(brief(&shown(&hit)));
        } else if find.resume.is_none() {
            find.resume = Some(hit.line_offset);
        }
        ControlFlow::Continue(())
    })?;
    match ended.outcome {
        SearchOutcome::Finished => find.is_finished = true,
        SearchOutcome::Budget { resume } | SearchOutcome::Stopped { resume } => {
            find.resume.get_or_insert(resume);
        }
    }
    Ok(find)
}

/// A hit as a list shows it: what is around the match.
fn brief(hit: &Hit) -> Hit {
    let text = &hit.text;
    let from = boundary(text, hit.start.saturating_sub(HIT_BYTES_BEFORE));
    let to = boundary(text, hit.start.saturating_add(HIT_BYTES_AFTER));
    let to = to.max(hit.start);
    Hit {
        line: hit.line,
        offset: hit.offset,
        start: hit.start - from,
        end: hit.end.min(to) - from,
        text: text[from..to].to_owned(),
    }
}

/// The last place between characters up to this one.
fn boundary(text: &str, at: usize) -> usize {
    let mut places = (0..=at.min(text.len())).rev();
    places.find(|it| text.is_char_boundary(*it)).unwrap_or(0)
}

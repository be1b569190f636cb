//! List, read, cancel; what takes jobs in is `submits.rs`.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use danube_api::{Code, HistoryView, JobList, JobView, Problem, TransitionView};
use danube_model::{Job, JobId, State as JobState};
use danube_store::{CancelOutcome, Filter, StoreError};
use serde::Deserialize;

use super::answer::Answer;
use super::approvals::origin;
use super::caller::{Doer, Looker};
use super::incoming::{Id, page_limit};
use crate::app::{App, Shared, blocking};
use crate::auth::Caller;
use crate::tell::{self, Why};

/// What a list may be asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Statuses, separated by commas.
    status: Option<String>,
    /// The pipeline's name.
    pipeline: Option<String>,
    /// Jobs a page, 1 to 1000; 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists jobs, newest first.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(ListQuery),
    responses((status = 200, description = "One page", body = JobList),
        (status = "4XX", description = "A wrong filter or key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<Shared>,
    Looker(caller): Looker,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Answer<Json<JobList>> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let filter = Filter {
        states: states(query.status.as_deref())?,
        pipeline: query.pipeline,
        sight: caller.reach.sight(),
    };
    let limit = page_limit(query.limit)?;
    let page = app
        .read(move |store| store.list(&filter, query.cursor.as_deref(), limit))
        .await?;
    let jobs = page
        .items
        .into_iter()
        .map(|job| JobView::brief(with_live_log(&app, job)));
    Ok(Json(JobList {
        jobs: jobs.collect(),
        next_cursor: page.next_cursor,
    }))
}

pub(super) fn states(text: Option<&str>) -> Result<Vec<JobState>, Problem> {
    let words = text
        .unwrap_or_default()
        .split(',')
        .filter(|it| !it.is_empty());
    words
        .map(|word| {
            JobState::parse(word).ok_or_else(|| {
                let known: Vec<&str> = JobState::ALL.iter().map(|it| it.as_str()).collect();
                let word: String = word.chars().take(40).collect();
                Problem::new(
                    Code::Malformed,
                    format!(
                        "`{}` is no status; there are {}",
                        word.escape_debug(),
                        known.join(", ")
                    ),
                )
            })
        })
        .collect()
}

/// Shows one job.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "Id or short id")),
    responses((status = 200, description = "The job with its steps", body = JobView),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Id(id): Id,
) -> Answer<Json<JobView>> {
    let job = with_log(&app, find(&app, &caller, &id).await?).await?;
    let forge = origin(&app, job.id).await?;
    Ok(Json(JobView {
        forge,
        ..JobView::whole(job)
    }))
}

/// What happened to a job.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/history", tag = "jobs", params(("id" = String, Path, description = "Id or short id")),
    responses((status = 200, description = "Every transition", body = HistoryView),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn history(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Id(id): Id,
) -> Answer<Json<HistoryView>> {
    let Job { id, kind, .. } = find(&app, &caller, &id).await?;
    let transitions = app.read(move |store| store.history(id)).await?;
    let transitions = transitions.ok_or_else(|| unknown(&id.to_string()))?;
    let transitions = transitions.into_iter();
    Ok(Json(HistoryView {
        transitions: transitions
            .map(|it| TransitionView::new(kind, it))
            .collect(),
    }))
}

/// Cancels a job: a pending one at once; a running one is stopped by its worker.
#[utoipa::path(delete, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "Id or short id")),
    responses((status = 202, description = "Cancelled, or being stopped", body = JobView),
        (status = "4XX", description = "Unknown, ended already, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn cancel(
    State(app): State<Shared>,
    Doer(caller): Doer,
    Id(id): Id,
) -> Answer<Response> {
    let job = stop(&app, caller, &id).await?;
    let job = JobView::whole(with_live_log(&app, job));
    Ok((StatusCode::ACCEPTED, Json(job)).into_response())
}

/// Cancels a job in the name of this caller; the job as it is then.
pub(super) async fn stop(app: &Shared, caller: Caller, id: &str) -> Result<Job, Problem> {
    let id = find_id(app, &caller, id).await?;
    let outcome = app.store.cancel(id, &caller.name).await;
    match outcome.map_err(|error| cancel_unrecorded(app, id, &error))? {
        CancelOutcome::Cancelled(mut job) => {
            job.cancelled_by = Some(caller.name);
            tell::moved(&app.signals, &job, Why::default());
            app.traces.ended_unclaimed(id);
            app.phases.touch(id);
            Ok(job)
        }
        CancelOutcome::Asked(job) => {
            // Not running here yet: whoever starts it looks for the wish first.
            let _ = app.cancel(id);
            Ok(job)
        }
        CancelOutcome::AlreadyEnded(job) => {
            let detail = format!("the job has ended already: {}", job.state);
            Err(Problem::new(Code::WrongState, detail))
        }
        CancelOutcome::NotFound => Err(unknown(&id.to_string())),
    }
}

/// A wish that can't be stored is no promise, but what runs can be stopped: a
/// full disk must not keep a job going that fills it.
fn cancel_unrecorded(app: &App, id: JobId, error: &StoreError) -> Problem {
    let mut problem = app.problem(error);
    if app.cancel(id) {
        problem.detail.push_str(
            "; the job is being stopped all the same, and ends once that can be recorded",
        );
    }
    problem
}

/// The job with this id or short id, if the caller may do with it what they wish. One that
/// they may not even look at isn't there.
pub(crate) async fn find(app: &Shared, caller: &Caller, text: &str) -> Result<Job, Problem> {
    let id = full_id(app, caller, text).await?;
    let job = app.read(move |store| store.job(id)).await?;
    let job = job.ok_or_else(|| unknown(text))?;
    let user = user_of(app, caller, &job).await?;
    let permitted = app.permits(caller, (&job.pipeline, user.as_deref()));
    permitted.map_err(|it| it.or(|| unknown(text)))?;
    Ok(job)
}

/// Who submitted the job, where that counts.
pub(super) async fn user_of(
    app: &Shared,
    caller: &Caller,
    job: &Job,
) -> Result<Option<String>, Problem> {
    if !caller.reach.asks_whose(&job.pipeline) {
        return Ok(None);
    }
    let id = job.id;
    app.read(move |store| store.user_of(id)).await
}

/// The same, when its log may be read.
pub(crate) async fn find_logged(app: &Shared, caller: &Caller, id: &str) -> Result<Job, Problem> {
    let job = find(app, caller, id).await?;
    match job.log_deleted_at {
        None => Ok(job),
        Some(at) => {
            let detail = format!("the log of this job was deleted at {at}");
            Err(Problem::new(Code::LogGone, detail))
        }
    }
}

/// The full id for an id or short id of a job that the caller reaches. For a full one of
/// who reaches all the job needn't exist.
pub(super) async fn find_id(app: &Shared, caller: &Caller, text: &str) -> Result<JobId, Problem> {
    if caller.reach.is_all() {
        return full_id(app, caller, text).await;
    }
    find(app, caller, text).await.map(|it| it.id)
}

async fn full_id(app: &Shared, caller: &Caller, text: &str) -> Result<JobId, Problem> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    if !JobId::is_short(text) {
        return Err(unknown(text));
    }
    let short = text.to_ascii_lowercase();
    let mut ids = app.read(move |store| store.resolve_short(&short)).await?;
    if ids.len() > 1 {
        ids = seen_of(app, caller, ids).await?;
    }
    match ids.as_slice() {
        [] => Err(unknown(text)),
        [id] => Ok(*id),
        several => {
            let listed: Vec<String> = several.iter().map(JobId::to_string).collect();
            Err(Problem::new(
                Code::Ambiguous,
                format!("use the full id of one of {}", listed.join(", ")),
            ))
        }
    }
}

/// Those of these jobs that the caller may look at.
async fn seen_of(app: &Shared, caller: &Caller, ids: Vec<JobId>) -> Result<Vec<JobId>, Problem> {
    let mut seen = Vec::new();
    for id in ids {
        let Some(job) = app.read(move |store| store.job(id)).await? else {
            continue;
        };
        let user = user_of(app, caller, &job).await?;
        let right = caller.reach.right(&job.pipeline, user.as_deref());
        seen.extend(right.map(|_| id));
    }
    Ok(seen)
}

pub(crate) fn unknown(id: &str) -> Problem {
    let id: String = id.chars().take(40).collect();
    Problem::new(
        Code::NotFound,
        format!("there is no job `{}`", id.escape_debug()),
    )
}

/// Fills in what only the log itself knows while it is written: how long it is.
pub(crate) fn with_live_log(app: &App, mut job: Job) -> Job {
    if let Some(progress) = app.logs.progress(&job.id.to_string()) {
        job.log_bytes = job.log_bytes.max(progress.borrow().end);
    }
    job
}

/// The same, and for a job that ended without a report (its worker was lost)
/// what its log says of itself, for nobody closed it.
pub(crate) async fn with_log(app: &Shared, job: Job) -> Result<Job, Problem> {
    let mut job = with_live_log(app, job);
    let is_gone = job.log_deleted_at.is_some();
    if !job.state.is_terminal() || job.log_complete.is_some() || job.attempt == 0 || is_gone {
        return Ok(job);
    }
    let (logs, id) = (app.logs.clone(), job.id.to_string());
    let summary = blocking(move || logs.reader(&id).map(|it| it.summary()).ok()).await?;
    if let Some(summary) = summary {
        job.log_bytes = summary.bytes;
        job.log_complete = Some(summary.complete);
        job.log_missing_bytes = summary.missing_bytes;
    }
    Ok(job)
}

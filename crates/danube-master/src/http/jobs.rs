//! Submit, list, read, cancel, retry.

use std::path::{Path as FilePath, PathBuf};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use danube_api::{Code, HistoryView, JOBS_PATH, JobList, JobView, Problem, TransitionView};
use danube_model::limits::{IDEMPOTENCY_KEY_BYTES_MAX, PAGE_JOBS_DEFAULT, PAGE_JOBS_MAX};
use danube_model::spec::Pipeline;
use danube_model::{Job, JobId, Mistake, State as JobState, Trigger};
use danube_signals::{JobSubmitted, PipelineTriggered, Stretch};
use danube_store::{
    CancelOutcome, Filter, Idempotency, NewJob, Retry, RetryOutcome, Role, StoreError,
};
use danube_telemetry::TraceContext;
use danube_telemetry::trace::Clock;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::answer::{Answer, json};
use super::asked::Asked;
use super::caller::{Doer, Reader, is_private};
use super::incoming::{Id, Whole};
use crate::app::{App, Shared, blocking};
use crate::auth::Caller;
use crate::pipelines::NoPipeline;
use crate::submit::{Checked, World, check, real_below};
use crate::tell::{self, Why};

/// Submits a job.
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs", request_body = danube_api::Submit,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the call safe to repeat for 24 hours")),
    responses((status = 202, description = "Accepted, and durable", body = JobView,
        headers(("Location" = String, description = "Where the job is"))),
        (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "The disk is full", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn submit(
    State(app): State<Shared>,
    Doer(caller): Doer,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Answer<Response> {
    let idempotency = idempotency(&headers, &body)?;
    let value = json(&headers, &body)?;
    let ask = Ask {
        body: value,
        body_bytes: body.len(),
        idempotency,
        trigger: Trigger::Api,
        asked: Some(asked),
    };
    let (job, warnings) = accept(&app, &caller, ask).await?;
    Ok(accepted(JobView {
        warnings,
        ..JobView::whole(job)
    }))
}

/// Bytes of a body that is checked on the thread of its request.
const CHECK_INLINE_BYTES_MAX: usize = 16 * 1024;

/// A submit on its way in.
pub(crate) struct Ask {
    /// The parsed body.
    pub(crate) body: serde_json::Value,
    /// How many bytes it had.
    pub(crate) body_bytes: usize,
    /// The client's promise that it is the same request.
    pub(crate) idempotency: Option<Idempotency>,
    /// What made it.
    pub(crate) trigger: Trigger,
    /// The request that it came with, if it came with one.
    pub(crate) asked: Option<Asked>,
}

/// Checks and stores a submit; the demo comes this way too. Returns the job, and
/// what its caller should know.
pub(crate) async fn accept(
    app: &Shared,
    caller: &Caller,
    ask: Ask,
) -> Result<(Job, Vec<String>), Problem> {
    let Ask {
        body,
        body_bytes,
        idempotency,
        trigger,
        asked,
    } = ask;
    // One for whoever asks without a request.
    let clock = Clock::start();
    let now = || asked.as_ref().map_or_else(|| clock.now(), Asked::now);
    let began = now();
    if let Some(job) = replayed(app, caller, idempotency.as_ref()).await? {
        return Ok((job, Vec::new()));
    }
    let checked = checked(app, caller, (body, body_bytes)).await?;
    let Checked {
        mut order,
        source_type,
        queue,
        retry_on_lost,
        warnings,
    } = checked.map_err(|mistakes| Problem::invalid(&mistakes))?;
    let load = Stretch {
        began,
        ended: now(),
    };
    if let Some(asked) = &asked {
        order.trace = asked.trace(source_type, load);
    }
    let context = asked
        .as_ref()
        .map_or_else(TraceContext::random, Asked::context);
    let new = NewJob {
        id: JobId::new(),
        order,
        trigger,
        submitted_by: caller.name.clone(),
        owner: caller.owner.clone(),
        trace_id: context.trace_hex(),
        traceparent: context.child().to_string(),
        retry_on_lost,
        queue,
        idempotency,
    };
    let submitted = app
        .store
        .submit(new)
        .await
        .map_err(|error| app.problem(&error))?;
    if !submitted.replayed {
        let durable = now();
        tell_submitted(app, &submitted.job, source_type);
        if let Some(asked) = &asked {
            traced(app, asked, submitted.job.id, (load, durable));
        }
    }
    Ok((submitted.job, warnings))
}

/// Writes down how a job came to be.
fn traced(app: &App, asked: &Asked, job: JobId, (load, durable): (Stretch, u64)) {
    let id = job.to_string();
    app.traces
        .submitted(job, &asked.submitted(&id, load, durable));
}

/// Checks a body in its turn, on a thread that may block.
async fn checked(
    app: &Shared,
    caller: &Caller,
    (body, body_bytes): (serde_json::Value, usize),
) -> Result<Result<Checked, Vec<Mistake>>, Problem> {
    let turn = app.checks.acquire().await;
    let _turn = turn.map_err(|_| Problem::new(Code::Unavailable, "the server is stopping"))?;
    // What is small and names no file is checked in less time than another
    // thread needs to wake up.
    if body_bytes <= CHECK_INLINE_BYTES_MAX && body.get("spec").is_some() {
        return Ok(check(&body, &Surroundings { app, caller }));
    }
    let (app, caller) = (app.clone(), caller.clone());
    blocking(move || {
        let world = Surroundings {
            app: &app,
            caller: &caller,
        };
        check(&body, &world)
    })
    .await
}

/// The job that the same request made before. Asked first: a repeated submit
/// must get its job even if its pipeline's file has changed since.
async fn replayed(
    app: &Shared,
    caller: &Caller,
    idempotency: Option<&Idempotency>,
) -> Result<Option<Job>, Problem> {
    let Some(given) = idempotency.cloned() else {
        return Ok(None);
    };
    let owner = caller.owner.clone();
    app.read(move |store| store.replayed(&owner, &given)).await
}

fn tell_submitted(app: &App, job: &Job, source_type: &str) {
    app.signals.emit(JobSubmitted {
        job_id: &job.id.to_string(),
        source_type,
        api_key_name: Some(&job.submitted_by),
    });
    app.signals.emit(PipelineTriggered {
        pipeline: &job.pipeline,
        trigger_type: job.trigger.as_str(),
        trigger_ref: job.trigger_ref.as_deref(),
        user: Some(&job.submitted_by),
    });
}

fn accepted(job: JobView) -> Response {
    let location = format!("{JOBS_PATH}/{}", job.id);
    (
        StatusCode::ACCEPTED,
        [(header::LOCATION, location)],
        Json(job),
    )
        .into_response()
}

fn idempotency(headers: &HeaderMap, body: &[u8]) -> Result<Option<Idempotency>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default().trim();
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        let detail = format!(
            "`Idempotency-Key` must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable ASCII characters"
        );
        return Err(Problem::new(Code::Malformed, detail));
    }
    Ok(Some(Idempotency {
        key: key.to_owned(),
        body_sha256: Sha256::digest(body).into(),
    }))
}

/// What this caller's submit may refer to.
struct Surroundings<'a> {
    app: &'a App,
    caller: &'a Caller,
}

impl World for Surroundings<'_> {
    fn pipeline(&self, name: &str) -> Result<Pipeline, NoPipeline> {
        self.app.pipelines.find(name)
    }

    fn clonable(&self, path: &FilePath) -> Option<PathBuf> {
        if self.caller.role == Role::Admin && is_private(self.app) {
            // One that isn't there is told by the clone.
            return Some(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
        }
        let settings = &self.app.settings;
        let real = real_below(path, &settings.allow_paths)?;
        // Whatever is allowed, other jobs' workspaces and the keys are not.
        let own = settings.data_dir.canonicalize().ok()?;
        let is_own = real.starts_with(&own) && !real.starts_with(own.join("examples"));
        (!is_own).then_some(real)
    }
}

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
    _: Reader,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Answer<Json<JobList>> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let filter = Filter {
        states: states(query.status.as_deref())?,
        pipeline: query.pipeline,
    };
    let limit = query.limit.unwrap_or(PAGE_JOBS_DEFAULT);
    if !(1..=PAGE_JOBS_MAX).contains(&limit) {
        return Err(Problem::new(
            Code::Malformed,
            format!("`limit` must be 1 to {PAGE_JOBS_MAX}"),
        )
        .into());
    }
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

fn states(text: Option<&str>) -> Result<Vec<JobState>, Problem> {
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
pub(crate) async fn job(State(app): State<Shared>, _: Reader, Id(id): Id) -> Answer<Json<JobView>> {
    let job = with_log(&app, find(&app, &id).await?).await?;
    Ok(Json(JobView::whole(job)))
}

/// What happened to a job.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/history", tag = "jobs", params(("id" = String, Path, description = "Id or short id")),
    responses((status = 200, description = "Every transition", body = HistoryView),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn history(
    State(app): State<Shared>,
    _: Reader,
    Id(id): Id,
) -> Answer<Json<HistoryView>> {
    let id = find_id(&app, &id).await?;
    let transitions = app.read(move |store| store.history(id)).await?;
    let transitions = transitions.ok_or_else(|| unknown(&id.to_string()))?;
    Ok(Json(HistoryView {
        transitions: transitions.into_iter().map(TransitionView::from).collect(),
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
    let id = find_id(&app, &id).await?;
    let outcome = app.store.cancel(id, &caller.name).await;
    let outcome = outcome.map_err(|error| cancel_unrecorded(&app, id, &error))?;
    let job = match outcome {
        CancelOutcome::Cancelled(mut job) => {
            job.cancelled_by = Some(caller.name);
            tell::moved(&app.signals, &job, Why::default());
            app.phases.touch(id);
            job
        }
        CancelOutcome::Asked(job) => {
            // Not running here yet: whoever starts it looks for the wish first.
            let _ = app.worker.cancel(id);
            job
        }
        CancelOutcome::AlreadyEnded(job) => {
            let detail = format!("the job has ended already: {}", job.state);
            return Err(Problem::new(Code::WrongState, detail).into());
        }
        CancelOutcome::NotFound => return Err(unknown(&id.to_string()).into()),
    };
    Ok((
        StatusCode::ACCEPTED,
        Json(JobView::whole(with_live_log(&app, job))),
    )
        .into_response())
}

/// A wish that can't be stored is no promise, but what runs can be stopped: a
/// full disk must not keep a job going that fills it.
fn cancel_unrecorded(app: &App, id: JobId, error: &StoreError) -> Problem {
    let mut problem = app.problem(error);
    if app.worker.cancel(id) {
        problem.detail.push_str(
            "; the job is being stopped all the same, and ends once that can be recorded",
        );
    }
    problem
}

/// Runs an ended job again, as a new job.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/retry", tag = "jobs", params(("id" = String, Path, description = "Id or short id")),
    responses((status = 202, description = "The new job", body = JobView),
        (status = "4XX", description = "Unknown, not ended, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn retry(
    State(app): State<Shared>,
    Doer(caller): Doer,
    Extension(asked): Extension<Asked>,
    Id(id): Id,
) -> Answer<Response> {
    let began = asked.now();
    let id = find_id(&app, &id).await?;
    let load = Stretch {
        began,
        ended: asked.now(),
    };
    let context = asked.context();
    let retry = Retry {
        job: id,
        new: JobId::new(),
        by: caller.name,
        trace_id: context.trace_hex(),
        traceparent: context.child().to_string(),
        trace: asked.trace("retry", load),
    };
    match app
        .store
        .retry(retry)
        .await
        .map_err(|error| app.problem(&error))?
    {
        RetryOutcome::Made(job) => {
            let durable = asked.now();
            tell_submitted(&app, &job, "retry");
            traced(&app, &asked, job.id, (load, durable));
            Ok(accepted(JobView::whole(job)))
        }
        RetryOutcome::NotEnded(job) => {
            let detail = format!(
                "the job hasn't ended: {}; cancel it first, or wait",
                job.state
            );
            Err(Problem::new(Code::WrongState, detail).into())
        }
        RetryOutcome::NotFound => Err(unknown(&id.to_string()).into()),
    }
}

/// The job with this id or short id.
pub(crate) async fn find(app: &Shared, id: &str) -> Result<Job, Problem> {
    let id = find_id(app, id).await?;
    let job = app.read(move |store| store.job(id)).await?;
    job.ok_or_else(|| unknown(&id.to_string()))
}

/// The same, when its log may be read.
pub(crate) async fn find_logged(app: &Shared, id: &str) -> Result<Job, Problem> {
    let job = find(app, id).await?;
    match job.log_deleted_at {
        None => Ok(job),
        Some(at) => {
            let detail = format!("the log of this job was deleted at {at}");
            Err(Problem::new(Code::LogGone, detail))
        }
    }
}

/// The full id for an id or short id; the job needn't exist for a full one.
async fn find_id(app: &Shared, text: &str) -> Result<JobId, Problem> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    if !JobId::is_short(text) {
        return Err(unknown(text));
    }
    let short = text.to_ascii_lowercase();
    let ids = app.read(move |store| store.resolve_short(&short)).await?;
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

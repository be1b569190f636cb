//! What a job's own program asks for: steps, secrets, to keep files, and to be heard.
//!
//! The worker that holds the job does it, for the workspace is there. So a call is handed on
//! and its answer waited for; a step may take hours. An answer that isn't there at once has
//! its head before it, and a space now and then, which JSON passes over.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use danube_api::rpc::{LateProblem, Noted, SecretGiven, StepRun};
use danube_api::{ArtifactView, Code, Problem};
use danube_model::coordinator::{Call, CallAnswer, CallRefusal, StepAnswer, StepCall};
use danube_model::limits::{CALL_BYTES_MAX, REPORT_BYTES_MAX};
use danube_signals::{JobSpans, Millis, RpcCall, RunStepTrace, Stretch};
use danube_store::SecretRefusal;
use danube_telemetry::TraceContext;
use danube_worker::Bearer;
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot::Receiver;
use tokio::time::timeout;

use super::answer::{Answer, Refusal, json};
use super::artifacts;
use super::asked::Asked;
use super::caller::key;
use super::incoming::Ours;
use super::mask::is_heard;
use crate::app::{App, Shared, blocking};
use crate::coordinator;
use crate::runners::KeptOut;

/// Bytes of a question for a secret, or of a report: six for each byte of it, and JSON.
const SMALL_BYTES_MAX: usize = 6 * REPORT_BYTES_MAX + 1024;

/// How long an answer's head waits for its body: most short steps and all refusals then
/// have the status that they should have.
const HEAD_WAIT: Duration = Duration::from_secs(2);

/// How often whoever waits for a body is sent a space: proxies end what is silent for a
/// minute, and a client learns that the server is gone.
const SPACE_EVERY: Duration = Duration::from_secs(5);

/// Where jobs call.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route(
            "/run-step",
            post(run_step).layer(DefaultBodyLimit::max(CALL_BYTES_MAX)),
        )
        .route(
            "/get-secret",
            post(get_secret).layer(DefaultBodyLimit::max(SMALL_BYTES_MAX)),
        )
        .route(
            "/report-status",
            post(report_status).layer(DefaultBodyLimit::max(SMALL_BYTES_MAX)),
        )
        .route(
            "/upload-artifact",
            post(upload_artifact).layer(DefaultBodyLimit::disable()),
        )
}

/// A job's process with a token of its attempt.
pub(crate) struct OfJob(Bearer);

impl FromRequestParts<Shared> for OfJob {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let bearer = || key(&parts.headers).and_then(|it| app.bearer(it));
        if let Some(bearer) = bearer() {
            return Ok(Self(bearer));
        }
        let may_come = app.remote.may_come_to_know();
        // Its worker may have told of it between the two questions.
        if let Some(bearer) = bearer() {
            return Ok(Self(bearer));
        }
        if may_come {
            let detail = "the server has just started and hasn't heard of all jobs yet; try again";
            return Err(Problem::new(Code::Unavailable, detail).into());
        }
        let detail = "send the token of a running job, DANUBE_JOB_TOKEN";
        Err(Problem::new(Code::Unauthorized, detail).into())
    }
}

/// The job's coordinator: the pipeline's `script` itself.
pub(crate) struct Coordinator(Bearer);

impl FromRequestParts<Shared> for Coordinator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let OfJob(bearer) = OfJob::from_request_parts(parts, app).await?;
        if bearer.is_coordinator {
            return Ok(Self(bearer));
        }
        let detail = "only a pipeline's `script` may ask for this, not a step";
        Err(Problem::new(Code::Forbidden, detail).into())
    }
}

/// Tells of a call when it is over, however it ends.
struct Told {
    app: Shared,
    method: &'static str,
    began: Instant,
}

impl Told {
    fn of(app: &Shared, method: &'static str) -> Self {
        Self {
            app: app.clone(),
            method,
            began: Instant::now(),
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.app.signals.emit(RpcCall {
            method: self.method,
            duration_ms: Millis(self.began.elapsed()),
        });
    }
}

/// Has a step run.
pub(crate) async fn run_step(
    State(app): State<Shared>,
    Coordinator(bearer): Coordinator,
    Extension(asked): Extension<Asked>,
    headers: HeaderMap,
    Ours(body): Ours<CALL_BYTES_MAX>,
) -> Answer<Response> {
    let told = Told::of(&app, "run-step");
    let call = coordinator::step(&json(&headers, &body)?);
    let mut call = call.map_err(|mistakes| Problem::invalid(&mistakes))?;
    let began = asked.began();
    let validated = asked.now();
    load_secrets(&app, &bearer, &mut call).await?;
    let loaded = asked.now();
    let traced = Traced {
        span_id: span_id(&asked, &bearer),
        began,
        validated,
        loaded: (!call.secrets.is_empty()).then_some(loaded),
        bearer: bearer.clone(),
        asked,
        app: app.clone(),
    };
    let name = call.name.clone();
    let answer = app.ask(bearer.attempt, Call::Step(Box::new(call)));
    let run = async move {
        let _told = told;
        match heard(answer).await? {
            CallAnswer::Step(it) => {
                traced.write(it.index);
                Ok(shown(name, it))
            }
            CallAnswer::Noted => Err(ended()),
            CallAnswer::Refused(why) => Err(refused(why)),
        }
    };
    Ok(soon(run).await)
}

/// Fills in the values of the secrets that a step names.
async fn load_secrets(app: &Shared, bearer: &Bearer, call: &mut StepCall) -> Result<(), Problem> {
    if call.secrets.is_empty() {
        return Ok(());
    }
    let mut names: Vec<String> = call.secrets.values().cloned().collect();
    names.sort();
    names.dedup();
    let given = given(app, bearer, names).await?;
    for value in call.secrets.values_mut() {
        let found = given.iter().find(|(name, _)| name == value);
        *value = found.map(|(_, it)| it.clone()).ok_or_else(ended)?;
    }
    Ok(())
}

/// The values of these secrets, all of them or none.
async fn given(
    app: &Shared,
    bearer: &Bearer,
    names: Vec<String>,
) -> Result<Vec<(String, String)>, Problem> {
    let (on_thread, attempt) = (app.clone(), bearer.attempt);
    let given = blocking(move || on_thread.vault.give(&on_thread.store, attempt, &names)).await?;
    let given = given.map_err(|error| app.problem(&error))?;
    let mut all = Vec::with_capacity(given.len());
    for (name, outcome) in given {
        let value = outcome.map_err(|why| {
            let code = match why {
                SecretRefusal::NotNamed | SecretRefusal::Untrusted => Code::Forbidden,
                SecretRefusal::Missing => Code::NotFound,
                SecretRefusal::Unreadable => Code::WrongState,
            };
            Problem::new(code, format!("secret `{name}`: {why}"))
        })?;
        let value = value.reveal().to_owned();
        // What its processes send here is kept clean as well as its log.
        let _ = bearer.secrets.register(value.as_bytes());
        all.push((name, value));
    }
    Ok(all)
}

/// Gives a secret that the pipeline names. Whoever writes the job's log keeps it out before
/// the value leaves.
pub(crate) async fn get_secret(
    State(app): State<Shared>,
    Coordinator(bearer): Coordinator,
    headers: HeaderMap,
    Ours(body): Ours<SMALL_BYTES_MAX>,
) -> Answer<Json<SecretGiven>> {
    let _told = Told::of(&app, "get-secret");
    let name = coordinator::secret(&json(&headers, &body)?);
    let name = name.map_err(|mistakes| Problem::invalid(&mistakes))?;
    let mut all = given(&app, &bearer, vec![name]).await?;
    let (name, value) = all.pop().ok_or_else(ended)?;
    let kept = app.keep_out(bearer.attempt.job, &value);
    if kept == KeptOut::Nowhere {
        return Err(ended().into());
    }
    if !is_heard(&app, kept).await {
        let detail = "the job's worker hasn't heard of the value yet, so it isn't given; try again";
        return Err(Problem::new(Code::Unavailable, detail).into());
    }
    Ok(Json(SecretGiven { name, value }))
}

/// Notes how a coordinator goes.
pub(crate) async fn report_status(
    State(app): State<Shared>,
    Coordinator(bearer): Coordinator,
    headers: HeaderMap,
    Ours(body): Ours<SMALL_BYTES_MAX>,
) -> Answer<Response> {
    let told = Told::of(&app, "report-status");
    let call = coordinator::status(&json(&headers, &body)?);
    let call = call.map_err(|mistakes| Problem::invalid(&mistakes))?;
    let answer = app.ask(bearer.attempt, Call::Status(call));
    let noted = async move {
        let _told = told;
        match heard(answer).await? {
            CallAnswer::Noted => Ok(Noted {}),
            CallAnswer::Step(_) => Err(ended()),
            CallAnswer::Refused(why) => Err(refused(why)),
        }
    };
    Ok(soon(noted).await)
}

/// What an upload says of itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UploadQuery {
    /// What it is called.
    name: String,
    /// The step that sends it.
    step: Option<String>,
}

/// Keeps a file; any process of the job may send one.
pub(crate) async fn upload_artifact(
    State(app): State<Shared>,
    OfJob(bearer): OfJob,
    query: Result<Query<UploadQuery>, QueryRejection>,
    request: Request,
) -> Answer<Json<ArtifactView>> {
    let _told = Told::of(&app, "upload-artifact");
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let about = (query.name, query.step);
    let kept = artifacts::keep(&app, bearer.attempt, about, request).await?;
    Ok(Json(kept))
}

/// Waits for what becomes of a call.
async fn heard(answer: Option<Receiver<CallAnswer>>) -> Result<CallAnswer, Problem> {
    let answer = answer.ok_or_else(ended)?;
    // Nobody answers any more when the attempt is over.
    answer.await.map_err(|_| ended())
}

fn ended() -> Problem {
    Problem::new(Code::WrongState, "the attempt at this job is over")
}

fn refused(why: CallRefusal) -> Problem {
    let code = match why {
        CallRefusal::NameTaken => Code::NameTaken,
        CallRefusal::TooManySteps => Code::TooLarge,
        CallRefusal::TooMany => Code::TooMany,
        CallRefusal::AnsweredBefore | CallRefusal::Ended => Code::WrongState,
    };
    Problem::new(code, why.to_string())
}

fn shown(name: String, it: StepAnswer) -> StepRun {
    StepRun {
        name,
        index: it.index,
        status: it.status,
        exit_code: it.exit_code,
        stdout_base64: it.output,
        truncated: it.truncated,
    }
}

/// The answer when it is there soon; else its head, and its body when there is one.
async fn soon<T: Serialize + 'static>(
    value: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Response {
    let mut value = Box::pin(value);
    match timeout(HEAD_WAIT, &mut value).await {
        Ok(Ok(value)) => return Json(value).into_response(),
        Ok(Err(problem)) => return Refusal(problem).into_response(),
        Err(_) => {}
    }
    let body = unfold(Some(value), |waits: Option<_>| async move {
        let mut value = waits?;
        let (piece, waits) = match timeout(SPACE_EVERY, &mut value).await {
            Err(_) => (Bytes::from_static(b" "), Some(value)),
            Ok(Ok(value)) => (written(&value), None),
            Ok(Err(problem)) => (written(&LateProblem { problem }), None),
        };
        Some((Ok::<Bytes, Infallible>(piece), waits))
    });
    let mut response = Response::new(Body::from_stream(body));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn written(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("wire types are plain data")
        .into()
}

/// The request's place in the job's trace: its own where its caller is in there, too.
fn span_id(asked: &Asked, bearer: &Bearer) -> [u8; 8] {
    let own = asked.context();
    if own.trace_id == bearer.context.trace_id {
        own.span_id
    } else {
        TraceContext::random().span_id
    }
}

/// A request for a step, as far as it has come.
struct Traced {
    app: Shared,
    bearer: Bearer,
    asked: Asked,
    span_id: [u8; 8],
    began: u64,
    validated: u64,
    loaded: Option<u64>,
}

impl Traced {
    /// Takes it down: the step with this place was run.
    fn write(&self, step: u32) {
        let attempt = self.bearer.attempt;
        let job = attempt.job.to_string();
        let now = self.asked.now();
        let stretch = |began, ended| Stretch { began, ended };
        let handed = self.loaded.unwrap_or(self.validated);
        let trace = RunStepTrace {
            spans: JobSpans {
                job_id: &job,
                context: self.bearer.context,
            },
            attempt: attempt.number,
            step,
            span_id: self.span_id,
            time: stretch(self.began, now),
            validate: stretch(self.began, self.validated),
            secret: self.loaded.map(|it| stretch(self.validated, it)),
            process: stretch(handed, now),
            stream: stretch(handed, now),
        };
        let app: &App = &self.app;
        app.traces.called(attempt.job, &trace);
    }
}

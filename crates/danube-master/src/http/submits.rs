//! Takes jobs in: a submit, the demo.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use danube_api::{Code, JobView, Problem};
use danube_model::credential::CredentialKind;
use danube_model::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use danube_model::spec::Pipeline;
use danube_model::{FromForge, Job, JobId, Kind, Mistake, Order, Queues, Trigger};
use danube_outgoing::{Policy, Refused, Target};
use danube_signals::{DeniedResource, JobSubmitted, PipelineTriggered, Stretch};
use danube_store::{CancelOutcome, Idempotency, NewJob, Role};
use danube_telemetry::TraceContext;
use danube_telemetry::trace::Clock;
use sha2::{Digest, Sha256};

use super::answer::{Answer, json};
use super::asked::Asked;
use super::caller::{Doer, is_private};
use super::incoming::Whole;
use super::jobs::unknown;
use super::wait::{self, SubmitQuery, Wait};
use crate::app::{App, Shared, blocking};
use crate::auth::{Caller, Wish};
use crate::pipelines::{NoPipeline, of_both};
use crate::submit::{Checked, World, check, real_below};
use crate::tell::{self, Why};

/// Submits a job; with `sync`, waits for its end.
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs", request_body = danube_api::Submit,
    params(SubmitQuery, ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "Makes the call safe to repeat for 24 hours")),
    responses((status = 202, description = "Accepted, and durable; with `sync`: it hasn't ended yet, and goes on", body = JobView,
        headers(("Location" = String, description = "Where the job is"))),
        (status = 200, description = "With `sync`: it has ended, in whichever way", body = JobView,
        headers(("Location" = String, description = "Where the job is"))),
        (status = "4XX", description = "Nothing was changed", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "The disk is full", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn submit(
    State(app): State<Shared>,
    Doer(caller): Doer,
    Extension(asked): Extension<Asked>,
    (headers, query): (HeaderMap, Result<Query<SubmitQuery>, QueryRejection>),
    Whole(body): Whole,
) -> Answer<Response> {
    let time = wait::asked(query)?;
    let idempotency = idempotency(&headers, &body)?;
    let value = json(&headers, &body)?;
    let ask = Ask {
        body: value,
        body_bytes: body.len(),
        idempotency,
        trigger: Trigger::Api,
        subject: None,
        forge: None,
        asked: Some(asked),
    };
    let (job, warnings) = accept(&app, &caller, ask).await?;
    // With too many that wait, it is answered as if it hadn't asked to.
    let turn = time.and_then(|_| Arc::clone(&app.phases.turns).try_acquire_owned().ok());
    let wait = time.zip(turn).map(|(time, turn)| Wait {
        job: job.id,
        time,
        warnings: warnings.clone(),
        _turn: Arc::new(turn),
    });
    let mut response = accepted(JobView {
        warnings,
        ..JobView::whole(job)
    });
    if let Some(wait) = wait {
        response.extensions_mut().insert(wait);
    }
    Ok(response)
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
    /// What it is about, where its ref alone doesn't say: `pull request 5`. Older jobs about
    /// the same may be cancelled for it.
    pub(crate) subject: Option<String>,
    /// What a forge asks for, if one does.
    pub(crate) forge: Option<FromForge>,
    /// The request that it came with, if it came with one.
    pub(crate) asked: Option<Asked>,
}

/// What older jobs have to be about to be cancelled for a new one. A run of a schedule isn't
/// about a change: one that takes longer than the time between two would never end.
fn what_about(trigger: Trigger, said: Option<String>, git_ref: Option<&str>) -> Option<String> {
    let of_ref = || format!("ref {}", git_ref.unwrap_or_default());
    (trigger != Trigger::Cron).then(|| said.unwrap_or_else(of_ref))
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
        subject,
        forge,
        asked,
    } = ask;
    // One for whoever asks without a request.
    let clock = Clock::start();
    let now = || asked.as_ref().map_or_else(|| clock.now(), Asked::now);
    let began = now();
    if let Some(job) = replayed(app, caller, idempotency.as_ref()).await? {
        return Ok((job, Vec::new()));
    }
    let checked = checked(app, (caller, trigger), (body, body_bytes)).await?;
    let Checked {
        mut order,
        source_type,
        queue,
        retry_on_lost,
        callback,
        warnings,
    } = checked.map_err(|mistakes| Problem::invalid(&mistakes))?;
    may_submit(app, caller, (&order, source_type))?;
    let load = Stretch {
        began,
        ended: now(),
    };
    if let Some(asked) = &asked {
        order.trace = asked.trace(source_type, load);
    }
    order.forge = forge;
    app.lower(&mut order);
    let context = asked
        .as_ref()
        .map_or_else(TraceContext::random, Asked::context);
    let new = NewJob {
        id: JobId::new(),
        subject: what_about(trigger, subject, order.git_ref.as_deref()),
        order,
        trigger,
        submitted_by: caller.name.clone(),
        owner: caller.owner.clone(),
        trace_id: context.trace_hex(),
        traceparent: context.child().to_string(),
        retry_on_lost,
        queue,
        idempotency,
        callback,
    };
    let submitted = app
        .store
        .submit(new)
        .await
        .map_err(|error| app.problem(&error))?;
    if !submitted.replayed {
        app.phases.touch(submitted.job.id);
        let durable = now();
        tell_submitted(app, &submitted.job, source_type);
        if let Some(asked) = &asked {
            traced(app, asked, &submitted.job, (load, durable));
        }
    }
    for outcome in submitted.superseded {
        stop_superseded(app, outcome);
    }
    Ok((submitted.job, warnings))
}

/// Whether this caller may start that.
fn may_submit(
    app: &App,
    caller: &Caller,
    (order, source_type): (&Order, &str),
) -> Result<(), Problem> {
    let name = order.task.name();
    let permitted = app.permits_own(caller, name);
    permitted.map_err(|it| it.or(|| out_of_reach(caller, name)))?;
    match source_type == NAMED {
        true => Ok(()),
        false => no_secrets(app, caller, order.task.opens_secrets()),
    }
}

/// An older job was cancelled with the commit of a newer one. A server that is killed before
/// this finds what is to be stopped in the store.
fn stop_superseded(app: &App, outcome: CancelOutcome) {
    match outcome {
        CancelOutcome::Cancelled(job) => {
            tell::moved(&app.signals, &job, Why::default());
            app.traces.ended_unclaimed(job.id);
            app.phases.touch(job.id);
        }
        CancelOutcome::Asked(job) => drop(app.cancel(job.id)),
        CancelOutcome::AlreadyEnded(_) | CancelOutcome::NotFound => {}
    }
}

/// Who says in full what is to be run has to call it by a name that they reach.
fn out_of_reach(caller: &Caller, name: &str) -> Problem {
    let only = caller.reach.patterns().map(|it| it.join(", "));
    let only = only.map_or_else(String::new, |it| format!(", only {it}"));
    let detail = format!(
        "`{}` reaches no pipeline `{name}`{only}; call it by another name; nothing was changed",
        caller.name
    );
    Problem::new(Code::Forbidden, detail)
}

/// Whoever says in full what is to be run can have it tell its secrets. A user of the
/// blueprint who isn't an administrator has none that are theirs.
pub(super) fn no_secrets(app: &App, caller: &Caller, opens_secrets: bool) -> Result<(), Problem> {
    if !opens_secrets || !caller.reach.is_member() {
        return Ok(());
    }
    let kind = DeniedResource::Secret;
    let wish = Wish {
        kind,
        ..caller.wish
    };
    app.denied(
        &Caller {
            wish,
            ..caller.clone()
        },
        "secrets of a run of their own",
    );
    let detail = "what you say in full is run without secrets and credentials; an administrator, \
                  or a pipeline of the blueprint that you may start, has them";
    Err(Problem::new(Code::Forbidden, detail))
}

/// Writes down how a job came to be.
pub(super) fn traced(app: &App, asked: &Asked, job: &Job, times: (Stretch, u64)) {
    let id = job.id.to_string();
    let is_playbook = job.kind == Kind::Playbook;
    let trace = asked.submitted(&id, is_playbook, times);
    app.traces.submitted(job.id, &trace);
}

/// Checks a body in its turn, on a thread that may block.
async fn checked(
    app: &Shared,
    (caller, trigger): (&Caller, Trigger),
    (body, body_bytes): (serde_json::Value, usize),
) -> Result<Result<Checked, Vec<Mistake>>, Problem> {
    let turn = app.turns.checks.acquire().await;
    let _turn = turn.map_err(|_| Problem::new(Code::Unavailable, "the server is stopping"))?;
    // What is small and names no file is checked in less time than another
    // thread needs to wake up.
    if body_bytes <= CHECK_INLINE_BYTES_MAX && body.get("spec").is_some() {
        let world = Surroundings {
            app,
            caller,
            trigger,
        };
        return Ok(check(&body, &world));
    }
    let (app, caller) = (app.clone(), caller.clone());
    blocking(move || {
        let world = Surroundings {
            app: &app,
            caller: &caller,
            trigger,
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
    let job = app
        .read(move |store| store.replayed(&owner, &given))
        .await?;
    match job {
        Some(job) => {
            // Whoever gets it back is who submitted it.
            let permitted = app.permits_own(caller, &job.pipeline);
            permitted.map_err(|it| it.or(|| unknown(&job.id.to_string())))?;
            Ok(Some(job))
        }
        None => Ok(None),
    }
}

pub(super) fn tell_submitted(app: &App, job: &Job, source_type: &str) {
    app.signals.emit(JobSubmitted {
        job_id: &job.id.to_string(),
        source_type,
        api_key_name: Some(&job.submitted_by),
        playbook: tell::source_type(job),
    });
    if job.kind == Kind::Playbook {
        return;
    }
    app.signals.emit(PipelineTriggered {
        pipeline: &job.pipeline,
        trigger_type: job.trigger.as_str(),
        trigger_ref: job.trigger_ref.as_deref(),
        user: Some(&job.submitted_by),
    });
}

pub(super) fn accepted(job: JobView) -> Response {
    wait::answer(StatusCode::ACCEPTED, job)
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

/// How a submit asks for work that names a pipeline of the server.
const NAMED: &str = "pipeline";

/// What this caller's submit may refer to.
struct Surroundings<'a> {
    app: &'a App,
    caller: &'a Caller,
    trigger: Trigger,
}

impl World for Surroundings<'_> {
    fn queues(&self) -> &Queues {
        &self.app.queues
    }

    fn pipeline(&self, name: &str) -> Result<Pipeline, NoPipeline> {
        let by_hand = self.trigger == Trigger::Api;
        let blueprint = self.app.blueprint.get();
        let declared = blueprint.as_deref();
        let found = of_both(declared, self.app.pipelines.find(name), (name, by_hand));
        let reach = &self.caller.reach;
        let is_unknown = matches!(found, Err(NoPipeline::Unknown { .. }));
        let right = reach.right_to_own(name);
        if reach.is_all() || (!is_unknown && right.is_some()) {
            return found;
        }
        if right.is_none() {
            self.app.denied(self.caller, name);
        }
        // One that isn't reached is answered as one that isn't there.
        let mut known = self.app.pipelines.names();
        known.extend(declared.iter().flat_map(|it| it.pipelines.keys().cloned()));
        known.retain(|it| reach.right_to_own(it).is_some());
        known.sort();
        Err(NoPipeline::Unknown {
            known,
            wrong: Vec::new(),
        })
    }

    fn callback(&self, url: &str) -> Result<Target, Refused> {
        self.app.webhooks.check(url)
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

    fn reachable(&self, url: &str) -> Result<(), String> {
        let policy = Policy {
            allow_private: self.app.settings.sources_private.clone(),
            // What comes over it must have the checksum that the job names.
            allow_http: true,
        };
        policy.check(url).map(drop).map_err(|it| it.to_string())
    }

    fn credential(&self, name: &str) -> Result<Option<CredentialKind>, String> {
        let found = self.app.store.credential(name);
        let found = found.map_err(|_| "the database can't be read now".to_owned())?;
        Ok(found.and_then(|it| CredentialKind::parse(&it.kind)))
    }
}

//! Starts what a webhook asks for, once. It is the forge's: that was looked at before.
//!
//! Each job is one commit with its idempotency key, which the pipeline, the ref and the commit
//! make. That the webhook came is noted after all of them, so that one which is cut off comes
//! again and makes what is missing.

use danube_api::{Code, Problem, WebhookTaken};
use danube_model::{FromForge, JobId, Trigger};
use danube_store::{Delivery, Idempotency, Role};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Forge;
use super::decide::{Decision, Start, decide};
use super::message::{Message, What};
use super::place::Place;
use crate::app::Shared;
use crate::auth::Caller;
use crate::http::{Ask, accept};

/// Owns the idempotency keys of what forges ask for.
const OWNER: &str = "forge";

/// A webhook was used before for something else.
pub(crate) struct Replayed;

/// What it came to.
pub(crate) type Taking = Result<Result<WebhookTaken, Replayed>, Problem>;

/// Starts what the message asks for, unless the webhook came before.
pub(crate) async fn take(
    app: &Shared,
    forge: &Forge,
    message: &Message,
    delivery: Delivery,
) -> Taking {
    let Some(place) = Place::of(&forge.url, &message.repository) else {
        let why = "the repository has a name that can't be one at this forge".to_owned();
        return Ok(Ok(ignored(vec![why])));
    };
    let syncs_blueprint = is_blueprint(app, &place, &message.what);
    if syncs_blueprint {
        app.blueprint.look_now();
    }
    let asked = delivery.clone();
    let seen = app.read(move |store| store.seen_delivery(&asked)).await?;
    if let Some(seen) = seen {
        if !seen.is_same {
            return Ok(Err(Replayed));
        }
        return Ok(Ok(WebhookTaken {
            syncs_blueprint,
            ..taken("repeated", &seen.jobs)
        }));
    }
    let blueprint = app.blueprint.get().unwrap_or_default();
    let decisions = decide(&blueprint, &place, &message.what);
    let (jobs, ignored) = started(app, forge, message, decisions).await?;
    if !jobs.is_empty() {
        let noted = app.store.note_delivery(delivery, &jobs).await;
        noted.map_err(|error| app.problem(&error))?;
    }
    let outcome = if jobs.is_empty() {
        "ignored"
    } else {
        "started"
    };
    Ok(Ok(WebhookTaken {
        syncs_blueprint,
        ignored,
        ..taken(outcome, &jobs)
    }))
}

/// Nothing was started, for these reasons.
pub(crate) fn ignored(ignored: Vec<String>) -> WebhookTaken {
    WebhookTaken {
        ignored,
        ..taken("ignored", &[])
    }
}

/// What it came to.
pub(crate) fn taken(outcome: &str, jobs: &[JobId]) -> WebhookTaken {
    WebhookTaken {
        outcome: outcome.to_owned(),
        jobs: jobs.iter().map(JobId::to_string).collect(),
        syncs_blueprint: false,
        ignored: Vec::new(),
    }
}

/// Whether it is a push to the branch that the blueprint is taken from.
fn is_blueprint(app: &Shared, place: &Place, what: &What) -> bool {
    let (Some((url, branch)), What::Push(push)) = (app.blueprint.followed(), what) else {
        return false;
    };
    push.branch == branch && place.is(url)
}

async fn started(
    app: &Shared,
    forge: &Forge,
    message: &Message,
    decisions: Vec<Decision>,
) -> Result<(Vec<JobId>, Vec<String>), Problem> {
    let (mut jobs, mut ignored) = (Vec::new(), Vec::new());
    if decisions.is_empty() {
        ignored.push(match &message.what {
            What::Nothing(why) => (*why).to_owned(),
            _ => "no pipeline of the blueprint has this repository".to_owned(),
        });
    }
    for Decision { pipeline, start } in decisions {
        let done = match start {
            Err(why) => Err(why.to_owned()),
            Ok(it) => submit(app, forge, message, (&pipeline, it)).await?,
        };
        match done {
            Ok(job) => jobs.push(job),
            Err(why) => ignored.push(format!("{pipeline}: {why}")),
        }
    }
    Ok((jobs, ignored))
}

/// The job; why there is none, where the same would be refused again. What passes is a
/// problem of the whole webhook: the forge sends it again, and what was made stays one.
async fn submit(
    app: &Shared,
    forge: &Forge,
    message: &Message,
    (pipeline, start): (&str, Start),
) -> Result<Result<JobId, String>, Problem> {
    let key = format!("{pipeline} {} {}", start.git_ref, start.commit);
    let ask = Ask {
        body: json!({"pipeline": pipeline, "ref": start.git_ref}),
        body_bytes: 0,
        idempotency: Some(Idempotency {
            body_sha256: Sha256::digest(key.as_bytes()).into(),
            key,
        }),
        trigger: Trigger::Webhook,
        subject: start.request.map(|it| format!("request {it}")),
        forge: Some(FromForge {
            kind: forge.kind,
            name: forge.name.clone(),
            repository: message.repository.clone(),
            commit: start.commit,
            request: start.request,
            is_fork: start.is_fork,
            approved_by: None,
        }),
        asked: None,
    };
    // The kind stands before the name, so that nobody there is taken for somebody here.
    let caller = Caller {
        role: Role::Member,
        owner: OWNER.to_owned(),
        ..Caller::own(&format!("{}:{}", forge.kind.as_str(), message.user))
    };
    match accept(app, &caller, ask).await {
        Ok((job, _)) => Ok(Ok(job.id)),
        Err(problem) if problem.code == Code::Invalid => {
            let first = problem.errors.first();
            let why = first.map_or_else(|| problem.detail.clone(), |it| it.message.clone());
            Ok(Err(why))
        }
        Err(problem) => Err(problem),
    }
}

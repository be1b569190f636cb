//! Starts what a webhook asks for, once. It is the forge's: that was looked at before.
//!
//! Each job is one commit with its idempotency key, which the pipeline, the ref and the commit
//! make. That the webhook came is noted after all of them, so that one which is cut off comes
//! again and makes what is missing. What finds no room is kept (`inbox.rs`): forges don't send
//! it again by themselves.

use danube_api::{Code, Problem, WebhookTaken};
use danube_blueprint::Blueprint;
use danube_model::{FromForge, JobId, Trigger};
use danube_store::{Delivery, ForgeStart, Idempotency, NewStart, Role};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::decide::{Decision, Start, asks_for_files, decide};
use super::message::{Message, Pushed, What};
use super::place::Place;
use super::{Forge, files, inbox};
use crate::app::Shared;
use crate::auth::Caller;
use crate::http::{Ask, accept};

/// Owns the idempotency keys of what forges ask for.
const OWNER: &str = "forge";

/// Why a webhook isn't taken.
pub(crate) enum NotTaken {
    /// It was used before for something else.
    Replayed,
    /// No more jobs may wait, and no more starts.
    Full,
}

/// What it came to.
pub(crate) type Taking = Result<Result<WebhookTaken, NotTaken>, Problem>;

/// Starts what the message asks for, unless the webhook came before.
pub(crate) async fn take(
    app: &Shared,
    forge: &Forge,
    mut message: Message,
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
            return Ok(Err(NotTaken::Replayed));
        }
        return Ok(Ok(WebhookTaken {
            syncs_blueprint,
            ..taken("repeated", &seen.jobs)
        }));
    }
    let blueprint = app.blueprint.get().unwrap_or_default();
    look_at_files(app, forge, &blueprint, &place, &mut message).await;
    let decisions = decide(&blueprint, &place, &message.what);
    let mut came = started(app, forge, &message, decisions).await?;
    let waiting: Vec<String> = came
        .kept
        .iter()
        .map(|it| it.start.pipeline.clone())
        .collect();
    let outcome = match (came.jobs.as_slice(), waiting.as_slice()) {
        ([], []) => "ignored",
        (_, []) => "started",
        _ => "waiting",
    };
    if !waiting.is_empty() {
        let kept = std::mem::take(&mut came.kept);
        if !inbox::keep(app, forge, (delivery, &came.jobs), kept).await? {
            return Ok(Err(NotTaken::Full));
        }
    } else if !came.jobs.is_empty() {
        let noted = app.store.note_delivery(delivery, &came.jobs).await;
        noted.map_err(|error| app.problem(&error))?;
    }
    Ok(Ok(WebhookTaken {
        syncs_blueprint,
        ignored: came.ignored,
        notes: came.notes,
        waiting,
        ..taken(outcome, &came.jobs)
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
        waiting: Vec::new(),
        syncs_blueprint: false,
        ignored: Vec::new(),
        notes: Vec::new(),
    }
}

/// Whether it is a push to the branch that the blueprint is taken from.
fn is_blueprint(app: &Shared, place: &Place, what: &What) -> bool {
    let (Some((url, branch)), What::Push(push)) = (app.blueprint.followed(), what) else {
        return false;
    };
    push.what == Pushed::Branch(branch.to_owned()) && place.is(url)
}

/// Asks which files a request changes, where a pipeline wants to know.
async fn look_at_files(
    app: &Shared,
    forge: &Forge,
    blueprint: &Blueprint,
    place: &Place,
    message: &mut Message,
) {
    let What::Request(request) = &mut message.what else {
        return;
    };
    if asks_for_files(blueprint, place, request) {
        request.files = files::of(app, forge, (&message.repository, request)).await;
    }
}

/// What came of a message.
#[derive(Default)]
struct Came {
    jobs: Vec<JobId>,
    /// What found no room.
    kept: Vec<NewStart>,
    ignored: Vec<String>,
    notes: Vec<String>,
}

async fn started(
    app: &Shared,
    forge: &Forge,
    message: &Message,
    decisions: Vec<Decision>,
) -> Result<Came, Problem> {
    let mut came = Came::default();
    if decisions.is_empty() {
        came.ignored.push(match &message.what {
            What::Nothing(why) => (*why).to_owned(),
            _ => "no pipeline of the blueprint has this repository".to_owned(),
        });
    }
    for Decision { pipeline, start } in decisions {
        let Start {
            git_ref,
            commit,
            request,
            is_fork,
            replaces,
            note,
        } = match start {
            Ok(it) => it,
            Err(why) => {
                came.ignored.push(format!("{pipeline}: {why}"));
                continue;
            }
        };
        came.notes
            .extend(note.map(|it| format!("{pipeline}: {it}")));
        let start = ForgeStart {
            git_ref,
            from: FromForge {
                kind: forge.kind,
                name: forge.name.clone(),
                repository: message.repository.clone(),
                commit,
                request,
                is_fork,
                approved_by: None,
            },
            user: message.user.clone(),
            pipeline,
        };
        begin(app, NewStart { start, replaces }, &mut came).await?;
    }
    Ok(came)
}

/// Makes the job, or has it wait behind those that do.
async fn begin(app: &Shared, new: NewStart, came: &mut Came) -> Result<(), Problem> {
    let pipeline = new.start.pipeline.clone();
    let name = pipeline.clone();
    if app.read(move |it| it.has_start_waiting(&name)).await? {
        came.kept.push(new);
        return Ok(());
    }
    match submit(app, &new.start).await {
        Ok(Ok(job)) => came.jobs.push(job),
        Ok(Err(why)) => came.ignored.push(format!("{pipeline}: {why}")),
        Err(problem) if finds_room_later(problem.code) => came.kept.push(new),
        Err(problem) => return Err(problem),
    }
    Ok(())
}

/// Whether it is refused for what else waits, and nothing that somebody has to mend.
pub(super) fn finds_room_later(code: Code) -> bool {
    matches!(code, Code::QueueFull | Code::TooMany | Code::Unavailable)
}

/// The job; why there is none, where the same would be refused again. What passes is a
/// problem: what was made stays one.
pub(super) async fn submit(
    app: &Shared,
    start: &ForgeStart,
) -> Result<Result<JobId, String>, Problem> {
    let ForgeStart {
        pipeline,
        git_ref,
        from,
        user,
    } = start;
    let key = format!("{pipeline} {git_ref} {}", from.commit);
    let ask = Ask {
        body: json!({"pipeline": pipeline, "ref": git_ref}),
        body_bytes: 0,
        idempotency: Some(Idempotency {
            body_sha256: Sha256::digest(key.as_bytes()).into(),
            key,
        }),
        trigger: Trigger::Webhook,
        subject: from.request.map(|it| format!("request {it}")),
        forge: Some(from.clone()),
        asked: None,
    };
    // The kind stands before the name, so that nobody there is taken for somebody here.
    let caller = Caller {
        role: Role::Member,
        owner: OWNER.to_owned(),
        ..Caller::own(&format!("{}:{user}", from.kind.as_str()))
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

//! Tells forges how jobs stand, as the status of their commits: from the store's outbox, until
//! they know or it is given up.
//!
//! One task looks at what is due whenever a commit says so, or the next one's time has come.
//! Each attempt is a task of its own that blocks one thread for [`DEADLINE`] at most. A crash
//! leaves what is due; telling a forge the same again does no harm.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::time::Duration;

use danube_model::{ForgeKind, JobId, State, Timestamp};
use danube_outgoing::{Done, Limits};
use danube_signals::CommitStatusFailed;
use danube_store::{AfterTry, DueStatus, StatusTried, StoreError};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Forge;
use super::api::Api;
use crate::app::{App, Shared, blocking};
use crate::tell;
use crate::webhooks::{Heard, after, dice, retry_after};

/// How long a forge may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// Calls at once: each takes a thread.
const AT_ONCE_MAX: usize = 8;

/// Of these, to one forge: however slow it is, others have their share.
const PER_FORGE_MAX: usize = 2;

/// Longest pause before the second attempt; later ones grow from it, as for webhooks.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// How often it looks when nothing is due: a clock that was set back must not stop it.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long it waits when the store can't be read or written.
const STORE_RETRY_EVERY: Duration = Duration::from_secs(2);

/// What GitLab says of a status that it has already.
const SAME_ON_GITLAB: &str = "Cannot transition status";

/// Tells for ever; ends with the server.
pub(crate) async fn tell_statuses(app: Shared) {
    let mut teller = Teller::default();
    loop {
        let now = Timestamp::now();
        let looked = app.read(move |store| {
            let each = u32::try_from(AT_ONCE_MAX).unwrap_or(u32::MAX);
            let due = store.due_statuses(now, each)?;
            Ok((due, store.next_status_due(now)?))
        });
        let Ok((due, next)) = looked.await else {
            // Told by the database's health check.
            sleep(STORE_RETRY_EVERY).await;
            continue;
        };
        teller.start(&app, due);
        let until = next.map_or(LOOK_EVERY, |at| {
            let left = at.as_millis().saturating_sub(Timestamp::now().as_millis());
            // A millisecond later, so that it is due by then.
            Duration::from_millis(left.max(0).unsigned_abs() + 1).min(LOOK_EVERY)
        });
        tokio::select! {
            () = app.forges.bell.notified() => {}
            () = teller.one_ended() => {}
            () = sleep(until) => {}
        }
    }
}

/// The attempts that go on.
#[derive(Default)]
struct Teller {
    tasks: JoinSet<JobId>,
    /// The forge of each job that is being told of.
    under_way: HashMap<JobId, String>,
}

impl Teller {
    fn start(&mut self, app: &Shared, due: Vec<DueStatus>) {
        for status in choose(due, &self.under_way) {
            self.under_way
                .insert(status.job.id, status.from.name.clone());
            self.tasks.spawn(attempt(app.clone(), status));
        }
    }

    /// Waits until an attempt ended; for ever when there is none.
    async fn one_ended(&mut self) {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok(job)) => drop(self.under_way.remove(&job)),
            // It panicked: whose it was isn't known any more, so all are looked at anew.
            Some(Err(_)) => {
                if self.tasks.is_empty() {
                    self.under_way.clear();
                }
            }
        }
    }
}

/// What is told now, of what is due. Nothing of a job that is being told of.
fn choose(due: Vec<DueStatus>, under_way: &HashMap<JobId, String>) -> Vec<DueStatus> {
    let mut of: HashMap<String, usize> = HashMap::new();
    for name in under_way.values() {
        *of.entry(name.clone()).or_default() += 1;
    }
    let mut places = AT_ONCE_MAX.saturating_sub(under_way.len());
    let busy: HashSet<JobId> = under_way.keys().copied().collect();
    let mut chosen = Vec::new();
    for status in due {
        let there = of.entry(status.from.name.clone()).or_default();
        if places == 0 || *there >= PER_FORGE_MAX || busy.contains(&status.job.id) {
            continue;
        }
        *there += 1;
        places -= 1;
        chosen.push(status);
    }
    chosen
}

/// One attempt, from the store to the store.
async fn attempt(app: Shared, status: DueStatus) -> JobId {
    let job = status.job.id;
    let own = app.clone();
    let told = blocking(move || say(&own, &status).map(|it| (it, status))).await;
    let Ok(Some(((next, error), status))) = told else {
        // The store can't be read: it stays due, and is tried again in a while.
        sleep(STORE_RETRY_EVERY).await;
        return job;
    };
    let tried = StatusTried {
        job,
        changes: status.changes,
        next,
        error: error.clone(),
    };
    // What isn't written down would be told again at once, for ever.
    while let Err(error) = app.store.status_tried(tried.clone()).await {
        if error == StoreError::Closed {
            return job;
        }
        sleep(STORE_RETRY_EVERY).await;
    }
    if let Some(error) = error {
        let _in_job = tell::span(&status.job).entered();
        app.signals.emit(CommitStatusFailed {
            job_id: &job.to_string(),
            forge: status.from.kind.as_str(),
            credential_name: &status.from.name,
            error: &error,
        });
    }
    job
}

/// Tells; what follows, and what went wrong. None when the store can't be read.
fn say(app: &App, status: &DueStatus) -> Option<(AfterTry, Option<String>)> {
    let done = (AfterTry::Delivered, None);
    if status.is_outdated {
        return Some(done);
    }
    let Some(forge) = Forge::known(&app.store, status.from.kind, &status.from.name).ok()? else {
        let why = "there is no credential of this kind and name any more".to_owned();
        return Some((AfterTry::Failed, Some(why)));
    };
    if forge.token.is_none() {
        // Nobody wants it to be told.
        return Some(done);
    }
    let own = format!("http://{}", app.settings.listen);
    let base = app.settings.public_url.as_deref().unwrap_or(&own);
    let (api, client) = (Api::of(&forge), &app.forges.client);
    let repository = api.repository(&status.from.repository);
    let url = api.at(&format!("{repository}/statuses/{}", status.from.commit));
    let heard = match client.policy().check(&url) {
        Err(why) => Heard::Nothing(format!("the address {why}")),
        Ok(target) => {
            let body = body(forge.kind, status, base).to_string();
            let limits = Limits {
                total: DEADLINE,
                ..Limits::default()
            };
            heard(
                forge.kind,
                client.post(&target, &api.ask(limits), body.as_bytes()),
            )
        }
    };
    let verdict = after(&heard, status.round, FIRST_PAUSE, dice(), Timestamp::now());
    Some((verdict.next, verdict.error))
}

fn heard(kind: ForgeKind, done: Done) -> Heard {
    let mut answer = match done.outcome {
        Ok(answer) => answer,
        Err(failure) => return Heard::Nothing(failure.to_string()),
    };
    let mut is_same = false;
    if kind == ForgeKind::GitLab && answer.status == 400 {
        let mut body = String::new();
        let read = answer.body.read_to_string(&mut body);
        is_same = read.is_ok() && body.contains(SAME_ON_GITLAB);
    }
    Heard::Answer {
        status: if is_same { 200 } else { answer.status },
        retry_after: retry_after(&answer),
    }
}

/// What a forge is told.
fn body(kind: ForgeKind, DueStatus { job, from, .. }: &DueStatus, base: &str) -> Value {
    let (state, description) = words(kind, job.state, from.is_untrusted());
    json!({
        "state": state,
        "target_url": format!("{base}/jobs/{}", job.id),
        "description": description,
        "context": format!("danube/{}", job.pipeline),
    })
}

/// A job's state in the forge's word, and in ours for people.
fn words(kind: ForgeKind, state: State, is_untrusted: bool) -> (&'static str, &'static str) {
    let is_lab = kind == ForgeKind::GitLab;
    match state {
        State::Pending | State::Scheduling | State::Running => ("pending", "The job waits or runs"),
        State::Success => ("success", "The job succeeded"),
        State::Failure if is_untrusted => (
            if is_lab { "failed" } else { "failure" },
            "The job failed; it ran without secrets, and can be approved",
        ),
        State::Failure => (if is_lab { "failed" } else { "failure" }, "The job failed"),
        State::Timeout => (
            if is_lab { "failed" } else { "error" },
            "The job's time was up",
        ),
        State::Cancelled => (
            if is_lab { "canceled" } else { "error" },
            "The job was cancelled",
        ),
    }
}

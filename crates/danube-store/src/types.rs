//! What the store is asked and what it answers, as plain data.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::Callback;
use danube_model::playbook::RunRecord;
use danube_model::{
    Attempt, Job, JobId, Order, State, Step, Timestamp, Trace, Transition, Trigger,
};

/// A job to accept.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id, new.
    pub id: JobId,
    /// What it is asked to do. Sealed before it reaches the disk.
    pub order: Order,
    /// What made it.
    pub trigger: Trigger,
    /// The name of the API key that submits it.
    pub submitted_by: String,
    /// Whose idempotency keys these are: stable, where names are not.
    pub owner: String,
    /// Hexadecimal W3C trace id.
    pub trace_id: String,
    /// The context under which its spans are told.
    pub traceparent: String,
    /// Run again when the worker is lost.
    pub retry_on_lost: bool,
    /// The queue that it waits in.
    pub queue: String,
    /// Makes a repeated submit answer with the first one's job.
    pub idempotency: Option<Idempotency>,
    /// Where its end is told.
    pub callback: Option<Callback>,
    /// What it is about, for its pipeline's `cancel_superseded`: newer jobs of the same
    /// pipeline about the same, with the same parameters, cancel older ones. None for one that
    /// cancels none and is cancelled by none.
    pub subject: Option<String>,
}

/// A client's promise that two requests with one key are one request.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The key, as the client sent it. Kept only as a keyed hash.
    pub key: String,
    /// SHA-256 of the request's body, to notice a key used for another one.
    pub body_sha256: [u8; 32],
}

/// The answer to a submit.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// The job, which is durable.
    pub job: Job,
    /// It was made by an earlier request with the same idempotency key.
    pub replayed: bool,
    /// The older jobs that it took the place of: each is cancelled, or its worker is to stop it.
    pub superseded: Vec<CancelOutcome>,
}

/// A wish to lease a job to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Which job.
    pub job: JobId,
    /// To whom.
    pub worker: String,
}

/// A lease that was given.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The right to the job.
    pub attempt: Attempt,
    /// Who has it.
    pub worker: String,
    /// The job as it is now.
    pub job: Job,
    /// When it came into the queue: at its submission, or when the attempt before
    /// was given up.
    pub queued_at: Timestamp,
    /// What it is asked to do.
    pub order: Order,
    /// Run again when the worker is lost.
    pub retry_on_lost: bool,
    /// Whose share of the workers it takes; empty for none.
    pub team: String,
}

/// What became of jobs that were to be leased.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// The leases that were given.
    pub claimed: Vec<Claimed>,
    /// Jobs that can never run, because what they are asked to do can't be read
    /// any more: they have ended in failure.
    pub failed: Vec<Job>,
}

/// The answer to a cancel.
#[derive(Debug, Clone, PartialEq)]
pub enum CancelOutcome {
    /// It was pending and is cancelled now.
    Cancelled(Job),
    /// A worker holds it and must stop it.
    Asked(Job),
    /// It had ended before; nothing changed.
    AlreadyEnded(Job),
    /// There is no such job.
    NotFound,
}

/// A person's wish to run an ended job again.
#[derive(Debug, Clone)]
pub struct Retry {
    /// The job that ended.
    pub job: JobId,
    /// The id of the new one.
    pub new: JobId,
    /// The name of the API key that asks.
    pub by: String,
    /// Who that is whatever they are called; see [`crate::USER_OWNER`].
    pub owner: String,
    /// Hexadecimal W3C trace id of the new job.
    pub trace_id: String,
    /// The new job's context.
    pub traceparent: String,
    /// Where the new job stands in its trace; which job it follows, the store adds.
    pub trace: Trace,
}

/// Everything that a job's spans can be made from. Holds secrets: there is no `Debug`.
#[derive(Clone)]
pub struct JobTrace {
    /// The job, without steps.
    pub job: Job,
    /// Whose share of the workers it takes; empty for none.
    pub team: String,
    /// Where it stands; nothing when its order can't be read any more.
    pub trace: Trace,
    /// Where its source comes from, if it has one.
    pub repository: Option<String>,
    /// Its parameters, defaults filled in.
    pub parameters: BTreeMap<String, String>,
    /// Values to keep out of its spans.
    pub masks: Vec<String>,
    /// Every move, oldest first.
    pub moves: Vec<Transition>,
    /// The steps of each attempt, the first attempt first.
    pub attempts: Vec<Vec<Step>>,
    /// What the playbook did in each attempt, in the same order; empty for pipelines.
    pub events: Vec<Vec<RunRecord>>,
}

/// A run of a pipeline that ended by itself, with what it took: [`crate::Store::past_runs`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRun {
    /// When it was submitted.
    pub created_at: Timestamp,
    /// How long it waited for workers, all its attempts together.
    pub queued: Duration,
    /// When a worker took it for its last attempt.
    pub claimed_at: Timestamp,
    /// How many attempts there were.
    pub attempt: u32,
    /// When the first step of the last attempt began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// The steps of the last attempt that began and ended, in their order.
    pub steps: Vec<PastStep>,
}

/// A step of a run in the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastStep {
    /// Its name.
    pub name: Arc<str>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Runs of one pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PastRuns {
    /// Newest first.
    pub runs: Vec<PastRun>,
    /// There may be more: a limit of the read was reached before all that were wanted.
    pub is_cut: bool,
}

/// Runs of all pipelines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllPastRuns {
    /// By name; the pipeline with the newest job first.
    pub pipelines: Vec<(String, PastRuns)>,
    /// There are more pipelines than these.
    pub is_cut: bool,
}

/// The answer to a retry.
#[derive(Debug, Clone, PartialEq)]
pub enum RetryOutcome {
    /// The new job.
    Made(Job),
    /// The job hasn't ended; nothing changed.
    NotEnded(Job),
    /// There is no such job.
    NotFound,
}

/// The answer to a value to mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskOutcome {
    /// It is kept.
    Kept,
    /// The job has as many values already as one may have.
    Full,
    /// There is no such job.
    NotFound,
}

/// The answer to a log's deletion.
#[derive(Debug, Clone, PartialEq)]
pub enum LogDeletion {
    /// Nobody is shown it any more.
    Deleted(Job),
    /// The job hasn't ended; nothing changed.
    NotEnded(Job),
    /// There is no such job.
    NotFound,
}

/// What a playbook did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEvents {
    /// Which attempt they belong to.
    pub attempt: u32,
    /// In the order of their numbers.
    pub records: Vec<RunRecord>,
    /// The job's latest attempt.
    pub latest: u32,
    /// The job has ended: no attempt will follow, and no event of the latest.
    pub has_ended: bool,
}

/// The names of a playbook's plays and tasks, each in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunNames {
    /// Of the plays.
    pub plays: Vec<String>,
    /// Of the tasks of all plays.
    pub tasks: Vec<String>,
}

/// A job that waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its place in the order of acceptance, from 1.
    pub seq: i64,
    /// Which job.
    pub job: JobId,
    /// The lane that it waits in.
    pub lane: Lane,
    /// How many jobs of its pipeline may run at once.
    pub concurrency: Option<u32>,
    /// The context under which its spans are told.
    pub traceparent: String,
}

/// Jobs that wait one behind the other: those of one queue and one team, and of one pipeline
/// where that bounds how many run at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    /// The queue.
    pub queue: String,
    /// The team; empty for none.
    pub team: String,
    /// The pipeline; empty where it isn't bounded.
    pub pipeline: String,
}

/// A job that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// The right to it.
    pub attempt: Attempt,
    /// Who has it.
    pub worker: String,
    /// The queue that it waited in.
    pub queue: String,
    /// Whose share of the workers it takes; empty for none.
    pub team: String,
    /// Its pipeline's name.
    pub pipeline: String,
    /// `Scheduling` or `Running`.
    pub state: State,
    /// Somebody asked to cancel it.
    pub cancel_asked: bool,
}

/// Whether an attempt still holds its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// It does.
    Held {
        /// Somebody asked to cancel the job.
        cancel_asked: bool,
    },
    /// It doesn't: the job went back, ended, or is gone.
    Lost,
}

/// Which jobs a list shows; empty shows all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In any of these states; none for any state.
    pub states: Vec<State>,
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// That somebody may see.
    pub sight: Sight,
}

/// Which jobs somebody may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sight {
    /// All.
    #[default]
    All,
    /// Those of pipelines that one of these patterns fits; `*` stands for any text.
    Patterns(Vec<String>),
    /// Those of a user of the blueprint.
    Member(MemberSight),
}

/// Which jobs a user of the blueprint may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberSight {
    /// Those of these pipelines,
    pub pipelines: Vec<String>,
    /// and those that this user submitted,
    pub user: String,
    /// but of none of these pipelines,
    pub declared: Vec<String>,
    /// and only of those that one of these patterns fits, if there are any.
    pub patterns: Option<Vec<String>>,
}

/// How many jobs wait and run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pending.
    pub pending: u64,
    /// Scheduling or running.
    pub active: u64,
}

/// What is known of a credential: everything but its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRecord {
    /// Its id, never given twice.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What it is for, as the kind's name.
    pub kind: String,
    /// What is shown of it, by field.
    pub metadata: BTreeMap<String, String>,
    /// Grows with each replacement.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// By which key.
    pub created_by: String,
    /// When its values were last set.
    pub updated_at: Timestamp,
    /// By which key.
    pub updated_by: String,
    /// When a job was last given it.
    pub last_used_at: Option<Timestamp>,
}

/// A job was given a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialUse {
    /// The job.
    pub job: JobId,
    /// Its attempt.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
}

/// How the sealing key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealState {
    /// Hexadecimal id of the key that seals; says nothing of the key.
    pub key_id: String,
    /// An older key is kept, because something may still be sealed with it.
    pub has_old_keys: bool,
}

/// How far a rotation of the sealing key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rotation {
    /// At the words by which the keys are known.
    #[default]
    Meta,
    /// At the credentials behind this id.
    Credentials {
        /// The last one that was looked at.
        after: i64,
    },
    /// At the secrets of pipelines behind this id.
    Secrets {
        /// The last one that was looked at.
        after: i64,
    },
    /// At the orders behind this row.
    Orders {
        /// The last one that was looked at.
        after: i64,
    },
    /// At the addresses of webhooks behind this row.
    Webhooks {
        /// The last one that was looked at.
        after: i64,
    },
    /// At the secrets that sign webhooks, then the blueprint.
    WebhookSecrets,
    /// Everything is sealed anew; the old key is left.
    Last,
}

/// What one step of a rotation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resealed {
    /// Where to go on.
    pub next: Rotation,
    /// Rows that were sealed anew.
    pub rows: u64,
    /// Rows that no key opens; they are as unreadable as before.
    pub unreadable: u64,
    /// Nothing needs the old key any more, and it is gone.
    pub is_done: bool,
}

/// A worker's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerId(pub i64);

/// A worker on another machine to remember. Its token never reaches the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWorker {
    /// Unique among workers that aren't revoked.
    pub name: String,
    /// The first characters of its token, so that people can tell tokens apart.
    pub prefix: String,
    /// SHA-256 of the whole token.
    pub sha256: [u8; 32],
}

/// A worker on another machine as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Its number.
    pub id: WorkerId,
    /// Unique among workers that aren't revoked.
    pub name: String,
    /// The first characters of its token.
    pub prefix: String,
    /// SHA-256 of the whole token.
    pub sha256: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When its token was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last heard of, as far as was told.
    pub last_seen_at: Option<Timestamp>,
}

//! What the store is asked and what it answers, as plain data.

use std::sync::Arc;
use std::time::Duration;

use crate::Callback;
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
    /// Where it stands; nothing when its order can't be read any more.
    pub trace: Trace,
    /// Where its source comes from, if it has one.
    pub repository: Option<String>,
    /// Values to keep out of its spans.
    pub masks: Vec<String>,
    /// Every move, oldest first.
    pub moves: Vec<Transition>,
    /// The steps of each attempt, the first attempt first.
    pub attempts: Vec<Vec<Step>>,
}

/// A run of a pipeline that ended by itself, with what it took. See [`Store::past_runs`].
///
/// [`Store::past_runs`]: crate::Store::past_runs
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

/// A job that waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which job.
    pub job: JobId,
    /// The queue that it waits in.
    pub queue: String,
    /// When it was accepted.
    pub created_at: Timestamp,
}

/// A job that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// The right to it.
    pub attempt: Attempt,
    /// Who has it.
    pub worker: String,
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
}

/// How many jobs wait and run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pending.
    pub pending: u64,
    /// Scheduling or running.
    pub active: u64,
}

/// What the bearer of an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Submit, cancel and read.
    Member,
    /// Read.
    Viewer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Member, Self::Viewer];

    /// The name on the wire and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Viewer => "viewer",
        }
    }

    /// The role with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// Names an API key for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub i64);

/// An API key to remember. The key itself never reaches the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Unique among keys that aren't revoked.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// Its first characters, so that people can tell keys apart.
    pub prefix: String,
    /// SHA-256 of the whole key.
    pub sha256: [u8; 32],
}

/// An API key as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its id.
    pub id: KeyId,
    /// Unique among keys that aren't revoked.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// Its first characters.
    pub prefix: String,
    /// SHA-256 of the whole key.
    pub sha256: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, as far as was told.
    pub last_used_at: Option<Timestamp>,
}

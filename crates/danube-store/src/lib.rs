//! The job database: SQLite behind one group-committing writer and a pool of
//! readers. Nothing else in the house knows SQL.
//!
//! Writes are handed to one thread ([`Store::submit`], [`Store::claim`], …),
//! which puts whatever waits into one transaction and answers all of it after
//! one fsync. Reads ([`Store::job`], [`Store::list`], …) block for a moment and
//! see a snapshot; async callers put them on a thread that may block.
//!
//! Start with `writer/mod.rs` for how a write becomes durable, and with
//! `moves.rs` for the one place where a job's state changes.

mod admission;
mod artifacts;
mod audit;
mod blueprint;
mod copy;
mod counts;
mod credentials;
mod cron;
mod error;
mod forges;
mod health;

mod holder;
mod images;
mod jobs;
mod keys;
mod late;
mod leases;
mod list;
mod look;
mod meter;
mod moves;
mod open;
mod playbooks;
mod pulse;
mod read;
mod readers;
mod reserve;
mod restored;
mod rotation;
mod rows;
mod schema;
mod seal;
mod secrets;
mod sessions;
mod sight;
mod timing;
mod types;
mod webhooks;
mod workers;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use danube_model::playbook::{Progress, RunRecord};
use danube_model::{Attempt, Ended, Job, JobId, Step, Timestamp};

pub use artifacts::{Artifact, ArtifactLimits, ArtifactOutcome, NewArtifact, StoredArtifact};
pub use audit::AuditRow;
pub use blueprint::{StoredBlueprint, TakenBlueprint};
pub use copy::{LogClaim, Pinned, Snapshot, SnapshotCounts};
pub use cron::CronTimes;
pub use error::{OpenError, StoreError};
pub use forges::{
    DELIVERIES_MAX, DELIVERY_KEPT, Delivery, DueStatus, ForgeInbox, ForgeJob, ForgeStart,
    INBOX_BYTES_MAX, INBOX_STARTS_MAX, Kept, NewStart, SeenDelivery, StatusOutbox, StatusTried,
    UntoldState, UntoldStatus, WaitingStart,
};
pub use holder::LockHolder;
pub use images::ImageName;
pub use keys::{KeyBounds, KeyId, KeyRecord, NewKey, Role};
pub use look::{Looked, look, sqlite_version};
pub use meter::{Live, Meter, Moved, NoMeter, Operation, Waiters};
pub use open::{LOCK_WAIT_MAX, Options};
pub use pulse::WriterSign;
pub use restored::Resumed;
pub use secrets::{GivenSecrets, SecretRecord, SecretRefusal};
pub use sessions::{SessionOf, SessionRecord};
pub use sight::USER_OWNER;
pub use types::{
    AllPastRuns, Assignment, CancelOutcome, Claimed, Claims, Counts, CredentialRecord,
    CredentialUse, Filter, Idempotency, JobTrace, Lane, LeaseState, Leased, LogDeletion,
    MaskOutcome, MemberSight, NewJob, NewWorker, PastRun, PastRuns, PastStep, Resealed, Retry,
    RetryOutcome, Rotation, RunEvents, RunNames, SealState, Sight, Submitted, Waiting, WorkerId,
    WorkerRecord,
};
pub use webhooks::{
    AfterTry, Callback, DueWebhook, OLD_SECRETS_MAX, Outbox, ROTATION_OVERLAP, ReplayOutcome,
    SECRET_BYTES, ShowOutcome, ShownSecret, SigningSecrets, Tried, Wanted, Webhook, WebhookAttempt,
    WebhookState,
};
pub use writer::pending::Pending;

use open::Shared;
use readers::Readers;
use writer::{Class, Writer};

/// The job database. Cloning shares it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    readers: Readers,
    writer: Writer,
}

/// Opening and closing.
impl Store {
    /// Opens the database in `dir`, or makes one there: `danube.db`, and
    /// `seal.key`, without which the sealed rows can't be read.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was changed then.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let (shared, connection) = open::open(dir, options)?;
        let shared = Arc::new(shared);
        let writer = Writer::start(Arc::clone(&shared), connection)
            .map_err(|error| open::refused("start the writer for", &shared.path, &error))?;
        let inner = Inner {
            readers: Readers::new(Arc::clone(&shared)),
            writer,
            shared,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Takes no more requests, finishes those that wait, writes the log of
    /// SQLite back into the database and closes it. Returns whether that was
    /// done within `deadline`; when not, it goes on in its own time.
    pub fn close(&self, deadline: Duration) -> bool {
        self.inner.readers.close();
        self.inner.writer.close(deadline)
    }
}

/// Reads that belong to writes.
impl Store {
    /// The job that an earlier submit with this idempotency key made, if there
    /// was one.
    ///
    /// # Errors
    /// [`StoreError::IdempotencyConflict`] when that one had another body.
    pub fn replayed(&self, owner: &str, given: &Idempotency) -> Result<Option<Job>, StoreError> {
        jobs::replayed(&self.inner.shared, &self.inner.readers, (owner, given))
    }
}

/// Writes about jobs. Each answers after the commit is durable.
impl Store {
    /// Accepts a job.
    ///
    /// Errors: [`StoreError::IdempotencyConflict`], [`StoreError::JobExists`].
    pub fn submit(&self, job: NewJob) -> Pending<Submitted> {
        match jobs::Sealed::new(&self.inner.shared.sealer, &job) {
            Ok(sealed) => self.inner.writer.send(
                Class::Growing(sealed.bytes()),
                // The order was sealed here, so that the writer needn't.
                move |tx| jobs::submit(tx, &job, &sealed),
            ),
            Err(error) => Pending::refused(error),
        }
    }

    /// Leases pending jobs to workers. Those that aren't pending any more are
    /// left out of the answer.
    pub fn claim(&self, assignments: Vec<Assignment>) -> Pending<Claims> {
        self.urgent(move |tx| leases::claim(tx, &assignments))
    }

    /// The attempt's first step begins; `steps` are all of them. Not urgent: it
    /// rides along with the next commit, some 50 ms later at most.
    ///
    /// Errors: [`StoreError::Fenced`].
    pub fn started(&self, attempt: Attempt, steps: Vec<Step>) -> Pending<()> {
        let at = Timestamp::now();
        self.lazy(move |tx| leases::started(tx, attempt, (at, &steps)))
    }

    /// A step of the attempt changed. Not urgent, as [`Store::started`].
    ///
    /// Errors: [`StoreError::Fenced`].
    pub fn step(&self, attempt: Attempt, index: usize, step: Step) -> Pending<()> {
        self.lazy(move |tx| leases::step(tx, attempt, index, &step))
    }

    /// What the playbook of the attempt did since the last report. Not urgent, as
    /// [`Store::started`].
    ///
    /// Errors: [`StoreError::Fenced`].
    pub fn report(
        &self,
        attempt: Attempt,
        records: Vec<RunRecord>,
        progress: Progress,
    ) -> Pending<()> {
        self.lazy(move |tx| playbooks::report(tx, attempt, (&records, &progress)))
    }

    /// The attempt ended, and the job with it. Exactly once: a second finish,
    /// or one under an old fence, changes nothing.
    ///
    /// Errors: [`StoreError::Fenced`], and [`StoreError::Refused`] for a cause
    /// that isn't an end.
    pub fn finish(&self, attempt: Attempt, ended: Ended) -> Pending<Job> {
        self.urgent(move |tx| leases::finish(tx, attempt, &ended))
    }

    /// A worker that drains returns the job unfinished. This costs no attempt;
    /// but a job that runs at most once and `may_have_run` ends as a failure,
    /// and one that was to be cancelled is cancelled.
    ///
    /// Errors: [`StoreError::Fenced`].
    pub fn hand_back(&self, attempt: Attempt, reason: &str, may_have_run: bool) -> Pending<Job> {
        let reason = reason.to_owned();
        self.urgent(move |tx| leases::hand_back(tx, attempt, &reason, may_have_run))
    }

    /// The worker fell silent past its lease: the job goes back to the queue,
    /// or ends when it was to be cancelled or has no attempts left.
    ///
    /// Errors: [`StoreError::Fenced`].
    pub fn lease_lost(&self, attempt: Attempt, reason: &str) -> Pending<Job> {
        let reason = reason.to_owned();
        self.urgent(move |tx| leases::lost(tx, attempt, &reason))
    }

    /// Cancels a pending job, or asks the worker that holds it to stop. `by` is
    /// the name of the API key.
    pub fn cancel(&self, job: JobId, by: &str) -> Pending<CancelOutcome> {
        let by = by.to_owned();
        self.urgent(move |tx| jobs::cancel(tx, job, &by))
    }

    /// Makes a new job with the order of one that has ended.
    ///
    /// Errors: [`StoreError::JobExists`].
    pub fn retry(&self, retry: Retry) -> Pending<RetryOutcome> {
        self.inner
            .writer
            .send(Class::Growing(0), move |tx| jobs::retry(tx, &retry, false))
    }

    /// The same, and the new job may have what its pipeline may have, though a fork's commit
    /// made it: whoever asks has looked at that commit.
    pub fn approve(&self, approve: Retry) -> Pending<RetryOutcome> {
        self.inner
            .writer
            .send(Class::Growing(0), move |tx| jobs::retry(tx, &approve, true))
    }

    /// Adds a value that later attempts of the job, and retries of it, keep out
    /// of their logs. Sealed with the order before it reaches the disk.
    pub fn add_mask(&self, job: JobId, value: String) -> Pending<MaskOutcome> {
        self.urgent(move |tx| late::add_mask(tx, job, &value))
    }

    /// Notes that the log of an ended job is gone; delete it after that.
    pub fn log_deleted(&self, job: JobId) -> Pending<LogDeletion> {
        self.urgent(move |tx| late::log_deleted(tx, job))
    }
}

/// API keys.
impl Store {
    /// Remembers a new API key.
    ///
    /// Errors: [`StoreError::NameTaken`].
    pub fn create_key(&self, key: NewKey) -> Pending<KeyRecord> {
        self.inner
            .writer
            .send(Class::Growing(0), move |tx| keys::create(tx, &key))
    }

    /// Revokes a key for ever. None when there is no such live key.
    pub fn revoke_key(&self, key: KeyId) -> Pending<Option<KeyRecord>> {
        self.urgent(move |tx| keys::revoke(tx, key))
    }

    /// A key was used. Not urgent; the caller tells it once a minute or so.
    pub fn key_used(&self, key: KeyId) -> Pending<()> {
        self.lazy(move |tx| keys::used(tx, key))
    }
}

/// The audit log.
impl Store {
    /// Adds an entry, with the number that it gets. Not refused for want of room while
    /// anything can be written at all: what frees room is asked for by administrators.
    pub fn audit(&self, entry: String) -> Pending<u64> {
        self.urgent(move |tx| audit::append(tx, &entry))
    }
}

/// Workers on other machines.
impl Store {
    /// Remembers a new worker.
    ///
    /// Errors: [`StoreError::NameTaken`].
    pub fn create_worker(&self, worker: NewWorker) -> Pending<WorkerRecord> {
        self.inner
            .writer
            .send(Class::Growing(0), move |tx| workers::create(tx, &worker))
    }

    /// Revokes a worker's token for ever. None when there is no such live worker.
    pub fn revoke_worker(&self, name: &str) -> Pending<Option<WorkerRecord>> {
        let name = name.to_owned();
        self.urgent(move |tx| workers::revoke(tx, &name))
    }

    /// A worker was heard of. Not urgent; the caller tells it once a minute or so.
    pub fn worker_seen(&self, worker: WorkerId) -> Pending<()> {
        self.lazy(move |tx| workers::seen(tx, worker))
    }
}

impl Store {
    fn urgent<T, F>(&self, work: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnMut(&writer::Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.inner.writer.send(Class::Urgent, work)
    }

    fn lazy<T, F>(&self, work: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnMut(&writer::Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.inner.writer.send(Class::Lazy, work)
    }
}

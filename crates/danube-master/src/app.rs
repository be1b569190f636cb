//! What every request handler holds.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use danube_api::{Code, Problem, rpc};
use danube_blueprint::Permission;
use danube_joblog::JobLogs;
use danube_model::limits::{CREDENTIALS_MAX, SECRETS_MAX};
use danube_model::{JobId, Queues};
use danube_signals::{PermissionDenied, Signals, SystemError};
use danube_store::{SessionOf, Store, StoreError};
use danube_worker::Worker;
use tokio::sync::{Notify, Semaphore, watch};

use crate::artifacts::Artifacts;
use crate::auth::{Caller, Codes, Keys, Sessions, Stranger, Workers, right_name};
use crate::blueprint::Current;
use crate::feed::Desk;
use crate::forges::Forges;
use crate::health::Health;
use crate::http::metrics::Scrapes;
use crate::log_level::{LogLevel, MaskInLog};
use crate::oidc::Oidc;
use crate::pipelines::Pipelines;
use crate::profiling::Profiler;
use crate::provenance;
use crate::rates::{Network, Rates};
use crate::readers::{READER_FILES, Readers};
use crate::reaper::Reaper;
use crate::registry::Registry;
use crate::relays::Relays;
use crate::remote::Remote;
use crate::seal_key::SealKey;
use crate::secrets::Vault;
use crate::settings::Settings;
use crate::trace::Traces;
use crate::turns::{LOG_READS_MAX, Turns};
use crate::watch::Watch;
use crate::watchdog::Liveness;
use crate::webhooks::Webhooks;

/// The parts of the master, shared by all requests.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) keys: Arc<Keys>,
    pub(crate) sessions: Sessions,
    pub(crate) logs: JobLogs,
    pub(crate) worker: Worker,
    pub(crate) workers: Workers,
    pub(crate) remote: Arc<Remote>,
    pub(crate) queues: Arc<Queues>,
    /// Where Redis carries what waits: what workers are told of it.
    pub(crate) dispatch: Option<rpc::Dispatch>,
    pub(crate) feed: Arc<Desk>,
    pub(crate) traces: Traces,
    pub(crate) pipelines: Pipelines,
    pub(crate) signals: Signals,
    pub(crate) health: Arc<Health>,
    /// The files that jobs left.
    pub(crate) artifacts: Artifacts,
    /// What signs where they come from.
    pub(crate) provenance: provenance::Keys,
    /// What the blueprint declares now.
    pub(crate) blueprint: Arc<Current>,
    /// Where users sign in.
    pub(crate) oidc: Oidc,
    /// What browsers hand to the command line.
    pub(crate) codes: Codes,
    /// The registry that images of jobs lie in.
    pub(crate) registry: Registry,
    /// Turns at deleting what is kept no longer.
    pub(crate) reaper: Reaper,
    /// Whether our own loops go round.
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) log_level: Arc<LogLevel>,
    /// Keeps a value out of the server's own log.
    pub(crate) log_mask: MaskInLog,
    /// How the rotation of the sealing key is going.
    pub(crate) seal_key: SealKey,
    /// Gives jobs their secrets.
    pub(crate) vault: Arc<Vault>,
    pub(crate) phases: Arc<Phases>,
    /// Where jobs of this process that have no network call.
    pub(crate) relays: Arc<Relays>,
    /// Who may profile the server now.
    pub(crate) profiler: Arc<Profiler>,
    /// Who may do now what takes much.
    pub(crate) turns: Turns,
    /// How fast the tools of jobs may send spans.
    pub(crate) span_rates: Rates<JobId>,
    /// How often an address may show a wrong key.
    pub(crate) tries: Rates<Network>,
    /// What is seen of the metrics over time.
    pub(crate) watch: Watch,
    /// Sends webhooks.
    pub(crate) webhooks: Webhooks,
    /// Takes what forges tell, and tells them how jobs stand.
    pub(crate) forges: Forges,
    /// Open readers of logs that are followed.
    pub(crate) readers: Arc<Readers>,
    /// Turns and buffers of scrapes.
    pub(crate) scrapes: Scrapes,
    /// Open followers, to bound them.
    pub(crate) followers: AtomicUsize,
    /// As many as there may be.
    pub(crate) followers_max: usize,
}

/// Followers at once, where there are descriptors enough.
const FOLLOWERS_MAX: usize = 10_000;

/// Descriptors that followers leave to everything else: jobs, database, clients.
const OTHER_FILES: u64 = 512;

/// Readers of logs that are kept open for their followers: one for each of a
/// thousand logs, where there are descriptors enough.
const READERS_MAX: u64 = 1_024;

/// What may be open for followers at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Followers: each has a connection.
    pub(crate) followers: usize,
    /// Readers of logs, kept for their next read.
    pub(crate) readers: usize,
}

impl Room {
    /// The room with so many open files; at most half of it is for readers.
    pub(crate) fn of(open_files: Option<u64>) -> Self {
        let room = open_files.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES);
        let reading = LOG_READS_MAX as u64;
        let readers = (room / 2 / READER_FILES)
            .saturating_sub(reading)
            .min(READERS_MAX);
        let followers = room.saturating_sub((readers + reading) * READER_FILES);
        let number = |it: u64| usize::try_from(it).unwrap_or(usize::MAX);
        Self {
            followers: number(followers).clamp(1, FOLLOWERS_MAX),
            readers: number(readers),
        }
    }
}

/// Submits that wait for their job's end at once: each has a connection, and nothing else.
const WAITS_MAX: usize = 1_000;

/// How handlers are given the app.
pub(crate) type Shared = Arc<App>;

/// Why somebody may not do what they wish.
#[derive(Debug)]
pub(crate) enum Barred {
    /// They may not even look: it is for whoever asked to say that there is no such thing.
    Hidden,
    /// They may look, but not do that.
    Lacks(Problem),
}

impl Barred {
    /// The problem, where hidden things are answered with `unknown`.
    pub(crate) fn or(self, unknown: impl FnOnce() -> Problem) -> Problem {
        match self {
            Self::Hidden => unknown(),
            Self::Lacks(problem) => problem,
        }
    }
}

impl App {
    /// Whether this caller may do what they wish with this pipeline, or with a job of it that
    /// this user submitted. A refusal is counted.
    pub(crate) fn permits(
        &self,
        caller: &Caller,
        (pipeline, submitted_by): (&str, Option<&str>),
    ) -> Result<(), Barred> {
        let right = caller.reach.right(pipeline, submitted_by);
        self.bar(caller, pipeline, right)
    }

    /// The same of a job that is about to be theirs.
    pub(crate) fn permits_own(&self, caller: &Caller, pipeline: &str) -> Result<(), Barred> {
        let right = caller.reach.right_to_own(pipeline);
        self.bar(caller, pipeline, right)
    }

    /// Tells that this caller may not do what they wish with that.
    pub(crate) fn denied(&self, caller: &Caller, resource: &str) {
        self.signals.emit(PermissionDenied {
            user: &caller.name,
            resource,
            action: right_name(caller.wish.right),
            kind: Some(caller.wish.kind),
        });
    }

    fn bar(
        &self,
        caller: &Caller,
        pipeline: &str,
        right: Option<Permission>,
    ) -> Result<(), Barred> {
        if right.is_some_and(|it| it >= caller.wish.right) {
            return Ok(());
        }
        self.denied(caller, pipeline);
        let Some(right) = right else {
            return Err(Barred::Hidden);
        };
        let detail = format!(
            "`{}` may `{}` with pipeline `{pipeline}`, and this needs `{}`",
            caller.name,
            right_name(right),
            right_name(caller.wish.right)
        );
        Err(Barred::Lacks(Problem::new(Code::Forbidden, detail)))
    }

    /// Who shows a key, with the rights that they have now.
    pub(crate) fn with_rights(&self, caller: Caller) -> Result<Caller, Stranger> {
        let Some(user) = caller.user.clone() else {
            return Ok(caller);
        };
        let user = self.behind(&SessionOf::User(user))?;
        Ok(Caller {
            key: caller.key,
            // What a key of theirs is bound to, it stays bound to.
            reach: user.reach.within_those_of(&caller.reach),
            by_session: caller.by_session,
            ..user
        })
    }

    /// Who is behind a session now; nobody once their key or user is gone.
    pub(crate) fn behind(&self, session: &SessionOf) -> Result<Caller, Stranger> {
        match session {
            SessionOf::Key(key) => {
                let caller = self.keys.of_session(*key).ok_or(Stranger::Unknown)?;
                self.with_rights(caller)
            }
            SessionOf::User(name) => {
                let blueprint = self.blueprint.get().ok_or(Stranger::Unknown)?;
                let user = blueprint.users.get(name).ok_or(Stranger::Unknown)?;
                Ok(Caller::user(name, user.admin, &blueprint))
            }
            SessionOf::Link => Ok(Caller::link()),
        }
    }

    /// Reads from the store on a thread that may block.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let store = self.store.clone();
        blocking(move || read(&store))
            .await?
            .map_err(|error| self.problem(&error))
    }

    /// What a refusal of the store means to a caller. Trouble with the disk is
    /// told to health at once.
    pub(crate) fn problem(&self, error: &StoreError) -> Problem {
        match error {
            StoreError::Busy => Problem::new(
                Code::TooMany,
                "too many writes are waiting; try again in a second",
            ),
            StoreError::QueueFull { .. } => Problem::new(
                Code::QueueFull,
                format!("{error}; nothing was changed: try again when some have begun"),
            ),
            StoreError::Refused(_) | StoreError::Fenced { .. } => {
                Problem::new(Code::WrongState, error.to_string())
            }
            StoreError::NoJob(id) => Problem::new(Code::NotFound, format!("there is no job {id}")),
            StoreError::IdempotencyConflict { .. } => {
                Problem::new(Code::IdempotencyConflict, error.to_string())
            }
            StoreError::NameTaken(_) | StoreError::CredentialExists(_) => {
                Problem::new(Code::NameTaken, error.to_string())
            }
            StoreError::NoCredentials(_) => Problem::new(Code::NotFound, error.to_string()),
            StoreError::TooManyCredentials => Problem::new(
                Code::TooManyCredentials,
                format!("there are {CREDENTIALS_MAX} credentials, as many as there may be"),
            ),
            StoreError::TooManySecrets => Problem::new(
                Code::SecretsFull,
                format!("there are {SECRETS_MAX} secrets, as many as there may be"),
            ),
            StoreError::CredentialUnreadable(_) => {
                self.signals.system_error(SystemError::Database);
                Problem::new(Code::WrongState, error.to_string())
            }
            StoreError::KeyFile(_) => Problem::new(Code::Unavailable, error.to_string()),
            StoreError::BadCursor => Problem::new(Code::Malformed, error.to_string()),
            StoreError::NoSpace => {
                self.database_failed(error);
                Problem::new(
                    Code::NoSpace,
                    "the disk of the data directory is full; nothing was changed",
                )
            }
            StoreError::Closed => Problem::new(Code::Unavailable, "the server is stopping"),
            StoreError::Io(_)
            | StoreError::Corrupt(_)
            | StoreError::Locked(_)
            | StoreError::Interrupted => {
                self.database_failed(error);
                Problem::new(
                    Code::Unavailable,
                    "the database can't be used now; nothing was changed",
                )
            }
            StoreError::JobExists(_) | StoreError::Unreadable(_) | StoreError::Internal(_) => {
                self.database_failed(error);
                Problem::new(Code::Internal, "the database gave an unexpected answer")
            }
        }
    }
}

impl App {
    fn database_failed(&self, error: &StoreError) {
        self.signals.system_error(SystemError::Database);
        self.health.database_failed(error);
    }
}

/// Runs what may block on a thread for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::new(Code::Internal, "a task of the server ended early"))
}

/// Wakes those who wait for a job to begin or to end. Only jobs with somebody
/// waiting have an entry.
pub(crate) struct Phases {
    waiting: Mutex<HashMap<JobId, Arc<Notify>>>,
    /// Wakes those who wait for a change of any job.
    pub(crate) any: Arc<Notify>,
    /// Turns at holding the answer of a submit back until its job has ended.
    pub(crate) turns: Arc<Semaphore>,
    /// Whether the server has begun to stop: nobody is held back any more.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Default for Phases {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            any: Arc::default(),
            turns: Arc::new(Semaphore::new(WAITS_MAX)),
            stopping: watch::Sender::new(false),
        }
    }
}

impl Phases {
    /// A handle on which to wait for the job's next change.
    pub(crate) fn watch(self: &Arc<Self>, job: JobId) -> PhaseWatch {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let notify = Arc::clone(waiting.entry(job).or_default());
        PhaseWatch {
            phases: Arc::clone(self),
            job,
            notify,
        }
    }

    /// The job came, began, ended, or went back.
    pub(crate) fn touch(&self, job: JobId) {
        self.any.notify_waiters();
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = waiting.get(&job) {
            notify.notify_waiters();
        }
    }
}

/// Somebody who waits for a job's changes.
pub(crate) struct PhaseWatch {
    phases: Arc<Phases>,
    job: JobId,
    pub(crate) notify: Arc<Notify>,
}

impl Drop for PhaseWatch {
    fn drop(&mut self) {
        let mut waiting = self
            .phases
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // The map's and ours: nobody else waits.
        if waiting
            .get(&self.job)
            .is_some_and(|it| Arc::strong_count(it) <= 2)
        {
            waiting.remove(&self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_followers_fit_into_twenty_thousand_files_and_a_few_into_a_thousand() {
        let room = |open_files| {
            let Room { followers, readers } = Room::of(open_files);
            (followers, readers)
        };
        assert_eq!(room(None), (10_000, 1_024));
        assert_eq!(room(Some(20_000)), (10_000, 1_024));
        assert_eq!(room(Some(1_024)), (257, 53));
        assert_eq!(room(Some(64)), (1, 0));
    }

    #[test]
    fn an_entry_lives_as_long_as_somebody_waits() {
        let (phases, job) = (Arc::new(Phases::default()), JobId::new());
        let count = |phases: &Phases| phases.waiting.lock().unwrap().len();
        let (one, two) = (phases.watch(job), phases.watch(job));
        assert_eq!(count(&phases), 1);
        drop(one);
        assert_eq!(count(&phases), 1);
        drop(two);
        assert_eq!(count(&phases), 0);
        phases.touch(job);
    }
}

//! What every request handler holds.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use danube_api::{Code, Problem};
use danube_joblog::JobLogs;
use danube_model::JobId;
use danube_signals::Signals;
use danube_store::{Store, StoreError};
use danube_worker::Worker;
use tokio::sync::{Notify, Semaphore};

use crate::auth::{Keys, Sessions};
use crate::health::Health;
use crate::pipelines::Pipelines;
use crate::settings::Settings;

/// The parts of the master, shared by all requests.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) keys: Arc<Keys>,
    pub(crate) sessions: Sessions,
    pub(crate) logs: JobLogs,
    pub(crate) worker: Worker,
    pub(crate) pipelines: Pipelines,
    pub(crate) signals: Signals,
    pub(crate) health: Arc<Health>,
    pub(crate) phases: Arc<Phases>,
    /// Turns at checking a submit: it takes processor and memory, and a caller
    /// with many large ones must not take all of both.
    pub(crate) checks: Semaphore,
    /// Open followers, to bound them.
    pub(crate) followers: AtomicUsize,
    /// As many as there may be.
    pub(crate) followers_max: usize,
}

/// Followers at once, where there are descriptors enough.
const FOLLOWERS_MAX: usize = 10_000;

/// Descriptors that followers leave to everything else: jobs, database, clients.
const OTHER_FILES: u64 = 512;

/// Descriptors of a follower: its connection, and up to three files of the log.
const FOLLOWER_FILES: u64 = 4;

/// How many followers there may be with so many open files.
pub(crate) fn followers_max(open_files: Option<u64>) -> usize {
    let room = open_files.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES) / FOLLOWER_FILES;
    usize::try_from(room)
        .unwrap_or(usize::MAX)
        .clamp(1, FOLLOWERS_MAX)
}

/// Submits that are checked at once.
pub(crate) const CHECKS_MAX: usize = 4;

/// How handlers are given the app.
pub(crate) type Shared = Arc<App>;

impl App {
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
            StoreError::Refused(_) | StoreError::Fenced { .. } => {
                Problem::new(Code::WrongState, error.to_string())
            }
            StoreError::NoJob(id) => Problem::new(Code::NotFound, format!("there is no job {id}")),
            StoreError::IdempotencyConflict { .. } => {
                Problem::new(Code::IdempotencyConflict, error.to_string())
            }
            StoreError::NameTaken(_) => Problem::new(Code::NameTaken, error.to_string()),
            StoreError::BadCursor => Problem::new(Code::Malformed, error.to_string()),
            StoreError::NoSpace => {
                self.health.database_failed(error);
                Problem::new(
                    Code::NoSpace,
                    "the disk of the data directory is full; nothing was changed",
                )
            }
            StoreError::Closed => Problem::new(Code::Unavailable, "the server is stopping"),
            StoreError::Io(_) | StoreError::Corrupt(_) | StoreError::Locked(_) => {
                self.health.database_failed(error);
                Problem::new(
                    Code::Unavailable,
                    "the database can't be used now; nothing was changed",
                )
            }
            StoreError::JobExists(_) | StoreError::Unreadable(_) | StoreError::Internal(_) => {
                self.health.database_failed(error);
                Problem::new(Code::Internal, "the database gave an unexpected answer")
            }
        }
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
#[derive(Default)]
pub(crate) struct Phases {
    waiting: Mutex<HashMap<JobId, Arc<Notify>>>,
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

    /// The job began, ended, or went back.
    pub(crate) fn touch(&self, job: JobId) {
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

//! Several jobs at once, each on a thread of its own.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use danube_executor::{Control, Stop};
use danube_joblog::JobLogs;
use danube_model::{Attempt, JobId};
use danube_redact::{LiveRules, Secrets};
use danube_signals::Signals;
use danube_telemetry::TraceContext;
use danube_telemetry::otlp::Records;

use crate::attempt::{self, Own};
use crate::calls::Calls;
use crate::dispatch::{Dispatch, Work};
use crate::export::LogExport;
use crate::place::{PlaceSettings, Walls};
use crate::playbooks::{PlaybookSettings, Playbooks};
use crate::report::report_panic;
use crate::token::{JobToken, TokenHash};
use crate::trace::context_of;

/// How often a report that the store can't take is tried again.
pub(crate) const REPORT_RETRY_EVERY: Duration = Duration::from_millis(200);

/// What a worker is told when it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its id: `local-…` inside the master.
    pub id: String,
    /// Jobs at once.
    pub jobs_at_once: usize,
    /// Where jobs run and within which walls.
    pub place: PlaceSettings,
    /// `PATH` of the steps.
    pub path: String,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// The server's address for the jobs' own calls; empty for none.
    pub server: String,
    /// What is taken out of the logs beside the jobs' own values.
    pub rules: LiveRules,
    /// Run jobs even where the kernel allows no isolation.
    pub allow_unisolated: bool,
    /// Where the logs of jobs go beside their files.
    pub job_logs: Option<Records>,
    /// What it has for playbooks.
    pub playbooks: PlaybookSettings,
}

/// Runs jobs. Clones are the same worker.
#[derive(Clone)]
pub struct Worker {
    inner: Arc<Inner>,
}

/// What the threads of the jobs share.
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) walls: Walls,
    pub(crate) dispatch: Arc<dyn Dispatch>,
    pub(crate) logs: JobLogs,
    pub(crate) signals: Signals,
    pub(crate) export: Option<LogExport>,
    pub(crate) playbooks: Playbooks,
    running: Mutex<Running>,
    ended: Condvar,
}

#[derive(Default)]
struct Running {
    jobs: HashMap<JobId, Held>,
    /// Set once by `close`: nothing new is taken.
    draining: bool,
}

/// A job that runs, as seen from outside its thread.
struct Held {
    attempt: Attempt,
    traceparent: String,
    control: Control,
    /// Shared with its thread.
    secrets: Secrets,
    token: TokenHash,
    /// Of a job that has a coordinator.
    coordinated: Option<Coordinated>,
}

/// What a job with a coordinator has beside that.
struct Coordinated {
    calls: Arc<Calls>,
    steps_token: TokenHash,
}

impl Held {
    /// Whether the token is one of the attempt's, and which.
    fn fits(&self, token: &str) -> Option<bool> {
        // Both are compared, so that the time says nothing of which one it was.
        let own = self.token.fits(token);
        let coordinated = self.coordinated.as_ref();
        let steps = coordinated.is_some_and(|it| it.steps_token.fits(token));
        (own || steps).then(|| own && self.coordinated.is_some())
    }
}

/// An attempt that runs, and what is kept of its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldTokens {
    /// Which.
    pub attempt: Attempt,
    /// The hash of its token.
    pub token: [u8; 32],
    /// The same of its called steps, where it has a coordinator.
    pub steps_token: Option<[u8; 32]>,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Jobs that it runs.
    pub jobs: usize,
    /// As many as it may; 0 for one that is none.
    pub jobs_max: usize,
    /// It takes nothing new.
    pub is_closed: bool,
}

/// An attempt that runs, as the bearer of its token.
#[derive(Clone)]
pub struct Bearer {
    /// Which.
    pub attempt: Attempt,
    /// The context that is stored with its job.
    pub context: TraceContext,
    /// What is kept out of all that it says.
    pub secrets: Secrets,
    /// It is the job's coordinator: it may ask for steps and secrets.
    pub is_coordinator: bool,
}

/// The worker takes no job now; the work comes back.
#[derive(Debug)]
pub struct Busy(pub Box<Work>);

/// The worker can't start at all.
#[derive(Debug, thiserror::Error)]
pub enum NoWorker {
    /// The kernel allows no isolation, and the settings insist on it.
    #[error(
        "this machine allows no isolation of jobs: {0}; allow it with `steps.allow_unisolated = true` if every job is trusted"
    )]
    Isolation(String),
    /// Nobody is there who could start a step.
    #[error("start the steps' keeper: {0}")]
    Nursery(io::Error),
    /// The directory for sources can't be made.
    #[error("make the directory for sources of playbooks: {0}")]
    Sources(io::Error),
    /// The system gives no thread.
    #[error("start the thread that follows the logs of jobs: {0}")]
    Thread(io::Error),
}

impl Worker {
    /// A worker that is ready for jobs.
    ///
    /// # Errors
    /// [`NoWorker`] says why there can be none.
    pub fn new(
        settings: Settings,
        dispatch: Arc<dyn Dispatch>,
        logs: JobLogs,
        signals: Signals,
    ) -> Result<Self, NoWorker> {
        let place = settings.place.clone();
        let walls = if settings.jobs_at_once == 0 {
            Walls::unused(place)
        } else {
            let walls = Walls::find(place).map_err(NoWorker::Nursery)?;
            if let Some(missing) = walls.missing().filter(|_| !settings.allow_unisolated) {
                return Err(NoWorker::Isolation(missing));
            }
            walls
        };
        // The rules are known, so each is shown from the start: a rate sees the
        // first strike.
        for rule in settings.rules.get().with_email().ids() {
            signals.log_redactions_total.with([rule]);
        }
        let export = settings.job_logs.clone();
        let export = export.map(|it| LogExport::start(it, logs.clone()));
        let export = export.transpose().map_err(NoWorker::Thread)?;
        let playbooks = Playbooks::open(&settings.playbooks, &settings.path, &signals);
        let playbooks = playbooks.map_err(NoWorker::Sources)?;
        if settings.playbooks.cache.is_some() && settings.jobs_at_once > 0 {
            playbooks.look(&settings.id, &signals);
        }
        let inner = Inner {
            export,
            playbooks,
            settings,
            walls,
            dispatch,
            logs,
            signals,
            running: Mutex::default(),
            ended: Condvar::new(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.settings.id
    }

    /// How many jobs more it takes now.
    #[must_use]
    pub fn free(&self) -> usize {
        let running = self.inner.lock();
        if running.draining {
            0
        } else {
            self.inner
                .settings
                .jobs_at_once
                .saturating_sub(running.jobs.len())
        }
    }

    /// What it does now.
    #[must_use]
    pub fn load(&self) -> Load {
        let running = self.inner.lock();
        Load {
            jobs: running.jobs.len(),
            jobs_max: self.inner.settings.jobs_at_once,
            is_closed: running.draining,
        }
    }

    /// Whether it runs playbooks: it has found an Ansible that it can use.
    #[must_use]
    pub fn runs_playbooks(&self) -> bool {
        self.inner.playbooks.is_ready()
    }

    /// The attempts that run now.
    #[must_use]
    pub fn running(&self) -> Vec<Attempt> {
        self.inner
            .lock()
            .jobs
            .values()
            .map(|held| held.attempt)
            .collect()
    }

    /// The same, each with the hashes of its tokens.
    #[must_use]
    pub fn held(&self) -> Vec<HeldTokens> {
        let running = self.inner.lock();
        let held = running.jobs.values().map(|it| HeldTokens {
            attempt: it.attempt,
            token: it.token.bytes(),
            steps_token: it.coordinated.as_ref().map(|it| it.steps_token.bytes()),
        });
        held.collect()
    }

    /// Where the coordinator of an attempt that runs here is served; none where it has none.
    #[must_use]
    pub fn calls(&self, attempt: Attempt) -> Option<Arc<Calls>> {
        let running = self.inner.lock();
        let held = running.jobs.get(&attempt.job);
        let held = held.filter(|it| it.attempt == attempt)?;
        let coordinated = held.coordinated.as_ref()?;
        Some(Arc::clone(&coordinated.calls))
    }

    /// Runs a job on a thread of its own and returns at once.
    ///
    /// # Errors
    /// [`Busy`] with the work, when there is no room, it drains, or the system
    /// gives no thread.
    pub fn run(&self, work: Work) -> Result<(), Busy> {
        let Ok(control) = Control::new() else {
            return Err(Busy(Box::new(work)));
        };
        let attempt = work.attempt;
        let calls = work.has_coordinator().then(Calls::new).transpose();
        let Ok(calls) = calls.map(|it| it.map(Arc::new)) else {
            return Err(Busy(Box::new(work)));
        };
        let own = Own {
            control,
            secrets: attempt::secrets(&self.inner.settings),
            token: work.token.clone().unwrap_or_else(JobToken::mint),
            calls,
        };
        {
            let mut running = self.inner.lock();
            let room = running.jobs.len() < self.inner.settings.jobs_at_once;
            if running.draining || !room || running.jobs.contains_key(&attempt.job) {
                return Err(Busy(Box::new(work)));
            }
            let held = Held {
                attempt,
                traceparent: work.traceparent.clone(),
                control: own.control.clone(),
                secrets: own.secrets.clone(),
                token: own.token.hash(),
                coordinated: own.calls.as_ref().map(|calls| Coordinated {
                    calls: Arc::clone(calls),
                    steps_token: own.token.of_steps().hash(),
                }),
            };
            running.jobs.insert(attempt.job, held);
        }
        let inner = Arc::clone(&self.inner);
        let kept = work.clone();
        let thread = thread::Builder::new().name(format!("job-{}", attempt.job.short()));
        let spawned = thread.spawn(move || {
            let _leaves = Leaves {
                inner: &inner,
                job: attempt.job,
            };
            let job = work.attempt;
            let run = AssertUnwindSafe(|| attempt::run(&inner, &work, &own));
            if catch_unwind(run).is_err() {
                // A defect of ours: the job must not stay running for ever.
                report_panic(inner.dispatch.as_ref(), job);
            }
        });
        if spawned.is_err() {
            self.inner.leave(attempt.job);
            return Err(Busy(Box::new(kept)));
        }
        Ok(())
    }

    /// Stops a job; `false` when it doesn't run here under this fence.
    #[must_use]
    pub fn stop(&self, attempt: Attempt, stop: Stop) -> bool {
        let running = self.inner.lock();
        match running.jobs.get(&attempt.job) {
            Some(held) if held.attempt.fence == attempt.fence => {
                held.control.cancel(stop);
                true
            }
            _ => false,
        }
    }

    /// Stops a job whatever its fence, for a cancel.
    #[must_use]
    pub fn cancel(&self, job: JobId) -> bool {
        let attempt = self.inner.lock().jobs.get(&job).map(|held| held.attempt);
        attempt.is_some_and(|attempt| self.stop(attempt, Stop::Cancel))
    }

    /// What the job's log keeps out, while it runs here: values registered
    /// there count from now on.
    #[must_use]
    pub fn secrets(&self, job: JobId) -> Option<Secrets> {
        let running = self.inner.lock();
        running.jobs.get(&job).map(|held| held.secrets.clone())
    }

    /// Whether this is the token of the job's attempt that runs here now.
    #[must_use]
    pub fn knows(&self, job: JobId, token: &str) -> bool {
        let running = self.inner.lock();
        let held = running.jobs.get(&job);
        held.is_some_and(|it| it.fits(token).is_some())
    }

    /// Whose token this is, of the attempts that run here now.
    #[must_use]
    pub fn bearer(&self, token: &str) -> Option<Bearer> {
        let running = self.inner.lock();
        // All are compared, so that the time says nothing of which one it was.
        let mut found = None;
        for held in running.jobs.values() {
            if let Some(is_coordinator) = held.fits(token) {
                found = Some((held, is_coordinator));
            }
        }
        found.map(|(held, is_coordinator)| Bearer {
            attempt: held.attempt,
            context: context_of(&held.traceparent),
            secrets: held.secrets.clone(),
            is_coordinator,
        })
    }

    /// Takes nothing new from now on.
    pub fn close(&self) {
        self.inner.lock().draining = true;
    }

    /// Waits until every job has ended; `false` when `until` comes first.
    #[must_use]
    pub fn wait_idle(&self, until: Instant) -> bool {
        let mut running = self.inner.lock();
        while !running.jobs.is_empty() {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                return false;
            };
            let waited = self.inner.ended.wait_timeout(running, left);
            running = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Removes what the worker made for itself outside its directories. Call it
    /// when it is closed and idle.
    pub fn clean_up(&self) {
        if let Some(export) = &self.inner.export {
            export.finish();
        }
        if let Some(cgroup) = self.inner.walls.cgroup() {
            // With a step still in it, it stays for the next start to clear.
            let _ = cgroup.remove();
        }
    }

    /// Tells every running job to stop and go back to the queue.
    pub fn hand_back_all(&self) {
        for held in self.inner.lock().jobs.values() {
            held.control.cancel(Stop::Drain);
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Running> {
        // The map is whole after every line that changes it.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, job: JobId) {
        self.lock().jobs.remove(&job);
        self.ended.notify_all();
    }
}

/// Makes room again however the job's thread ends.
struct Leaves<'a> {
    inner: &'a Inner,
    job: JobId,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.inner.leave(self.job);
        self.inner.dispatch.freed();
    }
}

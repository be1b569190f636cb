//! Workers on other machines, as the master sees them: who waits for a job, who runs
//! which, and what they are still to be told.
//!
//! All of it lives in memory. What must survive is in the store (who holds which job
//! under which fence); after a restart each worker's next heartbeat, or the next piece
//! of a log, brings back the rest (`adopt`), and jobs whose worker doesn't come within
//! a lease go to others.

mod calls;
mod job_log;
mod offers;
mod reports;
mod secrets;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use danube_joblog::JobLogs;
use danube_model::{Attempt, JobId};
use danube_redact::{LiveRules, Secrets};
use danube_store::{LeaseState, StoreError};
use danube_telemetry::TraceContext;
use danube_worker::trace::context_of;
use danube_worker::{TokenHash, Traced};
use tokio::sync::Notify;

use crate::dispatch::LocalDispatch;
use crate::schedule::{Leases, Of};
use calls::Calls;
use job_log::JobLog;
use offers::Offer;
pub(crate) use offers::{AskedFor, Offered, Waiting, Wants};
pub(crate) use reports::Unreported;

/// How ids of workers in a master begin; no worker elsewhere has such a name.
pub(crate) const LOCAL_PREFIX: &str = "local-";

/// Whether leases of this worker survive the master's end.
pub(crate) fn is_elsewhere(worker: &str) -> bool {
    !worker.starts_with(LOCAL_PREFIX)
}

/// One process of a worker: a token may be used again after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// The worker's name.
    pub(crate) worker: String,
    /// Which of its processes.
    pub(crate) instance: String,
}

/// The workers on other machines.
pub(crate) struct Remote {
    state: Mutex<State>,
    pub(crate) dispatch: LocalDispatch,
    logs: JobLogs,
    rules: LiveRules,
    /// Rings when somebody is to be told something, and when somebody has done it.
    news: Notify,
    lease: Duration,
    /// Tells this start of the master from others.
    epoch: String,
}

/// How long a worker that fell silent is missed. Then it counts as taken away; the alert on
/// missing workers goes on.
const MISSED_FOR: Duration = Duration::from_secs(3_600);

/// A worker that should have been heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silent {
    /// Its name.
    pub(crate) worker: String,
    /// How long it has been silent.
    pub(crate) silent_for: Duration,
}

#[derive(Default)]
struct State {
    offers: Vec<Offer>,
    offers_made: u64,
    held: HashMap<JobId, Held>,
    /// When each process was last heard of.
    heard: HashMap<Peer, Instant>,
    closed: bool,
}

/// A job that runs elsewhere.
struct Held {
    attempt: Attempt,
    peer: Peer,
    /// Its worker has said that it has the job.
    is_confirmed: bool,
    token: Option<TokenHash>,
    /// Of a job that has a coordinator: what its called steps show.
    steps_token: Option<TokenHash>,
    /// What its coordinator asks for.
    calls: Calls,
    context: TraceContext,
    secrets: Secrets,
    cancel: bool,
    /// Values that came late, in order.
    masks: Vec<String>,
    /// How many of them its worker keeps out by now.
    masked: usize,
    log: Arc<JobLog>,
}

/// What a worker is to be told of a job.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) attempt: Attempt,
    pub(crate) cancel: bool,
    pub(crate) lost: bool,
    pub(crate) masks: Vec<String>,
    pub(crate) masks_from: usize,
}

/// What a worker says of a job that it runs.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) attempt: Attempt,
    pub(crate) token: Option<[u8; 32]>,
    pub(crate) steps_token: Option<[u8; 32]>,
    pub(crate) masked: usize,
    pub(crate) stopping: bool,
}

impl Remote {
    pub(crate) fn new(
        dispatch: LocalDispatch,
        logs: JobLogs,
        (rules, lease): (LiveRules, Duration),
    ) -> Self {
        Self {
            state: Mutex::default(),
            dispatch,
            logs,
            rules,
            news: Notify::new(),
            lease,
            epoch: format!("{:016x}", u64::from_be_bytes(crate::auth::random::<8>())),
        }
    }

    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// Rings when a worker may have something to be told, or has been told.
    pub(crate) fn news(&self) -> &Notify {
        &self.news
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.dispatch.leases
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every line that changes it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was given to this process and never reached it: it doesn't run it.
    pub(crate) fn undelivered(&self, peer: &Peer, running: &[Attempt]) -> Vec<Attempt> {
        let state = self.lock();
        let held = state.held.values();
        held.filter(|it| it.peer == *peer && !it.is_confirmed && !running.contains(&it.attempt))
            .map(|it| it.attempt)
            .collect()
    }

    /// Takes note of what a process says that it runs, renews its leases, and answers
    /// with what it must be told. May read the store.
    pub(crate) fn heard(&self, peer: &Peer, said: &[Said]) -> Result<Vec<Told>, StoreError> {
        let mut told = Vec::new();
        for said in said {
            if !self.is_known(peer, said)? && !said.stopping {
                told.push(Told {
                    attempt: said.attempt,
                    cancel: false,
                    lost: true,
                    masks: Vec::new(),
                    masks_from: 0,
                });
            }
        }
        let now = Instant::now();
        let attempts: Vec<Attempt> = said.iter().map(|it| it.attempt).collect();
        self.leases().renew(&attempts, now);
        {
            let mut state = self.lock();
            let missed = MISSED_FOR.max(2 * self.lease);
            state.heard.retain(|_, at| *at + missed > now);
            state.heard.insert(peer.clone(), now);
        }
        told.extend(self.wishes(peer, said));
        Ok(told)
    }

    /// What the process must be told of the jobs that it says it runs.
    pub(crate) fn wishes(&self, peer: &Peer, said: &[Said]) -> Vec<Told> {
        let mut told = Vec::new();
        let attempts: Vec<Attempt> = said.iter().map(|it| it.attempt).collect();
        let state = self.lock();
        let stopping = |attempt| said.iter().any(|it| it.attempt == attempt && it.stopping);
        for held in state.held.values().filter(|it| it.peer == *peer) {
            let is_said = attempts.contains(&held.attempt);
            let cancel = held.cancel && is_said && !stopping(held.attempt);
            let masks = &held.masks[held.masked.min(held.masks.len())..];
            if cancel || (is_said && !masks.is_empty()) {
                told.push(Told {
                    attempt: held.attempt,
                    cancel,
                    lost: false,
                    masks: masks.to_vec(),
                    masks_from: held.masked,
                });
            }
        }
        told
    }

    /// Whether the process holds the job that it says it runs.
    fn is_known(&self, peer: &Peer, said: &Said) -> Result<bool, StoreError> {
        if !self.holds(peer, said.attempt)? {
            return Ok(false);
        }
        let mut state = self.lock();
        let Some(held) = state.held.get_mut(&said.attempt.job) else {
            return Ok(false);
        };
        held.is_confirmed = true;
        // A worker runs one process at a time with a job.
        held.peer = peer.clone();
        if let Some(token) = said.token {
            held.token = Some(TokenHash::from_bytes(token));
            held.steps_token = said.steps_token.map(TokenHash::from_bytes);
        }
        let is_news = held.masked != said.masked;
        held.masked = said.masked.min(held.masks.len());
        drop(state);
        if is_news {
            self.news.notify_waiters();
        }
        Ok(true)
    }

    /// Whether the worker holds the attempt. One that only the store knows of, after a
    /// restart, is taken over.
    pub(crate) fn holds(&self, peer: &Peer, attempt: Attempt) -> Result<bool, StoreError> {
        if let Some(held) = self.lock().held.get(&attempt.job) {
            if held.attempt.fence == attempt.fence {
                return Ok(held.peer.worker == peer.worker);
            }
            if held.attempt.fence > attempt.fence {
                return Ok(false);
            }
        }
        self.adopt(peer, attempt)
    }

    fn adopt(&self, peer: &Peer, attempt: Attempt) -> Result<bool, StoreError> {
        let store = &self.dispatch.store;
        let LeaseState::Held { cancel_asked } = store.check(attempt)? else {
            return Ok(false);
        };
        let Some(trace) = store.job_trace(attempt.job)? else {
            return Ok(false);
        };
        let is_its = trace.job.worker_id.as_deref() == Some(&peer.worker);
        if !is_its || trace.job.attempt != attempt.number {
            return Ok(false);
        }
        let secrets = Secrets::new(self.rules.get());
        for mask in &trace.masks {
            let _ = secrets.register_short(mask.as_bytes());
        }
        let of = Of {
            worker: &peer.worker,
            queue: &trace.job.queue,
            team: &trace.team,
            pipeline: &trace.job.pipeline,
        };
        self.leases().adopt(attempt, of, Instant::now());
        let mut state = self.lock();
        state.held.entry(attempt.job).or_insert_with(|| Held {
            attempt,
            peer: peer.clone(),
            is_confirmed: true,
            token: None,
            steps_token: None,
            calls: Calls::default(),
            context: context_of(&trace.job.traceparent),
            secrets,
            cancel: cancel_asked,
            // Whatever came late may not have reached the worker before the restart.
            masks: trace.masks,
            masked: 0,
            log: Arc::new(JobLog::new(attempt)),
        });
        Ok(true)
    }

    /// Asks the worker that runs the job to stop it; `false` when none does.
    pub(crate) fn cancel(&self, job: JobId) -> bool {
        let is_here = match self.lock().held.get_mut(&job) {
            Some(held) => {
                held.cancel = true;
                true
            }
            None => false,
        };
        self.news.notify_waiters();
        is_here
    }

    /// The attempt is over or somebody else's: nothing more of it is taken.
    pub(crate) fn end(&self, attempt: Attempt) {
        let held = {
            let mut state = self.lock();
            let is_it = state.held.get(&attempt.job).map(|it| it.attempt.fence);
            is_it
                .filter(|fence| *fence == attempt.fence)
                .and_then(|_| state.held.remove(&attempt.job))
        };
        if let Some(held) = held {
            held.log.end();
        }
        self.news.notify_waiters();
    }

    /// Whether these are spans of the job's own trace.
    fn is_in_trace(&self, traced: &Traced) -> bool {
        let state = self.lock();
        let held = state.held.get(&traced.attempt.job);
        held.is_some_and(|it| {
            let trace_id = it.context.trace_id;
            traced.spans.iter().all(|span| span.trace_id == trace_id)
        })
    }

    /// Whether a worker elsewhere runs the job.
    pub(crate) fn runs(&self, job: JobId) -> bool {
        self.lock().held.contains_key(&job)
    }

    /// The workers that were heard of within their lease or wait for a job, each with
    /// the jobs that it runs.
    pub(crate) fn connected(&self) -> HashMap<String, usize> {
        let now = Instant::now();
        let state = self.lock();
        let heard = state.heard.iter().filter(|it| *it.1 + self.lease > now);
        let waiting = state.offers.iter().map(|it| &it.peer);
        let mut workers: HashMap<String, usize> = heard
            .map(|it| it.0)
            .chain(waiting)
            .map(|it| (it.worker.clone(), 0))
            .collect();
        for held in state.held.values() {
            if let Some(jobs) = workers.get_mut(&held.peer.worker) {
                *jobs += 1;
            }
        }
        workers
    }

    /// A process of a worker ends: nobody misses it.
    pub(crate) fn left(&self, peer: &Peer) {
        self.lock().heard.remove(peer);
    }

    /// Workers that weren't heard of for longer than a lease and didn't say that they leave,
    /// the one silent for the longest first.
    pub(crate) fn silent(&self) -> Vec<Silent> {
        let now = Instant::now();
        let mut last: HashMap<&str, Instant> = HashMap::new();
        let state = self.lock();
        // Of a worker that was started again, the newest process counts.
        for (peer, at) in &state.heard {
            let known = last.entry(&peer.worker).or_insert(*at);
            *known = (*known).max(*at);
        }
        let mut silent: Vec<Silent> = last
            .into_iter()
            .map(|(worker, at)| Silent {
                worker: worker.to_owned(),
                silent_for: now.saturating_duration_since(at),
            })
            .filter(|it| it.silent_for > self.lease && it.silent_for < MISSED_FOR)
            .collect();
        silent.sort_by(|a, b| (b.silent_for, &a.worker).cmp(&(a.silent_for, &b.worker)));
        silent
    }

    /// Leases that silent workers hold.
    pub(crate) fn held_by_silent(&self) -> usize {
        let silent = self.silent();
        let leases = self.leases().all();
        let is_silent = |worker: &str| silent.iter().any(|it| it.worker == worker);
        leases.iter().filter(|it| is_silent(&it.worker)).count()
    }

    /// Nothing new is given out, and nobody waits any more.
    pub(crate) fn close(&self) {
        {
            let mut state = self.lock();
            state.closed = true;
            state.offers.clear();
        }
        self.news.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn log_of(&self, attempt: Attempt) -> Option<Arc<JobLog>> {
        let state = self.lock();
        let held = state.held.get(&attempt.job);
        held.filter(|it| it.attempt.fence == attempt.fence)
            .map(|it| Arc::clone(&it.log))
    }
}

//! The loop that applies what `decide` decides. One thread, no decisions.

mod decide;
mod leases;
mod rescue;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use danube_executor::Stop;
use danube_model::{FailReason, JobId, Queues};
use danube_signals::{Signals, SystemError};
use danube_store::{Assignment, Claimed, LeaseState, Leased, Store, StoreError, Waiting};
use danube_telemetry::tasks;
use danube_telemetry::watchdog::Heartbeat;
use danube_worker::{Work, Worker};

use crate::bell::Bell;
use crate::feed::Desk;
use crate::health::{Beat, Health};
use crate::remote::{AskedFor, Remote};
use crate::runs::Runs;
use crate::tell::{self, Why};
use decide::{ASSIGN_MAX, Action, Asked, Idle, QueueView, To, decide, next_look};
pub(crate) use decide::{Lease, Rooms, Turns};
pub(crate) use leases::{Leases, Of};
pub(crate) use rescue::{Rescue, after_restart};

/// How long to wait after the store refused, before it is asked again.
const STORE_RETRY_EVERY: Duration = Duration::from_millis(250);

/// How long to wait after the worker took nothing: it may be out of threads or
/// descriptors, and each try costs two commits.
const WORKER_RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often a full disk is looked at again: with the health checks.
const SPACE_RETRY_EVERY: Duration = Duration::from_secs(2);

/// What the scheduler works on.
pub(crate) struct Scheduler {
    pub(crate) store: Store,
    pub(crate) worker: Worker,
    pub(crate) remote: Arc<Remote>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) rescue: Rescue,
    pub(crate) runs: Arc<Runs>,
    pub(crate) signals: Signals,
    pub(crate) health: Arc<Health>,
    /// Beats with every look; health listens.
    pub(crate) beat: Arc<Beat>,
    /// Beats once a second at least; the watchdog listens.
    pub(crate) heartbeat: Arc<Heartbeat>,
    pub(crate) lease: Duration,
    pub(crate) queues: Arc<Queues>,
    pub(crate) feed: Arc<Desk>,
    /// Which teams had their turn. Only this thread uses it.
    pub(crate) turns: Mutex<Turns>,
    /// The store may know of leases that aren't in `leases`.
    pub(crate) is_in_doubt: AtomicBool,
}

impl Scheduler {
    /// Starts the loop on a thread of its own.
    pub(crate) fn start(self) -> std::io::Result<JoinHandle<()>> {
        thread::Builder::new()
            .name("scheduler".to_owned())
            .spawn(move || {
                // Health hears of the end, a panic included.
                let _end = Ends(Arc::clone(&self.beat));
                self.run();
                self.heartbeat.resign();
            })
    }

    fn run(&self) {
        let heartbeat = self.lease / 3;
        let mut until = Some(Instant::now());
        let alive = || self.heartbeat.beat();
        let task = tasks::thread("scheduler");
        while self.bell.wait_alive(until, alive) {
            task.beat();
            let late = until.map_or(Duration::ZERO, |it| it.elapsed());
            if late > heartbeat {
                // Not the workers slept, but this process.
                self.leases.forgive(late);
            }
            self.beat.beat();
            alive();
            self.leases.renew(&self.worker.running(), Instant::now());
            let round = self.round();
            let now = Instant::now();
            let (next, pause) = match round {
                Ok(Round::MoreToDo) => (Some(now), None),
                // With nothing leased there is nothing to watch: an idle master
                // sleeps until somebody rings.
                Ok(Round::Done) => (self.next_look(now), None),
                // Nobody rings when there is room again.
                Ok(Round::NoSpace) => {
                    let retry = now + SPACE_RETRY_EVERY;
                    (
                        Some(self.next_look(now).map_or(retry, |it| it.min(retry))),
                        None,
                    )
                }
                // The commits of the way back ring themselves: only a rest that
                // nobody ends keeps this from going round at full speed.
                Ok(Round::Refused) => (Some(now), Some(WORKER_RETRY_AFTER)),
                Err(error) => {
                    self.signals.system_error(SystemError::SchedulerDatabase);
                    self.health.database_failed(&error);
                    (Some(now), Some(STORE_RETRY_EVERY))
                }
            };
            if pause.is_some_and(|pause| !self.bell.rest_alive(now + pause, alive)) {
                return;
            }
            until = next.map(|it| pause.map_or(it, |pause| it + pause));
            task.rest();
        }
    }

    /// Reads from the store. The disk may take its time for that.
    fn read<T>(&self, read: impl FnOnce(&Store) -> T) -> T {
        let _away = self.heartbeat.away();
        read(&self.store)
    }

    fn next_look(&self, now: Instant) -> Option<Instant> {
        next_look(&self.leases.all(), self.lease, self.lease / 3, now)
    }

    /// One look and what follows from it.
    fn round(&self) -> Result<Round, StoreError> {
        if self.is_in_doubt.load(Ordering::Relaxed) {
            self.find_lost_leases()?;
            self.is_in_doubt.store(false, Ordering::Relaxed);
        }
        // What goes wrong below leaves leases that only the store knows of.
        let round = self.apply();
        if round.is_err() {
            self.is_in_doubt.store(true, Ordering::Relaxed);
        }
        round
    }

    fn apply(&self) -> Result<Round, StoreError> {
        // On a full disk a job couldn't even open its log: better it waits.
        let is_full = self.store.is_out_of_space();
        let (idle, asked) = if is_full {
            (Vec::new(), Vec::new())
        } else {
            (self.idle(), self.remote.asked())
        };
        let waiting = self.waiting(&idle)?;
        let of = self.waiting_of(&asked)?;
        // Only now: a read that hung must not make live jobs look silent.
        let now = Instant::now();
        self.leases.renew(&self.worker.running(), now);
        let view = QueueView {
            waiting,
            idle,
            asked: asked.iter().map(|it| wanted(it, &of)).collect(),
            leases: self.leases.all(),
            turns: self.turns(),
        };
        let (mut assignments, mut rescued) = (Vec::new(), false);
        // Which job goes to whoever asked for it.
        let mut asks: HashMap<JobId, u64> = HashMap::new();
        for action in decide(&view, &self.queues, (now, self.lease)) {
            match action {
                Action::Rescue(attempt) => {
                    self.rescue.silent(attempt)?;
                    rescued = true;
                }
                Action::Assign { job, to } => {
                    let worker = match to {
                        To::Worker(worker) => worker,
                        To::Offer(offer) => {
                            asks.insert(job, offer);
                            let who = asked.iter().find(|it| it.offer == offer);
                            who.map(|it| it.worker.clone()).unwrap_or_default()
                        }
                    };
                    assignments.push(Assignment { job, worker });
                }
                Action::Refuse { offer, job } => self.refuse(offer, job),
            }
        }
        self.note_turns(&view, &assignments);
        if assignments.is_empty() {
            // A rescued job waits now, and was not in the view above.
            return Ok(match (rescued, is_full) {
                (true, false) => Round::MoreToDo,
                (_, true) => Round::NoSpace,
                (false, false) => Round::Done,
            });
        }
        let claims = self.store.claim(assignments);
        let claims = claims.wait_alive(|| self.heartbeat.beat())?;
        for job in &claims.failed {
            let why = Why {
                failed: Some(FailReason::SetupFailed),
                ..Why::default()
            };
            tell::moved(&self.signals, job, why);
            self.rescue.traces.ended_unclaimed(job.id);
            self.rescue.phases.touch(job.id);
        }
        // What somebody asked for and the store didn't give: it waits no more.
        let is_claimed = |job: &JobId| claims.claimed.iter().any(|it| it.attempt.job == *job);
        for (job, offer) in asks.iter().filter(|it| !is_claimed(it.0)) {
            self.refuse(*offer, *job);
        }
        self.hand_over_all(claims.claimed, &asks)
    }

    /// The worker that asked doesn't get the job, and forgets it.
    fn refuse(&self, offer: u64, job: JobId) {
        self.feed.refused(job);
        self.remote.refuse(offer);
    }

    /// The workers with room, the one in this process first.
    fn idle(&self) -> Vec<Idle> {
        let here = Idle {
            worker: self.worker.id().to_owned(),
            free: self.worker.free(),
            queues: None,
        };
        let elsewhere = self.remote.idle().into_iter().map(|it| Idle {
            worker: it.worker,
            free: it.free,
            queues: it.queues,
        });
        std::iter::once(here).chain(elsewhere).collect()
    }

    /// The jobs that may begin now, the oldest first: of each lane as many as there is room
    /// for.
    fn waiting(&self, idle: &[Idle]) -> Result<Vec<Waiting>, StoreError> {
        if idle.iter().all(|it| it.free == 0) {
            return Ok(Vec::new());
        }
        let leases = self.leases.all();
        let rooms = Rooms::new(&self.queues, &leases);
        let mut waiting = Vec::new();
        for name in self.read(Store::pending_queues)? {
            let queue = self.queues.of(&name);
            let takers = idle.iter().filter(|it| it.takes(&queue.name));
            let free: usize = takers.map(|it| it.free).sum();
            let limit = free.min(rooms.of(&name)).min(ASSIGN_MAX);
            if limit == 0 {
                continue;
            }
            for (lane, concurrency) in self.read(|it| it.lanes(&name))? {
                let limit = limit.min(rooms.of_pipeline(&lane.pipeline, concurrency));
                if limit > 0 {
                    waiting.extend(self.read(|it| it.waiting(&lane, 0, limit))?);
                }
            }
        }
        waiting.sort_by_key(|it| it.seq);
        Ok(waiting)
    }

    fn turns(&self) -> Turns {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.clone()
    }

    /// Who was given a place had its turn.
    fn note_turns(&self, view: &QueueView, assignments: &[Assignment]) {
        let asked = view.asked.iter().filter_map(|it| it.waiting.as_ref());
        let waiting = asked.chain(&view.waiting);
        let teams: HashMap<JobId, &str> =
            waiting.map(|it| (it.job, it.lane.team.as_str())).collect();
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        for it in assignments {
            turns.take(teams.get(&it.job).copied().unwrap_or_default());
        }
    }

    /// The jobs that somebody asked for, as far as they wait.
    fn waiting_of(&self, asked: &[AskedFor]) -> Result<HashMap<JobId, Waiting>, StoreError> {
        if asked.is_empty() {
            return Ok(HashMap::new());
        }
        let jobs: Vec<JobId> = asked.iter().map(|it| it.job).collect();
        let pending = self.read(|it| it.pending_of(&jobs))?;
        Ok(pending.into_iter().map(|it| (it.job, it)).collect())
    }

    /// Gives claimed jobs to the workers. From the first that the one in this process
    /// doesn't take on, the rest goes back, and so does what nobody elsewhere waits
    /// for any more: each was claimed, so each must come to somebody.
    fn hand_over_all(
        &self,
        claimed: Vec<Claimed>,
        asks: &HashMap<JobId, u64>,
    ) -> Result<Round, StoreError> {
        let (mut refused, mut failed) = (false, None);
        for claimed in claimed {
            let attempt = claimed.attempt;
            let of = Of {
                worker: &claimed.worker,
                queue: &claimed.job.queue,
                team: &claimed.team,
                pipeline: &claimed.job.pipeline,
            };
            self.leases.begin(attempt, of, Instant::now());
            let is_here = claimed.worker == self.worker.id();
            if !(is_here && refused) && self.hand_over(claimed, asks) {
                continue;
            }
            if is_here && !refused && !self.worker.load().is_closed {
                self.signals.system_error(SystemError::WorkerRefused);
            }
            refused |= is_here;
            let back = self
                .store
                .hand_back(attempt, "the worker had no room", false);
            match back.wait_alive(|| self.heartbeat.beat()) {
                Ok(job) => {
                    self.leases.end(attempt);
                    tell::moved(&self.signals, &job, Why::default());
                    self.rescue.phases.touch(attempt.job);
                }
                // Its lease is in the list and lapses.
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None if refused => Ok(Round::Refused),
            None if self.idle().iter().any(|it| it.free > 0) => Ok(Round::MoreToDo),
            None => Ok(Round::Done),
        }
    }

    /// Gives one job to the worker; `false` when it took none.
    fn hand_over(&self, claimed: Claimed, asks: &HashMap<JobId, u64>) -> bool {
        let attempt = claimed.attempt;
        self.runs.claimed(&claimed);
        let (worker, queue) = (claimed.worker, claimed.job.queue);
        let work = Work {
            attempt,
            order: claimed.order,
            traceparent: claimed.job.traceparent,
            queued_at: claimed.queued_at,
            log_base: 0,
            token: None,
        };
        // No thread, no descriptor, or it drains: nothing was run.
        let is_taken = match asks.get(&attempt.job) {
            _ if worker == self.worker.id() => self.worker.run(work).is_ok(),
            // A wait may have ended since.
            Some(offer) => self.remote.give_asked(*offer, work),
            None => {
                let queue = &self.queues.of(&queue).name;
                self.remote.give(&worker, queue, work)
            }
        };
        if !is_taken {
            return false;
        }
        // Asked for after the claim and before the job stood in the worker's
        // list, where the one who asked couldn't find it.
        match self.read(|it| it.check(attempt)) {
            Ok(LeaseState::Held { cancel_asked: true }) => {
                let _ = self.worker.stop(attempt, Stop::Cancel) || self.remote.cancel(attempt.job);
            }
            Ok(_) => {}
            // Asked again with all the others.
            Err(_) => self.is_in_doubt.store(true, Ordering::Relaxed),
        }
        true
    }

    /// Takes over leases of which only the store knows: of a claim whose answer
    /// was lost, or of a rescue that was refused. Nobody renews them, so they
    /// lapse; a cancel that was asked for meanwhile reaches its job.
    fn find_lost_leases(&self) -> Result<(), StoreError> {
        let now = Instant::now();
        for Leased {
            attempt,
            worker,
            queue,
            team,
            pipeline,
            cancel_asked,
            ..
        } in self.read(Store::leased)?
        {
            let of = Of {
                worker: &worker,
                queue: &queue,
                team: &team,
                pipeline: &pipeline,
            };
            self.leases.adopt(attempt, of, now);
            if cancel_asked {
                let _ = self.worker.stop(attempt, Stop::Cancel) || self.remote.cancel(attempt.job);
            }
        }
        self.leases.adopted();
        Ok(())
    }
}

fn wanted(asked: &AskedFor, of: &HashMap<JobId, Waiting>) -> Asked {
    Asked {
        offer: asked.offer,
        job: asked.job,
        waiting: of.get(&asked.job).cloned(),
    }
}

struct Ends(Arc<Beat>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// How a round went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Nothing is left to do now.
    Done,
    /// Look again at once.
    MoreToDo,
    /// The worker took nothing although it had room.
    Refused,
    /// The disk is full; jobs may wait.
    NoSpace,
}

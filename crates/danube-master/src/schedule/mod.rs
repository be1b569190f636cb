//! The loop that applies what `decide` decides. One thread, no decisions.

mod decide;
mod leases;
mod rescue;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use danube_executor::Stop;
use danube_model::FailReason;
use danube_signals::{Signals, SystemError};
use danube_store::{Assignment, Claimed, LeaseState, Leased, Store, StoreError};
use danube_worker::{Work, Worker};

use crate::health::{Beat, Health};
use crate::remote::Remote;
use crate::runs::Runs;
use crate::tell::{self, Why};
use decide::{Action, Idle, QueueView, decide, next_look};
pub(crate) use leases::Leases;
pub(crate) use rescue::{Rescue, after_restart};

/// How long to wait after the store refused, before it is asked again.
const STORE_RETRY_EVERY: Duration = Duration::from_millis(250);

/// How long to wait after the worker took nothing: it may be out of threads or
/// descriptors, and each try costs two commits.
const WORKER_RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often a full disk is looked at again: with the health checks.
const SPACE_RETRY_EVERY: Duration = Duration::from_secs(2);

/// Jobs that one round gives out at most: a bound on one transaction.
const ASSIGN_MAX: usize = 256;

/// Wakes the scheduler: something waits, a worker has room, or it is time to
/// stop. Calls before it looks are one.
#[derive(Default)]
pub(crate) struct Bell {
    state: Mutex<BellState>,
    rung: Condvar,
}

#[derive(Default)]
struct BellState {
    rung: bool,
    closed: bool,
}

impl Bell {
    /// There may be something to do.
    pub(crate) fn ring(&self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .rung = true;
        self.rung.notify_one();
    }

    /// There will be nothing to do any more.
    pub(crate) fn close(&self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .closed = true;
        self.rung.notify_one();
    }

    /// Waits for `until`, whoever rings meanwhile; `false` when closed. A ring is
    /// kept for the next wait.
    fn rest(&self, until: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.closed {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                break;
            };
            let waited = self.rung.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.closed
    }

    /// Waits for a ring or for `until`; `false` when closed.
    fn wait(&self, until: Option<Instant>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.rung && !state.closed {
            state = match until {
                None => self
                    .rung
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let Some(left) = until.checked_duration_since(Instant::now()) else {
                        break;
                    };
                    self.rung
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        state.rung = false;
        !state.closed
    }
}

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
    pub(crate) lease: Duration,
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
            })
    }

    fn run(&self) {
        let heartbeat = self.lease / 3;
        let mut until = Some(Instant::now());
        while self.bell.wait(until) {
            let late = until.map_or(Duration::ZERO, |it| it.elapsed());
            if late > heartbeat {
                // Not the workers slept, but this process.
                self.leases.forgive(late);
            }
            self.beat.beat();
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
            if pause.is_some_and(|pause| !self.bell.rest(now + pause)) {
                return;
            }
            until = next.map(|it| pause.map_or(it, |pause| it + pause));
        }
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
        let idle = self.idle();
        let free = if is_full {
            0
        } else {
            idle.iter().map(|it| it.free).sum::<usize>().min(ASSIGN_MAX)
        };
        let waiting = if free == 0 {
            Vec::new()
        } else {
            self.store.waiting(free)?
        };
        // Only now: a read that hung must not make live jobs look silent.
        let now = Instant::now();
        self.leases.renew(&self.worker.running(), now);
        let view = QueueView {
            waiting: waiting.into_iter().map(|it| it.job).collect(),
            idle,
            leases: self.leases.all(),
        };
        let (mut assignments, mut rescued) = (Vec::new(), false);
        for action in decide(&view, now, self.lease) {
            match action {
                Action::Rescue(attempt) => {
                    self.rescue.silent(attempt)?;
                    rescued = true;
                }
                Action::Assign { job, worker } => assignments.push(Assignment { job, worker }),
            }
        }
        if assignments.is_empty() {
            // A rescued job waits now, and was not in the view above.
            return Ok(match (rescued, is_full) {
                (true, false) => Round::MoreToDo,
                (_, true) => Round::NoSpace,
                (false, false) => Round::Done,
            });
        }
        let claims = self.store.claim(assignments).wait()?;
        for job in &claims.failed {
            let why = Why {
                failed: Some(FailReason::SetupFailed),
                ..Why::default()
            };
            tell::moved(&self.signals, job, why);
            self.rescue.traces.ended_unclaimed(job.id);
            self.rescue.phases.touch(job.id);
        }
        self.hand_over_all(claims.claimed)
    }

    /// The workers with room, the one in this process first.
    fn idle(&self) -> Vec<Idle> {
        let here = (self.worker.id().to_owned(), self.worker.free());
        let all = std::iter::once(here).chain(self.remote.idle());
        all.map(|(worker, free)| Idle { worker, free }).collect()
    }

    /// Gives claimed jobs to the workers. From the first that the one in this process
    /// doesn't take on, the rest goes back, and so does what nobody elsewhere waits
    /// for any more: each was claimed, so each must come to somebody.
    fn hand_over_all(&self, claimed: Vec<Claimed>) -> Result<Round, StoreError> {
        let (mut refused, mut failed) = (false, None);
        for claimed in claimed {
            let attempt = claimed.attempt;
            self.leases.begin(attempt, &claimed.worker, Instant::now());
            let is_here = claimed.worker == self.worker.id();
            if !(is_here && refused) && self.hand_over(claimed) {
                continue;
            }
            if is_here && !refused && !self.worker.load().is_closed {
                self.signals.system_error(SystemError::WorkerRefused);
            }
            refused |= is_here;
            match self
                .store
                .hand_back(attempt, "the worker had no room", false)
                .wait()
            {
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
    fn hand_over(&self, claimed: Claimed) -> bool {
        let attempt = claimed.attempt;
        self.runs.claimed(&claimed);
        let worker = claimed.worker;
        let work = Work {
            attempt,
            order: claimed.order,
            traceparent: claimed.job.traceparent,
            queued_at: claimed.queued_at,
            log_base: 0,
            token: None,
        };
        // No thread, no descriptor, or it drains: nothing was run.
        let is_taken = if worker == self.worker.id() {
            self.worker.run(work).is_ok()
        } else {
            // Its poll may have ended since.
            self.remote.give(&worker, work)
        };
        if !is_taken {
            return false;
        }
        // Asked for after the claim and before the job stood in the worker's
        // list, where the one who asked couldn't find it.
        match self.store.check(attempt) {
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
            cancel_asked,
            ..
        } in self.store.leased()?
        {
            self.leases.adopt(attempt, &worker, now);
            if cancel_asked {
                let _ = self.worker.stop(attempt, Stop::Cancel) || self.remote.cancel(attempt.job);
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_heard_and_two_are_one() {
        let bell = Bell::default();
        bell.ring();
        bell.ring();
        assert!(bell.wait(None));
        assert!(
            bell.wait(Some(Instant::now())),
            "nothing rang, the time came"
        );
        // A rest is not ended by a ring, and keeps it.
        bell.ring();
        let until = Instant::now() + Duration::from_millis(20);
        assert!(bell.rest(until) && Instant::now() >= until);
        assert!(bell.wait(None));
        bell.close();
        assert!(!bell.wait(None));
        assert!(!bell.rest(Instant::now() + Duration::from_secs(60)));
    }
}

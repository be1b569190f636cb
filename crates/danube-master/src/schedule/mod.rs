//! The loop that applies what `decide` decides. One thread, no decisions.

mod decide;
mod leases;
mod rescue;

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use danube_executor::Stop;
use danube_model::Attempt;
use danube_signals::Signals;
use danube_store::{Assignment, Claimed, LeaseState, Store, StoreError};
use danube_worker::{Work, Worker};

use crate::tell;
use decide::{Action, Idle, QueueView, decide, next_lapse};
pub(crate) use leases::Leases;
pub(crate) use rescue::{Rescue, after_restart};

/// How long to wait after the store refused, before it is asked again.
const STORE_RETRY_EVERY: Duration = Duration::from_millis(250);

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
    pub(crate) leases: Arc<Leases>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) rescue: Rescue,
    pub(crate) signals: Signals,
    pub(crate) lease: Duration,
}

impl Scheduler {
    /// Starts the loop on a thread of its own.
    pub(crate) fn start(self) -> std::io::Result<JoinHandle<()>> {
        thread::Builder::new()
            .name("scheduler".to_owned())
            .spawn(move || self.run())
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
            self.leases.renew(&self.worker.running(), Instant::now());
            until = match self.round() {
                Ok(again) if again => Some(Instant::now()),
                // With nothing leased there is nothing to watch: an idle master
                // sleeps until somebody rings.
                Ok(_) => next_lapse(&self.leases.all(), heartbeat),
                Err(_) => Some(Instant::now() + STORE_RETRY_EVERY),
            };
        }
    }

    /// One look and what follows from it; `true` when there may be more to do.
    fn round(&self) -> Result<bool, StoreError> {
        let free = self.worker.free().min(ASSIGN_MAX);
        let waiting = if free == 0 {
            Vec::new()
        } else {
            self.store.waiting(free)?
        };
        let view = QueueView {
            waiting: waiting.into_iter().map(|it| it.job).collect(),
            idle: vec![Idle {
                worker: self.worker.id().to_owned(),
                free,
            }],
            leases: self.leases.all(),
        };
        let mut assignments = Vec::new();
        for action in decide(&view, Instant::now(), self.lease) {
            match action {
                Action::Rescue(attempt) => self.rescue.silent(attempt)?,
                Action::Assign { job, worker } => assignments.push(Assignment { job, worker }),
            }
        }
        if assignments.is_empty() {
            return Ok(false);
        }
        for claimed in self.store.claim(assignments).wait()? {
            self.hand_over(claimed);
        }
        Ok(self.worker.free() > 0)
    }

    fn hand_over(&self, claimed: Claimed) {
        let attempt = claimed.attempt;
        self.leases.begin(attempt, &claimed.worker, Instant::now());
        tell::started(&self.signals, &claimed.job, &claimed.worker);
        let work = Work {
            attempt,
            order: claimed.order,
            traceparent: claimed.traceparent,
        };
        if self.worker.run(work).is_err() {
            self.give_back(attempt);
        } else if matches!(
            self.store.check(attempt),
            Ok(LeaseState::Held { cancel_asked: true })
        ) {
            // Asked for after the claim and before the job stood in the
            // worker's list, where the one who asked couldn't find it.
            let _ = self.worker.stop(attempt, Stop::Cancel);
        }
    }

    /// The worker had no room after all: nothing was run.
    fn give_back(&self, attempt: Attempt) {
        self.leases.end(attempt);
        // Should the store refuse, the lease is missing here and found at the
        // next start; until then the worker that drains takes nothing anyway.
        let _ = self
            .store
            .hand_back(attempt, "the worker had no room")
            .wait();
    }
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
        bell.close();
        assert!(!bell.wait(None));
    }
}

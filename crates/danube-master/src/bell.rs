//! Wakes the loops that follow the store: the scheduler and what fills Redis.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use danube_telemetry::watchdog::BEAT_EVERY;

/// Wakes a thread: there may be something to do, or it is time to stop. Rings before it
/// looks are one.
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
    pub(crate) fn rest(&self, until: Instant) -> bool {
        self.rest_alive(until, || {})
    }

    /// Waits for a ring or for `until`; `false` when closed.
    pub(crate) fn wait(&self, until: Option<Instant>) -> bool {
        self.wait_alive(until, || {})
    }

    /// As [`Bell::rest`], for a loop that a watchdog looks at: `alive` is called once a
    /// second meanwhile.
    pub(crate) fn rest_alive(&self, until: Instant, alive: impl Fn()) -> bool {
        let state = self.until(Some(until), alive, |state| state.closed);
        !state.closed
    }

    /// As [`Bell::wait`], in the same way.
    pub(crate) fn wait_alive(&self, until: Option<Instant>, alive: impl Fn()) -> bool {
        let mut state = self.until(until, alive, |state| state.rung || state.closed);
        state.rung = false;
        !state.closed
    }

    /// Waits until it is `done` or time is up.
    fn until(
        &self,
        until: Option<Instant>,
        alive: impl Fn(),
        done: impl Fn(&BellState) -> bool,
    ) -> MutexGuard<'_, BellState> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !done(&state) {
            let left = until.map(|it| it.saturating_duration_since(Instant::now()));
            if left.is_some_and(|it| it.is_zero()) {
                break;
            }
            let slice = left.map_or(BEAT_EVERY, |it| it.min(BEAT_EVERY));
            let waited = self.rung.wait_timeout(state, slice);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            alive();
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

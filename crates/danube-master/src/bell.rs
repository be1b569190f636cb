//! Wakes the loops that follow the store: the scheduler and what fills Redis.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

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
    pub(crate) fn wait(&self, until: Option<Instant>) -> bool {
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

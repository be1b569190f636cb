//! The writer's sign of life, for whoever watches it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When the writer last gave a sign. It writes, a watchdog reads.
pub(crate) struct Pulse {
    born: Instant,
    /// Milliseconds from `born`, plus one; 0 when it has nothing to do.
    last: AtomicU64,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// It works on something.
    pub(crate) fn beat(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// It works on something still, if it did.
    pub(crate) fn still(&self) {
        if self.last.load(Ordering::Relaxed) != 0 {
            self.beat();
        }
    }

    /// It has nothing to do.
    pub(crate) fn rest(&self) {
        self.last.store(0, Ordering::Relaxed);
    }

    pub(crate) fn silent_for(&self) -> Duration {
        match self.last.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            last => Duration::from_millis(self.now().saturating_sub(last)),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }
}

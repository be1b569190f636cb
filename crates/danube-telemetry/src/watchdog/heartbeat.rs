//! The sign of life of one loop.

use std::sync::atomic::{AtomicU64, Ordering};

/// Beats as long as a loop goes round. The loop writes, a watchdog reads.
///
/// A loop that has nothing to do beats all the same, once a second: only so can one that
/// sleeps be told from one that will never wake up.
#[derive(Debug, Default)]
pub struct Heartbeat {
    beats: AtomicU64,
    /// Guards of [`Heartbeat::away`] that are held.
    away: AtomicU64,
}

/// What a watchdog sees of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign {
    /// How often it has beaten.
    pub beats: u64,
    /// It waits for something that isn't ours: a disk, for the most part.
    pub is_away: bool,
}

impl Heartbeat {
    /// The loop is alive.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Until the guard goes, the loop may wait for something that isn't ours, and its
    /// silence says nothing.
    #[must_use = "it lasts as long as the guard"]
    pub fn away(&self) -> Away<'_> {
        self.away.fetch_add(1, Ordering::Relaxed);
        Away(self)
    }

    /// The loop ends as it should, and is expected no more. One that panics doesn't come
    /// by here.
    pub fn resign(&self) {
        std::mem::forget(self.away());
    }

    /// How it is.
    pub fn sign(&self) -> Sign {
        Sign {
            beats: self.beats.load(Ordering::Relaxed),
            is_away: self.away.load(Ordering::Relaxed) > 0,
        }
    }
}

/// See [`Heartbeat::away`].
#[derive(Debug)]
pub struct Away<'a>(&'a Heartbeat);

impl Drop for Away<'_> {
    fn drop(&mut self) {
        // In this order: whoever looks in between sees one that is back, and has beaten.
        self.0.beat();
        self.0.away.fetch_sub(1, Ordering::Relaxed);
    }
}

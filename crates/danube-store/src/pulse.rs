//! The writer's sign of life, for whoever watches it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the writer gives a sign at least when it has nothing to do.
pub(crate) const BEAT_EVERY: Duration = Duration::from_secs(1);

/// What the writer last said of itself. It writes, a watchdog reads.
pub(crate) struct Pulse {
    born: Instant,
    /// Milliseconds from `born`, plus one; 0 when it has nothing to do.
    last: AtomicU64,
    /// Signs of life, also of a writer without work.
    beats: AtomicU64,
    /// It is inside SQLite, and with that at the mercy of the disk.
    in_io: AtomicU64,
}

/// What a watchdog sees of the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterSign {
    /// How often it has given a sign of life; once a second when it has nothing to do.
    pub beats: u64,
    /// It waits for the disk or for another process's lock, as far as anybody can know.
    pub is_in_io: bool,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            last: AtomicU64::new(0),
            beats: AtomicU64::new(0),
            in_io: AtomicU64::new(0),
        }
    }

    /// It works on something.
    pub(crate) fn beat(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
        self.alive();
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
        self.alive();
    }

    /// It is there, whatever it does.
    pub(crate) fn alive(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// What it does until the guard goes may wait for the disk: a sync that hangs is no
    /// fault of the writer's.
    pub(crate) fn in_io(&self) -> InIo<'_> {
        self.in_io.fetch_add(1, Ordering::Relaxed);
        InIo(self)
    }

    /// It ends as it should, and is expected no more.
    pub(crate) fn resign(&self) {
        std::mem::forget(self.in_io());
    }

    pub(crate) fn sign(&self) -> WriterSign {
        WriterSign {
            beats: self.beats.load(Ordering::Relaxed),
            is_in_io: self.in_io.load(Ordering::Relaxed) > 0,
        }
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

/// See [`Pulse::in_io`].
pub(crate) struct InIo<'a>(&'a Pulse);

impl Drop for InIo<'_> {
    fn drop(&mut self) {
        self.0.alive();
        self.0.in_io.fetch_sub(1, Ordering::Relaxed);
    }
}

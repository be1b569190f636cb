//! The time of spans: what the wall clock said once, and what has passed since.

use std::time::{Duration, Instant, SystemTime};

/// Tells times that never go back, whatever happens to the wall clock meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: u64,
    clock: Instant,
}

impl Clock {
    /// Begins now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            began: crate::otlp::nanos(SystemTime::now()),
            clock: Instant::now(),
        }
    }

    /// When it began, in nanoseconds since 1970.
    #[must_use]
    pub fn began(&self) -> u64 {
        self.began
    }

    /// Now, in nanoseconds since 1970.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.at(self.clock.elapsed())
    }

    /// The time of an instant; the beginning for one before it.
    #[must_use]
    pub fn of(&self, instant: Instant) -> u64 {
        self.at(instant.saturating_duration_since(self.clock))
    }

    fn at(&self, since: Duration) -> u64 {
        let since = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.began.saturating_add(since)
    }
}

//! When a check runs next, and when healing may be tried: decided from counts and times
//! alone.

use std::time::{Duration, Instant};

/// The pause after a check's first failure; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// How long until a check runs again that failed so often in a row. `jitter`, from 0 to 1,
/// takes up to half of the pause after trouble away, so that many masters with the same
/// trouble don't look at the same moment.
pub(super) fn pause(failures: u64, period: Duration, jitter: f64) -> Duration {
    if failures == 0 {
        return period;
    }
    let doublings = u32::try_from(failures - 1).unwrap_or(u32::MAX).min(16);
    let pause = RETRY_FIRST.saturating_mul(1 << doublings).min(period);
    pause.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

/// What is known of the attempts to heal one part.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Attempts {
    last: Option<Instant>,
    is_running: bool,
}

impl Attempts {
    /// Whether another one may begin: never two at once, and none sooner than `every` after
    /// the one before.
    pub(super) fn may_begin(&self, now: Instant, every: Duration) -> bool {
        let is_due = self
            .last
            .is_none_or(|it| now.saturating_duration_since(it) >= every);
        is_due && !self.is_running
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.last = Some(now);
        self.is_running = true;
    }

    pub(super) fn end(&mut self) {
        self.is_running = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn trouble_is_looked_at_soon_and_then_less_and_less_often() {
        let period = 300 * SECOND;
        let pauses = [0, 1, 2, 3, 4, 9, 10, u64::MAX].map(|it| pause(it, period, 0.0).as_secs());
        assert_eq!(pauses, [300, 1, 2, 4, 8, 256, 300, 300]);
        // One that runs every two seconds goes on so.
        assert_eq!(pause(7, 2 * SECOND, 0.0), 2 * SECOND);
        assert_eq!(pause(7, 2 * SECOND, 1.0), SECOND);
        assert_eq!(pause(0, period, 1.0), period);
    }

    #[test]
    fn healing_is_neither_tried_twice_at_once_nor_too_often() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        assert!(attempts.may_begin(start, 30 * SECOND));
        attempts.begin(start);
        assert!(!attempts.may_begin(start + 60 * SECOND, 30 * SECOND));
        attempts.end();
        assert!(!attempts.may_begin(start + 29 * SECOND, 30 * SECOND));
        assert!(attempts.may_begin(start + 30 * SECOND, 30 * SECOND));
    }
}

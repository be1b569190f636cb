//! Which traces are exported, decided when they have ended: whatever failed or was slow
//! is, of the others a share.

use std::time::Duration;

/// What is kept of traces that have ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Share of those that are neither, 0 to 1. Which ones, the trace id says: everybody
    /// who samples by it at the same ratio keeps the same.
    pub ratio: f64,
    /// From here on a trace is slow.
    pub slow: Duration,
}

/// Random bits of a trace id that are looked at: its last seven bytes, as W3C trace
/// context level 2 promises them to be random.
const RANDOM_BITS: u32 = 56;

impl Sampling {
    /// Everything.
    pub const ALL: Self = Self {
        ratio: 1.0,
        slow: Duration::MAX,
    };

    /// Whether a trace is kept.
    pub fn keeps(&self, trace_id: &[u8; 16], has_failed: bool, took: Duration) -> bool {
        has_failed || took >= self.slow || self.is_in_share(trace_id)
    }

    fn is_in_share(&self, trace_id: &[u8; 16]) -> bool {
        let mut low = [0; 8];
        low.copy_from_slice(&trace_id[8..]);
        let random = u64::from_be_bytes(low) & ((1 << RANDOM_BITS) - 1);
        // As many of them as a number has digits, so that the place is below 1.
        let digits = random >> (RANDOM_BITS - f64::MANTISSA_DIGITS);
        #[expect(clippy::cast_precision_loss, reason = "it has as many digits")]
        let place = digits as f64 / (1_u64 << f64::MANTISSA_DIGITS) as f64;
        // The upper end is kept, as by OpenTelemetry's consistent sampling.
        place >= 1.0 - self.ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TraceContext;

    #[test]
    fn what_failed_or_was_slow_is_always_kept() {
        let none = Sampling {
            ratio: 0.0,
            slow: Duration::from_secs(60),
        };
        let id = [0xff; 16];
        let second = Duration::from_secs(1);
        assert!(none.keeps(&id, true, second));
        assert!(none.keeps(&id, false, 60 * second));
        assert!(!none.keeps(&id, false, 59 * second));
        assert!(Sampling::ALL.keeps(&[1; 16], false, second));
    }

    #[test]
    fn of_the_others_a_share_is_kept_and_each_by_all_or_none() {
        let quarter = Sampling {
            ratio: 0.25,
            slow: Duration::MAX,
        };
        let half = Sampling {
            ratio: 0.5,
            ..quarter
        };
        let ids: Vec<[u8; 16]> = (0..4_000)
            .map(|_| TraceContext::random().trace_id)
            .collect();
        let kept = |it: &Sampling| -> Vec<&[u8; 16]> {
            let all = ids.iter();
            all.filter(|id| it.keeps(id, false, Duration::ZERO))
                .collect()
        };
        let few = kept(&quarter);
        assert!((700..1_300).contains(&few.len()), "{}", few.len());
        let more = kept(&half);
        assert!(few.iter().all(|it| more.contains(it)));
    }
}

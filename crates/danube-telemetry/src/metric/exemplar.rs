//! Exemplars: for each bucket of a histogram the last traced observation that fell into
//! it. Writing never waits: a writer that finds another one at work leaves.

use std::sync::atomic::{AtomicU64, Ordering, Ordering::Relaxed, fence};

use rustix::time::{ClockId, clock_gettime};

use crate::context::{SAMPLED, TraceContext};

/// An observation and the trace that it was made in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
    /// What was observed, in the family's unit.
    pub value: f64,
    /// When, to a few milliseconds.
    pub time_unix_nanos: u64,
}

/// The exemplar of one bucket: a sequence lock whose content is atomics too, so that a
/// torn read is seen and not undefined.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Odd while somebody writes; 0 while there is nothing.
    version: AtomicU64,
    /// Trace id in two halves, span id, value, time.
    words: [AtomicU64; 5],
}

impl Slot {
    /// Keeps the observation if its trace is recorded and nobody else writes just now.
    // Rare, so that it stays out of the way of those that have no trace.
    #[inline(never)]
    pub(super) fn put(&self, value: f64, trace: &TraceContext) {
        if trace.flags & SAMPLED == 0 {
            return;
        }
        let version = self.version.load(Relaxed);
        let free = version & 1 == 0;
        // Acquire: what is stored below must not be seen before the odd version.
        if !free
            || self
                .version
                .compare_exchange(version, version + 1, Ordering::Acquire, Relaxed)
                .is_err()
        {
            return;
        }
        fence(Ordering::Release);
        let (high, low) = halves(&trace.trace_id);
        let words = [
            high,
            low,
            u64::from_be_bytes(trace.span_id),
            value.to_bits(),
            now_unix_nanos(),
        ];
        for (slot, word) in self.words.iter().zip(words) {
            slot.store(word, Relaxed);
        }
        self.version.store(version + 2, Ordering::Release);
    }

    /// The exemplar; `None` while there is none, or when one is being written: the next
    /// reader will see it.
    pub(super) fn get(&self) -> Option<Exemplar> {
        let before = self.version.load(Ordering::Acquire);
        if before == 0 || before & 1 == 1 {
            return None;
        }
        let [high, low, span, value, time_unix_nanos] =
            std::array::from_fn(|at| self.words[at].load(Relaxed));
        // The loads above must be done before the version is looked at again.
        fence(Ordering::Acquire);
        if self.version.load(Relaxed) != before {
            return None;
        }
        let mut trace_id = [0; 16];
        trace_id[..8].copy_from_slice(&high.to_be_bytes());
        trace_id[8..].copy_from_slice(&low.to_be_bytes());
        Some(Exemplar {
            trace_id,
            span_id: span.to_be_bytes(),
            value: f64::from_bits(value),
            time_unix_nanos,
        })
    }
}

fn halves(id: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_be_bytes(*id);
    #[expect(clippy::cast_possible_truncation, reason = "one half, then the other")]
    ((both >> 64) as u64, both as u64)
}

/// The kernel's coarse clock: a read of memory, a few milliseconds old at most.
pub(super) fn now_unix_nanos() -> u64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds * 1_000_000_000 + nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recorded_traces_are_kept_and_the_last_one_stays() {
        let slot = Slot::default();
        assert_eq!(slot.get(), None);
        let (first, last) = (TraceContext::random(), TraceContext::random());
        slot.put(1.0, &first);
        slot.put(2.5, &last);
        slot.put(9.0, &TraceContext { flags: 0, ..first });
        let kept = slot.get().unwrap();
        assert_eq!((kept.trace_id, kept.span_id), (last.trace_id, last.span_id));
        assert!((kept.value - 2.5).abs() < f64::EPSILON && kept.time_unix_nanos > 0);
    }

    #[test]
    fn a_reader_never_sees_half_of_one_and_half_of_another() {
        let slot = Slot::default();
        // Each writer's exemplar says the same in all its parts.
        let of = |byte: u8| TraceContext {
            trace_id: [byte; 16],
            span_id: [byte; 8],
            flags: SAMPLED,
        };
        let rounds = 20_000;
        std::thread::scope(|scope| {
            for byte in [1, 2] {
                let slot = &slot;
                scope.spawn(move || {
                    for _ in 0..rounds {
                        slot.put(f64::from(byte), &of(byte));
                    }
                });
            }
            for _ in 0..rounds {
                if let Some(seen) = slot.get() {
                    let byte = seen.trace_id[0];
                    assert_eq!(seen.trace_id, [byte; 16]);
                    assert_eq!(seen.span_id, [byte; 8]);
                    assert!((seen.value - f64::from(byte)).abs() < f64::EPSILON);
                }
            }
        });
        assert!(slot.get().is_some());
    }
}

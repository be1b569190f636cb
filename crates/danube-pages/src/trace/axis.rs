//! The axis of a waterfall: from when to when it goes, and where its ticks stand.

use serde::Serialize;

use super::Span;
use crate::words::Given;

/// Ticks of an axis, the one at its beginning included.
const TICKS_MAX: u64 = 6;

/// Below a second steps are 1, 2 or 5 of a power of ten; above, what a clock is divided by.
const STEPS_SECONDS: [u64; 23] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
    86_400, 172_800, 432_000, 864_000, 2_592_000, 8_640_000,
];

const NANOS_A_SECOND: u64 = 1_000_000_000;

/// A tick of the axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tick {
    /// Where, as a fraction of the axis.
    pub at: f64,
    /// What it says: the time since the axis begins.
    pub label: String,
}

/// From when to when, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Axis {
    /// What the server says of the job, its wait in the queue included: a tool's clock may be
    /// wrong, and a webhook is told again for days. Where there is nothing else, those count too.
    pub(super) fn of(spans: &[Span]) -> Self {
        let sure = |it: &&Span| it.is_own() && !it.is_aftermath;
        let over = |all: &mut dyn Iterator<Item = &Span>| {
            let mut range: Option<Self> = None;
            for it in all {
                let from = it.start_nanos.saturating_sub(it.queue_nanos);
                let to = it.end_nanos.max(it.start_nanos);
                range = Some(range.map_or(Self { from, to }, |range| Self {
                    from: range.from.min(from),
                    to: range.to.max(to),
                }));
            }
            range
        };
        over(&mut spans.iter().filter(sure))
            .or_else(|| over(&mut spans.iter()))
            .unwrap_or(Self { from: 0, to: 0 })
    }

    pub(super) const fn length(self) -> u64 {
        self.to - self.from
    }

    /// Where a moment is, as a fraction; what is outside stands at the edge.
    pub(super) fn fraction(self, at: u64) -> f64 {
        if self.length() == 0 {
            return 0.0;
        }
        let since = at.clamp(self.from, self.to) - self.from;
        (since as f64 / self.length() as f64).clamp(0.0, 1.0)
    }

    pub(super) fn ticks(self) -> Vec<Tick> {
        let step = step(self.length());
        let all = (0..TICKS_MAX).map(|it| it * step);
        all.take_while(|it| *it <= self.length())
            .map(|it| Tick {
                at: self.fraction(self.from + it),
                label: if it == 0 { "0".to_owned() } else { tick(it) },
            })
            .collect()
    }
}

/// The least step of which the length has few enough.
fn step(length: u64) -> u64 {
    let fits = |step: &u64| length / step < TICKS_MAX;
    let small = (0..9).flat_map(|power| [1, 2, 5].map(|it| it * 10_u64.pow(power)));
    let large = STEPS_SECONDS.iter().map(|it| it * NANOS_A_SECOND);
    let found = small.chain(large).find(fits);
    found.unwrap_or(u64::MAX / TICKS_MAX)
}

/// A round time in few letters: `500 ms`, `30 s`, `1 min 30 s`.
fn tick(at: u64) -> String {
    match at {
        0..1_000 => format!("{at} ns"),
        1_000..1_000_000 => format!("{} µs", at / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", at / 1_000_000),
        _ if at.is_multiple_of(NANOS_A_SECOND) && at < 60 * NANOS_A_SECOND => {
            format!("{} s", at / NANOS_A_SECOND)
        }
        _ => nanos(at),
    }
}

/// How long, in few letters: `412 ns`, `54 µs`, `6.1 ms`, `334 ms`, then as all durations.
#[must_use]
pub fn nanos(of: impl Given<u64>) -> String {
    let of = of.given();
    let value = of as f64;
    match of {
        0 => "0 ms".to_owned(),
        1..1_000 => format!("{of} ns"),
        1_000..999_500 => format!("{:.0} µs", value / 1e3),
        999_500..9_950_000 => format!("{:.1} ms", value / 1e6),
        _ => crate::words::duration(value / 1e9),
    }
}

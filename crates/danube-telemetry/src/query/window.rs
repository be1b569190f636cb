//! Functions of one series: its latest sample, and its growth in a window.

use std::time::Duration;

use super::expr::Function;
use super::history::Point;

/// A gap to an end of the window that is longer than this many times the usual distance
/// of samples isn't filled: the series began or ended there.
const GAP: f64 = 1.1;

/// The steps of a question, each the end of a window of `length`, both ends included.
#[derive(Clone, Copy)]
pub(super) struct Steps<'a> {
    pub(super) at: &'a [i64],
    pub(super) length: Duration,
}

impl Steps<'_> {
    fn millis(self) -> i64 {
        i64::try_from(self.length.as_millis()).unwrap_or(i64::MAX)
    }
}

/// The latest sample in each window. A series that is gone has none until it is back.
pub(super) fn latest(points: &[Point], steps: Steps<'_>) -> Vec<Option<f64>> {
    let mut upto = 0;
    steps
        .at
        .iter()
        .map(|at| {
            while points.get(upto).is_some_and(|it| it.at <= *at) {
                upto += 1;
            }
            let last = upto.checked_sub(1).map(|it| points[it])?;
            last.value.filter(|_| at - last.at <= steps.millis())
        })
        .collect()
}

/// A sample, with what resets took from the counter before it.
struct Counted {
    at: i64,
    value: f64,
    lost: f64,
}

/// The function over each window.
pub(super) fn over(function: Function, points: &[Point], steps: Steps<'_>) -> Vec<Option<f64>> {
    let mut counted: Vec<Counted> = Vec::with_capacity(points.len());
    for point in points {
        let Some(value) = point.value else { continue };
        let lost = counted.last().map_or(0.0, |before| {
            // A counter that goes down began again at nothing.
            before.lost
                + if value < before.value {
                    before.value
                } else {
                    0.0
                }
        });
        counted.push(Counted {
            at: point.at,
            value,
            lost,
        });
    }
    let (mut from, mut upto) = (0, 0);
    steps
        .at
        .iter()
        .map(|at| {
            let start = at.saturating_sub(steps.millis());
            while counted.get(upto).is_some_and(|it| it.at <= *at) {
                upto += 1;
            }
            while from < upto && counted[from].at < start {
                from += 1;
            }
            growth(&counted[from..upto], (start, *at), function)
        })
        .collect()
}

/// Growth between the samples of a window, extrapolated to its ends: as far as half a
/// distance where the series doesn't reach them, and never to below zero.
fn growth(samples: &[Counted], (start, end): (i64, i64), function: Function) -> Option<f64> {
    let [first, .., last] = samples else {
        return None;
    };
    let grown = last.value - first.value + (last.lost - first.lost);
    let covered = seconds(last.at - first.at);
    #[expect(clippy::cast_precision_loss, reason = "a window has few samples")]
    let distance = covered / (samples.len() - 1) as f64;
    let mut to_start = seconds(first.at - start);
    let to_end = seconds(end - last.at);
    if grown > 0.0 && first.value >= 0.0 {
        let to_zero = covered * (first.value / grown);
        to_start = to_start.min(to_zero);
    }
    let filled = |gap: f64| {
        if gap < distance * GAP {
            gap
        } else {
            distance / 2.0
        }
    };
    let factor = (covered + filled(to_start) + filled(to_end)) / covered;
    let increase = match function {
        Function::Increase => grown * factor,
        Function::Rate => grown * (factor / seconds(end - start)),
    };
    Some(increase)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a distance in milliseconds has far fewer than 53 bits"
)]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(all: &[(i64, f64)]) -> Vec<Point> {
        all.iter()
            .map(|(seconds, value)| Point {
                at: seconds * 1_000,
                value: (!value.is_nan()).then_some(*value),
            })
            .collect()
    }

    fn increase(all: &[(i64, f64)], at: i64, length: u64) -> Option<f64> {
        let steps = Steps {
            at: &[at * 1_000],
            length: Duration::from_secs(length),
        };
        over(Function::Increase, &points(all), steps)[0]
    }

    const GONE: f64 = f64::NAN;

    #[test]
    fn growth_is_extrapolated_to_the_ends_of_the_window() {
        let all = [(0, 10.0), (15, 13.0), (30, 16.0), (45, 19.0)];
        // 9 in 45 seconds; the window reaches 5 seconds further back and 10 on.
        let found = increase(&all, 55, 60).unwrap();
        assert!((found - 12.0).abs() < 1e-9, "{found}");
    }

    #[test]
    fn a_counter_is_never_extrapolated_to_below_zero() {
        let all = [(10, 1.0), (20, 11.0)];
        // At this speed it was zero at second 9.
        let found = increase(&all, 20, 20).unwrap();
        assert!((found - 11.0).abs() < 1e-9, "{found}");
    }

    #[test]
    fn a_reset_loses_nothing_that_was_seen() {
        let all = [(0, 100.0), (15, 110.0), (30, 5.0), (45, 8.0)];
        let found = increase(&all, 45, 45).unwrap();
        assert!((found - 18.0).abs() < 1e-9, "{found}");
    }

    #[test]
    fn one_sample_has_no_growth_and_a_gap_is_passed_over() {
        assert_eq!(increase(&[(0, 1.0)], 10, 60), None);
        assert_eq!(increase(&[(0, 1.0), (15, 2.0)], 100, 60), None);
        let all = [(0, 1.0), (15, GONE), (30, 3.0)];
        let found = increase(&all, 30, 30).unwrap();
        assert!((found - 2.0).abs() < 1e-9, "{found}");
    }

    #[test]
    fn the_latest_sample_counts_for_five_minutes_or_until_it_is_gone() {
        let all = points(&[(0, 7.0), (400, 8.0), (415, GONE)]);
        let at = [-1, 0, 300, 301, 400, 414, 415, 500].map(|it| it * 1_000);
        let steps = Steps {
            at: &at,
            length: Duration::from_secs(300),
        };
        let none = None;
        assert_eq!(
            latest(&all, steps),
            [
                none,
                Some(7.0),
                Some(7.0),
                none,
                Some(8.0),
                Some(8.0),
                none,
                none
            ]
        );
    }
}

//! From values and times to places in a chart.

use danube_model::Timestamp;

use super::unit::Unit;

/// Values are drawn up to here, in both directions: the room between two of them is a number
/// still.
pub(super) const VALUE_MAX: f64 = 1e300;

/// Values nearer to 0 than this are drawn as 0: a step of an axis of them would be none.
const VALUE_MIN: f64 = 1e-290;

/// Steps of the axis of values at most, without those that round its ends.
const STEPS: f64 = 5.0;

/// Names on the axis of time at most: more would run into each other on a phone.
const TIMES_MAX: f64 = 5.0;

/// Steps of the axis of time, in seconds; it goes on in weeks.
const TIME_STEPS: [f64; 18] = [
    1.0,
    5.0,
    10.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    900.0,
    1_800.0,
    3_600.0,
    7_200.0,
    10_800.0,
    21_600.0,
    43_200.0,
    DAY,
    2.0 * DAY,
];

/// A day in seconds.
const DAY: f64 = 86_400.0;

/// Part of a chart's length within which two numbers are one.
const CLOSE: f64 = 1e-9;

/// One direction of a chart: which numbers it shows, and between which places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    /// Smallest and largest number.
    pub(super) shows: (f64, f64),
    /// Their places.
    pub(super) places: (f64, f64),
}

impl Scale {
    /// The place of a number; that of the nearer end for what isn't shown.
    pub(super) fn place(&self, number: f64) -> f64 {
        let ((low, high), (begin, end)) = (self.shows, self.places);
        let part = (number - low) / (high - low);
        begin + part.clamp(0.0, 1.0) * (end - begin)
    }
}

/// A value as it is drawn; none of what is no number.
pub(super) fn drawn(value: f64) -> Option<f64> {
    let value = Some(value).filter(|it| it.is_finite())?;
    let is_zero = value.abs() < VALUE_MIN;
    Some(if is_zero {
        0.0
    } else {
        value.clamp(-VALUE_MAX, VALUE_MAX)
    })
}

/// The marks of an axis that shows 0 and all from `low` to `high`; its first and last are the
/// ends of the axis.
pub(super) fn values(unit: Unit, low: f64, high: f64) -> Vec<f64> {
    let (low, mut high) = (low.min(0.0), high.max(0.0));
    if low == 0.0 && high == 0.0 {
        high = unit.least();
    }
    let step = unit.step((high - low) / STEPS);
    let first = (low / step + CLOSE).floor();
    // A step may be so much larger than all values that they are hardly above its first mark.
    let last = (high / step - CLOSE).ceil().max(first + 1.0);
    let mut marks = Vec::new();
    let mut at = first;
    while at <= last {
        marks.push(at * step);
        at += 1.0;
    }
    marks
}

/// The marks between two moments in Unix seconds, with their names in UTC.
pub(super) fn times(from: f64, to: f64) -> Vec<(f64, String)> {
    let step = time_step((to - from) / TIMES_MAX);
    let first = (from / step).ceil();
    let last = (to / step).floor();
    let mut marks = Vec::new();
    let mut at = first;
    // A number so large that adding 1 doesn't change it is no moment of ours.
    while at <= last && at + 1.0 > at {
        marks.push((at * step, time_name(at * step, step)));
        at += 1.0;
    }
    marks
}

fn time_step(raw: f64) -> f64 {
    let known = TIME_STEPS.into_iter().find(|it| *it >= raw);
    known.unwrap_or_else(|| {
        let weeks = (raw / (7.0 * DAY)).max(1.0);
        weeks.log2().ceil().exp2() * 7.0 * DAY
    })
}

/// A moment on an axis of this step: the time of day, and the day where one begins.
fn time_name(at: f64, step: f64) -> String {
    let (day, time) = day_and_time(at);
    if at.rem_euclid(DAY) == 0.0 {
        return day.get(5..).unwrap_or(&day).to_owned();
    }
    let digits = if step < 60.0 { 8 } else { 5 };
    time.get(..digits).unwrap_or(&time).to_owned()
}

/// `2026-01-31` and `12:00:00`.
fn day_and_time(at: f64) -> (String, String) {
    let text = stamp(at).to_string();
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    let time = time.split(['.', 'Z']).next().unwrap_or_default();
    (day.to_owned(), time.to_owned())
}

/// A moment, with its day where that isn't the other's: `12:00:00`, `01-31 12:00:00`.
pub(super) fn moment(at: f64, beside: f64) -> String {
    let ((day, time), (other, _)) = (day_and_time(at), day_and_time(beside));
    if day == other {
        return time;
    }
    format!("{} {time}", day.get(5..).unwrap_or(&day))
}

/// A moment in Unix seconds.
pub(super) fn stamp(seconds: f64) -> Timestamp {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is no moment of ours becomes the nearest one that can be written"
    )]
    Timestamp::from_millis((seconds * 1e3).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(unit: Unit, (low, high): (f64, f64), said: &str) {
        let marks = values(unit, low, high);
        let shown: Vec<String> = marks.iter().map(|it| unit.shown(*it)).collect();
        assert_eq!(shown.join(" "), said, "{unit:?} {low} {high}");
    }

    #[test]
    fn axes_of_values_have_a_few_round_marks() {
        check(Unit::Count, (0.0, 0.0), "0 1");
        check(Unit::Count, (0.0, 1.0), "0 1");
        check(Unit::Count, (2.0, 7.0), "0 2 4 6 8");
        check(Unit::Cores, (0.0, 0.3), "0 0.1 0.2 0.3");
        check(Unit::Ratio, (0.5, 1.0), "0% 20% 40% 60% 80% 100%");
        check(Unit::Count, (-3.0, 4.0), "-4 -2 0 2 4");
        check(Unit::Seconds, (0.0, 0.004), "0 s 1 ms 2 ms 3 ms 4 ms");
        check(Unit::Seconds, (0.0, 80.0), "0 s 30 s 1 min 1 min 30 s");
        check(
            Unit::Bytes,
            (0.0, 1.5 * 1024.0 * 1024.0 * 1024.0),
            "0 B 512 MiB 1.0 GiB 1.5 GiB",
        );
    }

    #[test]
    fn axes_of_time_have_round_marks_in_utc() {
        let begin = Timestamp::parse("2026-01-31T11:20:00Z").unwrap();
        let begin = begin.as_millis() as f64 / 1e3;
        for (seconds, said) in [
            (60.0, "11:20:00 11:20:15 11:20:30 11:20:45 11:21:00"),
            (3_600.0, "11:30 11:45 12:00 12:15"),
            (6.0 * 3_600.0, "12:00 14:00 16:00"),
            (DAY, "12:00 18:00 02-01 06:00"),
            (7.0 * DAY, "02-02 02-04 02-06"),
        ] {
            let names: Vec<String> = times(begin, begin + seconds)
                .into_iter()
                .map(|(_, name)| name)
                .collect();
            assert_eq!(names.join(" "), said, "{seconds}");
        }
    }

    #[test]
    fn places_stay_between_the_ends() {
        let scale = Scale {
            shows: (0.0, 10.0),
            places: (100.0, 20.0),
        };
        for (number, place) in [
            (0.0, 100.0),
            (5.0, 60.0),
            (10.0, 20.0),
            (-1.0, 100.0),
            (11.0, 20.0),
        ] {
            assert!((scale.place(number) - place).abs() < 1e-9, "{number}");
        }
    }
}

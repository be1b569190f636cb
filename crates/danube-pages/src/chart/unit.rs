//! What the numbers of a chart are, how one is said, and which steps an axis of them goes by.

use crate::words;

/// What a panel's or an alert's numbers are, by its name in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Things a second.
    PerSecond,
    /// Things a minute.
    PerMinute,
    /// A share, from 0 to 1.
    Ratio,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// Processors that are busy.
    Cores,
    /// 1 for yes, 0 for no.
    Flag,
}

/// Steps of an axis of seconds, from one second up: what clocks have.
const STEPS_SECONDS: [f64; 18] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0,
    10_800.0, 21_600.0, 43_200.0, DAY,
];

/// A day in seconds.
const DAY: f64 = 86_400.0;

/// Seconds above which only days are said: no duration of ours comes near, and its digits would
/// fill the page.
const DAYS_ABOVE: f64 = 1e9;

impl Unit {
    /// The unit of this name; what has another is counted.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "per_second" => Self::PerSecond,
            "per_minute" => Self::PerMinute,
            "ratio" => Self::Ratio,
            "seconds" => Self::Seconds,
            "bytes" => Self::Bytes,
            "bytes_per_second" => Self::BytesPerSecond,
            "cores" => Self::Cores,
            "flag" => Self::Flag,
            _ => Self::Count,
        }
    }

    /// What stands at the head of its axis.
    #[must_use]
    pub const fn axis(self) -> &'static str {
        match self {
            Self::Count => "number",
            Self::PerSecond => "a second",
            Self::PerMinute => "a minute",
            Self::Ratio => "share",
            Self::Seconds => "time",
            Self::Bytes => "size",
            Self::BytesPerSecond => "size a second",
            Self::Cores => "processors",
            Self::Flag => "yes or no",
        }
    }

    /// A value of it, with at most three figures where it isn't whole.
    #[must_use]
    pub fn shown(self, value: f64) -> String {
        if !value.is_finite() {
            return "no number".to_owned();
        }
        match self {
            Self::Count | Self::Cores => figures(value),
            Self::PerSecond => format!("{}/s", figures(value)),
            Self::PerMinute => format!("{}/min", figures(value)),
            Self::Ratio => format!("{}%", percent(value * 100.0)),
            Self::Seconds => signed(value, seconds),
            Self::Bytes => signed(value, bytes),
            Self::BytesPerSecond => format!("{}/s", signed(value, bytes)),
            Self::Flag if value == 0.0 => "no".to_owned(),
            Self::Flag => "yes".to_owned(),
        }
    }

    /// The smallest step of an axis that is at least `raw`, which is above 0.
    pub(super) fn step(self, raw: f64) -> f64 {
        match self {
            Self::Count | Self::Flag => decimal_step(raw).max(1.0),
            Self::Bytes | Self::BytesPerSecond => binary_step(raw).max(1.0),
            Self::Seconds if raw >= 0.75 => {
                let known = STEPS_SECONDS.into_iter().find(|it| *it >= raw);
                known.unwrap_or_else(|| decimal_step(raw / DAY) * DAY)
            }
            _ => decimal_step(raw),
        }
    }

    /// Where the axis ends when there is nothing above 0.
    pub(super) const fn least(self) -> f64 {
        match self {
            Self::Bytes | Self::BytesPerSecond => 1_024.0,
            _ => 1.0,
        }
    }
}

/// 1, 2 or 5 times a power of ten.
fn decimal_step(raw: f64) -> f64 {
    let power = 10_f64.powf(raw.log10().floor());
    let found = [1.0, 2.0, 5.0].into_iter().find(|it| it * power >= raw);
    // A quotient that is off by its last bit is no reason for the next step.
    found.map_or(10.0 * power, |it| it * power)
}

/// A power of two.
fn binary_step(raw: f64) -> f64 {
    raw.log2().ceil().exp2()
}

fn signed(value: f64, said: fn(f64) -> String) -> String {
    let text = said(value.abs());
    if value < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

/// A number for people: `0.012`, `3.14`, `12,345`, `1.23 M`.
fn figures(value: f64) -> String {
    let size = value.abs();
    match size {
        0.0 => "0".to_owned(),
        _ if !(1e-6..1e18).contains(&size) => format!("{value:.2e}"),
        _ if size >= 1e6 => {
            let (of, name) = match size {
                _ if size >= 1e15 => (1e15, "P"),
                _ if size >= 1e12 => (1e12, "T"),
                _ if size >= 1e9 => (1e9, "G"),
                _ => (1e6, "M"),
            };
            format!("{} {name}", significant(value / of))
        }
        _ if size >= 1_000.0 => signed(value, |it| words::count(whole(it))),
        _ => significant(value),
    }
}

/// Three figures, without zeros at the end.
fn significant(value: f64) -> String {
    let size = value.abs();
    let mut decimals = 2_usize;
    let mut limit = 10.0;
    while decimals > 0 && size >= limit {
        decimals -= 1;
        limit *= 10.0;
    }
    let mut limit = 1.0;
    while decimals < 8 && size < limit {
        decimals += 1;
        limit /= 10.0;
    }
    trimmed(&format!("{value:.decimals$}"))
}

/// Two decimals and more where it is small: a rate of 99.97 % isn't 100 %.
fn percent(value: f64) -> String {
    if value == 0.0 || value.abs() >= 0.01 {
        let digits = if value.abs() >= 1e6 {
            figures(value)
        } else {
            format!("{value:.2}")
        };
        return trimmed(&digits);
    }
    figures(value)
}

fn trimmed(text: &str) -> String {
    if !text.contains('.') || text.contains(['e', ' ']) {
        return text.to_owned();
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn seconds(value: f64) -> String {
    match value {
        0.0 => "0 s".to_owned(),
        it if it < 0.000_999_5 => format!("{} µs", figures(it * 1e6)),
        it if it < 0.999_5 => format!("{} ms", figures(it * 1e3)),
        it if it < 59.95 => format!("{} s", figures(it)),
        it if it < DAYS_ABOVE => words::duration(it.round()),
        it => format!("{} d", figures(it / DAY)),
    }
}

fn bytes(value: f64) -> String {
    if value < 1_024.0 {
        format!("{} B", figures(value))
    } else {
        words::bytes(whole(value))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never below 0, and what is larger than all numbers stays the largest"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_said_with_their_unit() {
        for (unit, value, said) in [
            (Unit::Count, 0.0, "0"),
            (Unit::Count, 3.0, "3"),
            (Unit::Count, 3.456_7, "3.46"),
            (Unit::Count, 12_345.0, "12,345"),
            (Unit::Count, -1_200.0, "-1,200"),
            (Unit::Count, 1_234_567.0, "1.23 M"),
            (Unit::Count, 0.012_345, "0.0123"),
            (Unit::Count, 1e300, "1.00e300"),
            (Unit::PerSecond, 0.25, "0.25/s"),
            (Unit::PerMinute, 12.0, "12/min"),
            (Unit::Ratio, 0.999_7, "99.97%"),
            (Unit::Ratio, 1.0, "100%"),
            (Unit::Ratio, 0.25, "25%"),
            (Unit::Seconds, 0.0, "0 s"),
            (Unit::Seconds, 0.000_012_3, "12.3 µs"),
            (Unit::Seconds, 0.034, "34 ms"),
            (Unit::Seconds, 2.5, "2.5 s"),
            (Unit::Seconds, -90.0, "-1 min 30 s"),
            (Unit::Seconds, 1e300, "1.16e295 d"),
            (Unit::Bytes, 512.0, "512 B"),
            (Unit::Bytes, 1_610_612_736.0, "1.5 GiB"),
            (Unit::BytesPerSecond, 2_048.0, "2.0 KiB/s"),
            (Unit::Cores, 0.25, "0.25"),
            (Unit::Flag, 1.0, "yes"),
            (Unit::Flag, 0.0, "no"),
            (Unit::Count, f64::NAN, "no number"),
        ] {
            assert_eq!(unit.shown(value), said, "{unit:?} {value}");
        }
    }

    #[test]
    fn steps_are_those_that_people_count_in() {
        for (unit, raw, step) in [
            (Unit::Cores, 0.03, 0.05),
            (Unit::Cores, 0.2, 0.2),
            (Unit::Cores, 6.0, 10.0),
            (Unit::Count, 0.3, 1.0),
            (Unit::Count, 30.0, 50.0),
            (Unit::Ratio, 0.12, 0.2),
            (Unit::Seconds, 0.003, 0.005),
            (Unit::Seconds, 12.0, 15.0),
            (Unit::Seconds, 700.0, 900.0),
            (Unit::Seconds, 3.0 * DAY, 5.0 * DAY),
            (Unit::Bytes, 0.1, 1.0),
            (Unit::Bytes, 300.0, 512.0),
            (Unit::Bytes, 1_000_000.0, 1_048_576.0),
        ] {
            let found = unit.step(raw);
            assert!((found - step).abs() < step * 1e-9, "{unit:?} {raw} {found}");
        }
    }

    #[test]
    fn every_name_of_the_api_is_known() {
        let names = "per_second per_minute ratio seconds bytes bytes_per_second cores flag";
        for name in names.split(' ') {
            assert_ne!(Unit::named(name), Unit::Count, "{name}");
        }
        assert_eq!(Unit::named("count"), Unit::Count);
        assert_eq!(Unit::named("fathoms"), Unit::Count);
    }
}

//! How pages say times, durations and sizes. Exact values stand in the `title` beside them.

pub use danube_api::escape as in_query;
use danube_model::Timestamp;

const SECONDS_A_MINUTE: f64 = 60.0;
const SECONDS_AN_HOUR: f64 = 3_600.0;
const SECONDS_A_DAY: f64 = 86_400.0;

/// A value, however often it is referred to: templates hand out references.
pub trait Given<T> {
    /// The value.
    fn given(&self) -> T;
}

impl<T, G: Given<T>> Given<T> for &G {
    fn given(&self) -> T {
        (*self).given()
    }
}

macro_rules! given {
    ($($of:ty)*) => {
        $(impl Given<Self> for $of {
            fn given(&self) -> Self {
                *self
            }
        })*
    };
}

given!(f64 u32 u64 usize Timestamp);

/// How long: `340 ms`, `8.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`.
#[must_use]
pub fn duration(seconds: impl Given<f64>) -> String {
    let seconds = seconds.given().max(0.0);
    let two = |large: f64, of: f64, names: [&str; 2]| {
        let whole = (large / of).floor();
        let rest = large - whole * of;
        let small = match names[1] {
            "s" => rest,
            "min" => rest / SECONDS_A_MINUTE,
            _ => rest / SECONDS_AN_HOUR,
        };
        match small.floor() {
            0.0 => format!("{whole} {}", names[0]),
            small => format!("{whole} {} {small} {}", names[0], names[1]),
        }
    };
    match seconds {
        it if it < 0.9995 => format!("{:.0} ms", it * 1_000.0),
        it if it < 9.95 => format!("{it:.1} s"),
        it if it < SECONDS_A_MINUTE - 0.5 => format!("{it:.0} s"),
        it if it < SECONDS_AN_HOUR => two(it, SECONDS_A_MINUTE, ["min", "s"]),
        it if it < SECONDS_A_DAY => two(it, SECONDS_AN_HOUR, ["h", "min"]),
        it => two(it, SECONDS_A_DAY, ["d", "h"]),
    }
}

/// How long it is from one moment to another.
#[must_use]
pub fn between(from: impl Given<Timestamp>, to: impl Given<Timestamp>) -> String {
    duration(to.given().seconds_since(from.given()))
}

/// How long ago: `now`, `8 s ago`, `3 min ago`; `in 3 min` of what is to come.
#[must_use]
pub fn ago(then: impl Given<Timestamp>, now: impl Given<Timestamp>) -> String {
    let milliseconds = now.given().as_millis() - then.given().as_millis();
    let seconds = milliseconds as f64 / 1_000.0;
    let largest = |seconds: f64| {
        let (of, name) = match seconds {
            it if it < SECONDS_A_MINUTE => (1.0, "s"),
            it if it < SECONDS_AN_HOUR => (SECONDS_A_MINUTE, "min"),
            it if it < SECONDS_A_DAY => (SECONDS_AN_HOUR, "h"),
            _ => (SECONDS_A_DAY, "d"),
        };
        format!("{} {name}", (seconds / of).floor())
    };
    match seconds {
        it if it >= 1.0 => format!("{} ago", largest(it)),
        it if it <= -1.0 => format!("in {}", largest(-it)),
        _ => "now".to_owned(),
    }
}

/// The moment for people: `2026-01-31 12:00:00 UTC`.
#[must_use]
pub fn moment(at: impl Given<Timestamp>) -> String {
    let text = at.given().to_string();
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    let time = time.split(['.', 'Z']).next().unwrap_or_default();
    format!("{day} {time} UTC")
}

/// A size: `340 B`, `8.2 KiB`, `1.5 GiB`.
#[must_use]
pub fn bytes(bytes: impl Given<u64>) -> String {
    let bytes = bytes.given();
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 1_023.95 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    if value < 99.95 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// A number with its thousands apart: `1,234,567`.
#[must_use]
pub fn count(number: impl Given<u64>) -> String {
    let digits = number.given().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share from 0 to 1: `97 %`. Rounded away from the ends, so that only all is 100 % and only
/// nothing 0 %.
#[must_use]
pub fn percent(share: impl Given<f64>) -> String {
    let percent = share.given() * 100.0;
    let rounded = match percent.round() {
        it if it >= 100.0 && percent < 100.0 => 99.0,
        it if it <= 0.0 && percent > 0.0 => 1.0,
        it => it,
    };
    format!("{rounded:.0} %")
}

/// A change in percent: `+12 %`, `−3 %`, `±0 %`.
#[must_use]
pub fn change(percent: impl Given<f64>) -> String {
    match percent.given().round() {
        0.0 => "±0 %".to_owned(),
        it if it > 0.0 => format!("+{it:.0} %"),
        it => format!("−{:.0} %", it.abs()),
    }
}

/// One or many: `1 job`, `2 jobs`.
#[must_use]
pub fn counted(number: impl Given<u64>, one: &str, many: &str) -> String {
    let number = number.given();
    let word = if number == 1 { one } else { many };
    format!("{} {word}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, said) in [
            (0.0, "0 ms"),
            (0.34, "340 ms"),
            (0.9999, "1.0 s"),
            (8.24, "8.2 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (60.0, "1 min"),
            (185.0, "3 min 5 s"),
            (7_800.0, "2 h 10 min"),
            (90_000.0, "1 d 1 h"),
            (-1.0, "0 ms"),
        ] {
            assert_eq!(duration(seconds), said);
        }
    }

    #[test]
    fn moments_are_said_from_now() {
        let now = Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
        for (then, said) in [
            ("2026-01-31T12:00:00.4Z", "now"),
            ("2026-01-31T11:59:52Z", "8 s ago"),
            ("2026-01-31T11:57:01Z", "2 min ago"),
            ("2026-01-31T09:00:00Z", "3 h ago"),
            ("2026-01-28T09:00:00Z", "3 d ago"),
            ("2026-01-31T12:05:00Z", "in 5 min"),
        ] {
            assert_eq!(ago(Timestamp::parse(then).unwrap(), now), said);
        }
        assert_eq!(moment(now), "2026-01-31 12:00:00 UTC");
    }

    #[test]
    fn sizes_and_counts() {
        for (size, said) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (8_396, "8.2 KiB"),
            (1 << 20, "1.0 MiB"),
            (1_610_612_736, "1.5 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(size), said);
        }
        for (share, said) in [
            (0.0, "0 %"),
            (0.001, "1 %"),
            (0.974, "97 %"),
            (0.999, "99 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(share), said);
        }
        assert_eq!([12.3, -3.0, 0.2].map(change), ["+12 %", "−3 %", "±0 %"]);
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "job", "jobs"), "1 job");
        assert_eq!(counted(1_000, "job", "jobs"), "1,000 jobs");
    }
}

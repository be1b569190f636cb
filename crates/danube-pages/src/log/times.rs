//! How the moments of lines are said. `assets/log.js` says them alike.

use danube_model::Timestamp;
use serde::Serialize;

use super::row::Row;

const MICROS_A_SECOND: u64 = 1_000_000;
const MICROS_A_MILLI: u64 = 1_000;
const SECONDS_A_MINUTE: u64 = 60;
const SECONDS_AN_HOUR: u64 = 3_600;

/// Which moments stand beside lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Times {
    /// The time of day, UTC.
    #[default]
    Absolute,
    /// Since the log began.
    Relative,
    /// Since the line before.
    Delta,
    /// None.
    Off,
}

impl Times {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Absolute, Self::Relative, Self::Delta, Self::Off];

    /// Its value in the address.
    #[must_use]
    pub const fn value(self) -> &'static str {
        match self {
            Self::Absolute => "absolute",
            Self::Relative => "relative",
            Self::Delta => "delta",
            Self::Off => "off",
        }
    }

    /// What a choice calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absolute => "time (UTC)",
            Self::Relative => "since the start",
            Self::Delta => "since the line before",
            Self::Off => "none",
        }
    }

    /// The one with this value.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.value() == value)
    }
}

/// The moment of a row, as it stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// As asked for.
    pub(crate) text: String,
    /// Date and time.
    pub(crate) exact: String,
}

/// Says the moments of one row after the other.
#[derive(Debug)]
pub(super) struct Clock {
    times: Times,
    start_us: Option<u64>,
    before_us: Option<u64>,
}

impl Clock {
    /// Of a log that began then.
    pub(super) fn new(times: Times, start_us: Option<u64>) -> Self {
        Self {
            times,
            start_us,
            before_us: None,
        }
    }

    /// The moment of the next row.
    pub(super) fn say(&mut self, row: &Row) -> Option<Said> {
        let at = row.time_us?;
        let before = self.before_us.replace(at).unwrap_or(at);
        let exact = exact(at);
        let text = match self.times {
            Times::Absolute => exact.split(' ').nth(1).unwrap_or_default().to_owned(),
            Times::Relative => since(self.start_us.unwrap_or(at), at),
            Times::Delta => since(before, at),
            Times::Off => return None,
        };
        Some(Said { text, exact })
    }
}

/// `2026-01-31 12:00:00.123 UTC`.
fn exact(at_us: u64) -> String {
    let millis = i64::try_from(at_us / MICROS_A_MILLI).unwrap_or(i64::MAX);
    let text = Timestamp::from_millis(millis).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// `+0.123`, `+1:02.003`, `+2:00:00.000`; `-0.001` where a clock was set back.
fn since(from_us: u64, at_us: u64) -> String {
    let sign = if at_us < from_us { '-' } else { '+' };
    let micros = at_us.abs_diff(from_us);
    let (seconds, millis) = (
        micros / MICROS_A_SECOND,
        micros % MICROS_A_SECOND / MICROS_A_MILLI,
    );
    let (hours, rest) = (seconds / SECONDS_AN_HOUR, seconds % SECONDS_AN_HOUR);
    let (minutes, seconds) = (rest / SECONDS_A_MINUTE, rest % SECONDS_A_MINUTE);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}.{millis:03}"),
        (0, _) => format!("{sign}{minutes}:{seconds:02}.{millis:03}"),
        _ => format!("{sign}{hours}:{minutes:02}:{seconds:02}.{millis:03}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_said_as_asked_for() {
        for (micros, said) in [
            (0, "+0.000"),
            (123_999, "+0.123"),
            (62_003_000, "+1:02.003"),
            (7_200_000_000, "+2:00:00.000"),
        ] {
            assert_eq!(since(5, 5 + micros), said);
        }
        assert_eq!(since(2_000, 1_000), "-0.001");
        assert_eq!(exact(1_768_048_496_789_012), "2026-01-10 12:34:56.789 UTC");
        for times in Times::ALL {
            assert_eq!(Times::parse(times.value()), Some(times));
        }
        assert_eq!(Times::parse("x"), None);
    }
}

//! A check's last day as a strip: a part for each quarter of an hour, of how it went.

use super::scale;

/// Parts of a strip: a quarter of an hour each, of a day.
const PARTS: usize = 96;

/// Width of the picture.
pub const WIDTH: f64 = 384.0;

/// What happened in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// Nobody looked, or what was seen isn't kept.
    Unknown,
    /// All was well.
    Well,
    /// It failed or was degraded at least once.
    Badly,
}

impl Went {
    /// Its class, and how it is said.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Well => "well",
            Self::Badly => "badly",
        }
    }
}

/// A strip.
#[derive(Debug, Clone, PartialEq)]
pub struct Strip {
    /// Its parts; neighbours that went alike are one.
    pub parts: Vec<Part>,
    /// What it says, in words.
    pub says: String,
}

/// A part of a strip.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its left side.
    pub left: f64,
    /// Its width.
    pub width: f64,
    /// How it went.
    pub went: Went,
    /// From when to when, and how it went.
    pub says: String,
}

impl Strip {
    /// The strip of the time from `from` to `to`, in Unix seconds, of points that are failures in
    /// a row.
    #[must_use]
    pub fn of(points: &[(f64, f64)], (from, to): (f64, f64)) -> Self {
        let mut went = [Went::Unknown; PARTS];
        let length = (to - from) / PARTS as f64;
        for (at, failures) in points {
            if !(*at >= from && *at <= to && failures.is_finite()) {
                continue;
            }
            let part = &mut went[nth((at - from) / length)];
            if *failures > 0.0 {
                *part = Went::Badly;
            } else if *part == Went::Unknown {
                *part = Went::Well;
            }
        }
        let mut parts = Vec::new();
        let mut before = 0;
        for alike in went.chunk_by(|one, other| one == other) {
            let after = before + alike.len();
            let side = |part: usize| part as f64 * WIDTH / PARTS as f64;
            let time = |part: usize| scale::moment(from + part as f64 * length, to);
            parts.push(Part {
                left: side(before),
                width: side(after) - side(before),
                went: alike[0],
                says: format!("{} to {}: {}", time(before), time(after), said(alike[0])),
            });
            before = after;
        }
        let says = summary(&parts);
        Self { parts, says }
    }
}

/// The part of this number, which is from 0 to [`PARTS`].
fn nth(part: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is no part of the strip is the nearest one"
    )]
    let part = part as usize;
    part.min(PARTS - 1)
}

const fn said(went: Went) -> &'static str {
    match went {
        Went::Unknown => "not known",
        Went::Well => "well",
        Went::Badly => "in trouble",
    }
}

fn summary(parts: &[Part]) -> String {
    let all = parts.iter();
    let bad: Vec<&str> = all
        .filter(|it| it.went == Went::Badly)
        .map(|it| it.says.trim_end_matches(": in trouble"))
        .collect();
    if parts.iter().all(|it| it.went == Went::Unknown) {
        return "nothing is known yet".to_owned();
    }
    match bad.as_slice() {
        [] => "well whenever it was looked at".to_owned(),
        [one] => format!("in trouble {one}"),
        [.., last] => format!("in trouble {} times, last {last}", bad.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: f64 = 86_400.0;
    const QUARTER: f64 = 900.0;

    #[test]
    fn what_went_alike_is_one_part() {
        let strip = Strip::of(
            &[
                (0.0, 0.0),
                (QUARTER, 0.0),
                (2.0 * QUARTER, 0.0),
                (2.5 * QUARTER, 3.0),
                (2.6 * QUARTER, 0.0),
            ],
            (0.0, DAY),
        );
        let went: Vec<(Went, f64)> = strip.parts.iter().map(|it| (it.went, it.width)).collect();
        assert_eq!(
            went,
            [
                (Went::Well, 8.0),
                (Went::Badly, 4.0),
                (Went::Unknown, WIDTH - 12.0)
            ]
        );
        assert_eq!(strip.says, "in trouble 01-01 00:30:00 to 01-01 00:45:00");
    }

    #[test]
    fn what_is_no_number_or_lies_elsewhere_is_left_out() {
        let points = [
            (f64::NAN, 1.0),
            (f64::INFINITY, 1.0),
            (-1.0, 1.0),
            (5.0, f64::NAN),
            (DAY, 0.0),
        ];
        let strip = Strip::of(&points, (0.0, DAY));
        assert_eq!(strip.parts.len(), 2);
        assert_eq!(strip.parts[1].went, Went::Well);
        assert_eq!(strip.says, "well whenever it was looked at");
        let none = Strip::of(&[], (0.0, DAY));
        assert_eq!(none.says, "nothing is known yet");
    }
}

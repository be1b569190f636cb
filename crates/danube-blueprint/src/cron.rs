//! Schedules of five fields, and when they are due in a time zone.
//!
//! A schedule whose hour begins with `*` follows time as it passes: it is due at every minute
//! that reads so on the wall. Any other is meant for a time of day, and is due exactly once on
//! each of its days: a time that comes twice counts the first time, one that is skipped counts
//! as much later as the clocks were set forward. The table in `docs/blueprint.md` says the same.

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Days that are looked at for the next time: 29 February may be eight years away (1896 to
/// 1904, 2096 to 2104), and a day before for what a time zone moves.
const DAYS_MAX: usize = 8 * 366 + 2;

/// Minutes of the longest day that a time zone has made, twice over.
const MINUTES_MAX: usize = 2 * 24 * 60;

/// Bytes of a schedule: every minute of an hour listed, and more.
const TEXT_BYTES_MAX: usize = 500;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A schedule that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Which of the two fields for days begin with `*`: if neither does, either may fit.
    any_day: bool,
    any_weekday: bool,
    /// The hour begins with `*`.
    follows_time: bool,
}

/// What is wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCron(String);

impl fmt::Display for BadCron {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for BadCron {}

/// One of the five fields.
struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    names: &'static [&'static str],
    /// The number of the first name.
    first: u8,
}

const fn field(name: &'static str, min: u8, max: u8) -> Field {
    Field {
        name,
        min,
        max,
        names: &[],
        first: 0,
    }
}

const MINUTE: Field = field("minute", 0, 59);
const HOUR: Field = field("hour", 0, 23);
const DAY: Field = field("day of the month", 1, 31);
const MONTH: Field = Field {
    names: &MONTHS,
    first: 1,
    ..field("month", 1, 12)
};
const WEEKDAY: Field = Field {
    names: &DAYS,
    ..field("day of the week", 0, 7)
};

impl Cron {
    /// Reads `minute hour day month weekday`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadCron> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            let what =
                "must have five fields: minute, hour, day of the month, month, day of the week";
            return Err(BadCron(format!("{what}; found {}", fields.len())));
        };
        if text.len() > TEXT_BYTES_MAX {
            return Err(BadCron(format!("is longer than {TEXT_BYTES_MAX} bytes")));
        }
        let weekdays = WEEKDAY.read(weekday)?;
        let cron = Self {
            minutes: MINUTE.read(minute)?,
            hours: HOUR.read(hour)?,
            days: DAY.read(day)?,
            months: MONTH.read(month)?,
            // Sunday is 7 as well.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            any_day: day.starts_with('*'),
            any_weekday: weekday.starts_with('*'),
            follows_time: hour.starts_with('*'),
        };
        if cron.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC).is_none() {
            return Err(BadCron("names a day that no month has".to_owned()));
        }
        Ok(cron)
    }

    /// The first time after `after` at which it is due.
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.follows_time {
            self.next_as_time_passes(after, zone)
        } else {
            self.next_of_day(after, zone)
        }
    }

    fn next_as_time_passes(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let minute = after.as_second().div_euclid(60) + 1;
        let mut at = Timestamp::from_second(minute * 60).ok()?;
        let (mut days, mut minutes) = (0, 0);
        while days < DAYS_MAX && minutes < MINUTES_MAX {
            let local = zone.to_datetime(at);
            if !self.fits_day(local.date()) {
                days += 1;
                let tomorrow = local.date().tomorrow().ok()?.to_zoned(zone.clone()).ok()?;
                // A day that begins twice would be looked at for ever.
                at = tomorrow.timestamp().max(at + Span::new().minutes(1));
                continue;
            }
            if self.fits_time(local) {
                return Some(at);
            }
            minutes += 1;
            at = at.checked_add(Span::new().minutes(1)).ok()?;
        }
        None
    }

    fn next_of_day(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut date = zone.to_datetime(after).date().yesterday().ok()?;
        for _ in 0..DAYS_MAX {
            if self.fits_day(date)
                && let Some(first) = self.first_of(date, after, zone)
            {
                return Some(first);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// The first time of a day that lies after `after`.
    fn first_of(&self, date: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let hours = (0..24).filter(|it| has(self.hours, *it));
        let minutes = |hour| {
            let minutes = (0..60).filter(|it| has(self.minutes, *it));
            minutes.map(move |minute| (hour, minute))
        };
        let times = hours.flat_map(minutes).filter_map(|(hour, minute)| {
            let local = date.at(hour, minute, 0, 0);
            zone.to_ambiguous_timestamp(local).compatible().ok()
        });
        times.filter(|it| *it > after).min()
    }

    fn fits_day(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, weekday);
        let either = !self.any_day && !self.any_weekday;
        has(self.months, date.month())
            && if either {
                day || weekday
            } else {
                day && weekday
            }
    }

    fn fits_time(&self, local: DateTime) -> bool {
        has(self.hours, local.hour()) && has(self.minutes, local.minute())
    }
}

fn has(set: u64, number: i8) -> bool {
    set >> number & 1 == 1
}

impl Field {
    /// A set of numbers, as bits.
    fn read(&self, text: &str) -> Result<u64, BadCron> {
        let mut set = 0;
        for part in text.split(',') {
            set |= self.part(part)?;
        }
        Ok(set)
    }

    fn part(&self, part: &str) -> Result<u64, BadCron> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.min, self.max),
            Some((from, to)) => (self.number(from)?, self.number(to)?),
            // `5/10` is what nobody agrees on.
            None if step.is_some() => return Err(self.bad(part)),
            None => (self.number(range)?, self.number(range)?),
        };
        let step = match step {
            None => 1,
            Some(step) => plain(step)
                .filter(|it| *it > 0)
                .ok_or_else(|| self.bad(part))?,
        };
        if from > to {
            return Err(self.bad(part));
        }
        let numbers = (from..=to).step_by(usize::from(step));
        Ok(numbers.fold(0, |set, it| set | 1_u64 << it))
    }

    fn number(&self, text: &str) -> Result<u8, BadCron> {
        let lower = text.to_ascii_lowercase();
        let named = self
            .names
            .iter()
            .zip(self.first..)
            .find(|it| *it.0 == lower);
        let number = named.map(|it| it.1).or_else(|| plain(text));
        let inside = number.filter(|it| (self.min..=self.max).contains(it));
        inside.ok_or_else(|| self.bad(text))
    }

    fn bad(&self, found: &str) -> BadCron {
        let Self {
            name,
            min,
            max,
            names,
            ..
        } = self;
        let or = match names {
            [first, .., last] => format!(" or `{first}` to `{last}`"),
            _ => String::new(),
        };
        BadCron(format!(
            "holds `{}` for the {name}: it takes `*`, numbers from {min} to {max}{or}, ranges as `1-5`, steps as `*/2` or `1-9/2`, and several with `,`",
            found.escape_debug()
        ))
    }
}

fn plain(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a schedule is due after a time, in this zone, as local times with their offset.
    fn check(schedule: &str, zone: &str, after: &str, expected: &[&str]) {
        let cron = Cron::parse(schedule).unwrap();
        let zone = TimeZone::get(zone).unwrap();
        let mut at: Timestamp = after.parse().unwrap();
        let mut found = Vec::new();
        for _ in expected {
            at = cron.next(at, &zone).unwrap();
            let zoned = at.to_zoned(zone.clone());
            found.push(zoned.strftime("%F %H:%M %:z").to_string());
        }
        assert_eq!(found, expected, "{schedule}");
    }

    #[test]
    fn a_schedule_is_due_when_all_of_its_fields_fit() {
        let after = "2026-01-30T10:00:30Z";
        check(
            "*/15 * * * *",
            "UTC",
            after,
            &["2026-01-30 10:15 +00:00", "2026-01-30 10:30 +00:00"],
        );
        check(
            "0 3 * * mon-fri",
            "UTC",
            after,
            &["2026-02-02 03:00 +00:00", "2026-02-03 03:00 +00:00"],
        );
        check("0 0 1 jan *", "UTC", after, &["2027-01-01 00:00 +00:00"]);
        check("0 0 29 2 *", "UTC", after, &["2028-02-29 00:00 +00:00"]);
        check("0 12 * * 7", "UTC", after, &["2026-02-01 12:00 +00:00"]);
        // Two restricted fields for days: either.
        check(
            "0 0 13 * 5",
            "UTC",
            after,
            &["2026-02-06 00:00 +00:00", "2026-02-13 00:00 +00:00"],
        );
        check(
            "0 9,17 * * *",
            "Asia/Kolkata",
            after,
            &["2026-01-30 17:00 +05:30"],
        );
        // A minute that has begun is over.
        check(
            "0 10 30 1 *",
            "UTC",
            "2026-01-30T10:00:00Z",
            &["2027-01-30 10:00 +00:00"],
        );
        check(
            "0 10 30 1 *",
            "UTC",
            "2026-01-30T09:59:59Z",
            &["2026-01-30 10:00 +00:00"],
        );
    }

    #[test]
    fn a_time_of_day_that_summer_time_skips_comes_as_much_later_and_once() {
        let after = "2026-03-28T12:00:00Z";
        let zone = "Europe/Vienna";
        check(
            "30 2 * * *",
            zone,
            after,
            &["2026-03-29 03:30 +02:00", "2026-03-30 02:30 +02:00"],
        );
        check(
            "30 2,3 * * *",
            zone,
            after,
            &["2026-03-29 03:30 +02:00", "2026-03-30 02:30 +02:00"],
        );
        // What follows time has nothing to do in an hour that isn't.
        check(
            "30 * * * *",
            zone,
            "2026-03-29T00:00:00Z",
            &["2026-03-29 01:30 +01:00", "2026-03-29 03:30 +02:00"],
        );
        // Half an hour alone, in New South Wales' sea.
        check(
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T00:00:00Z",
            &["2026-10-04 02:45 +11:00"],
        );
        // Midnight itself is skipped.
        check(
            "0 0 * * *",
            "Africa/Cairo",
            "2026-04-23T12:00:00Z",
            &["2026-04-24 01:00 +03:00", "2026-04-25 00:00 +03:00"],
        );
    }

    #[test]
    fn a_time_of_day_that_comes_twice_counts_once_and_what_follows_time_twice() {
        let after = "2026-10-24T12:00:00Z";
        let zone = "Europe/Vienna";
        check(
            "30 2 * * *",
            zone,
            after,
            &["2026-10-25 02:30 +02:00", "2026-10-26 02:30 +01:00"],
        );
        check(
            "30 * * * *",
            zone,
            "2026-10-25T00:00:00Z",
            &[
                "2026-10-25 02:30 +02:00",
                "2026-10-25 02:30 +01:00",
                "2026-10-25 03:30 +01:00",
            ],
        );
    }

    #[test]
    fn what_is_no_schedule_is_explained() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "1, * * * *",
            "5/10 * * * *",
            "0 0 31 feb,apr *",
            "+1 * * * *",
            "@daily",
            "0 0 * * mon-",
            "-1 * * * *",
        ] {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
        let why = Cron::parse("0 0 * foo *").unwrap_err().to_string();
        assert!(
            why.contains("`foo` for the month") && why.contains("`jan` to `dec`"),
            "{why}"
        );
    }
}

//! When a trigger of time is due, in seconds since 1970: whoever starts jobs needs no
//! calendar.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cron::Cron;
use crate::model::CronTrigger;

/// A schedule in its time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// The schedule of a trigger; none where this machine doesn't know its time zone.
    #[must_use]
    pub fn of(trigger: &CronTrigger) -> Option<Self> {
        Some(Self {
            cron: Cron::parse(&trigger.schedule).ok()?,
            zone: TimeZone::get(&trigger.timezone).ok()?,
        })
    }

    /// The first time after `after`.
    #[must_use]
    pub fn next(&self, after: i64) -> Option<i64> {
        let after = Timestamp::from_second(after).ok()?;
        let next = self.cron.next(after, &self.zone)?;
        Some(next.as_second())
    }

    /// The last time after `after` that isn't later than `until`.
    #[must_use]
    pub fn last(&self, after: i64, until: i64) -> Option<i64> {
        let times = std::iter::successors(self.next(after), |it| self.next(*it));
        times.take_while(|it| *it <= until).last()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_last_time_of_a_span_is_found_also_over_a_change_of_clocks() {
        let schedule = |schedule: &str, timezone: &str| {
            let trigger = CronTrigger {
                schedule: schedule.to_owned(),
                timezone: timezone.to_owned(),
                git_ref: None,
                parameters: BTreeMap::new(),
            };
            Schedule::of(&trigger)
        };
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        let minutes = schedule("*/10 * * * *", "UTC").unwrap();
        let (from, to) = (at("2026-03-01T10:00:00Z"), at("2026-03-01T10:34:59Z"));
        assert_eq!(minutes.next(from), Some(at("2026-03-01T10:10:00Z")));
        assert_eq!(minutes.last(from, to), Some(at("2026-03-01T10:30:00Z")));
        assert_eq!(minutes.last(from, from + 599), None);
        // 02:30 isn't there on that day, and counts as 03:30.
        let night = schedule("30 2 * * *", "Europe/Vienna").unwrap();
        let (from, to) = (at("2026-03-28T12:00:00Z"), at("2026-03-29T12:00:00Z"));
        assert_eq!(night.last(from, to), Some(at("2026-03-29T01:30:00Z")));
        assert!(schedule("* * * * *", "Nowhere/Else").is_none());
    }
}

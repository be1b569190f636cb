//! When it looks next.

use std::time::Duration;

use danube_model::Timestamp;
use danube_signals::ReapReason;

/// The limits of size and disk are passed by what jobs write in an hour at most.
const HOUR_MILLIS: i64 = 3_600_000;

const DAY_MILLIS: i64 = 24 * HOUR_MILLIS;

/// When everything is looked at, in UTC: at night in Europe, and of no hour that a clock
/// leaves out or has twice.
const DAILY_AT_MILLIS: i64 = 3 * HOUR_MILLIS;

/// How long until the next look, and what it is for.
pub(super) fn next(now: Timestamp) -> (Duration, ReapReason) {
    let of_day = now.as_millis().rem_euclid(DAY_MILLIS);
    let until_daily = (DAILY_AT_MILLIS - of_day - 1).rem_euclid(DAY_MILLIS) + 1;
    let (millis, reason) = if until_daily <= HOUR_MILLIS {
        (until_daily, ReapReason::Daily)
    } else {
        (HOUR_MILLIS, ReapReason::Hourly)
    };
    (Duration::from_millis(millis.unsigned_abs()), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next look after a time of a day.
    fn check(hour: i64, minute: i64, expected: (u64, ReapReason)) {
        let now = 20_000 * DAY_MILLIS + hour * HOUR_MILLIS + minute * 60_000;
        let (pause, reason) = next(Timestamp::from_millis(now));
        assert_eq!((pause.as_secs() / 60, reason), expected, "{hour}:{minute}");
    }

    #[test]
    fn it_looks_at_three_in_the_night_and_every_hour_for_the_limits() {
        check(0, 0, (60, ReapReason::Hourly));
        check(1, 59, (60, ReapReason::Hourly));
        check(2, 0, (60, ReapReason::Daily));
        check(2, 59, (1, ReapReason::Daily));
        // It has just looked.
        check(3, 0, (60, ReapReason::Hourly));
        check(23, 30, (60, ReapReason::Hourly));
    }
}

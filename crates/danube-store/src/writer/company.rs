//! Decides how many urgent requests a transaction waits for, and how long.
//!
//! One client pays one fsync and no delay. Many share: as long as more come
//! than were waited for, the next transaction waits for half as many again.

use std::time::Duration;

/// Longest that a batch waits for company. A commit costs about that much on a
/// good disk, so a shared one is answered no later than the second of two.
const WAIT_MAX: Duration = Duration::from_millis(2);

/// Shortest, where commits are quicker than clients can ask again.
const WAIT_MIN: Duration = Duration::from_micros(500);

/// Batches below this size don't grow: two or three clients that wait for their
/// answers would only wait longer.
const GROWS_FROM: usize = 4;

/// Batches after a wait in vain before a larger one is tried again.
const REST_BATCHES: u32 = 16;

/// How many urgent requests are expected to come together, and how long they
/// are waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Company {
    pub(super) expected: usize,
    pub(super) wait: Duration,
    /// Batches to go before the next try.
    rest: u32,
}

impl Company {
    /// What to wait for after a batch to which so many `came` and which took
    /// `elapsed` to write.
    pub(super) fn after(self, came: usize, elapsed: Duration) -> Self {
        if came < GROWS_FROM {
            let wait = elapsed.clamp(WAIT_MIN, WAIT_MAX);
            return Self {
                expected: came,
                wait,
                rest: self.rest,
            };
        }
        if came < self.expected {
            return Self {
                expected: came,
                wait: WAIT_MAX,
                rest: REST_BATCHES,
            };
        }
        match self.rest.checked_sub(1) {
            None => Self {
                expected: came + came / 2,
                wait: WAIT_MAX,
                rest: 0,
            },
            Some(rest) => Self {
                expected: came,
                wait: WAIT_MAX,
                rest,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: Duration = Duration::from_micros(150);

    /// Sizes of the batches that follow when never more than `clients` come.
    fn batches(clients: usize, count: usize) -> Vec<usize> {
        let mut company = Company::default();
        (0..count)
            .map(|_| {
                // All that is waited for come, as far as there are so many.
                let came = company.expected.max(clients.min(6)).min(clients);
                company = company.after(came, COMMIT);
                came
            })
            .collect()
    }

    #[test]
    fn one_client_is_never_kept_waiting_for_another() {
        let company = Company::default().after(1, COMMIT);
        assert_eq!(company.expected, 1);
    }

    #[test]
    fn two_clients_are_waited_for_and_no_third() {
        assert_eq!(Company::default().after(2, COMMIT).expected, 2);
    }

    #[test]
    fn batches_grow_until_all_clients_share_one() {
        assert_eq!(batches(64, 8), [6, 9, 13, 19, 28, 42, 63, 64]);
    }

    #[test]
    fn a_wait_in_vain_is_not_repeated_at_once() {
        let mut company = Company::default().after(8, COMMIT);
        assert_eq!(company.expected, 12);
        company = company.after(8, COMMIT);
        for _ in 0..REST_BATCHES {
            assert_eq!(company.expected, 8);
            company = company.after(8, COMMIT);
        }
        assert_eq!(company.expected, 12 - 4);
        assert_eq!(company.after(8, COMMIT).expected, 12);
    }
}

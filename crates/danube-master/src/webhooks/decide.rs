//! Decides which webhooks are sent now, and what follows an attempt. Reads nothing but its
//! arguments, changes nothing.

use std::collections::HashMap;
use std::time::Duration;

use danube_model::{JobId, Timestamp};
use danube_store::{AfterTry, DueWebhook};

/// Webhooks that are sent at once: each takes a thread for [`super::DEADLINE`] at most.
pub(super) const AT_ONCE_MAX: usize = 32;

/// Of these, to one address that answers.
pub(super) const PER_ORIGIN_MAX: usize = 4;

/// To an address that didn't answer the last time.
pub(super) const PER_AILING_MAX: usize = 1;

/// Of these, to addresses that didn't answer the last time: however many are dead, the
/// others have their share.
pub(super) const AILING_MAX: usize = AT_ONCE_MAX / 2;

/// Attempts of one round; with the pauses between them it takes some ten hours, nineteen at
/// most.
pub(super) const ROUND_ATTEMPTS_MAX: u32 = 12;

/// Each pause may be so many times as long as the one before.
const PAUSE_GROWTH: u32 = 3;

/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(4 * 3_600);

/// Longest pause that a receiver may ask for; it must not park a webhook for ever.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(4 * 3_600);

/// What is being sent.
#[derive(Debug, Clone, Default)]
pub(super) struct UnderWay(pub(super) HashMap<JobId, Sending>);

/// Where a webhook is being sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sending {
    /// The address.
    pub(super) origin: String,
    /// Whether it didn't answer the last time that is known.
    pub(super) is_ailing: bool,
}

impl UnderWay {
    /// How many more can be sent: in all, and of these to addresses that don't answer.
    pub(super) fn places(&self) -> (usize, usize) {
        let ailing = self.0.values().filter(|it| it.is_ailing).count();
        let places = AT_ONCE_MAX.saturating_sub(self.0.len());
        (places, AILING_MAX.saturating_sub(ailing).min(places))
    }

    /// How many are being sent, by address.
    pub(super) fn busy(&self) -> HashMap<String, usize> {
        let mut busy = HashMap::new();
        for it in self.0.values() {
            *busy.entry(it.origin.clone()).or_default() += 1;
        }
        busy
    }

    /// An attempt ended: it makes its address well or ailing, also for what is still being
    /// sent there.
    pub(super) fn ended(&mut self, job: JobId, has_answered: Option<bool>) {
        let ended = self.0.remove(&job);
        let Some((ended, has_answered)) = ended.zip(has_answered) else {
            return;
        };
        for it in self.0.values_mut().filter(|it| it.origin == ended.origin) {
            it.is_ailing = !has_answered;
        }
    }
}

/// What is to be sent now, of what is due: the longest due first of each address.
pub(super) fn decide(due: Vec<DueWebhook>, under_way: &UnderWay) -> Vec<DueWebhook> {
    let (mut places, mut ailing_places) = under_way.places();
    let mut to = under_way.busy();
    let waits = |it: &DueWebhook| !under_way.0.contains_key(&it.job);
    let (sick, well): (Vec<_>, Vec<_>) = due.into_iter().filter(waits).partition(|it| it.is_ailing);
    let mut chosen = Vec::new();
    for (webhook, is_sick) in well
        .into_iter()
        .map(|it| (it, false))
        .chain(sick.into_iter().map(|it| (it, true)))
    {
        let there = to.entry(webhook.origin.clone()).or_default();
        let most = if is_sick {
            PER_AILING_MAX
        } else {
            PER_ORIGIN_MAX
        };
        if places == 0 || *there >= most || (is_sick && ailing_places == 0) {
            continue;
        }
        *there += 1;
        places -= 1;
        ailing_places -= usize::from(is_sick);
        chosen.push(webhook);
    }
    chosen
}

/// What was heard of a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It answered.
    Answer {
        /// The status.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It didn't; why.
    Nothing(String),
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What follows.
    pub(crate) next: AfterTry,
    /// Why it doesn't count as delivered.
    pub(crate) error: Option<String>,
}

/// What follows an attempt that was the `round`th before, from 0. `dice` is between 0 and 1.
pub(crate) fn after(
    heard: &Heard,
    round: u32,
    first_pause: Duration,
    dice: f64,
    now: Timestamp,
) -> Verdict {
    let (why, wanted) = match heard {
        Heard::Answer {
            status: 200..=299, ..
        } => {
            return Verdict {
                next: AfterTry::Delivered,
                error: None,
            };
        }
        Heard::Answer { status: 410, .. } => {
            return Verdict {
                next: AfterTry::Failed,
                error: Some("status 410: the receiver wants no more".to_owned()),
            };
        }
        Heard::Answer {
            status: status @ 300..=399,
            ..
        } => (
            format!("status {status}: redirects aren't followed"),
            Duration::ZERO,
        ),
        Heard::Answer {
            status,
            retry_after,
        } => (format!("status {status}"), retry_after.unwrap_or_default()),
        Heard::Nothing(why) => (why.clone(), Duration::ZERO),
    };
    if round + 1 >= ROUND_ATTEMPTS_MAX {
        return Verdict {
            next: AfterTry::Failed,
            error: Some(format!(
                "{why}; given up after {ROUND_ATTEMPTS_MAX} attempts"
            )),
        };
    }
    let longest = PAUSE_GROWTH
        .checked_pow(round)
        .and_then(|it| first_pause.checked_mul(it))
        .unwrap_or(PAUSE_MAX)
        .min(PAUSE_MAX);
    let pause = longest.mul_f64(dice).max(wanted.min(RETRY_AFTER_MAX));
    let millis = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
    Verdict {
        next: AfterTry::Again(Timestamp::from_millis(
            now.as_millis().saturating_add(millis),
        )),
        error: Some(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const FIRST: Duration = Duration::from_secs(10);

    fn due(origin: &str, count: usize) -> Vec<DueWebhook> {
        let one = |_| DueWebhook {
            job: JobId::new(),
            owner: "1".to_owned(),
            origin: origin.to_owned(),
            shown: format!("{origin}/"),
            attempt: 1,
            round: 0,
            replays: 0,
            is_ailing: false,
            ended_at: NOW,
        };
        (0..count).map(one).collect()
    }

    fn ailing(origin: &str, count: usize) -> Vec<DueWebhook> {
        let all = due(origin, count).into_iter();
        all.map(|it| DueWebhook {
            is_ailing: true,
            ..it
        })
        .collect()
    }

    fn under_way(all: &[DueWebhook]) -> UnderWay {
        let all = all.iter().map(|it| {
            let sending = Sending {
                origin: it.origin.clone(),
                is_ailing: it.is_ailing,
            };
            (it.job, sending)
        });
        UnderWay(all.collect())
    }

    fn chosen(due: Vec<DueWebhook>, under_way: &UnderWay) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for it in decide(due, under_way) {
            *counts.entry(it.origin).or_default() += 1;
        }
        counts
    }

    #[test]
    fn one_address_gets_a_few_at_once_and_all_together_a_bound() {
        let idle = UnderWay::default();
        let all = [due("a", 9), due("b", 2)].concat();
        assert_eq!(
            chosen(all, &idle),
            HashMap::from([("a".to_owned(), 4), ("b".to_owned(), 2)])
        );
        let many = (0..40).flat_map(|it| due(&it.to_string(), 4)).collect();
        let found = chosen(many, &idle);
        assert_eq!(found.values().sum::<usize>(), AT_ONCE_MAX);
    }

    #[test]
    fn what_is_under_way_is_not_sent_twice_and_takes_its_place() {
        let all = due("a", 5);
        let found = decide(all.clone(), &under_way(&all[..3]));
        assert_eq!(found, all[3..4]);
    }

    #[test]
    fn dead_addresses_never_take_the_places_of_others() {
        let dead: Vec<_> = (0..100)
            .flat_map(|it| ailing(&format!("dead-{it}"), 3))
            .collect();
        let all = [dead.clone(), due("live", 2)].concat();
        let found = chosen(all, &UnderWay::default());
        assert_eq!(found["live"], 2);
        assert_eq!(found.len(), 1 + AILING_MAX);
        // Also when they are all under way already.
        let first: Vec<_> = dead.chunks(3).map(|it| it[0].clone()).collect();
        let sending = under_way(&first[..AILING_MAX]);
        let all = [first[99..].to_vec(), due("live", 2)].concat();
        assert_eq!(
            chosen(all, &sending),
            HashMap::from([("live".to_owned(), 2)])
        );
        assert_eq!(sending.places(), (AT_ONCE_MAX - AILING_MAX, 0));
    }

    #[test]
    fn one_attempt_tells_of_its_address_for_all_that_goes_there() {
        let all = [due("a", 3), due("b", 1)].concat();
        let mut sending = under_way(&all);
        sending.ended(all[0].job, Some(false));
        assert_eq!(sending.places(), (AT_ONCE_MAX - 3, AILING_MAX - 2));
        assert_eq!(sending.busy()["a"], 2);
        // Whatever it was that went wrong here, it says nothing of the address.
        sending.ended(all[1].job, None);
        assert_eq!(sending.places().1, AILING_MAX - 1);
        sending.ended(all[3].job, Some(true));
        assert_eq!(sending.places(), (AT_ONCE_MAX - 1, AILING_MAX - 1));
    }

    fn answer(status: u16, retry_after: Option<u64>) -> Heard {
        Heard::Answer {
            status,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn seconds(verdict: &Verdict) -> i64 {
        match verdict.next {
            AfterTry::Again(at) => (at.as_millis() - NOW.as_millis()) / 1_000,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn success_ends_it_and_so_does_gone() {
        for status in [200, 202, 204, 299] {
            let verdict = after(&answer(status, None), 0, FIRST, 1.0, NOW);
            assert_eq!(
                verdict,
                Verdict {
                    next: AfterTry::Delivered,
                    error: None
                }
            );
        }
        let gone = after(&answer(410, None), 0, FIRST, 1.0, NOW);
        assert_eq!(gone.next, AfterTry::Failed);
    }

    #[test]
    fn everything_else_is_tried_again_for_hours_and_then_given_up() {
        for heard in [
            answer(500, None),
            answer(404, None),
            answer(302, None),
            Heard::Nothing("x".to_owned()),
        ] {
            let pauses: Vec<i64> = (0..ROUND_ATTEMPTS_MAX - 1)
                .map(|round| seconds(&after(&heard, round, FIRST, 1.0, NOW)))
                .collect();
            assert_eq!(
                pauses,
                [
                    10, 30, 90, 270, 810, 2_430, 7_290, 14_400, 14_400, 14_400, 14_400
                ]
            );
            assert_eq!(seconds(&after(&heard, 3, FIRST, 0.0, NOW)), 0);
            let last = after(&heard, ROUND_ATTEMPTS_MAX - 1, FIRST, 1.0, NOW);
            assert_eq!(last.next, AfterTry::Failed);
            assert!(last.error.unwrap().ends_with("given up after 12 attempts"));
        }
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_pause_within_bounds() {
        let pause = |wanted, dice| seconds(&after(&answer(429, Some(wanted)), 0, FIRST, dice, NOW));
        assert_eq!(pause(120, 1.0), 120);
        assert_eq!(pause(1, 1.0), 10);
        assert_eq!(pause(u64::MAX, 0.0), 4 * 3_600);
    }
}

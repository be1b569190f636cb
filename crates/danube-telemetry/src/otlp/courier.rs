//! Takes one message to the collector, as often as it takes and as long as it is
//! worth it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use super::account::{Account, Stream};
use super::transport::{ANSWER_DEADLINE, Again, Refused, Service, Transport};

/// How a message that may be sent again is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Wait before the second try; doubled for each further one.
    pub first: Duration,
    /// Longest wait between two tries, so that a collector that is back is noticed.
    pub longest: Duration,
    /// A message that was not taken for so long makes room for newer ones.
    pub give_up: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(15),
            give_up: Duration::from_secs(120),
        }
    }
}

/// Whether and until when the exporter ends, as all of its threads see it.
#[derive(Default)]
pub(super) struct Stop {
    until: Mutex<Option<Instant>>,
    asked: Condvar,
}

impl Stop {
    /// Asks everybody to be done by `until`.
    pub(super) fn ask(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        self.asked.notify_all();
    }

    /// When everything must be done, if it must.
    pub(super) fn until(&self) -> Option<Instant> {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; `true` when it was cut short because the exporter ends.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        while until.is_none() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.asked.wait_timeout(until, left);
            until = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// What all couriers share.
#[derive(Clone)]
pub(super) struct Office {
    pub(super) transport: Arc<Transport>,
    pub(super) account: Arc<Account>,
    pub(super) stop: Arc<Stop>,
    pub(super) retry: Retry,
}

/// Delivers the messages of one stream, one after the other.
pub(super) struct Courier {
    pub(super) office: Office,
    pub(super) service: Service,
    pub(super) stream: Stream,
}

impl Courier {
    /// Delivers a message with so many items, or counts them as lost. It is tried until
    /// `give_up`, where there is one, but for the answer to a try that is under way and
    /// the wait that the collector asked for.
    pub(super) fn deliver(&self, body: &Bytes, items: u64, give_up: Option<Instant>) {
        let Office {
            account,
            stop,
            retry,
            ..
        } = &self.office;
        let mut wait = retry.first;
        loop {
            let Some(deadline) = self.deadline() else {
                return account.lose(self.stream.signal, items);
            };
            let sent = self.office.transport.send(self.service, body, deadline);
            let now = Instant::now();
            let refused = match sent {
                Ok(answer) => return self.taken(&answer, now),
                Err(refused) => refused,
            };
            let left = give_up.map(|end| end.saturating_duration_since(now));
            let next = next(refused.again, wait, left);
            let is_tried_again = next.is_same && stop.until().is_none();
            if !is_tried_again {
                account.lose(self.stream.signal, items);
            }
            account.failed(self.stream, &refused.why, now);
            if let Some(pause) = next.pause {
                wait = (wait * 2).min(retry.longest);
                // It holds for the message behind this one too. Cut short by the end,
                // there is one more try.
                stop.wait(pause);
            }
            if !is_tried_again {
                return;
            }
        }
    }

    /// How long a try may take; none when all time is up.
    fn deadline(&self) -> Option<Duration> {
        match self.office.stop.until() {
            None => Some(ANSWER_DEADLINE),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                Some(left.min(ANSWER_DEADLINE)).filter(|it| !it.is_zero())
            }
        }
    }

    fn taken(&self, answer: &Bytes, now: Instant) {
        let (rejected, why) = rejected(self.service, answer);
        let account = &self.office.account;
        if rejected == 0 {
            // With a message but no count it is advice that nobody has to act on.
            return account.succeeded(self.stream, now);
        }
        account.lose(self.stream.signal, rejected);
        let refused = Refused::new(Again::Never, format!("the collector took a part: {why}"));
        account.failed(self.stream, &refused.why, now);
    }
}

/// What follows a try that failed.
#[derive(Debug, PartialEq, Eq)]
struct Next {
    /// The same message again, else the one behind it.
    is_same: bool,
    /// How long to wait before that.
    pause: Option<Duration>,
}

/// Our own wait would be `wait`; the message is given up after `left`, if ever.
fn next(again: Again, wait: Duration, left: Option<Duration>) -> Next {
    let pause = match again {
        Again::Never => None,
        Again::Later => Some(jittered(wait)),
        // Not a moment earlier than it asked for; nor at once if it asked for 0.
        Again::After(asked) => Some(asked.max(jittered(wait))),
    };
    let is_same = pause.is_some_and(|pause| left.is_none_or(|left| pause < left));
    Next { is_same, pause }
}

/// How many items of a message were not taken, and why.
fn rejected(service: Service, answer: &Bytes) -> (u64, String) {
    let answer = answer.clone();
    let part = match service {
        Service::Metrics => ExportMetricsServiceResponse::decode(answer)
            .ok()
            .and_then(|it| it.partial_success)
            .map(|it| (it.rejected_data_points, it.error_message)),
        Service::Logs => ExportLogsServiceResponse::decode(answer)
            .ok()
            .and_then(|it| it.partial_success)
            .map(|it| (it.rejected_log_records, it.error_message)),
        Service::Traces => ExportTraceServiceResponse::decode(answer)
            .ok()
            .and_then(|it| it.partial_success)
            .map(|it| (it.rejected_spans, it.error_message)),
    };
    part.map(|(count, why)| (u64::try_from(count).unwrap_or(0), why))
        .unwrap_or_default()
}

/// Between half and all of it, so that a collector that is back isn't asked by
/// everybody at once.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [0];
    // Without a random byte all are late together, which does no harm either.
    let _ = getrandom::fill(&mut byte);
    wait / 2 + wait.mul_f64(f64::from(byte[0]) / 510.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_at_least_half_and_at_most_all_of_what_was_meant() {
        let second = Duration::from_secs(1);
        for _ in 0..1_000 {
            let wait = jittered(second);
            assert!(wait >= second / 2 && wait <= second, "{wait:?}");
        }
    }

    #[test]
    fn a_collector_that_asks_for_no_wait_is_not_asked_again_at_once() {
        let second = Duration::from_secs(1);
        let next = next(Again::After(Duration::ZERO), second, None);
        assert!(next.is_same);
        assert!(next.pause.unwrap() >= second / 2, "{next:?}");
    }

    #[test]
    fn a_wait_that_was_asked_for_holds_for_the_next_message_where_this_one_is_given_up() {
        let second = Duration::from_secs(1);
        for (asked, left, is_same) in [
            (200, Some(120), false),
            (120, Some(120), false),
            (119, Some(120), true),
            (200, None, true),
        ] {
            let asked = second * asked;
            let pause = Some(asked);
            let next = next(Again::After(asked), second, left.map(|it| second * it));
            assert_eq!(next, Next { is_same, pause });
        }
        let refused = Next {
            is_same: false,
            pause: None,
        };
        assert_eq!(next(Again::Never, second, None), refused);
    }

    #[test]
    fn who_waits_is_told_of_the_end() {
        let stop = Arc::new(Stop::default());
        assert!(!stop.wait(Duration::ZERO));
        let waits = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || stop.wait(Duration::from_secs(60)))
        };
        stop.ask(Instant::now());
        assert!(waits.join().unwrap());
        assert!(stop.wait(Duration::from_secs(60)));
    }
}

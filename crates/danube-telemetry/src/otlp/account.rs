//! What was lost, and how that is told: once a minute while it goes on, once when
//! it is over.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a failing export is told of.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What is said of losses while every message is taken.
const TOO_SLOW: &str = "there was more to send than the collector took in time";

/// What is said of losses that the end found.
const AT_THE_END: &str = "the end came before the collector took everything";

/// What is exported, as its losses are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Lines of the server's log and of job logs.
    Log,
    /// Points of metrics.
    Metric,
    /// Spans.
    Span,
}

impl Signal {
    const ALL: [Self; 3] = [Self::Log, Self::Metric, Self::Span];

    const COUNT: usize = Self::ALL.len();

    const fn index(self) -> usize {
        match self {
            Self::Log => 0,
            Self::Metric => 1,
            Self::Span => 2,
        }
    }
}

/// What the exporter has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told<'a> {
    /// The collector can't be reached, or doesn't take what it is sent. Told at most
    /// once a minute.
    Failed {
        /// What couldn't be sent.
        signal: Signal,
        /// What went wrong, in one short line.
        error: &'a str,
        /// Items of all signals that were lost since it was told of last.
        dropped: u64,
    },
    /// All signals are taken again, after a failure that was told of.
    Recovered {
        /// The signal that was the last to be taken again.
        signal: Signal,
        /// How long it went on.
        outage: Duration,
        /// Items of all signals that were lost since it was told of last.
        dropped: u64,
    },
}

/// Hears what the exporter has to say, on one of its threads.
pub type Tell = Arc<dyn Fn(&Told<'_>) + Send + Sync>;

/// One of the exporter's streams: two may be of the same signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) signal: Signal,
    /// A bit of its own.
    pub(super) bit: u8,
}

#[derive(Default)]
struct State {
    /// Streams whose last send failed.
    failing: u8,
    since: Option<Instant>,
    /// Why the last send that failed did.
    error: String,
    told_at: Option<Instant>,
    /// The failure that goes on was told of.
    is_told: bool,
    /// Of each signal.
    told_lost: [u64; Signal::COUNT],
}

impl State {
    fn is_due(&self, now: Instant) -> bool {
        self.told_at.is_none_or(|at| now >= at + TELL_EVERY)
    }
}

pub(super) struct Account {
    lost: [AtomicU64; Signal::COUNT],
    state: Mutex<State>,
    tell: Tell,
}

impl Account {
    pub(super) fn new(tell: Tell) -> Self {
        Self {
            lost: Default::default(),
            state: Mutex::default(),
            tell,
        }
    }

    pub(super) fn lose(&self, signal: Signal, items: u64) {
        self.lost[signal.index()].fetch_add(items, Relaxed);
    }

    pub(super) fn lost(&self, signal: Signal) -> u64 {
        self.lost[signal.index()].load(Relaxed)
    }

    pub(super) fn failed(&self, stream: Stream, error: &str, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failing |= stream.bit;
        state.since.get_or_insert(now);
        if state.error != error {
            error.clone_into(&mut state.error);
        }
        if !state.is_due(now) {
            return;
        }
        state.told_at = Some(now);
        state.is_told = true;
        let dropped = self.newly_lost(&mut state).1;
        drop(state);
        (self.tell)(&Told::Failed {
            signal: stream.signal,
            error,
            dropped,
        });
    }

    pub(super) fn succeeded(&self, stream: Stream, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failing & stream.bit == 0 {
            if state.failing == 0 && state.is_due(now) {
                let lost = self.newly_lost(&mut state);
                if lost.1 > 0 {
                    state.told_at = Some(now);
                    drop(state);
                    self.tell_lost(TOO_SLOW, lost);
                }
            }
            return;
        }
        state.failing &= !stream.bit;
        if state.failing != 0 {
            return;
        }
        let outage = state.since.take().map_or(Duration::ZERO, |it| now - it);
        if !std::mem::take(&mut state.is_told) {
            return;
        }
        let dropped = self.newly_lost(&mut state).1;
        drop(state);
        (self.tell)(&Told::Recovered {
            signal: stream.signal,
            outage,
            dropped,
        });
    }

    /// How long a failure goes on by now, and why.
    pub(super) fn outage(&self, now: Instant) -> Option<(Duration, String)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = state.since?;
        Some((now.saturating_duration_since(since), state.error.clone()))
    }

    /// Tells of what was lost and not told of yet: nothing follows.
    pub(super) fn ended(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = self.newly_lost(&mut state);
        drop(state);
        if lost.1 > 0 {
            self.tell_lost(AT_THE_END, lost);
        }
    }

    fn tell_lost(&self, error: &str, (signal, dropped): (Signal, u64)) {
        (self.tell)(&Told::Failed {
            signal,
            error,
            dropped,
        });
    }

    /// What wasn't told of yet: the signal that lost most, and how much all lost.
    fn newly_lost(&self, state: &mut State) -> (Signal, u64) {
        let lost = Signal::ALL.map(|it| {
            let all = self.lost(it);
            all - std::mem::replace(&mut state.told_lost[it.index()], all)
        });
        let most = Signal::ALL.into_iter().max_by_key(|it| lost[it.index()]);
        (most.unwrap_or(Signal::Log), lost.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Stream = Stream {
        signal: Signal::Log,
        bit: 1,
    };
    const METRIC: Stream = Stream {
        signal: Signal::Metric,
        bit: 2,
    };

    fn account() -> (Account, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell: Tell = {
            let told = Arc::clone(&told);
            Arc::new(move |it| told.lock().unwrap().push(format!("{it:?}")))
        };
        (Account::new(tell), told)
    }

    #[test]
    fn a_failure_that_goes_on_is_told_once_a_minute_with_what_was_lost() {
        let (account, told) = account();
        let start = Instant::now();
        for second in 0..121 {
            account.lose(Signal::Log, 1);
            account.failed(LOG, "refused", start + Duration::from_secs(second));
        }
        account.succeeded(LOG, start + Duration::from_secs(130));
        account.succeeded(LOG, start + Duration::from_secs(131));
        let failed =
            |dropped| format!("Failed {{ signal: Log, error: \"refused\", dropped: {dropped} }}");
        assert_eq!(
            *told.lock().unwrap(),
            [
                failed(1),
                failed(60),
                failed(60),
                "Recovered { signal: Log, outage: 130s, dropped: 0 }".to_owned()
            ]
        );
    }

    #[test]
    fn what_is_lost_while_all_is_taken_is_told_once_a_minute_and_at_the_end() {
        let (account, told) = account();
        let start = Instant::now();
        for second in 0..61 {
            account.lose(Signal::Span, 2);
            account.succeeded(LOG, start + Duration::from_secs(second));
        }
        account.lose(Signal::Log, 1);
        account.ended();
        account.ended();
        let failed = |signal: &str, error: &str, dropped: u64| {
            format!("Failed {{ signal: {signal}, error: {error:?}, dropped: {dropped} }}")
        };
        assert_eq!(
            *told.lock().unwrap(),
            [
                failed("Span", TOO_SLOW, 2),
                failed("Span", TOO_SLOW, 120),
                failed("Log", AT_THE_END, 1)
            ]
        );
    }

    #[test]
    fn it_is_over_only_when_all_signals_are_taken_again() {
        let (account, told) = account();
        let now = Instant::now();
        account.failed(LOG, "away", now);
        account.failed(METRIC, "away", now);
        account.succeeded(LOG, now);
        assert_eq!(told.lock().unwrap().len(), 1);
        account.succeeded(METRIC, now);
        assert_eq!(told.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_signal_that_comes_and_goes_fills_no_log() {
        let (account, told) = account();
        let start = Instant::now();
        for second in 0..59 {
            let now = start + Duration::from_secs(second);
            account.failed(LOG, "bad", now);
            account.succeeded(LOG, now);
        }
        assert_eq!(told.lock().unwrap().len(), 2);
    }
}

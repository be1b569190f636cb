//! What was lost, and how that is told: once a minute while it goes on, once when
//! it is over.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a failing export is told of.
const TELL_EVERY: Duration = Duration::from_secs(60);

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
    const COUNT: usize = 3;

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
    told_at: Option<Instant>,
    /// The failure that goes on was told of.
    is_told: bool,
    told_lost: u64,
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

    fn all_lost(&self) -> u64 {
        self.lost.iter().map(|it| it.load(Relaxed)).sum()
    }

    pub(super) fn failed(&self, stream: Stream, error: &str, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failing |= stream.bit;
        state.since.get_or_insert(now);
        let due = state.told_at.is_none_or(|at| now >= at + TELL_EVERY);
        if !due {
            return;
        }
        state.told_at = Some(now);
        state.is_told = true;
        let dropped = self.newly_lost(&mut state);
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
        let dropped = self.newly_lost(&mut state);
        drop(state);
        (self.tell)(&Told::Recovered {
            signal: stream.signal,
            outage,
            dropped,
        });
    }

    fn newly_lost(&self, state: &mut State) -> u64 {
        let all = self.all_lost();
        let before = std::mem::replace(&mut state.told_lost, all);
        all - before
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

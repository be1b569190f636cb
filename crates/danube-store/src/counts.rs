//! How many jobs wait and run, without asking the database.

use std::sync::Mutex;

use danube_model::State;

use crate::Counts;

/// What one transaction changes in the counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pending: i64,
    active: i64,
}

impl Change {
    /// A job came to be, or moved.
    pub(crate) fn moved(&mut self, from: Option<State>, to: State) {
        if let Some(from) = from {
            self.add(from, -1);
        }
        self.add(to, 1);
    }

    /// Both changes together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            pending: self.pending + other.pending,
            active: self.active + other.active,
        }
    }

    fn add(&mut self, state: State, jobs: i64) {
        if state == State::Pending {
            self.pending += jobs;
        } else if state.is_leased() {
            self.active += jobs;
        }
    }
}

/// The counts as of the latest commit. The writer changes them, anyone reads.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Counts>);

impl Ledger {
    pub(crate) fn get(&self) -> Counts {
        *self.0.lock().expect("nothing panics while it holds this")
    }

    pub(crate) fn set(&self, counts: Counts) {
        *self.0.lock().expect("nothing panics while it holds this") = counts;
    }

    /// Adds a committed change.
    pub(crate) fn apply(&self, change: Change) -> Counts {
        let mut counts = self.0.lock().expect("nothing panics while it holds this");
        counts.pending = counts.pending.saturating_add_signed(change.pending);
        counts.active = counts.active.saturating_add_signed(change.active);
        *counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_way_is_counted_in_and_out() {
        let ledger = Ledger::default();
        let mut change = Change::default();
        change.moved(None, State::Pending);
        change.moved(None, State::Pending);
        change.moved(Some(State::Pending), State::Scheduling);
        assert_eq!(
            ledger.apply(change),
            Counts {
                pending: 1,
                active: 1
            }
        );

        let mut change = Change::default();
        change.moved(Some(State::Scheduling), State::Running);
        change.moved(Some(State::Running), State::Success);
        assert_eq!(
            ledger.apply(change),
            Counts {
                pending: 1,
                active: 0
            }
        );
    }
}

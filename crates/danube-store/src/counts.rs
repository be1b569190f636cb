//! How many jobs wait and run, without asking the database.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use danube_model::State;

use crate::{Counts, Live, Moved};

/// What one transaction changes in the counts.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pending: i64,
    active: i64,
    moves: Vec<Moved>,
    webhook_due: bool,
}

impl Change {
    /// A job came to be, or moved.
    pub(crate) fn moved(&mut self, moved: Moved) {
        if let Some(from) = moved.from {
            self.add(from, -1);
        }
        self.add(moved.to, 1);
        self.moves.push(moved);
    }

    /// A webhook became due.
    pub(crate) fn webhook_due(&mut self) {
        self.webhook_due = true;
    }

    /// Whether one did.
    pub(crate) fn is_webhook_due(&self) -> bool {
        self.webhook_due
    }

    /// Takes in what came after.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.pending += later.pending;
        self.active += later.active;
        self.webhook_due |= later.webhook_due;
        self.moves.append(&mut later.moves);
    }

    /// By how much it changes what waits.
    pub(crate) fn pending(&self) -> i64 {
        self.pending
    }

    /// The same of a pipeline.
    pub(crate) fn pending_of(&self, pipeline: &str) -> i64 {
        let own = self.moves.iter().filter(|it| it.pipeline == pipeline);
        own.map(pending).sum()
    }

    /// Every move, in order.
    pub(crate) fn moves(&self) -> &[Moved] {
        &self.moves
    }

    fn add(&mut self, state: State, jobs: i64) {
        if state == State::Pending {
            self.pending += jobs;
        } else if state.is_leased() {
            self.active += jobs;
        }
    }
}

/// By how much a move changes what waits.
fn pending(moved: &Moved) -> i64 {
    i64::from(moved.to == State::Pending) - i64::from(moved.from == Some(State::Pending))
}

/// The counts as of the latest commit. The writer changes them, anyone reads.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    all: Counts,
    /// Pending jobs by pipeline; one entry a pipeline that has any.
    pending: HashMap<String, u64>,
}

impl Counted {
    fn add(&mut self, pipeline: &str, jobs: i64) {
        match self.pending.get_mut(pipeline) {
            Some(known) => {
                *known = known.saturating_add_signed(jobs);
                if *known == 0 {
                    self.pending.remove(pipeline);
                }
            }
            None => {
                if let Ok(jobs @ 1..) = u64::try_from(jobs) {
                    self.pending.insert(pipeline.to_owned(), jobs);
                }
            }
        }
    }
}

impl Ledger {
    pub(crate) fn get(&self) -> Counts {
        self.lock().all
    }

    /// How many jobs of a pipeline are pending.
    pub(crate) fn pending(&self, pipeline: &str) -> u64 {
        self.lock().pending.get(pipeline).copied().unwrap_or(0)
    }

    pub(crate) fn set(&self, counts: Counts, live: &Live) {
        let mut counted = Counted {
            all: counts,
            ..Counted::default()
        };
        for it in &live.pending {
            counted.add(&it.pipeline, i64::try_from(it.jobs).unwrap_or(i64::MAX));
        }
        *self.lock() = counted;
    }

    /// Adds a committed change.
    pub(crate) fn apply(&self, change: &Change) -> Counts {
        let mut counted = self.lock();
        for moved in &change.moves {
            match pending(moved) {
                0 => {}
                jobs => counted.add(&moved.pipeline, jobs),
            }
        }
        let counts = &mut counted.all;
        counts.pending = counts.pending.saturating_add_signed(change.pending);
        counts.active = counts.active.saturating_add_signed(change.active);
        *counts
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().expect("nothing panics while it holds this")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use danube_model::JobId;

    fn moved(from: Option<State>, to: State) -> Moved {
        Moved {
            job: JobId::new(),
            pipeline: "p".into(),
            kind: danube_model::Kind::Pipeline,
            queue: "default".into(),
            from,
            to,
        }
    }

    #[test]
    fn a_jobs_way_is_counted_in_and_out() {
        let ledger = Ledger::default();
        let mut change = Change::default();
        change.moved(moved(None, State::Pending));
        change.moved(moved(None, State::Pending));
        let mut later = Change::default();
        later.moved(moved(Some(State::Pending), State::Scheduling));
        change.append(later);
        assert_eq!(change.moves().len(), 3);
        assert_eq!(
            ledger.apply(&change),
            Counts {
                pending: 1,
                active: 1
            }
        );

        let mut change = Change::default();
        change.moved(moved(Some(State::Scheduling), State::Running));
        change.moved(moved(Some(State::Running), State::Success));
        assert_eq!(
            ledger.apply(&change),
            Counts {
                pending: 1,
                active: 0
            }
        );
    }
}

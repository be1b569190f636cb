//! Who was heard of, and when: kept in memory by a clock that never jumps.
//!
//! The store knows who holds which job; only how long ago they were heard of
//! lives here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use danube_model::{Attempt, JobId};

use super::decide::Lease;

/// What a lease is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a> {
    /// Who holds it.
    pub(crate) worker: &'a str,
    /// The queue that the job waited in.
    pub(crate) queue: &'a str,
    /// Whose share of the workers it takes; empty for none.
    pub(crate) team: &'a str,
    /// The job's pipeline.
    pub(crate) pipeline: &'a str,
}

/// The leases that are held now. One entry a running job.
#[derive(Default)]
pub(crate) struct Leases {
    held: Mutex<HashMap<JobId, Lease>>,
    /// Those are here that the store knew of when this process started.
    is_whole: AtomicBool,
}

impl Leases {
    /// A lease begins.
    pub(crate) fn begin(&self, attempt: Attempt, of: Of<'_>, now: Instant) {
        let lease = Lease {
            attempt,
            worker: of.worker.to_owned(),
            queue: of.queue.to_owned(),
            team: of.team.to_owned(),
            pipeline: of.pipeline.to_owned(),
            renewed_at: now,
        };
        self.lock().insert(attempt.job, lease);
    }

    /// A lease that the store knows of; one that is here already stays as it is.
    pub(crate) fn adopt(&self, attempt: Attempt, of: Of<'_>, now: Instant) {
        let known = self
            .lock()
            .get(&attempt.job)
            .is_some_and(|it| it.attempt.fence >= attempt.fence);
        if !known {
            self.begin(attempt, of, now);
        }
    }

    /// All that the store knows of were adopted.
    pub(crate) fn adopted(&self) {
        self.is_whole.store(true, Ordering::Release);
    }

    /// Whether they were: until then there may be others than are shown.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole.load(Ordering::Acquire)
    }

    /// A worker was heard of: all that it says it runs goes on.
    pub(crate) fn renew(&self, attempts: &[Attempt], now: Instant) {
        let mut held = self.lock();
        for attempt in attempts {
            if let Some(lease) = held
                .get_mut(&attempt.job)
                .filter(|it| it.attempt.fence == attempt.fence)
            {
                lease.renewed_at = now;
            }
        }
    }

    /// A lease is over, one way or the other. Whose it was; none for whoever comes second.
    pub(crate) fn end(&self, attempt: Attempt) -> Option<String> {
        let mut held = self.lock();
        held.get(&attempt.job)
            .filter(|it| it.attempt.fence == attempt.fence)?;
        held.remove(&attempt.job).map(|it| it.worker)
    }

    /// Whether nobody has ended it.
    pub(crate) fn holds(&self, attempt: Attempt) -> bool {
        let held = self.lock();
        let lease = held.get(&attempt.job);
        lease.is_some_and(|it| it.attempt.fence == attempt.fence)
    }

    /// Moves every lease on by the time that this process itself slept: a
    /// machine that was suspended must not blame its workers for it.
    pub(crate) fn forgive(&self, slept: Duration) {
        for lease in self.lock().values_mut() {
            lease.renewed_at += slept;
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Lease> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Lease>> {
        // Whole after every line that changes it.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_fence_neither_renews_nor_ends_a_lease() {
        let (leases, start) = (Leases::default(), Instant::now());
        let new = Attempt {
            job: JobId::new(),
            fence: 2,
            number: 2,
        };
        let old = Attempt {
            fence: 1,
            number: 1,
            ..new
        };
        let of = Of {
            worker: "w",
            queue: "default",
            team: "",
            pipeline: "p",
        };
        leases.begin(new, of, start);
        let later = start + Duration::from_secs(5);
        leases.renew(&[old], later);
        leases.end(old);
        assert_eq!(leases.all()[0].renewed_at, start);
        leases.renew(&[new], later);
        assert_eq!(leases.all()[0].renewed_at, later);
        leases.end(new);
        assert_eq!(leases.all(), []);
    }
}

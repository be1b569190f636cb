//! Decides which waiting job goes to which worker, and whose lease is over.

use std::time::{Duration, Instant};

use danube_model::{Attempt, JobId};

/// One consistent picture of the queue.
pub(crate) struct QueueView {
    /// Jobs that wait, oldest first.
    pub(crate) waiting: Vec<JobId>,
    /// Workers with room.
    pub(crate) idle: Vec<Idle>,
    /// Leases that are held.
    pub(crate) leases: Vec<Lease>,
}

/// A worker that takes jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idle {
    /// Which.
    pub(crate) worker: String,
    /// How many more.
    pub(crate) free: usize,
}

/// A worker's right to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The job, with the fence.
    pub(crate) attempt: Attempt,
    /// Who holds it.
    pub(crate) worker: String,
    /// When it was last heard of.
    pub(crate) renewed_at: Instant,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Take the job from a worker that fell silent.
    Rescue(Attempt),
    /// Give the job to the worker.
    Assign {
        /// Which job.
        job: JobId,
        /// To whom.
        worker: String,
    },
}

/// Reads nothing but its arguments and changes nothing, so a test is a view, a
/// time and the actions expected.
pub(crate) fn decide(view: &QueueView, now: Instant, lease: Duration) -> Vec<Action> {
    let lapsed = view.leases.iter().filter(|it| it.renewed_at + lease < now);
    let mut actions: Vec<Action> = lapsed.map(|it| Action::Rescue(it.attempt)).collect();

    let mut idle = view.idle.clone();
    for job in &view.waiting {
        // The worker with most room, so that load spreads.
        let Some(best) = idle
            .iter_mut()
            .max_by_key(|it| it.free)
            .filter(|it| it.free > 0)
        else {
            break;
        };
        best.free -= 1;
        actions.push(Action::Assign {
            job: *job,
            worker: best.worker.clone(),
        });
    }
    actions
}

/// When to look next: when a lease lapses, and with each heartbeat before, to
/// renew those of the worker in this process. Never while nothing is leased.
pub(crate) fn next_look(
    leases: &[Lease],
    lease: Duration,
    heartbeat: Duration,
    now: Instant,
) -> Option<Instant> {
    let lapse = leases.iter().map(|it| it.renewed_at + lease).min()?;
    // A moment later, for a lease is over only after its last instant.
    Some((lapse + Duration::from_millis(1)).min(now + heartbeat))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn idle(worker: &str, free: usize) -> Idle {
        Idle {
            worker: worker.to_owned(),
            free,
        }
    }

    fn lease(job: JobId, renewed_at: Instant) -> Lease {
        Lease {
            attempt: Attempt {
                job,
                fence: 1,
                number: 1,
            },
            worker: "w".to_owned(),
            renewed_at,
        }
    }

    #[test]
    fn the_oldest_jobs_go_out_first_and_none_twice() {
        let jobs: Vec<JobId> = (0..3).map(|_| JobId::new()).collect();
        let view = QueueView {
            waiting: jobs.clone(),
            idle: vec![idle("a", 2)],
            leases: vec![],
        };
        let expected: Vec<Action> = jobs[..2]
            .iter()
            .map(|job| Action::Assign {
                job: *job,
                worker: "a".to_owned(),
            })
            .collect();
        assert_eq!(decide(&view, Instant::now(), LEASE), expected);
    }

    #[test]
    fn load_spreads_over_the_workers() {
        let jobs: Vec<JobId> = (0..4).map(|_| JobId::new()).collect();
        let view = QueueView {
            waiting: jobs,
            idle: vec![idle("a", 3), idle("b", 3)],
            leases: vec![],
        };
        let to_a = decide(&view, Instant::now(), LEASE)
            .iter()
            .filter(|it| matches!(it, Action::Assign { worker, .. } if worker == "a"))
            .count();
        assert_eq!(to_a, 2);
    }

    #[test]
    fn a_silent_worker_loses_its_job_and_a_punctual_one_does_not() {
        let start = Instant::now();
        let (silent, punctual) = (JobId::new(), JobId::new());
        let view = QueueView {
            waiting: vec![],
            idle: vec![],
            leases: vec![
                lease(silent, start),
                lease(punctual, start + Duration::from_secs(20)),
            ],
        };
        assert_eq!(decide(&view, start + LEASE, LEASE), []);
        let later = start + LEASE + Duration::from_millis(1);
        assert_eq!(
            decide(&view, later, LEASE),
            [Action::Rescue(Attempt {
                job: silent,
                fence: 1,
                number: 1
            })]
        );
    }

    #[test]
    fn an_orphan_is_looked_at_again_until_its_lease_is_over() {
        let (start, heartbeat) = (Instant::now(), LEASE / 3);
        let leases = [lease(JobId::new(), start)];
        let view = QueueView {
            waiting: vec![],
            idle: vec![],
            leases: leases.to_vec(),
        };
        let (mut now, mut looks) = (start, 0);
        while decide(&view, now, LEASE).is_empty() {
            let next = next_look(&leases, LEASE, heartbeat, now).unwrap();
            assert!(next > now, "the loop must not spin");
            (now, looks) = (next, looks + 1);
        }
        assert_eq!(looks, 4);
        assert_eq!(next_look(&[], LEASE, heartbeat, now), None);
    }
}

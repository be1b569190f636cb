//! Takes jobs from workers that are gone.

use std::sync::Arc;

use danube_executor::{Nursery, Stop};
use danube_model::{Attempt, Job};
use danube_signals::{JobOrphanRescued, Signals};
use danube_store::{Leased, Store, StoreError};
use danube_telemetry::watchdog::Heartbeat;
use danube_worker::Worker;

use super::Leases;
use crate::app::Phases;
use crate::remote::{Remote, is_elsewhere};
use crate::tell::{self, Why};
use crate::trace::Traces;

/// Takes jobs back.
pub(crate) struct Rescue {
    pub(crate) store: Store,
    pub(crate) traces: Traces,
    pub(crate) worker: Worker,
    pub(crate) remote: Arc<Remote>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) phases: Arc<Phases>,
    pub(crate) signals: Signals,
    /// Of the scheduler.
    pub(crate) heartbeat: Arc<Heartbeat>,
}

impl Rescue {
    /// The worker was silent for longer than its lease.
    pub(crate) fn silent(&self, attempt: Attempt) -> Result<(), StoreError> {
        let rescued = self
            .store
            .lease_lost(attempt, "the worker fell silent")
            .wait_alive(|| self.heartbeat.beat());
        // If it runs here after all, it must not go on under a lost lease.
        let _ = self.worker.stop(attempt, Stop::Lost);
        if !matches!(
            rescued,
            Err(StoreError::NoSpace | StoreError::Io(_) | StoreError::Busy)
        ) {
            let _away = self.heartbeat.away();
            self.remote.end(attempt);
        }
        match rescued {
            Ok(job) => {
                let holder = self.leases.end(attempt);
                let holder = holder.as_deref().unwrap_or(self.worker.id());
                let away = self.heartbeat.away();
                self.traces.interrupted(attempt);
                drop(away);
                tell_rescue(&self.signals, &job, attempt, holder);
                self.phases.touch(attempt.job);
            }
            Err(StoreError::Fenced { .. } | StoreError::NoJob(_)) => {
                self.leases.end(attempt);
            }
            // It stays in the list, and is tried again.
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// At a start every lease of a worker inside a master belongs to one that died with
/// the master before: the directory's lock says that nobody else is alive. Workers on
/// other machines have a lease's time to be heard from.
pub(crate) fn after_restart(
    store: &Store,
    traces: &Traces,
    signals: &Signals,
    nursery: &Nursery,
) -> Result<(), StoreError> {
    for Leased {
        attempt, worker, ..
    } in store.leased()?
    {
        if is_elsewhere(&worker) {
            continue;
        }
        // Where the kernel didn't kill the job's processes with the old master.
        let _ = nursery.kill_leftovers(&format!("DANUBE_JOB_ID={}", attempt.job));
        match store
            .lease_lost(attempt, "the master was restarted while it ran")
            .wait()
        {
            Ok(job) => {
                traces.interrupted(attempt);
                tell_rescue(signals, &job, attempt, &worker);
            }
            Err(StoreError::Fenced { .. }) => {}
            // A full disk is no reason not to start: the scheduler finds the
            // lease in the store and lets it lapse.
            Err(StoreError::NoSpace | StoreError::Io(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn tell_rescue(signals: &Signals, job: &Job, attempt: Attempt, worker: &str) {
    let _in_job = tell::span(job).entered();
    signals.emit(JobOrphanRescued {
        job_id: &job.id.to_string(),
        worker_id: Some(worker),
        attempt: u64::from(attempt.number),
    });
    tell::moved(signals, job, Why::WORKER_LOST);
}

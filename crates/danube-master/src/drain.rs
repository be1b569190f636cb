//! The end: stop claiming, let jobs finish, hand back what can't.

use std::time::{Duration, Instant};

use danube_executor::Stop;
use danube_model::State;
use danube_signals::{Signals, WorkerDrained};
use danube_store::Store;
use danube_worker::Worker;

use crate::tell::{self, Why};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long jobs have to end after they were told to, beyond the time between
/// TERM and KILL: to close logs and report.
const REPORT_DEADLINE: Duration = Duration::from_secs(5);

/// How often the second signal is looked for meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The signals that ask a master to stop.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Listens from now on.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one; says which.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Lets running jobs end for up to `grace`, then hands them back. A second
/// signal hurries.
pub(crate) async fn drain(
    worker: &Worker,
    store: &Store,
    signals: &Signals,
    grace: Duration,
    stop: &mut StopSignals,
) {
    let started = Instant::now();
    worker.close();
    let hurried = !idle_within(worker, grace, stop).await;
    let unfinished = worker.running();
    if !unfinished.is_empty() && !hurried {
        worker.hand_back_all();
        // Whether another signal came or not, what is left is left below.
        let _ = idle_within(worker, grace + REPORT_DEADLINE, stop).await;
    }
    for attempt in worker.running() {
        let _ = worker.stop(attempt, Stop::Lost);
        let given = store.hand_back(attempt, "the master was told to stop at once", true);
        // Refused where the job ended in this very moment; on a disk that hangs
        // the next start finds the lease.
        if let Ok(Ok(job)) = tokio::time::timeout(REPORT_DEADLINE, given).await {
            tell::moved(signals, &job, Why::default());
        }
    }
    // Some have ended meanwhile, in whichever way; and one that may run once ends.
    let handed_back = unfinished.iter().filter(|attempt| {
        let found = store.job(attempt.job).ok().flatten();
        found.is_some_and(|it| it.state == State::Pending)
    });
    signals.emit(WorkerDrained {
        worker_id: worker.id(),
        jobs_handed_back: handed_back.count() as u64,
        duration_seconds: started.elapsed(),
    });
}

/// Waits for the worker to have no job; `false` when another signal came.
async fn idle_within(worker: &Worker, time: Duration, stop: &mut StopSignals) -> bool {
    let until = Instant::now() + time;
    while !worker.running().is_empty() && Instant::now() < until {
        tokio::select! {
            _ = stop.next() => return false,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    true
}

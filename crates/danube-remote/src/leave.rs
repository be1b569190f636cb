//! How a worker leaves: it lets jobs finish, hands back what can't, or drops everything.

use std::io;
use std::time::{Duration, Instant};

use danube_api::rpc::{HAND_BACK_PATH, HandBack, Taken};
use danube_executor::Stop;
use danube_signals::WorkerDrained;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::agent::{Agent, HEARTBEAT_SLACK};

/// How long jobs have to end after they were told to, beyond the time between TERM and
/// KILL: to close logs and report.
const REPORT_DEADLINE: Duration = Duration::from_secs(8);

/// How often the second signal is looked for meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Agent {
    /// Ends everything: nothing more is taken from this worker.
    pub(crate) async fn give_up(&self) {
        self.worker.close();
        for attempt in self.worker.running() {
            let _ = self.worker.stop(attempt, Stop::Lost);
            if let Some(shipment) = self.desk.shipment(attempt) {
                shipment.over();
            }
        }
        let until = Instant::now() + REPORT_DEADLINE;
        while !self.worker.running().is_empty() && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Lets running jobs end for up to `grace`, then hands them back. A second signal
    /// hurries.
    pub(crate) async fn drain(&self, grace: Duration, stop: &mut StopSignals) {
        let started = Instant::now();
        self.worker.close();
        let is_hurried = !self.idle_within(grace, stop).await;
        let unfinished = self.worker.running();
        if !unfinished.is_empty() && !is_hurried {
            self.worker.hand_back_all();
            let _ = self.idle_within(grace + REPORT_DEADLINE, stop).await;
        }
        for attempt in self.worker.running() {
            let _ = self.worker.stop(attempt, Stop::Lost);
            let back = HandBack {
                lease: attempt.into(),
                reason: "the worker was told to stop at once".to_owned(),
                may_have_run: true,
                log_end: 0,
                spans: None,
            };
            let link = &self.desk.carrier.link;
            // Unheard, its lease lapses.
            let sent = link
                .call::<Taken>(HAND_BACK_PATH, &back, HEARTBEAT_SLACK)
                .await;
            drop(sent);
        }
        self.signals.emit(WorkerDrained {
            worker_id: self.worker.id(),
            jobs_handed_back: unfinished.len() as u64,
            duration_seconds: started.elapsed(),
        });
    }

    /// Waits for the worker to have no job; `false` when another signal came.
    async fn idle_within(&self, time: Duration, stop: &mut StopSignals) -> bool {
        let until = Instant::now() + time;
        while !self.worker.running().is_empty() && Instant::now() < until {
            tokio::select! {
                () = stop.next() => return false,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        true
    }
}

/// The signals that ask a worker to stop.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

//! Workers that wait for a job, and what they are given.

use std::sync::Arc;
use std::time::Duration;

use danube_redact::Secrets;
use danube_worker::trace::context_of;
use danube_worker::{JobToken, Work};
use tokio::sync::oneshot;

use super::job_log::JobLog;
use super::{Held, Peer, Remote};

/// Polls that wait for jobs at once: one a worker process, and room for many.
const OFFERS_MAX: usize = 4_096;

/// A worker that waits for a job.
pub(super) struct Offer {
    number: u64,
    pub(super) peer: Peer,
    to: oneshot::Sender<Work>,
}

impl Remote {
    /// A process waits for a job. An earlier wait of the same one is over: its
    /// connection broke. None when there are too many, or the master stops.
    pub(crate) fn offer(self: &Arc<Self>, peer: &Peer) -> Option<Waiting> {
        let (to, work) = oneshot::channel();
        let number = {
            let mut state = self.lock();
            state.offers.retain(|it| it.peer != *peer);
            if state.closed || state.offers.len() >= OFFERS_MAX {
                return None;
            }
            state.offers_made += 1;
            let number = state.offers_made;
            state.offers.push(Offer {
                number,
                peer: peer.clone(),
                to,
            });
            number
        };
        self.dispatch.bell.ring();
        Some(Waiting {
            remote: Arc::clone(self),
            number,
            work,
        })
    }

    /// Workers that wait, each with how many jobs it would take.
    pub(crate) fn idle(&self) -> Vec<(String, usize)> {
        let state = self.lock();
        let mut idle: Vec<(String, usize)> = Vec::new();
        for offer in state.offers.iter().filter(|it| !it.to.is_closed()) {
            match idle.iter_mut().find(|it| it.0 == offer.peer.worker) {
                Some((_, free)) => *free += 1,
                None => idle.push((offer.peer.worker.clone(), 1)),
            }
        }
        idle
    }

    /// Gives a job to a process of the worker; `false` when none waits any more.
    pub(crate) fn give(&self, worker: &str, work: Work) -> bool {
        let mut state = self.lock();
        let mut work = work;
        while let Some(place) = state.offers.iter().position(|it| it.peer.worker == worker) {
            let offer = state.offers.remove(place);
            let secrets = Secrets::new(self.rules.clone());
            for mask in &work.order.masks {
                // Checked when it came; what is refused masks nothing.
                let _ = secrets.register_short(mask.as_bytes());
            }
            let token = JobToken::mint();
            let _ = secrets.register(token.text().as_bytes());
            let held = Held {
                attempt: work.attempt,
                peer: offer.peer,
                is_confirmed: false,
                token: Some(token.hash()),
                context: context_of(&work.traceparent),
                secrets,
                cancel: false,
                masks: Vec::new(),
                masked: 0,
                log: Arc::new(JobLog::new(work.attempt)),
            };
            let job = work.attempt.job;
            // Known here before its first process can show it.
            work.token = Some(token);
            state.held.insert(job, held);
            match offer.to.send(work) {
                Ok(()) => return true,
                Err(back) => {
                    state.held.remove(&job);
                    work = back;
                }
            }
        }
        false
    }
}

/// A wait for a job. Dropped, it is over.
pub(crate) struct Waiting {
    remote: Arc<Remote>,
    number: u64,
    work: oneshot::Receiver<Work>,
}

impl Waiting {
    /// Waits so long; none when nothing came.
    pub(crate) async fn next(&mut self, time: Duration) -> Option<Work> {
        let work = tokio::time::timeout(time, &mut self.work).await;
        match work {
            Ok(work) => work.ok(),
            Err(_) => {
                self.withdraw();
                // It may have come in this very moment.
                self.work.try_recv().ok()
            }
        }
    }

    fn withdraw(&self) {
        let number = self.number;
        self.remote.lock().offers.retain(|it| it.number != number);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.withdraw();
    }
}

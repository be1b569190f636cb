//! Workers that wait for a job, and what they are given.

use std::sync::Arc;
use std::time::Duration;

use danube_model::JobId;
use danube_redact::Secrets;
use danube_worker::trace::context_of;
use danube_worker::{JobToken, Work};
use tokio::sync::oneshot;

use super::calls::Calls;
use super::job_log::JobLog;
use super::{Held, Peer, Remote};

/// Polls that wait for jobs at once: one a worker process, and room for many.
const OFFERS_MAX: usize = 4_096;

/// What a worker waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wants {
    /// The next job of these queues; none for all.
    Next(Option<Vec<String>>),
    /// This job, of which it heard from Redis.
    Job(JobId),
}

/// What a worker's wait ends with.
pub(crate) enum Offered {
    /// A job.
    Work(Box<Work>),
    /// It doesn't get the job that it asked for: somebody else has it, or its queue is full.
    Refused,
}

/// A worker that waits for a job.
pub(super) struct Offer {
    number: u64,
    pub(super) peer: Peer,
    wants: Wants,
    to: oneshot::Sender<Offered>,
}

/// Workers that wait for the same.
pub(crate) struct IdleWorker {
    pub(crate) worker: String,
    pub(crate) free: usize,
    pub(crate) queues: Option<Vec<String>>,
}

/// A worker that waits for one job.
pub(crate) struct AskedFor {
    pub(crate) offer: u64,
    pub(crate) worker: String,
    pub(crate) job: JobId,
}

impl Remote {
    /// A process waits for a job. An earlier wait of the same one is over: its
    /// connection broke. None when there are too many, or the master stops.
    pub(crate) fn offer(self: &Arc<Self>, peer: &Peer, wants: Wants) -> Option<Waiting> {
        let (to, answer) = oneshot::channel();
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
                wants,
                to,
            });
            number
        };
        self.dispatch.bell.ring();
        Some(Waiting {
            remote: Arc::clone(self),
            number,
            answer,
        })
    }

    /// Workers that wait for any job, each with how many it would take.
    pub(crate) fn idle(&self) -> Vec<IdleWorker> {
        let state = self.lock();
        let mut idle: Vec<IdleWorker> = Vec::new();
        for offer in state.offers.iter().filter(|it| !it.to.is_closed()) {
            let Wants::Next(queues) = &offer.wants else {
                continue;
            };
            let worker = &offer.peer.worker;
            let known = idle
                .iter_mut()
                .find(|it| it.worker == *worker && it.queues == *queues);
            match known {
                Some(known) => known.free += 1,
                None => idle.push(IdleWorker {
                    worker: worker.clone(),
                    free: 1,
                    queues: queues.clone(),
                }),
            }
        }
        idle
    }

    /// Workers that wait for one job, first come first.
    pub(crate) fn asked(&self) -> Vec<AskedFor> {
        let state = self.lock();
        let open = state.offers.iter().filter(|it| !it.to.is_closed());
        let asked = open.filter_map(|it| match it.wants {
            Wants::Job(job) => Some(AskedFor {
                offer: it.number,
                worker: it.peer.worker.clone(),
                job,
            }),
            Wants::Next(_) => None,
        });
        asked.collect()
    }

    /// Ends a wait without a job.
    pub(crate) fn refuse(&self, number: u64) {
        let mut state = self.lock();
        if let Some(place) = state.offers.iter().position(|it| it.number == number) {
            let offer = state.offers.remove(place);
            // One that has left hears nothing, and asks again.
            drop(offer.to.send(Offered::Refused));
        }
    }

    /// Gives a job of this queue to a process of the worker that waits for any; `false`
    /// when none does any more.
    pub(crate) fn give(&self, worker: &str, queue: &str, work: Work) -> bool {
        let takes = |offer: &Offer| match &offer.wants {
            Wants::Next(queues) => {
                let takes = queues.as_ref();
                offer.peer.worker == worker
                    && takes.is_none_or(|it| it.iter().any(|it| it == queue))
            }
            Wants::Job(_) => false,
        };
        self.give_where(takes, work)
    }

    /// Gives a job to whoever asked for it; `false` when the wait is over.
    pub(crate) fn give_asked(&self, number: u64, work: Work) -> bool {
        self.give_where(|offer| offer.number == number, work)
    }

    fn give_where(&self, fits: impl Fn(&Offer) -> bool, work: Work) -> bool {
        let mut state = self.lock();
        let mut work = Box::new(work);
        while let Some(place) = state.offers.iter().position(&fits) {
            let offer = state.offers.remove(place);
            let secrets = Secrets::new(self.rules.get());
            for mask in &work.order.masks {
                // Checked when it came; what is refused masks nothing.
                let _ = secrets.register_short(mask.as_bytes());
            }
            let token = JobToken::mint();
            let _ = secrets.register(token.text().as_bytes());
            let of_steps = work.has_coordinator().then(|| token.of_steps());
            if let Some(token) = &of_steps {
                let _ = secrets.register(token.text().as_bytes());
            }
            let held = Held {
                attempt: work.attempt,
                peer: offer.peer,
                is_confirmed: false,
                token: Some(token.hash()),
                steps_token: of_steps.map(|it| it.hash()),
                calls: Calls::default(),
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
            match offer.to.send(Offered::Work(work)) {
                Ok(()) => return true,
                Err(Offered::Work(back)) => {
                    state.held.remove(&job);
                    work = back;
                }
                Err(Offered::Refused) => unreachable!("what comes back is what was sent"),
            }
        }
        false
    }
}

/// A wait for a job. Dropped, it is over.
pub(crate) struct Waiting {
    remote: Arc<Remote>,
    number: u64,
    answer: oneshot::Receiver<Offered>,
}

impl Waiting {
    /// Waits so long; none when nothing came.
    pub(crate) async fn next(&mut self, time: Duration) -> Option<Offered> {
        let answer = tokio::time::timeout(time, &mut self.answer).await;
        match answer {
            Ok(answer) => answer.ok(),
            Err(_) => {
                self.withdraw();
                // It may have come in this very moment.
                self.answer.try_recv().ok()
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

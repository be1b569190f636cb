//! How a worker comes to its jobs: it hears of them in Redis and asks the master for each,
//! or, where there is no Redis or it is away, waits at the master for the next.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use danube_api::rpc::{
    CLAIM_PATH, Claim, ClaimAnswer, Given, HAND_BACK_PATH, HandBack, Lease, Taken,
};
use danube_model::{Attempt, JobId};
use danube_queue::Entry;
use danube_worker::{JobToken, Work};

use crate::agent::{Agent, CLAIM_DEADLINE, RETRY_AFTER};
use crate::calls::Hears;
use crate::link::CallError;

/// Entries that are taken at once: one, so that workers with room share what waits, however
/// much room one of them has.
const ENTRIES_AT_ONCE: usize = 1;

/// How long a job that was given waits for the end of an attempt of it that this worker has
/// just lost and still kills; a third of a lease, so the new one doesn't lapse meanwhile.
const LOST_DEADLINE: Duration = Duration::from_secs(10);

impl Agent {
    /// Asks for jobs for as long as it is let.
    pub(crate) async fn claim(self: Arc<Self>) {
        loop {
            self.desk.prune(&self.worker.running());
            if self.worker.free() == 0 {
                self.desk.freed.notified().await;
                continue;
            }
            match self.hearing.next(ENTRIES_AT_ONCE).await {
                Some(entries) => {
                    for entry in entries {
                        self.ask_for(entry).await;
                    }
                }
                None => self.wait_for_next().await,
            }
        }
    }

    /// Waits at the master for whatever comes next.
    async fn wait_for_next(&self) {
        match self.call_claim(None).await {
            Ok(ClaimAnswer {
                given: Some(given), ..
            }) => self.take(given).await,
            Ok(ClaimAnswer { given: None, .. }) => {}
            Err(error) => {
                self.note(&error);
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }

    /// Asks the master for the job of an entry until it says yes or no.
    async fn ask_for(&self, entry: Entry) {
        let Some(message) = entry.message.clone() else {
            return self.hearing.done(entry).await;
        };
        loop {
            if self.worker.free() == 0 {
                return self.hearing.give_back(entry).await;
            }
            match self.claim_one(message.job).await {
                Ok(ClaimAnswer {
                    given: Some(given), ..
                }) => {
                    // The master removes the entry.
                    self.hearing.forget(&entry);
                    return self.take(given).await;
                }
                Ok(ClaimAnswer { refused: true, .. }) => return self.hearing.done(entry).await,
                // It can't begin anything now.
                Ok(_) => {}
                Err(error) => self.note(&error),
            }
            self.hearing.keep().await;
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Asks for a job, and keeps its entry meanwhile: while the master is silent, others
    /// must not take us for dead.
    async fn claim_one(&self, job: JobId) -> Result<ClaimAnswer, CallError> {
        let mut call = pin!(self.call_claim(Some(job)));
        loop {
            match tokio::time::timeout(self.hearing.keep_every(), call.as_mut()).await {
                Ok(answer) => return answer,
                Err(_) => self.hearing.keep().await,
            }
        }
    }

    async fn call_claim(&self, job: Option<JobId>) -> Result<ClaimAnswer, CallError> {
        let running = self.worker.running().into_iter().map(Lease::from);
        let claim = Claim {
            running: running.collect(),
            queues: self.queues.clone(),
            job,
        };
        let link = &self.desk.carrier.link;
        link.call(CLAIM_PATH, &claim, CLAIM_DEADLINE).await
    }

    /// Runs a job that was given.
    async fn take(&self, given: Given) {
        let attempt = Attempt::from(given.lease);
        let is_rid = self.is_rid_of(attempt.job).await;
        // What shipped an attempt before.
        self.desk.prune(&self.worker.running());
        let work = Work {
            attempt,
            order: given.order,
            traceparent: given.traceparent,
            queued_at: given.queued_at,
            log_base: given.log_base,
            token: Some(JobToken::of(given.token)),
        };
        if !is_rid || self.run(work).is_none() {
            let back = HandBack {
                lease: given.lease,
                reason: "the worker had no room".to_owned(),
                may_have_run: false,
                log_end: given.log_base,
                spans: None,
            };
            let link = &self.desk.carrier.link;
            // Unheard, its lease lapses.
            let sent = link
                .call::<Taken>(HAND_BACK_PATH, &back, CLAIM_DEADLINE)
                .await;
            drop(sent);
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Waits until no attempt of this job runs here.
    async fn is_rid_of(&self, job: JobId) -> bool {
        let gone = async {
            while self.worker.running().iter().any(|it| it.job == job) {
                // Nobody else waits for this: jobs are asked for by one task.
                self.desk.freed.notified().await;
            }
        };
        tokio::time::timeout(LOST_DEADLINE, gone).await.is_ok()
    }

    fn run(&self, work: Work) -> Option<()> {
        let (attempt, base) = (work.attempt, work.log_base);
        // What an earlier attempt left would shift every offset of this one.
        let logs = &self.desk.carrier.logs;
        logs.delete(&attempt.job.to_string()).ok()?;
        let shipment = self.desk.begin(attempt, base);
        if self.worker.run(work).is_err() {
            self.desk.forget(attempt);
            return None;
        }
        let carrier = self.desk.carrier.clone();
        if let Some(calls) = self.worker.calls(attempt) {
            let hears = Hears::new(Arc::clone(&shipment), carrier.link.clone(), calls);
            tokio::spawn(hears.listen());
        }
        tokio::spawn(shipment.ship(carrier, self.worker.clone()));
        Some(())
    }
}

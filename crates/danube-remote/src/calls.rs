//! Hears at the master what the coordinator of a job that runs here asks for, and answers.
//!
//! What was done is remembered where the job runs (`danube_worker::Calls`), so a master that
//! was away may ask for everything again: nothing is done twice.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use danube_api::rpc::{ANSWER_PATH, CALLS_PATH, CallAnswered, CallsAnswer, CallsWanted, Taken};
use danube_model::coordinator::{Call, CallAnswer};
use danube_worker::Calls;
use tokio::runtime::Handle;

use crate::agent::{CLAIM_DEADLINE, RETRY_AFTER};
use crate::link::{CallError, Link};
use crate::shipment::Shipment;

/// How long an answer waits for the step's log to be at the master before it.
const LOG_DEADLINE: Duration = Duration::from_secs(15);

/// How long the master may take for an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// Hears for one attempt. Clones hear for the same.
#[derive(Clone)]
pub(crate) struct Hears(Arc<Inner>);

struct Inner {
    shipment: Arc<Shipment>,
    link: Link,
    calls: Arc<Calls>,
    runtime: Handle,
    /// Calls that were heard and whose answer the master hasn't yet.
    heard: Mutex<HashSet<String>>,
}

impl Hears {
    /// Within a runtime.
    pub(crate) fn new(shipment: Arc<Shipment>, link: Link, calls: Arc<Calls>) -> Self {
        Self(Arc::new(Inner {
            shipment,
            link,
            calls,
            runtime: Handle::current(),
            heard: Mutex::default(),
        }))
    }

    fn heard(&self) -> MutexGuard<'_, HashSet<String>> {
        // Whole after every line that changes it.
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears until the attempt or its coordinator is over.
    pub(crate) async fn listen(self) {
        let mut over = self.0.shipment.watch();
        loop {
            let wanted = CallsWanted {
                lease: self.0.shipment.attempt.into(),
                heard: self.heard().iter().cloned().collect(),
            };
            let asked = self.0.link.call(CALLS_PATH, &wanted, CLAIM_DEADLINE);
            let answer: Result<CallsAnswer, CallError> = tokio::select! {
                answer = asked => answer,
                _ = over.wait_for(|it| it.is_over) => return,
            };
            if self.0.calls.is_over() {
                return;
            }
            match answer {
                Ok(answer) => answer.calls.into_iter().for_each(|it| self.take(it)),
                Err(CallError::Away(_)) => tokio::time::sleep(RETRY_AFTER).await,
                // The shipment hears the same, and ends the job.
                Err(CallError::Fenced | CallError::Wrong(_) | CallError::Unauthorized(_)) => return,
            }
        }
    }

    fn take(&self, call: Call) {
        let id = call.request_id().to_owned();
        if !self.heard().insert(id.clone()) {
            return;
        }
        let hears = self.clone();
        let listener = move |answer: CallAnswer| {
            let runtime = hears.0.runtime.clone();
            runtime.spawn(hears.answer(id, answer));
        };
        self.0.calls.ask(call, Box::new(listener));
    }

    /// Tells what became of a call, after all that the step wrote.
    async fn answer(self, request_id: String, answer: CallAnswer) {
        let shipment = &self.0.shipment;
        let number = shipment.ask();
        let mut shipped = shipment.watch();
        let all = shipped.wait_for(|it| it.is_over || it.idle_for >= number);
        // A log that takes longer comes after it.
        drop(tokio::time::timeout(LOG_DEADLINE, all).await);
        let answered = CallAnswered {
            lease: shipment.attempt.into(),
            request_id,
            answer,
        };
        while !shipment.is_over() {
            let link = &self.0.link;
            let sent = link.call::<Taken>(ANSWER_PATH, &answered, ANSWER_DEADLINE);
            match sent.await {
                Err(CallError::Away(_)) => tokio::time::sleep(RETRY_AFTER).await,
                _ => break,
            }
        }
        self.heard().remove(&answered.request_id);
    }
}

//! What coordinators of jobs that run elsewhere ask for, on its way to their workers.
//!
//! It lives in memory. A master that starts knows of none: whoever asked asks again, and the
//! worker remembers what it has done.

use std::collections::HashMap;

use danube_model::Attempt;
use danube_model::coordinator::{Call, CallAnswer, CallRefusal};
use danube_model::limits::CALLS_WAITING_MAX;
use danube_worker::TokenHash;
use tokio::sync::oneshot;

use super::{Held, Peer, Remote, Unreported};

/// The calls of one attempt that aren't answered.
#[derive(Default)]
pub(super) struct Calls(HashMap<String, Open>);

struct Open {
    call: Call,
    to: Vec<oneshot::Sender<CallAnswer>>,
}

impl Held {
    /// Whether the token is one of the attempt's, and whether it is its coordinator's.
    pub(super) fn fits(&self, token: &str) -> Option<bool> {
        let fits = |it: &Option<TokenHash>| it.as_ref().is_some_and(|it| it.fits(token));
        // Both are compared, so that the time says nothing of which one it was.
        let (own, steps) = (fits(&self.token), fits(&self.steps_token));
        (own || steps).then(|| own && self.steps_token.is_some())
    }
}

impl Remote {
    /// Has the attempt's worker do what its coordinator asks for; `false` when no worker
    /// elsewhere runs it.
    pub(crate) fn ask(
        &self,
        attempt: Attempt,
        call: Call,
        to: oneshot::Sender<CallAnswer>,
    ) -> bool {
        {
            let mut state = self.lock();
            let held = state.held.get_mut(&attempt.job);
            let Some(held) = held.filter(|it| it.attempt == attempt) else {
                return false;
            };
            let open = &mut held.calls.0;
            let id = call.request_id();
            let is_new = !open.contains_key(id);
            if is_new && open.len() >= CALLS_WAITING_MAX {
                drop(to.send(CallAnswer::Refused(CallRefusal::TooMany)));
                return true;
            }
            let open = open.entry(id.to_owned()).or_insert_with(|| Open {
                call,
                to: Vec::new(),
            });
            // Who has left isn't told.
            open.to.retain(|it| !it.is_closed());
            if open.to.len() >= CALLS_WAITING_MAX {
                drop(to.send(CallAnswer::Refused(CallRefusal::TooMany)));
                return true;
            }
            open.to.push(to);
        }
        self.news.notify_waiters();
        true
    }

    /// What the attempt's worker hasn't heard of; none when it isn't this worker's (any more).
    pub(crate) fn calls(
        &self,
        peer: &Peer,
        attempt: Attempt,
        heard: &[String],
    ) -> Option<Vec<Call>> {
        let state = self.lock();
        let held = state.held.get(&attempt.job);
        let held = held.filter(|it| it.attempt == attempt && it.peer.worker == peer.worker)?;
        let open = held.calls.0.iter();
        let new = open.filter(|(id, _)| !heard.contains(*id));
        Some(new.map(|(_, it)| it.call.clone()).collect())
    }

    /// The worker says what became of a call. One that nobody waits for is answered when it
    /// is asked for again.
    pub(crate) fn answered(
        &self,
        peer: &Peer,
        attempt: Attempt,
        (id, answer): (&str, &CallAnswer),
    ) -> Result<(), Unreported> {
        self.require(peer, attempt)?;
        let open = {
            let mut state = self.lock();
            let held = state.held.get_mut(&attempt.job);
            held.and_then(|it| it.calls.0.remove(id))
        };
        for to in open.into_iter().flat_map(|it| it.to) {
            drop(to.send(answer.clone()));
        }
        Ok(())
    }

    /// Whether the attempt is this worker's; known from the store after a restart. Blocks.
    pub(crate) fn has_calls(&self, peer: &Peer, attempt: Attempt) -> Result<(), Unreported> {
        self.require(peer, attempt)
    }
}

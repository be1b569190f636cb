//! What opens something of a job that runs elsewhere, and what is kept out of what it sends.

use danube_model::credential::SecretText;
use danube_model::{Attempt, JobId};
use danube_worker::Bearer;

use super::{Remote, is_elsewhere};

impl Remote {
    /// Whether this is the token of the job's attempt that runs elsewhere now.
    pub(crate) fn knows(&self, job: JobId, token: &str) -> bool {
        let state = self.lock();
        let held = state.held.get(&job);
        held.is_some_and(|it| it.fits(token).is_some())
    }

    /// Whether a job runs elsewhere whose worker hasn't said yet what its token is: after a
    /// restart. Then a token that nobody knows may be good in a moment.
    pub(crate) fn may_come_to_know(&self) -> bool {
        if !self.leases().is_whole() {
            return true;
        }
        let leases = self.leases().all();
        let state = self.lock();
        leases.iter().any(|it| {
            let held = state.held.get(&it.attempt.job);
            is_elsewhere(&it.worker) && held.is_none_or(|it| it.token.is_none())
        })
    }

    /// Whose token this is, of the attempts that run elsewhere now.
    pub(crate) fn bearer(&self, token: &str) -> Option<Bearer> {
        let state = self.lock();
        // All are compared, so that the time says nothing of which one it was.
        let mut found = None;
        for held in state.held.values() {
            if let Some(is_coordinator) = held.fits(token) {
                found = Some((held, is_coordinator));
            }
        }
        found.map(|(held, is_coordinator)| Bearer {
            attempt: held.attempt,
            context: held.context,
            secrets: held.secrets.clone(),
            is_coordinator,
        })
    }

    /// Keeps values that the job was given out of what its processes send here; its worker
    /// does so with its log.
    pub(super) fn know(&self, attempt: Attempt, given: &[(String, SecretText)]) {
        let state = self.lock();
        if let Some(held) = state.held.get(&attempt.job) {
            for (_, value) in given {
                // What is stored was checked by the redactor when it was saved.
                let _ = held.secrets.register(value.reveal().as_bytes());
            }
        }
    }

    /// Has a late value told to the worker that runs the job; its number among those.
    /// None when no worker elsewhere runs it.
    pub(crate) fn mask(&self, job: JobId, value: &str) -> Option<(Attempt, usize)> {
        let told = {
            let mut state = self.lock();
            let held = state.held.get_mut(&job)?;
            // Checked before; a refused value was refused there.
            let _ = held.secrets.register_short(value.as_bytes());
            let known = held.masks.iter().position(|it| it == value);
            let place = known.unwrap_or_else(|| {
                held.masks.push(value.to_owned());
                held.masks.len() - 1
            });
            (held.attempt, place + 1)
        };
        self.news.notify_waiters();
        Some(told)
    }

    /// Whether the worker keeps so many late values out, or the attempt is over.
    pub(crate) fn is_masked(&self, attempt: Attempt, values: usize) -> bool {
        let state = self.lock();
        let held = state.held.get(&attempt.job);
        held.is_none_or(|it| it.attempt != attempt || it.masked >= values)
    }
}

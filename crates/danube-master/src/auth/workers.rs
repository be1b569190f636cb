//! The tokens of workers on other machines.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use danube_store::{NewWorker, Store, StoreError, WorkerId, WorkerRecord};

use super::hash;

/// What every token begins with: the redactor knows it as it knows an API key.
const PREFIX: &str = "dnb_worker_";

/// Characters of a token that are kept, so that people can tell tokens apart.
const SHOWN_CHARS: usize = PREFIX.len() + 6;

/// How often it is written down that a worker was heard of.
const SEEN_EVERY: Duration = Duration::from_secs(60);

/// A worker that showed its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownWorker {
    pub(crate) id: WorkerId,
    pub(crate) name: String,
}

/// The workers whose tokens are good, by the hashes of these.
#[derive(Default)]
pub(crate) struct Workers {
    by_hash: RwLock<HashMap<[u8; 32], Live>>,
}

struct Live {
    worker: KnownWorker,
    /// When it was last written down that it was heard of.
    told: Option<Instant>,
}

/// A token that nobody has seen yet.
pub(crate) struct MintedWorker {
    /// The token itself. Shown once.
    pub(crate) token: String,
    /// What the store keeps.
    pub(crate) record: NewWorker,
}

impl MintedWorker {
    /// A new token with 256 random bits.
    pub(crate) fn new(name: &str) -> Self {
        let token = format!("{PREFIX}{}", super::token());
        let record = NewWorker {
            name: name.to_owned(),
            prefix: token.chars().take(SHOWN_CHARS).collect(),
            sha256: hash(&token),
        };
        Self { token, record }
    }
}

impl Workers {
    /// Reads the workers of the store.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let workers = Self::default();
        for record in store.workers()? {
            workers.learn(&record);
        }
        Ok(workers)
    }

    /// Whose token this is, if it is anybody's.
    pub(crate) fn known(&self, token: &str) -> Option<KnownWorker> {
        // The lookup compares hashes, so its time tells nothing of the tokens.
        let workers = self.by_hash.read().unwrap_or_else(PoisonError::into_inner);
        workers.get(&hash(token)).map(|it| it.worker.clone())
    }

    /// Whether it is time to write down that the worker was heard of.
    pub(crate) fn is_to_be_told(&self, worker: WorkerId, now: Instant) -> bool {
        let mut workers = self.by_hash.write().unwrap_or_else(PoisonError::into_inner);
        let live = workers.values_mut().find(|it| it.worker.id == worker);
        let Some(live) = live.filter(|it| it.told.is_none_or(|told| told + SEEN_EVERY <= now))
        else {
            return false;
        };
        live.told = Some(now);
        true
    }

    /// A token became valid or was revoked.
    pub(crate) fn learn(&self, record: &WorkerRecord) {
        let mut workers = self.by_hash.write().unwrap_or_else(PoisonError::into_inner);
        if record.revoked_at.is_some() {
            workers.remove(&record.sha256);
            return;
        }
        let worker = KnownWorker {
            id: record.id,
            name: record.name.clone(),
        };
        workers.insert(record.sha256, Live { worker, told: None });
    }
}

#[cfg(test)]
mod tests {
    use danube_model::Timestamp;
    use danube_redact::{MASK, Rules, Secrets};

    use super::*;

    #[test]
    fn a_token_is_good_until_it_is_revoked_and_the_rules_know_it() {
        let minted = MintedWorker::new("one");
        let mut record = WorkerRecord {
            id: WorkerId(1),
            name: "one".to_owned(),
            prefix: minted.record.prefix.clone(),
            sha256: minted.record.sha256,
            created_at: Timestamp::from_millis(0),
            revoked_at: None,
            last_seen_at: None,
        };
        let workers = Workers::default();
        workers.learn(&record);
        assert_eq!(workers.known(&minted.token).unwrap().name, "one");
        assert_eq!(workers.known("dnb_worker_x"), None);
        let now = Instant::now();
        assert!(workers.is_to_be_told(WorkerId(1), now));
        assert!(!workers.is_to_be_told(WorkerId(1), now));
        record.revoked_at = Some(Timestamp::from_millis(1));
        workers.learn(&record);
        assert_eq!(workers.known(&minted.token), None);
        let shown = Secrets::new(Rules::builtin()).redact(&format!("see {} !", minted.token));
        assert_eq!(shown, format!("see {MASK} !"));
    }
}

//! What a worker hears in Redis of jobs that wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use danube_api::rpc::{Dispatch, HeartbeatAnswer};
use danube_queue::{Address, Entry, QueueError, Source};
use danube_signals::{QueueConnected, QueueDisconnected, Signals};

/// How often entries are kept whose master doesn't want us to use Redis any more.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// The entries of Redis that are this worker's.
pub(crate) struct Hearing {
    address: Option<Address>,
    signals: Signals,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Held while Redis is asked.
    source: Mutex<Option<Source>>,
    state: Mutex<State>,
    closed: AtomicBool,
}

#[derive(Default)]
struct State {
    /// What the master said last, and who we are and for how long.
    told: Option<Told>,
    /// What the source was made from.
    used: Option<Told>,
    /// Entries that nobody was asked about yet.
    held: Vec<Entry>,
    /// Whether Redis answered last time; none before the first.
    is_there: Option<bool>,
}

#[derive(Clone, PartialEq, Eq)]
struct Told {
    dispatch: Dispatch,
    worker: String,
    lease: Duration,
}

impl Hearing {
    pub(crate) fn new(address: Option<Address>, signals: &Signals) -> Self {
        Self {
            address,
            signals: signals.clone(),
            inner: Arc::default(),
        }
    }

    /// The master says where it writes.
    pub(crate) fn told(&self, answer: &HeartbeatAnswer) {
        self.inner.state().told = answer.dispatch.clone().map(|dispatch| Told {
            dispatch,
            worker: answer.worker.clone(),
            lease: Duration::from_secs(answer.lease_seconds),
        });
    }

    /// Entries of jobs that wait, after some seconds none. None at all where jobs aren't
    /// heard of in Redis, or it is away.
    pub(crate) async fn next(&self, most: usize) -> Option<Vec<Entry>> {
        let address = self.address.clone()?;
        let told = self.inner.state().told.clone()?;
        let (inner, signals) = (Arc::clone(&self.inner), self.signals.clone());
        let asked = tokio::task::spawn_blocking({
            let address = address.clone();
            move || inner.next(most, (address, told), signals)
        });
        match asked.await.ok()? {
            Ok(entries) => {
                self.was_there(&address, None);
                Some(entries)
            }
            Err(error) => {
                self.was_there(&address, Some(&error));
                None
            }
        }
    }

    /// The entry's job is ours: the master removes the entry.
    pub(crate) fn forget(&self, entry: &Entry) {
        self.inner.state().held.retain(|it| it != entry);
    }

    /// The entry's job isn't to be had.
    pub(crate) async fn done(&self, entry: Entry) {
        self.forget(&entry);
        self.call(move |source| source.done(&[entry])).await;
    }

    /// Somebody else is to have the entry.
    pub(crate) async fn give_back(&self, entry: Entry) {
        self.forget(&entry);
        self.call(move |source| source.give_back(&[entry])).await;
    }

    /// How often what is held is to be kept: well within a lease.
    pub(crate) fn keep_every(&self) -> Duration {
        let told = self.inner.state();
        told.told.as_ref().map_or(KEEP_EVERY, |it| it.lease / 3)
    }

    /// We still mean to ask for what we hold.
    pub(crate) async fn keep(&self) {
        let held = self.inner.state().held.clone();
        if !held.is_empty() {
            self.call(move |source| source.keep(&held)).await;
        }
    }

    /// Nothing more is taken, and others get what is held.
    pub(crate) async fn leave(&self) {
        self.inner.closed.store(true, Ordering::Relaxed);
        let inner = Arc::clone(&self.inner);
        let left = tokio::task::spawn_blocking(move || {
            let held = std::mem::take(&mut inner.state().held);
            // Whoever is asking Redis now holds nothing, and sees that it is over.
            if let Ok(mut source) = inner.source.try_lock()
                && let Some(source) = source.as_mut().filter(|_| !held.is_empty())
            {
                // Failing, they are found with this worker a lease later.
                drop(source.give_back(&held));
            }
        });
        drop(left.await);
    }

    /// What fails here is noticed and told at the next question.
    async fn call(&self, ask: impl FnOnce(&mut Source) -> Result<(), QueueError> + Send + 'static) {
        let inner = Arc::clone(&self.inner);
        let called = tokio::task::spawn_blocking(move || {
            if let Some(source) = inner.source().as_mut() {
                drop(ask(source));
            }
        });
        drop(called.await);
    }

    fn was_there(&self, address: &Address, error: Option<&QueueError>) {
        let before = self.inner.state().is_there.replace(error.is_none());
        if before == Some(error.is_none()) {
            return;
        }
        let server = address.to_string();
        match error {
            None => self.signals.emit(QueueConnected { server: &server }),
            Some(error) => self.signals.emit(QueueDisconnected {
                server: &server,
                error: &error.to_string(),
            }),
        }
    }
}

impl Inner {
    fn next(
        &self,
        most: usize,
        (address, told): (Address, Told),
        signals: Signals,
    ) -> Result<Vec<Entry>, QueueError> {
        let mut source = self.source();
        let is_other = self.state().used.as_ref() != Some(&told);
        let source = match source.as_mut().filter(|_| !is_other) {
            Some(source) => source,
            None => {
                let Dispatch { prefix, queues } = &told.dispatch;
                let new = Source::new(
                    (address, prefix),
                    (&told.worker, queues),
                    told.lease,
                    signals,
                );
                self.state().used = Some(told);
                source.insert(new)
            }
        };
        let entries = source.next(most)?;
        if self.closed.load(Ordering::Relaxed) && !entries.is_empty() {
            source.give_back(&entries)?;
            return Ok(Vec::new());
        }
        self.state().held.clone_from(&entries);
        Ok(entries)
    }

    fn source(&self) -> MutexGuard<'_, Option<Source>> {
        // Its own connection is made anew after any failure.
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after every line that changes it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

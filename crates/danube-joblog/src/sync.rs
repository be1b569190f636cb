//! One thread that makes all open logs durable, at most once a second, and
//! sleeps without a timer while nothing has been written.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Output is durable this long after it was written, at the latest. One sync a
/// second costs a disk little even with many logs.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// A file that may have bytes which are not durable yet.
pub(crate) struct Tracked {
    pub(crate) file: File,
    dirty: AtomicBool,
    /// Held while the file is synced, so that nobody takes a sync that hasn't
    /// ended for one that has.
    syncing: Mutex<()>,
    /// A sync went wrong once; the log can't be called complete any more.
    failed: AtomicBool,
    errors: Arc<AtomicU64>,
    /// The folder, which all logs share.
    folder: bool,
}

impl Tracked {
    pub(crate) fn new(file: File, errors: &Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self::of(file, Arc::clone(errors), false))
    }

    /// The folder itself: what is durable with it are the names of its files.
    pub(crate) fn folder(dir: File) -> Arc<Self> {
        Arc::new(Self::of(dir, Arc::default(), true))
    }

    fn of(file: File, errors: Arc<AtomicU64>, folder: bool) -> Self {
        Self {
            file,
            dirty: AtomicBool::new(false),
            syncing: Mutex::default(),
            failed: AtomicBool::new(false),
            errors,
            folder,
        }
    }

    /// Makes the file durable now if it is not.
    pub(crate) fn sync_now(&self, syncer: &Syncer) -> io::Result<()> {
        self.sync(&syncer.shared.syncs)?;
        // The kernel tells of lost pages once, and it may have told the thread.
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier sync of this file went wrong"));
        }
        Ok(())
    }

    /// Syncs what is dirty; returns when nobody else is still at it.
    fn sync(&self, syncs: &AtomicU64) -> io::Result<()> {
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        syncs.fetch_add(1, Ordering::Relaxed);
        if self.folder {
            // `fdatasync` may leave names out. No page is lost when it goes wrong:
            // the next one to ask tries again.
            let synced = self.file.sync_all();
            return synced.inspect_err(|_| self.dirty.store(true, Ordering::Release));
        }
        self.file.sync_data().inspect_err(|_| {
            self.failed.store(true, Ordering::Release);
            self.errors.fetch_add(1, Ordering::Relaxed);
        })
    }
}

/// The thread, as others see it. Dropping it syncs what is dirty and ends it.
pub(crate) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    syncs: AtomicU64,
    /// Told when the thread begins and ends to sync.
    heard: OnceLock<Heard>,
}

/// Hears `true` when a round of syncing begins and `false` when it is over.
pub(crate) type Heard = Box<dyn Fn(bool) + Send + Sync>;

#[derive(Default)]
struct State {
    dirty: Vec<Arc<Tracked>>,
    /// When the first of them became dirty.
    since: Option<Instant>,
    stop: bool,
}

impl Syncer {
    pub(crate) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            syncs: AtomicU64::new(0),
            heard: OnceLock::new(),
        });
        let thread = std::thread::Builder::new()
            .name("joblog-sync".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.run()
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Has `file` synced within a second.
    pub(crate) fn wrote(&self, file: &Arc<Tracked>) {
        if file.dirty.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut state = self.shared.lock();
        state.dirty.push(Arc::clone(file));
        if state.since.is_none() {
            state.since = Some(Instant::now());
            self.shared.wake.notify_one();
        }
    }

    /// Makes a file durable that nobody else changes.
    pub(crate) fn sync_file(&self, file: &File) -> io::Result<()> {
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        file.sync_data()
    }

    /// The first who asks hears of each round.
    pub(crate) fn hear(&self, heard: Heard) {
        let _ = self.shared.heard.set(heard);
    }

    /// Syncs made so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported; there is nothing to add here.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            match state.since {
                _ if state.stop => break,
                None => {
                    let woken = self.wake.wait(state);
                    state = woken.unwrap_or_else(PoisonError::into_inner);
                }
                Some(since) => {
                    let left = SYNC_EVERY.saturating_sub(since.elapsed());
                    if left.is_zero() {
                        let dirty = std::mem::take(&mut state.dirty);
                        state.since = None;
                        drop(state);
                        self.sync(dirty);
                        state = self.lock();
                    } else {
                        let waited = self.wake.wait_timeout(state, left);
                        state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    }
                }
            }
        }
        let dirty = std::mem::take(&mut state.dirty);
        drop(state);
        self.sync(dirty);
    }

    fn sync(&self, dirty: Vec<Arc<Tracked>>) {
        let heard = self.heard.get();
        if let Some(heard) = heard {
            heard(true);
        }
        for it in dirty {
            // What goes wrong is remembered, and told when the log is closed.
            let _ = it.sync(&self.syncs);
        }
        if let Some(heard) = heard {
            heard(false);
        }
    }
}

//! Watches the loops of this process, and nothing else: neither disk nor network.
//!
//! A plain thread looks at their [`Heartbeat`]s. As long as none has stalled it tells the
//! service manager so (`WATCHDOG=1`), which restarts the process when that ends.

mod heartbeat;
mod watch;

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use heartbeat::{Away, Heartbeat, Sign};
pub use watch::{Change, Watch, Watched};

use crate::service::Manager;

/// How often a loop beats at least that has nothing to do.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);

/// How often the watchdog looks, where the service manager wants to hear no more often.
/// Twice in a beat, so that the time of a stall is known to half a second.
const TICK: Duration = Duration::from_millis(500);

/// The shortest tick: a manager that asks for more would only keep a processor busy.
const TICK_MIN: Duration = Duration::from_millis(50);

/// How often a process that stops asks for more time.
const EXTEND_EVERY: Duration = Duration::from_secs(5);

/// The time that it asks for: if the watchdog falls silent too, the manager waits no
/// longer than this.
const EXTENSION: Duration = Duration::from_secs(30);

/// The tick for a manager.
#[must_use]
pub fn tick(manager: &Manager) -> Duration {
    manager
        .feed_every()
        .map_or(TICK, |it| it.min(TICK).max(TICK_MIN))
}

/// The watchdog's thread; it ends when this is dropped.
pub struct Watchdog {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Bell {
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Serving,
    /// The process drains, which may take longer than its manager knows.
    Stopping,
    Over,
}

impl Watchdog {
    /// Looks every tick from now on. `seen` hears of each look, on the watchdog's own
    /// thread, and must not wait for anything.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<N: Copy + Send + 'static>(
        watch: Watch<N>,
        manager: Manager,
        seen: impl FnMut(&Watch<N>, &[Change<N>]) + Send + 'static,
    ) -> io::Result<Self> {
        let bell = Arc::new(Bell::default());
        let rounds = Rounds {
            watch,
            manager,
            seen,
            bell: Arc::clone(&bell),
        };
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || rounds.go())?;
        Ok(Self {
            bell,
            thread: Some(thread),
        })
    }

    /// The process drains: from now on the manager is asked for more time, as long as the
    /// loops that are still there are well.
    pub fn stopping(&self) {
        self.bell.enter(Phase::Stopping);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.bell.enter(Phase::Over);
        if let Some(thread) = self.thread.take() {
            // A panic in it was told when it happened.
            let _ = thread.join();
        }
    }
}

impl Bell {
    fn enter(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        self.changed.notify_all();
    }

    /// Waits for a tick; the phase after it.
    fn wait(&self, tick: Duration) -> Phase {
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(phase, tick, |it| *it != Phase::Over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What the thread works with.
struct Rounds<N, F> {
    watch: Watch<N>,
    manager: Manager,
    seen: F,
    bell: Arc<Bell>,
}

impl<N: Copy, F: FnMut(&Watch<N>, &[Change<N>])> Rounds<N, F> {
    fn go(mut self) {
        let (mut fed, mut extended) = (None, None);
        loop {
            let phase = self.bell.wait(self.watch.tick());
            if phase == Phase::Over {
                return;
            }
            let changes = self.watch.look();
            (self.seen)(&self.watch, &changes);
            if !self.watch.stalled().is_empty() {
                continue;
            }
            let every = self.manager.feed_every();
            if every.is_some_and(|every| is_due(&mut fed, every)) {
                self.manager.alive();
            }
            if phase == Phase::Stopping && is_due(&mut extended, EXTEND_EVERY) {
                self.manager.extend(EXTENSION);
            }
        }
    }
}

/// Whether something is due again; if so, it is done now.
fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let now = Instant::now();
    let is_due = last.is_none_or(|last| now.duration_since(last) >= every);
    if is_due {
        *last = Some(now);
    }
    is_due
}

//! Whether our own loops go round, for `GET /health` and for the service manager.
//!
//! Only a restart helps when one doesn't, so nothing counts here that isn't ours: a writer
//! that waits for SQLite's lock or for a sync that hangs, and the scheduler that waits for
//! the writer, are alive.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use danube_signals::{LoopName, LoopResumed, LoopStalled, Signals};
use danube_store::Store;
use danube_telemetry::LabelEnum;
use danube_telemetry::service::Manager;
use danube_telemetry::watchdog::tick;
use danube_telemetry::watchdog::{BEAT_EVERY, Change, Heartbeat, Sign, Watch, Watchdog, Watched};

/// How long the scheduler may be silent. It beats once a second and reads and writes by
/// way of the store; what it does by itself takes milliseconds.
const SCHEDULER_SILENT_MAX: Duration = Duration::from_secs(4);

/// How long the store's writer may be silent outside of SQLite, where it takes requests
/// and answers them.
const WRITER_SILENT_MAX: Duration = Duration::from_secs(4);

/// How long the loop that accepts connections may be silent. On a machine with too much to
/// do it waits for its turn among thousands of connections.
const HTTP_SILENT_MAX: Duration = Duration::from_secs(10);

/// How long the watchdog itself may be silent: it does nothing but look.
const WATCHDOG_SILENT_MAX: Duration = Duration::from_secs(5);

/// What is known of the loops.
pub(crate) struct Liveness {
    signals: Signals,
    manager: Manager,
    /// What the manager shows while all is well.
    status: String,
    /// Of the loop that accepts connections.
    http: Heartbeat,
    /// Of the watchdog.
    watchdog: Arc<Heartbeat>,
    /// What the loop that accepts connections sees of the watchdog.
    back: Mutex<Watch<LoopName>>,
    /// Written by both, read by probes.
    stalled: Mutex<Vec<LoopName>>,
    /// What the manager is told of a reload would look like a return.
    is_stopping: AtomicBool,
}

impl Liveness {
    /// Of a master that serves `address`.
    pub(crate) fn new(signals: Signals, manager: Manager, address: &str) -> Self {
        let watchdog = Arc::new(Heartbeat::default());
        let seen = Arc::clone(&watchdog);
        let seen = Watched::new(LoopName::Watchdog, WATCHDOG_SILENT_MAX, move || seen.sign());
        Self {
            signals,
            manager,
            status: format!("serving {address}"),
            http: Heartbeat::default(),
            watchdog,
            back: Mutex::new(Watch::new(BEAT_EVERY, vec![seen])),
            stalled: Mutex::default(),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// The loops that have stalled.
    pub(crate) fn stalled(&self) -> Vec<LoopName> {
        let stalled = self.stalled.lock();
        stalled.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connections are accepted; called every [`BEAT_EVERY`]. Somebody has to look at the
    /// watchdog as well.
    pub(crate) fn accepts(&self) {
        self.http.beat();
        let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = back.look();
        self.tell(&back, &changes);
    }

    /// No connection is accepted any more, and none is to be.
    pub(crate) fn accepts_no_more(&self) {
        self.http.resign();
    }

    /// The master serves: the manager hears so.
    pub(crate) fn serves(&self) {
        self.manager.ready(&self.status);
    }

    /// The settings are read again, or were.
    pub(crate) fn reloads(&self, is_done: bool) {
        if self.is_stopping.load(Ordering::Relaxed) {
            return;
        }
        if is_done {
            self.serves();
        } else {
            self.manager.reloading();
        }
    }

    /// The master drains.
    pub(crate) fn stops(&self, jobs: usize) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.manager
            .stopping(&format!("stopping, {jobs} jobs are running"));
    }

    fn tell(&self, watch: &Watch<LoopName>, changes: &[Change<LoopName>]) {
        for (name, silent) in watch.silences() {
            let shown = self.signals.loop_silent_seconds.at(name);
            shown.set(silent.as_secs_f64());
        }
        if changes.is_empty() {
            return;
        }
        let mut stalled = self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            stalled.retain(|it| *it != change.name);
            let (loop_name, silent_seconds) = (change.name, change.silent);
            if change.is_stalled {
                stalled.push(change.name);
                self.signals.emit(LoopStalled {
                    loop_name,
                    silent_seconds,
                });
            } else {
                self.signals.emit(LoopResumed {
                    loop_name,
                    silent_seconds,
                });
            }
        }
        let names: Vec<&str> = stalled.iter().map(|it| it.as_str()).collect();
        let status = if names.is_empty() {
            self.status.clone()
        } else {
            format!("stalled: {}", names.join(", "))
        };
        drop(stalled);
        self.manager.status(&status);
    }
}

/// Watches the loops of a master until the watchdog is dropped.
pub(crate) fn start(
    liveness: &Arc<Liveness>,
    store: Store,
    scheduler: Arc<Heartbeat>,
) -> io::Result<Watchdog> {
    let http = Arc::clone(liveness);
    let loops = vec![
        Watched::new(LoopName::Scheduler, SCHEDULER_SILENT_MAX, move || {
            scheduler.sign()
        }),
        Watched::new(LoopName::StoreWriter, WRITER_SILENT_MAX, move || {
            let sign = store.writer_sign();
            Sign {
                beats: sign.beats,
                is_away: sign.is_in_io,
            }
        }),
        Watched::new(LoopName::Http, HTTP_SILENT_MAX, move || http.http.sign()),
    ];
    // Shown from the first scrape on.
    let all = [
        LoopName::Scheduler,
        LoopName::StoreWriter,
        LoopName::Http,
        LoopName::Watchdog,
    ];
    for name in all {
        liveness.signals.loop_silent_seconds.at(name).set(0.0);
    }
    let manager = liveness.manager.clone();
    let watch = Watch::new(tick(&manager), loops);
    let liveness = Arc::clone(liveness);
    Watchdog::start(watch, manager, move |watch, changes| {
        liveness.watchdog.beat();
        liveness.tell(watch, changes);
    })
}

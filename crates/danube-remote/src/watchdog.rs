//! Whether a worker's own tasks go round, for the service manager that started it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use danube_signals::{LoopName, LoopResumed, LoopStalled, Signals};
use danube_telemetry::service::Manager;
use danube_telemetry::watchdog::{BEAT_EVERY, Heartbeat, Watch, Watchdog, Watched, tick};
use tokio::task::{AbortHandle, JoinHandle};

/// How long the tasks that speak to the master may be silent. They wait for the network
/// without holding the thread, so only a runtime that hangs or a task that ended is so.
const LINK_SILENT_MAX: Duration = Duration::from_secs(10);

/// How long the manager should wait for the master's first answer, until it hears of us
/// again.
const HELLO_EXTENSION: Duration = Duration::from_secs(30);

/// What a worker tells its service manager.
pub(crate) struct Life {
    manager: Manager,
    url: String,
}

impl Life {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            manager: Manager::from_environment(),
            url: url.to_owned(),
        }
    }

    /// The master has not answered yet: no reason to start us again.
    pub(crate) fn waits(&self) {
        self.manager.status(&format!("waiting for {}", self.url));
        self.manager.extend(HELLO_EXTENSION);
    }

    /// The worker takes jobs. The tasks are watched from now on.
    pub(crate) fn works(
        &self,
        name: &str,
        signals: &Signals,
        tasks: Vec<AbortHandle>,
    ) -> io::Result<UnderWatch> {
        let heartbeat = Arc::new(Heartbeat::default());
        let seen = Arc::clone(&heartbeat);
        let link = Watched::new(LoopName::Link, LINK_SILENT_MAX, move || seen.sign());
        let watch = Watch::new(tick(&self.manager), vec![link]);
        let status = format!("works for {} as {name}", self.url);
        let (manager, signals, well) = (self.manager.clone(), signals.clone(), status.clone());
        let watchdog = Watchdog::start(watch, manager.clone(), move |watch, changes| {
            for (name, silent) in watch.silences() {
                let shown = signals.loop_silent_seconds.at(name);
                shown.set(silent.as_secs_f64());
            }
            for change in changes {
                let (loop_name, silent_seconds) = (change.name, change.silent);
                if change.is_stalled {
                    manager.status("stalled: link");
                    signals.emit(LoopStalled {
                        loop_name,
                        silent_seconds,
                    });
                } else {
                    manager.status(&well);
                    signals.emit(LoopResumed {
                        loop_name,
                        silent_seconds,
                    });
                }
            }
        })?;
        let beats = tokio::spawn(beats(Arc::clone(&heartbeat), tasks));
        self.manager.ready(&status);
        Ok(UnderWatch {
            watchdog,
            heartbeat,
            beats,
            manager: self.manager.clone(),
        })
    }
}

/// A worker that is watched, until this is dropped.
pub(crate) struct UnderWatch {
    watchdog: Watchdog,
    heartbeat: Arc<Heartbeat>,
    beats: JoinHandle<()>,
    manager: Manager,
}

impl UnderWatch {
    /// The worker drains: of its tasks only the runtime itself is expected to go on.
    pub(crate) fn stops(&mut self, jobs: usize) {
        self.beats.abort();
        self.beats = tokio::spawn(beats(Arc::clone(&self.heartbeat), Vec::new()));
        self.manager
            .stopping(&format!("stopping, {jobs} jobs are running"));
        self.watchdog.stopping();
    }
}

impl Drop for UnderWatch {
    fn drop(&mut self) {
        self.beats.abort();
    }
}

/// Beats while the runtime turns and none of the tasks has ended.
async fn beats(heartbeat: Arc<Heartbeat>, tasks: Vec<AbortHandle>) {
    let mut every = tokio::time::interval(BEAT_EVERY);
    while !tasks.iter().any(AbortHandle::is_finished) {
        every.tick().await;
        heartbeat.beat();
    }
}

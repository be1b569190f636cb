//! The level of the server's log, changed while it runs: over HTTP, for a time or until
//! the next change, and by SIGHUP, which reads the settings again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use danube_api::{LogLevelView, SettingOrigin};
use danube_model::Timestamp;
use danube_signals::{
    LOG_LOGGER, LogLevelChanged, LogLevelReason, OWN_LOGGERS, SettingsRefused, Signals,
};
use danube_telemetry::LogHandle;
use danube_telemetry::log::{Filter, FilterError};
use tokio::signal::unix::Signal;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::watchdog::Liveness;

/// The longest time for which a level is set, in seconds: a day. Whoever wants it for
/// longer means the settings.
pub(crate) const LEVEL_SECS_MAX: u64 = 24 * 60 * 60;

/// Reads the level that the settings say now; or says why they can't be used.
pub type ReadLevel = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Keeps a value out of the server's log from now on.
pub type MaskInLog = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// What a master needs to change the level of its log.
pub struct LogControl {
    /// The log.
    pub handle: LogHandle,
    /// Reads the settings again.
    pub configured: ReadLevel,
    /// Keeps a value out of it.
    pub mask: MaskInLog,
}

/// The level as it stands, and who changes it.
pub(crate) struct LogLevel {
    control: LogControl,
    signals: Signals,
    state: Mutex<State>,
    /// Wakes [`LogLevel::watch`] when there is another end to wait for.
    changed: Notify,
}

struct State {
    at_start: Filter,
    configured: Filter,
    /// What the blueprint says, where the settings say nothing.
    declared: Option<Filter>,
    /// When the configured level comes back, on both clocks.
    until: Option<(Instant, Timestamp)>,
}

impl State {
    /// The level that holds where nobody set another.
    fn usual(&self) -> &Filter {
        self.declared.as_ref().unwrap_or(&self.configured)
    }
}

impl LogLevel {
    /// The level that the log has now counts as configured.
    pub(crate) fn new(control: LogControl, signals: Signals) -> Self {
        let configured = control.handle.filter();
        Self {
            control,
            signals,
            state: Mutex::new(State {
                at_start: configured.clone(),
                configured,
                declared: None,
                until: None,
            }),
            changed: Notify::new(),
        }
    }

    /// How it stands.
    pub(crate) fn view(&self) -> LogLevelView {
        self.shown(&self.state())
    }

    /// The level now, and who changed it since the start, if that wasn't the blueprint.
    pub(crate) fn origin(&self) -> (String, Option<SettingOrigin>) {
        let state = self.state();
        let level = self.control.handle.filter();
        let who = if level != *state.usual() {
            Some(SettingOrigin::Request)
        } else if state.declared.is_none() && state.configured != state.at_start {
            Some(SettingOrigin::Reload)
        } else {
            None
        };
        (level.to_string(), who)
    }

    /// Sets a level, for some time or until it is changed again.
    ///
    /// # Errors
    /// When the level is wrong; then nothing changes.
    pub(crate) fn set(
        &self,
        level: &str,
        time: Option<Duration>,
        user: &str,
    ) -> Result<LogLevelView, FilterError> {
        let filter = Filter::parse(level)?;
        let mut state = self.state();
        state.until = time.map(|time| {
            let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
            let end = Timestamp::now().as_millis().saturating_add(millis);
            (Instant::now() + time, Timestamp::from_millis(end))
        });
        self.apply(filter, LogLevelReason::Api, (Some(user), time));
        let view = self.shown(&state);
        drop(state);
        self.changed.notify_one();
        Ok(view)
    }

    /// Brings the configured level back when its time has come, and reads the settings
    /// again at each SIGHUP. Ends with the master.
    pub(crate) async fn watch(self: Arc<Self>, mut hangup: Signal, liveness: Arc<Liveness>) {
        loop {
            let until = self.state().until.map(|(until, _)| until);
            let end = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = end => self.expire(),
                () = self.changed.notified() => {}
                Some(()) = hangup.recv() => {
                    let this = Arc::clone(&self);
                    liveness.reloads(false);
                    // It reads a file.
                    let _ = tokio::task::spawn_blocking(move || this.read_again()).await;
                    liveness.reloads(true);
                }
            }
        }
    }

    /// The blueprint says this level from now on, or none. One that was set for some time
    /// stays until then.
    pub(crate) fn declare(&self, level: Option<&str>) {
        let declared = level.and_then(|it| Filter::parse(it).ok());
        let mut state = self.state();
        if state.declared == declared {
            return;
        }
        state.declared = declared;
        if state.until.is_none() {
            let usual = state.usual().clone();
            self.apply(usual, LogLevelReason::Blueprint, (None, None));
        }
    }

    fn expire(&self) {
        let mut state = self.state();
        // Another level may have been set in this moment.
        if state
            .until
            .is_some_and(|(until, _)| until <= Instant::now())
        {
            state.until = None;
            let usual = state.usual().clone();
            self.apply(usual, LogLevelReason::Expired, (None, None));
        }
    }

    fn read_again(&self) {
        let read = (self.control.configured)();
        let filter = read.and_then(|it| Filter::parse(&it).map_err(|error| error.to_string()));
        match filter {
            Ok(filter) => {
                let mut state = self.state();
                // What the settings say since the start goes before the blueprint.
                if filter != state.configured {
                    state.declared = None;
                }
                state.configured = filter;
                state.until = None;
                let usual = state.usual().clone();
                self.apply(usual, LogLevelReason::Hangup, (None, None));
            }
            Err(error) => self.signals.emit(SettingsRefused { error: &error }),
        }
    }

    /// Changes the level and tells of it while one of both lets that through.
    fn apply(&self, filter: Filter, reason: LogLevelReason, by: (Option<&str>, Option<Duration>)) {
        let handle = &self.control.handle;
        let before = handle.filter();
        let (new_level, old_level) = (filter.to_string(), before.to_string());
        let tell = || {
            self.signals.emit(LogLevelChanged {
                new_level: &new_level,
                old_level: &old_level,
                reason,
                user: by.0,
                for_seconds: by.1,
            });
        };
        let tells_before = before.level(LOG_LOGGER, OWN_LOGGERS) >= tracing::Level::INFO;
        if tells_before {
            tell();
        }
        handle.set(filter);
        if !tells_before {
            tell();
        }
    }

    fn shown(&self, state: &State) -> LogLevelView {
        LogLevelView {
            level: self.control.handle.filter().to_string(),
            configured: state.usual().to_string(),
            until: state.until.map(|(_, until)| until),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

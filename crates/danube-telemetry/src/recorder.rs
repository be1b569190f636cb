//! Captures the log lines of a test, on its own thread or in a scope.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

use crate::log::{Filter, Lines, Redaction, Sink, Style, stack};

/// First parts of the loggers that a recorder takes for our own.
const OWN: &[&str] = &["danube", "ansible_api"];

/// Captures JSON lines in memory instead of writing them.
#[derive(Clone)]
pub struct Recorder {
    lines: Arc<Mutex<Vec<String>>>,
    dispatch: Dispatch,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// Captures everything of ours, down to `trace`. Every line's timestamp is
    /// `1970-01-01T00:00:00.000Z`, so that whole lines can be compared.
    pub fn new() -> Self {
        Self::with_filter("trace")
    }

    /// Captures what `filter` lets through.
    ///
    /// # Panics
    /// When the filter is wrong.
    pub fn with_filter(filter: &str) -> Self {
        let filter = Filter::parse(filter).expect("the test's filter is right");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink: Sink = {
            let lines = Arc::clone(&lines);
            Box::new(move |line, _| {
                let line = String::from_utf8_lossy(line)
                    .trim_end_matches('\n')
                    .to_owned();
                lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            })
        };
        let layer = Lines {
            style: Style::Json,
            redaction: Redaction::default(),
            sink,
            tap: None,
            clock: || SystemTime::UNIX_EPOCH,
        };
        Self {
            lines,
            dispatch: Dispatch::new(stack(filter, OWN, layer)),
        }
    }

    /// Captures on this thread until the guard is dropped.
    #[must_use = "capturing ends when the guard is dropped"]
    pub fn start(&self) -> DefaultGuard {
        tracing::dispatcher::set_default(&self.dispatch)
    }

    /// Captures while `act` runs, on this thread.
    pub fn run<T>(&self, act: impl FnOnce() -> T) -> T {
        tracing::dispatcher::with_default(&self.dispatch, act)
    }

    /// For other threads: `tracing::dispatcher::with_default(&dispatch, …)`.
    pub fn dispatch(&self) -> Dispatch {
        self.dispatch.clone()
    }

    /// The lines so far, without newlines.
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The lines so far, which are then forgotten.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

//! Rotates the sealing key while the server works, and goes on with a rotation that
//! the master before couldn't end.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use danube_api::{Problem, SealKeyView};
use danube_store::{Rotation, StoreError};
use danube_telemetry::tasks;
use tokio::time::sleep;

use crate::app::{App, Shared};

/// How long to leave a store alone that has too much to do.
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// How many times in a row: a minute in which the store took nothing is trouble.
const BUSY_PAUSES_MAX: u32 = 300;

/// What is known of the rotation that runs, or of the last one.
#[derive(Default)]
pub(crate) struct SealKey {
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    is_running: bool,
    rows: u64,
    unreadable: u64,
    error: Option<String>,
}

impl SealKey {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when one runs already.
    fn begin(&self) -> bool {
        let mut progress = self.progress();
        if progress.is_running {
            return false;
        }
        *progress = Progress {
            is_running: true,
            ..Progress::default()
        };
        true
    }

    fn end(&self, error: Option<String>) {
        let mut progress = self.progress();
        progress.is_running = false;
        progress.error = error;
    }
}

/// How it stands.
pub(crate) fn view(app: &App) -> SealKeyView {
    let state = app.store.seal_state();
    let progress = app.seal_key.progress();
    let word = match (progress.is_running, state.has_old_keys) {
        (true, _) => "rotating",
        (false, true) => "stopped",
        (false, false) => "idle",
    };
    SealKeyView {
        key_id: state.key_id,
        state: word.to_owned(),
        rows_resealed: progress.rows,
        rows_unreadable: progress.unreadable,
        error: progress.error.clone(),
    }
}

/// Begins a rotation, or goes on with one that stopped. One that runs is left alone.
///
/// # Errors
/// When the key file or the store refuses; nothing was changed then.
pub(crate) async fn rotate(app: &Shared) -> Result<(), Problem> {
    if !app.seal_key.begin() {
        return Ok(());
    }
    if let Err(error) = app.store.begin_rotation().await {
        app.seal_key.end(Some(error.to_string()));
        return Err(app.problem(&error));
    }
    tokio::spawn(tasks::watched("reseal", reseal(app.clone())));
    Ok(())
}

/// Goes on with what the master before began.
pub(crate) async fn resume(app: Shared) {
    if app.store.seal_state().has_old_keys {
        // An error is told by whoever asks for the state, and by the store's health.
        let _ = rotate(&app).await;
    }
}

/// Seals everything anew, a few rows at a time: what else is written comes between.
async fn reseal(app: Shared) {
    let (mut at, mut pauses) = (Rotation::default(), 0);
    let error = loop {
        match app.store.reseal_some(at).await {
            Ok(done) => {
                let mut progress = app.seal_key.progress();
                progress.rows += done.rows;
                progress.unreadable += done.unreadable;
                drop(progress);
                if done.is_done {
                    break None;
                }
                (at, pauses) = (done.next, 0);
            }
            Err(StoreError::Busy) if pauses < BUSY_PAUSES_MAX => {
                pauses += 1;
                sleep(BUSY_PAUSE).await;
            }
            // The next start goes on.
            Err(StoreError::Closed) => break Some("the server is stopping".to_owned()),
            Err(error) => break Some(app.problem(&error).detail),
        }
    };
    app.seal_key.end(error);
}

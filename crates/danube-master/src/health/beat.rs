//! Whether a loop of ours is there at all.

use std::sync::atomic::{AtomicBool, Ordering};

/// Beats while a loop goes round.
#[derive(Default)]
pub(crate) struct Beat {
    gone: AtomicBool,
}

impl Beat {
    /// The loop is alive.
    pub(crate) fn beat(&self) {
        self.gone.store(false, Ordering::Relaxed);
    }

    /// The loop has ended, however.
    pub(crate) fn stop(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

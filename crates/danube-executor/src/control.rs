//! The handle by which anyone stops a running step.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::sys;

/// Why a step is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody asked for it: TERM, then KILL after the grace time.
    Cancel,
    /// It ran out of time: TERM, then KILL after the grace time.
    Timeout,
    /// The worker leaves: TERM, then KILL after the grace time.
    Drain,
    /// The lease is gone, so another worker may run the job: KILL at once.
    Lost,
}

const STOPS: [Stop; 4] = [Stop::Cancel, Stop::Timeout, Stop::Drain, Stop::Lost];

/// Stops a step from any thread, before, during and after its run. Clones are
/// the same handle. It stays stopped: one `Control` serves all steps of a job.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

/// Both descriptors stay readable once raised, so that several steps may watch them.
struct Shared {
    /// 0, or 1 + the index in `STOPS`. Written by `cancel`, read by the runs.
    stop: AtomicU8,
    any: OwnedFd,
    lost: OwnedFd,
}

impl Control {
    /// A handle that stops nothing yet. Errors when no file descriptor is left.
    pub fn new() -> io::Result<Self> {
        let shared = Shared {
            stop: AtomicU8::new(0),
            any: sys::event()?,
            lost: sys::event()?,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Asks to stop. The first reason holds, but [`Stop::Lost`] overrules the
    /// others: it cannot wait for the grace time.
    pub fn cancel(&self, stop: Stop) {
        let shared = &self.shared;
        let code = code(stop);
        if stop == Stop::Lost {
            shared.stop.store(code, Ordering::SeqCst);
            sys::raise_event(shared.lost.as_fd());
        } else {
            // Somebody was first: then their reason holds.
            let _ = shared
                .stop
                .compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst);
        }
        sys::raise_event(shared.any.as_fd());
    }

    /// The reason to stop, if there is one.
    #[must_use]
    pub fn stopped(&self) -> Option<Stop> {
        let code = self.shared.stop.load(Ordering::SeqCst);
        usize::from(code).checked_sub(1).map(|at| STOPS[at])
    }

    /// Readable once any stop was asked for.
    pub(crate) fn any(&self) -> BorrowedFd<'_> {
        self.shared.any.as_fd()
    }

    /// Readable once [`Stop::Lost`] was asked for.
    pub(crate) fn lost(&self) -> BorrowedFd<'_> {
        self.shared.lost.as_fd()
    }
}

fn code(stop: Stop) -> u8 {
    match stop {
        Stop::Cancel => 1,
        Stop::Timeout => 2,
        Stop::Drain => 3,
        Stop::Lost => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_holds_and_lost_overrules_it() {
        let control = Control::new().unwrap();
        assert_eq!(control.stopped(), None);
        for stop in [Stop::Drain, Stop::Cancel] {
            control.clone().cancel(stop);
            assert_eq!(control.stopped(), Some(Stop::Drain));
        }
        control.cancel(Stop::Lost);
        control.cancel(Stop::Cancel);
        assert_eq!(control.stopped(), Some(Stop::Lost));
    }
}

//! What waits for the writer: bounded, in order, and woken no more than needed.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::company::Company;
use super::{Request, Urgency};
use crate::StoreError;
use crate::pulse::{BEAT_EVERY, Pulse};

/// Requests that may wait. At a thousand a second it is some seconds of work;
/// more wouldn't be answered in time anyway.
const REQUESTS_MAX: usize = 8_192;

/// Of these, what adds jobs may take no more than half: a flood of submits must
/// not keep the running jobs from being told as finished.
const GROWING_MAX: usize = REQUESTS_MAX / 2;

/// Bytes of sealed orders that may wait: orders have up to some megabytes.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Requests of one transaction: the first of them waits for the last.
const BATCH_MAX: usize = 512;

/// Longest that a request that isn't urgent waits for company.
pub(super) const LAZY_WAIT_MAX: Duration = Duration::from_millis(50);

pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Request>,
    bytes: usize,
    urgent: usize,
    /// The writer sleeps until so many urgent requests wait.
    wanted: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Never waits.
    pub(super) fn push(&self, request: Request) -> Result<(), (Request, StoreError)> {
        let mut state = self.lock();
        if state.closed {
            return Err((request, StoreError::Closed));
        }
        let requests_max = if request.grows {
            GROWING_MAX
        } else {
            REQUESTS_MAX
        };
        if state.requests.len() >= requests_max || state.bytes + request.bytes > BYTES_MAX {
            return Err((request, StoreError::Busy));
        }
        let first = state.requests.is_empty();
        state.bytes += request.bytes;
        state.urgent += usize::from(request.urgency == Urgency::Now);
        state.requests.push_back(request);
        // The first one sets the clock; the last one wanted ends the wait.
        if first || state.urgent == state.wanted {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// The next batch: at once when something urgent waits, unless `company`
    /// says to wait a moment for more. None when closed and empty.
    /// Meanwhile the pulse beats.
    pub(super) fn take(&self, company: Company, pulse: &Pulse) -> Option<Vec<Request>> {
        let mut state = self.wait_for_work(pulse)?;
        if state.urgent > 0 && state.urgent < company.expected {
            state.wanted = company.expected;
            (state, _) = self
                .changed
                .wait_timeout_while(state, company.wait, |it| {
                    it.urgent < it.wanted && !it.closed
                })
                .expect("nothing panics while it holds this");
        }
        let count = state.requests.len().min(BATCH_MAX);
        let batch: Vec<Request> = state.requests.drain(..count).collect();
        for request in &batch {
            state.bytes -= request.bytes;
            state.urgent -= usize::from(request.urgency == Urgency::Now);
        }
        Some(batch)
    }

    /// Sleeps until something is urgent or has waited long enough.
    fn wait_for_work(&self, pulse: &Pulse) -> Option<MutexGuard<'_, State>> {
        let mut state = self.lock();
        state.wanted = 1;
        loop {
            if state.urgent > 0 || (state.closed && !state.requests.is_empty()) {
                return Some(state);
            }
            let Some(first) = state.requests.front() else {
                if state.closed {
                    return None;
                }
                (state, _) = self
                    .changed
                    .wait_timeout(state, BEAT_EVERY)
                    .expect("nothing panics while it holds this");
                pulse.alive();
                continue;
            };
            let due = first.since + LAZY_WAIT_MAX;
            let Some(left) = due.checked_duration_since(Instant::now()) else {
                return Some(state);
            };
            if left.is_zero() {
                return Some(state);
            }
            (state, _) = self
                .changed
                .wait_timeout(state, left)
                .expect("nothing panics while it holds this");
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().requests.is_empty()
    }

    /// Takes nothing more. What waits is still answered.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Drops what waits; each is answered as closed.
    pub(super) fn abandon(&self) {
        let left = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.requests)
        };
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds this")
    }
}

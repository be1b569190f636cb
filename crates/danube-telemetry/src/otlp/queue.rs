//! A bounded queue between those who tell and the thread that sends: telling never
//! waits, and what finds no room is dropped and counted.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long what came first may wait for company, so that a quiet server's line is
/// seen in a moment and a busy one's lines travel together.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Limits of a queue. What is being sent counts until it was delivered or given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Items.
    pub(super) items: usize,
    /// Bytes of all items.
    pub(super) bytes: usize,
    /// Items of the above that only urgent ones may use.
    pub(super) reserve_items: usize,
    /// Bytes of the above that only urgent ones may use.
    pub(super) reserve_bytes: usize,
    /// Items of one message.
    pub(super) batch_items: usize,
    /// Bytes of one message, as far as these are known before it is encoded.
    pub(super) batch_bytes: usize,
}

struct State<T> {
    waiting: VecDeque<(T, usize)>,
    /// Of all that waits and all that is being sent.
    items: usize,
    bytes: usize,
    waiting_bytes: usize,
    closed: bool,
    /// The sender waits for the first item.
    idle: bool,
}

pub(super) struct Queue<T> {
    bounds: Bounds,
    linger: Duration,
    state: Mutex<State<T>>,
    /// Wakes the sender.
    work: Condvar,
}

/// Items that travel together. They count until [`Queue::done`].
pub(super) struct Batch<T> {
    pub(super) items: Vec<T>,
    bytes: usize,
    len: usize,
}

impl<T> Queue<T> {
    pub(super) fn new(bounds: Bounds, linger: Duration) -> Self {
        Self {
            bounds,
            linger,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                items: 0,
                bytes: 0,
                waiting_bytes: 0,
                closed: false,
                idle: false,
            }),
            work: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over an item that takes `bytes`; `false` when there was no room. It is
    /// made only if there is: a full queue costs a lock.
    pub(super) fn push(&self, bytes: usize, urgent: bool, make: impl FnOnce() -> T) -> bool {
        let Bounds {
            items,
            bytes: bytes_max,
            reserve_items,
            reserve_bytes,
            ..
        } = self.bounds;
        let (items, bytes_max) = if urgent {
            (items, bytes_max)
        } else {
            (items - reserve_items, bytes_max - reserve_bytes)
        };
        let mut state = self.lock();
        let was_full = self.is_full_batch(&state);
        if state.closed || state.items >= items || state.bytes + bytes > bytes_max {
            return false;
        }
        state.waiting.push_back((make(), bytes));
        state.items += 1;
        state.bytes += bytes;
        state.waiting_bytes += bytes;
        // With a full batch waiting already, the sender doesn't wait.
        let wake = state.idle || (!was_full && self.is_full_batch(&state));
        state.idle = false;
        drop(state);
        if wake {
            self.work.notify_one();
        }
        true
    }

    fn is_full_batch(&self, state: &State<T>) -> bool {
        state.waiting.len() >= self.bounds.batch_items
            || state.waiting_bytes >= self.bounds.batch_bytes
    }

    /// Waits for the next batch; none when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Batch<T>> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state.idle = true;
            let woken = self.work.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        let end = Instant::now() + self.linger;
        while !state.closed && !self.is_full_batch(&state) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.work.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut batch = Batch {
            items: Vec::with_capacity(state.waiting.len().min(self.bounds.batch_items)),
            bytes: 0,
            len: 0,
        };
        while batch.len < self.bounds.batch_items
            && let Some((_, bytes)) = state.waiting.front()
            && (batch.len == 0 || batch.bytes + bytes <= self.bounds.batch_bytes)
        {
            let (item, bytes) = state
                .waiting
                .pop_front()
                .expect("its front was just looked at");
            batch.items.push(item);
            batch.bytes += bytes;
            batch.len += 1;
            state.waiting_bytes -= bytes;
        }
        if state.waiting.is_empty() {
            // What a burst took is given back.
            state.waiting = VecDeque::new();
        }
        Some(batch)
    }

    /// Makes room for as much as a batch took.
    pub(super) fn done(&self, batch: &Batch<T>) {
        let mut state = self.lock();
        state.items -= batch.len;
        state.bytes -= batch.bytes;
    }

    /// How many wait or are being sent.
    pub(super) fn items(&self) -> usize {
        self.lock().items
    }

    /// Takes nothing more; what waits can still be taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        items: 10,
        bytes: 100,
        reserve_items: 2,
        reserve_bytes: 20,
        batch_items: 4,
        batch_bytes: 40,
    };

    fn queue() -> Queue<u32> {
        Queue::new(BOUNDS, Duration::ZERO)
    }

    #[test]
    fn what_finds_no_room_is_refused_and_the_reserve_is_for_what_is_urgent() {
        let queue = queue();
        let taken = (0..20).filter(|it| queue.push(1, false, || *it)).count();
        assert_eq!(taken, 8);
        let taken = (0..20).filter(|it| queue.push(1, true, || *it)).count();
        assert_eq!(taken, 2);
    }

    #[test]
    fn bytes_count_as_well_as_items() {
        let queue = queue();
        assert!(queue.push(80, false, || 1));
        assert!(!queue.push(1, false, || 2));
        assert!(queue.push(20, true, || 3));
        assert!(!queue.push(1, true, || 4));
    }

    #[test]
    fn what_is_being_sent_takes_room_until_it_is_done() {
        let queue = queue();
        for it in 0..8 {
            assert!(queue.push(1, false, || it));
        }
        let batch = queue.take().unwrap();
        assert_eq!(batch.items, [0, 1, 2, 3]);
        assert!(!queue.push(1, false, || 9));
        queue.done(&batch);
        assert!(queue.push(1, false, || 9));
    }

    #[test]
    fn a_batch_holds_to_its_bytes_but_for_a_single_larger_item() {
        let queue = queue();
        for bytes in [60, 10, 10] {
            assert!(queue.push(bytes, false, || 0));
        }
        assert_eq!(queue.take().unwrap().items.len(), 1);
        assert_eq!(queue.take().unwrap().items.len(), 2);
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_takes_nothing() {
        let queue = queue();
        assert!(queue.push(1, false, || 1));
        queue.close();
        assert!(!queue.push(1, true, || 2));
        assert_eq!(queue.take().unwrap().items, [1]);
        assert!(queue.take().is_none());
    }
}

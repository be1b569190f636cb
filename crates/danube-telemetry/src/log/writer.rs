//! The way out: lines go into a bounded buffer and one thread writes them, a batch
//! at a time, so that no caller ever waits for a terminal, pipe or disk.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::tasks;

/// Most bytes that wait, the batch being written included: a few seconds of the
/// busiest log, and all the memory that a stuck reader can cost.
pub(crate) const BUFFER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Kept free for errors, which are the lines that nobody wants to lose.
pub(crate) const RESERVE_BYTES: usize = 512 * 1024;

/// A buffer that grew beyond this in a burst is given back afterwards.
const BUFFER_BYTES_KEPT: usize = 256 * 1024;

/// How long the thread waits where the output takes nothing just now.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// How long the thread looks for more once it has written: in a busy log a hundred
/// batches a second then wake it, not each line, and waking costs more than all else
/// that it does. Nobody who reads along sees the difference. Errors don't wait for it.
const LINGER: Duration = Duration::from_millis(10);

/// So much isn't waited for either: it fits the cache and the buffers that are kept.
const BATCH_BYTES: usize = 128 * 1024;

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    waiting_lines: u64,
    /// Of the batch being written.
    writing_bytes: usize,
    /// Lost in all, and how many of them no line has told of yet.
    dropped: u64,
    untold: u64,
    closed: bool,
    /// Somebody waits for what is in the buffer, or an error is.
    hurry: bool,
    /// Nothing waits and nothing is being written.
    idle: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    work: Condvar,
    /// Wakes who waits for a flush.
    done: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The producers' side. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct Writer(Arc<Shared>);

/// Makes the line that tells of so many lost ones.
pub(crate) type TellDropped = Box<dyn Fn(u64) -> Vec<u8> + Send>;

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(out: Box<dyn Write + Send>, tell: TellDropped) -> io::Result<Self> {
        let writer = Self::unstarted();
        let shared = Arc::clone(&writer.0);
        thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || run(&shared, out, &tell))?;
        Ok(writer)
    }

    fn unstarted() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                idle: true,
                ..State::default()
            }),
            work: Condvar::new(),
            done: Condvar::new(),
        }))
    }

    /// Hands over one line, newline included. A full buffer drops it and counts;
    /// errors may use the reserve.
    pub(crate) fn push(&self, line: &[u8], is_error: bool) {
        let limit = if is_error {
            BUFFER_BYTES_MAX
        } else {
            BUFFER_BYTES_MAX - RESERVE_BYTES
        };
        let mut state = self.0.lock();
        if state.closed || state.waiting.len() + state.writing_bytes + line.len() > limit {
            state.dropped += 1;
            state.untold += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        state.waiting_lines += 1;
        let hurry = is_error || state.waiting.len() > BATCH_BYTES;
        let wake = state.idle || (hurry && !state.hurry);
        state.idle = false;
        state.hurry |= hurry;
        drop(state);
        if wake {
            self.0.work.notify_one();
        }
    }

    /// How many lines were lost so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }

    /// Waits until everything handed over is written; `false` at the deadline.
    pub(crate) fn flush(&self, deadline: Duration) -> bool {
        self.wait(self.0.lock(), deadline)
    }

    /// Like [`Self::flush`], and lines that come later are dropped.
    pub(crate) fn close(&self, deadline: Duration) -> bool {
        let mut state = self.0.lock();
        state.closed = true;
        self.wait(state, deadline)
    }

    fn wait(&self, mut state: MutexGuard<'_, State>, deadline: Duration) -> bool {
        state.hurry = true;
        self.0.work.notify_one();
        let end = Instant::now() + deadline;
        while !state.idle {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.0.done.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

fn run(shared: &Shared, mut out: Box<dyn Write + Send>, tell: &TellDropped) {
    let mut batch = Vec::new();
    // Lost by failed writes: told with the next batch, since trying at once would spin.
    let mut owed = 0;
    // A failed write may have left half a line, which the next must not stand behind.
    let mut is_torn = false;
    let task = tasks::thread("log-writer");
    loop {
        task.rest();
        batch.clear();
        batch.shrink_to(BUFFER_BYTES_KEPT);
        let Some(mut state) = next(shared) else {
            return;
        };
        task.beat();
        std::mem::swap(&mut batch, &mut state.waiting);
        state.writing_bytes = batch.len();
        let lines = std::mem::take(&mut state.waiting_lines);
        owed += std::mem::take(&mut state.untold);
        drop(state);
        if owed > 0 {
            // What was lost came after what is in this batch.
            batch.extend_from_slice(&tell(owed));
        }
        if is_torn {
            batch.insert(0, b'\n');
        }
        let (written, result) = write_all(&mut out, &batch);
        if let Some(last) = written.checked_sub(1) {
            is_torn = batch[last] != b'\n';
        }
        if result.is_ok() {
            owed = 0;
        } else {
            owed += lines;
            shared.lock().dropped += lines;
        }
    }
}

/// Waits for something to write; `None` when the log has ended.
fn next(shared: &Shared) -> Option<MutexGuard<'_, State>> {
    let mut state = shared.lock();
    state.writing_bytes = 0;
    if !state.hurry && !state.idle {
        let hurry = |state: &mut State| !state.hurry;
        let woken = shared.work.wait_timeout_while(state, LINGER, hurry);
        state = woken.unwrap_or_else(PoisonError::into_inner).0;
    }
    state.hurry = false;
    while state.waiting.is_empty() && state.untold == 0 {
        state.idle = true;
        shared.done.notify_all();
        if state.closed {
            return None;
        }
        let woken = shared.work.wait(state);
        state = woken.unwrap_or_else(PoisonError::into_inner);
    }
    Some(state)
}

/// Writes all of it, or says how much was written.
fn write_all(out: &mut dyn Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A non-blocking pipe that is full, or a disk that may be cleared.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY_AFTER),
            Err(error) => return (written, Err(error)),
        }
    }
    (written, out.flush())
}

//! Samples what uses the processor: counts equal stacks while it goes on.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use super::ring::RING;
use super::{Kind, Profile, Sample, signal};
use crate::tasks;

/// Samples a second of processor time when nobody says otherwise. Not 100: what happens every ten
/// milliseconds would always or never be seen.
pub const HZ_DEFAULT: u32 = 99;

/// Samples a second at most: the kernel's clock ticks no faster.
pub const HZ_MAX: u32 = 999;

/// Different stacks that are counted one by one: some 40 MiB at most, mostly far less. The rest of a thread's counts
/// together, without a stack.
const STACKS_MAX: usize = 20_000;

/// How often the slots are emptied.
const DRAIN_EVERY: Duration = Duration::from_millis(50);

/// How long the end waits for a handler that has begun: it takes microseconds, unless its thread
/// isn't given a processor.
const LAST_DEADLINE: Duration = Duration::from_millis(200);

/// Why sampling can't begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It goes on already.
    #[error("the processor is being profiled already")]
    Busy,
    /// The system refused.
    #[error("start sampling: {0}")]
    System(#[from] io::Error),
}

/// One at a time in a process: there is one timer.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

struct Turn;

impl Turn {
    fn take() -> Option<Self> {
        (!IS_TAKEN.swap(true, Ordering::SeqCst)).then_some(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        IS_TAKEN.store(false, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
}

#[derive(Default)]
struct Counts {
    stacks: HashMap<(String, Box<[usize]>), i64>,
    lost: u64,
}

/// Samples until it is finished or dropped.
pub struct Sampling {
    hz: u32,
    began: Instant,
    began_at: SystemTime,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<Counts>>,
}

/// Begins to sample, so often a second of processor time.
///
/// # Errors
/// [`StartError`]
pub fn start(hz: u32) -> Result<Sampling, StartError> {
    let turn = Turn::take().ok_or(StartError::Busy)?;
    let hz = hz.clamp(1, HZ_MAX);
    let stop = Arc::<Stop>::default();
    let own = Arc::clone(&stop);
    // What the one before left.
    RING.drain(|_, _| {});
    RING.take_lost();
    signal::interrupt(Some(hz))?;
    let spawned = thread::Builder::new()
        .name("profiler".to_owned())
        .spawn(move || {
            let counts = count(&own);
            drop(turn);
            counts
        });
    let thread = spawned.inspect_err(|_| {
        let _ = signal::interrupt(None);
    })?;
    Ok(Sampling {
        hz,
        began: Instant::now(),
        began_at: SystemTime::now(),
        stop,
        thread: Some(thread),
    })
}

fn count(stop: &Stop) -> Counts {
    let task = tasks::thread("profiler");
    let mut counts = Counts::default();
    loop {
        let asked = stop.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = stop
            .changed
            .wait_timeout_while(asked, DRAIN_EVERY, |it| !*it);
        let is_over = *waited.unwrap_or_else(PoisonError::into_inner).0;
        task.beat();
        if is_over {
            // A timer that can't be stopped finds nobody who wants samples.
            let _ = signal::interrupt(None);
        }
        let until = Instant::now() + LAST_DEADLINE;
        let mut is_filling = RING.drain(|name, frames| counts.add(name, frames));
        while is_over && is_filling && Instant::now() < until {
            thread::yield_now();
            is_filling = RING.drain(|name, frames| counts.add(name, frames));
        }
        task.rest();
        if is_over {
            counts.lost = RING.take_lost();
            return counts;
        }
    }
}

impl Counts {
    fn add(&mut self, name: [u8; 16], frames: &[usize]) {
        let len = name.iter().position(|it| *it == 0).unwrap_or(name.len());
        let name = String::from_utf8_lossy(&name[..len]);
        let thread = tasks::group(&name).to_owned();
        let mut stack = (thread, Box::from(frames));
        if self.stacks.len() >= STACKS_MAX && !self.stacks.contains_key(&stack) {
            stack.1 = Box::default();
        }
        *self.stacks.entry(stack).or_default() += 1;
    }
}

impl Sampling {
    /// Ends it; returns what was seen.
    #[must_use]
    pub fn finish(mut self) -> Profile {
        let took = self.began.elapsed();
        let counts = self.end();
        let period = 1_000_000_000 / i64::from(self.hz);
        let taken: i64 = counts.stacks.values().sum();
        let stacks = counts.stacks.into_iter();
        Profile {
            kind: Kind::Cpu,
            period,
            began_at: self.began_at,
            took,
            taken: taken.cast_unsigned(),
            lost: counts.lost,
            samples: stacks
                .map(|((thread, frames), count)| Sample {
                    thread: Some(thread),
                    frames: frames.into_vec(),
                    values: [count, count * period],
                })
                .collect(),
        }
    }

    fn end(&mut self) -> Counts {
        *self
            .stop
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
        let counts = self.thread.take().and_then(|it| it.join().ok());
        counts.unwrap_or_default()
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_beyond_the_bound_count_by_their_thread() {
        let mut counts = Counts::default();
        let mut name = [0; 16];
        name[..6].copy_from_slice(b"job-ab");
        for frame in 0..STACKS_MAX + 5 {
            counts.add(name, &[frame]);
        }
        counts.add(name, &[3]);
        let of = |frames: &[usize]| counts.stacks.get(&("job".to_owned(), Box::from(frames)));
        assert_eq!((of(&[3]), of(&[])), (Some(&2), Some(&5)));
        assert_eq!(counts.stacks.len(), STACKS_MAX + 1);
    }
}

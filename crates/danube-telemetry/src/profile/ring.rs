//! Where a signal handler leaves its samples: slots that were there before, taken and filled
//! without a lock, a wait or an allocation.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// Frames of a sample. What lies deeper, at the root's side, is cut off: async code has some sixty, and twice
/// as many where nothing is inlined.
pub(super) const DEPTH_MAX: usize = 256;

/// Slots. They are emptied every 50 ms, in which the kernel's clock ticks 50 times at most; the rest
/// is for a thread that empties them late.
const SLOTS: usize = 512;

/// Slots that a handler tries before its sample is lost: it may not search for long.
const TRIES_MAX: usize = 4;

const FREE: u8 = 0;
const FILLING: u8 = 1;
const FULL: u8 = 2;

/// One sample. Everything is an atomic, so that no reader and writer can meet in it.
pub(super) struct Slot {
    state: AtomicU8,
    /// The thread's name, as the kernel gives it: 16 bytes, zeroes behind it.
    name: [AtomicU64; 2],
    depth: AtomicUsize,
    frames: [AtomicUsize; DEPTH_MAX],
}

impl Slot {
    const fn new() -> Self {
        Self {
            state: AtomicU8::new(FREE),
            name: [const { AtomicU64::new(0) }; 2],
            depth: AtomicUsize::new(0),
            frames: [const { AtomicUsize::new(0) }; DEPTH_MAX],
        }
    }
}

/// The slots of the process. They take memory only once they are used.
pub(super) struct Ring {
    slots: [Slot; SLOTS],
    next: AtomicUsize,
    lost: AtomicU64,
}

pub(super) static RING: Ring = Ring::new();

/// A slot that is being filled. It is full when this is dropped.
pub(super) struct Filling {
    slot: &'static Slot,
    depth: usize,
}

impl Ring {
    const fn new() -> Self {
        Self {
            slots: [const { Slot::new() }; SLOTS],
            next: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// A slot for a sample; none when all nearby are full, and the sample counts as lost.
    pub(super) fn fill(&'static self) -> Option<Filling> {
        for _ in 0..TRIES_MAX {
            let at = self.next.fetch_add(1, Ordering::Relaxed) % SLOTS;
            let slot = &self.slots[at];
            let taken =
                slot.state
                    .compare_exchange(FREE, FILLING, Ordering::Acquire, Ordering::Relaxed);
            if taken.is_ok() {
                return Some(Filling { slot, depth: 0 });
            }
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Empties every slot that is full; says whether one is still being filled.
    pub(super) fn drain(&self, mut each: impl FnMut([u8; 16], &[usize])) -> bool {
        let mut frames = [0; DEPTH_MAX];
        let mut is_filling = false;
        for slot in &self.slots {
            match slot.state.load(Ordering::Acquire) {
                FULL => {}
                FILLING => {
                    is_filling = true;
                    continue;
                }
                _ => continue,
            }
            let depth = slot.depth.load(Ordering::Relaxed).min(DEPTH_MAX);
            for (frame, kept) in frames.iter_mut().zip(&slot.frames[..depth]) {
                *frame = kept.load(Ordering::Relaxed);
            }
            let mut name = [0; 16];
            for (bytes, kept) in name.chunks_exact_mut(8).zip(&slot.name) {
                bytes.copy_from_slice(&kept.load(Ordering::Relaxed).to_ne_bytes());
            }
            slot.state.store(FREE, Ordering::Release);
            each(name, &frames[..depth]);
        }
        is_filling
    }

    /// Samples that found no room, counted anew from now on.
    pub(super) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl Filling {
    /// Adds a frame; `false` when there is no room for another.
    pub(super) fn push(&mut self, frame: usize) -> bool {
        if let Some(room) = self.slot.frames.get(self.depth) {
            room.store(frame, Ordering::Relaxed);
            self.depth += 1;
        }
        self.depth < DEPTH_MAX
    }

    pub(super) fn name(&self, name: [u8; 16]) {
        for (kept, bytes) in self.slot.name.iter().zip(name.chunks_exact(8)) {
            let word = bytes.try_into().map_or(0, u64::from_ne_bytes);
            kept.store(word, Ordering::Relaxed);
        }
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.slot.depth.store(self.depth, Ordering::Relaxed);
        self.slot.state.store(FULL, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_comes_out_once_and_what_finds_no_room_is_counted() {
        static OWN: Ring = Ring::new();
        let mut filling = OWN.fill().unwrap();
        filling.name(*b"http\0\0\0\0\0\0\0\0\0\0\0\0");
        assert!(filling.push(7));
        let none = |_: [u8; 16], _: &[usize]| panic!("it isn't full yet");
        assert!(OWN.drain(none));
        assert!((0..2 * DEPTH_MAX).filter(|_| filling.push(8)).count() == DEPTH_MAX - 2);
        drop(filling);
        let mut seen = Vec::new();
        assert!(!OWN.drain(|name, frames| seen.push((name, frames.to_vec()))));
        let [(name, frames)] = &seen[..] else {
            panic!("{seen:?}")
        };
        assert_eq!(
            (&name[..5], frames.len(), frames[0]),
            (&b"http\0"[..], DEPTH_MAX, 7)
        );
        assert!(!OWN.drain(|_, _| panic!("it was taken")));
        for _ in 0..SLOTS {
            drop(OWN.fill());
        }
        assert!(OWN.fill().is_none());
        assert_eq!((OWN.take_lost(), OWN.take_lost()), (1, 0));
    }
}

//! Uids lent to running jobs, so that no two of them share one.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// First uid of the default range: above what distributions, directory
/// services and subordinate-uid ranges usually hand out.
pub const UID_BASE_DEFAULT: u32 = 1_900_000_000;

/// Uids in the default range: far more than jobs can run at once.
pub const UID_COUNT_DEFAULT: u32 = 65_536;

/// A range of uids, lent one by one. Clones share the range. Two masters on
/// one machine need two ranges.
#[derive(Clone, Debug)]
pub struct UidPool {
    base: u32,
    count: u32,
    taken: Arc<Mutex<BTreeSet<u32>>>,
    /// Where the next look begins. Changed only under the lock of `taken`.
    next: Arc<AtomicU32>,
}

/// One uid (and the gid of the same number), given back on drop. Hold it until
/// the job's workspace is removed.
#[derive(Debug)]
pub struct UidLease {
    uid: u32,
    taken: Arc<Mutex<BTreeSet<u32>>>,
}

impl Default for UidPool {
    fn default() -> Self {
        Self::new(UID_BASE_DEFAULT, UID_COUNT_DEFAULT)
    }
}

impl UidPool {
    /// Lends `base` up to `base + count - 1`. A range that would leave the
    /// 32-bit numbers is cut; uid 0 and the reserved last one are never lent.
    #[must_use]
    pub fn new(base: u32, count: u32) -> Self {
        let base = base.max(1);
        let count = count.min(u32::MAX - base);
        Self {
            base,
            count,
            taken: Arc::default(),
            next: Arc::default(),
        }
    }

    /// The first uid of the range.
    #[must_use]
    pub fn base(&self) -> u32 {
        self.base
    }

    /// A free uid, or `None` when all are lent. They take turns, so that what a
    /// job left behind somewhere finds its next owner as late as possible.
    #[must_use]
    pub fn lease(&self) -> Option<UidLease> {
        let mut taken = lock(&self.taken);
        let end = self.base + self.count;
        let next = self.next.load(Ordering::Relaxed).clamp(self.base, end);
        let mut turns = (next..end).chain(self.base..next);
        let uid = turns.find(|uid| !taken.contains(uid))?;
        self.next.store(uid + 1, Ordering::Relaxed);
        taken.insert(uid);
        Some(UidLease {
            uid,
            taken: Arc::clone(&self.taken),
        })
    }
}

impl UidLease {
    /// The lent uid, which is the gid as well.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// As [`crate::Sandbox::uid_gid`] wants it.
    #[must_use]
    pub fn uid_gid(&self) -> (u32, u32) {
        (self.uid, self.uid)
    }
}

impl Drop for UidLease {
    fn drop(&mut self) {
        lock(&self.taken).remove(&self.uid);
    }
}

/// The set is whole after every line above, so a panic elsewhere cannot spoil it.
fn lock(taken: &Mutex<BTreeSet<u32>>) -> MutexGuard<'_, BTreeSet<u32>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_take_turns_and_none_is_lent_twice() {
        let pool = UidPool::new(1000, 2);
        let first = pool.lease().unwrap();
        let second = pool.clone().lease().unwrap();
        assert_eq!((first.uid(), second.uid()), (1000, 1001));
        assert!(pool.lease().is_none());
        drop(first);
        assert_eq!(pool.lease().unwrap().uid_gid(), (1000, 1000));
    }

    #[test]
    fn root_and_the_reserved_uid_are_never_lent() {
        assert_eq!(UidPool::new(0, 5).lease().unwrap().uid(), 1);
        let last = UidPool::new(u32::MAX - 1, 9);
        assert_eq!(last.lease().unwrap().uid(), u32::MAX - 1);
        assert!(UidPool::new(u32::MAX, 9).lease().is_none());
    }
}

//! A file that only takes up room, so that a full disk doesn't stop what ends
//! jobs: when a commit finds no space, it is removed, and from then on only
//! writes that end, cancel or hand back jobs are accepted, until it fits again.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate};

use crate::error::free_bytes;

/// Room for some fifty commits, and SQLite's log begins anew in between: enough to cancel and finish everything that
/// runs on one machine.
const RESERVE_BYTES: u64 = 4 * 1024 * 1024;

/// Free bytes below which it isn't taken back: were it taken at the last byte,
/// the next commit would find the disk full again.
const FREE_BYTES_MIN: u64 = 2 * RESERVE_BYTES;

/// The file, and whether it is there.
pub(crate) struct Reserve {
    dir: PathBuf,
    path: PathBuf,
    /// Only the writer changes it.
    spent: AtomicBool,
}

impl Reserve {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            path: dir.join("danube.reserve"),
            spent: AtomicBool::new(true),
        }
    }

    /// Whether only writes that end jobs can be accepted.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed)
    }

    /// Whether the database may grow by so many bytes. While the reserve is
    /// spent, only when that leaves nothing without room.
    pub(crate) fn may_grow(&self, bytes: u64) -> bool {
        !self.is_spent() || free_bytes(&self.dir).is_ok_and(|free| free >= bytes)
    }

    /// Gives the room to whoever writes next.
    pub(crate) fn spend(&self) {
        // When it can't be removed the commit that follows says why.
        let _ = fs::remove_file(&self.path);
        self.spent.store(true, Ordering::Relaxed);
    }

    /// Takes the room back if it was given and there is enough.
    pub(crate) fn restore(&self) {
        if self.is_spent() && self.take().is_ok() {
            self.spent.store(false, Ordering::Relaxed);
        }
    }

    fn take(&self) -> io::Result<()> {
        let held = fs::metadata(&self.path).map_or(0, |it| it.len());
        if held >= RESERVE_BYTES {
            return Ok(());
        }
        if free_bytes(&self.dir)? < FREE_BYTES_MIN {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
            // A file system that can't set room aside: do without.
            Err(rustix::io::Errno::OPNOTSUPP) => fs::remove_file(&self.path),
            taken => taken.map_err(Into::into),
        }
    }
}

//! The data directory of a master that doesn't run, held so that none begins.

use std::path::Path;

use crate::lock::DirectoryLock;
use crate::start::StartError;

/// A data directory in which no master works while this lives.
#[derive(Debug)]
pub struct StoppedDirectory {
    _lock: DirectoryLock,
}

impl StoppedDirectory {
    /// Takes the directory.
    ///
    /// # Errors
    /// [`StartError::InUse`] when a master or a worker has it, or it can't be locked.
    pub fn take(dir: &Path) -> Result<Self, StartError> {
        Ok(Self {
            _lock: DirectoryLock::take(dir)?,
        })
    }
}

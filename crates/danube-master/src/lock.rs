//! One master a data directory: two would run every job twice.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Held while the master lives; the kernel releases it however the process ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
}

/// Why the directory can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another master has it.
    #[error("{dir} is in use by another master: {holder}")]
    Held {
        /// The data directory.
        dir: String,
        /// What that one wrote about itself.
        holder: String,
    },
    /// The file can't be made or locked.
    #[error("lock {path}: {source}")]
    Io {
        /// The lock file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl DirectoryLock {
    /// Takes the directory.
    pub(crate) fn take(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join("master.lock");
        let io = |source| LockError::Io {
            path: path.display().to_string(),
            source,
        };
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut file = options.open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // What the other wrote is for people only; nothing depends on it.
                let _ = file.read_to_string(&mut holder);
                let holder = if holder.trim().is_empty() {
                    "which is just starting".to_owned()
                } else {
                    holder.trim().to_owned()
                };
                return Err(LockError::Held {
                    dir: dir.display().to_string(),
                    holder,
                });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let lock = Self { file };
        lock.describe("").map_err(io)?;
        Ok(lock)
    }

    /// Writes who holds the directory, for whoever finds it taken.
    pub(crate) fn describe(&self, address: &str) -> io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        let pid = std::process::id();
        if address.is_empty() {
            write!(file, "process {pid}")
        } else {
            write!(file, "process {pid} at {address}")
        }
    }
}

/// Writes a small file so that readers see the old or the new one, never half.
pub(crate) fn write_whole(
    path: &Path,
    text: &(impl AsRef<[u8]> + ?Sized),
    mode: u32,
) -> io::Result<()> {
    let draft = path.with_extension("new");
    // Made anew, so that an old draft's mode or link can't stay.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(&draft)?;
    file.write_all(text.as_ref())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    // The new name must survive a power cut as well.
    path.parent()
        .map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_hears_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(dir.path()).unwrap();
        first.describe("http://127.0.0.1:1").unwrap();
        let second = DirectoryLock::take(dir.path()).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(
            second.contains(&format!("process {pid} at http://127.0.0.1:1")),
            "{second}"
        );
        drop(first);
        DirectoryLock::take(dir.path()).unwrap();
    }
}

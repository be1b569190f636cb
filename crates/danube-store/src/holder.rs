//! Who holds the database's write lock: the kernel knows, SQLite doesn't say.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The byte of `danube.db-shm` that SQLite locks to write in WAL mode (`UNIX_SHM_BASE` in
/// its source, which its file format fixes).
const WRITE_LOCK_BYTE: u64 = 120;

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHolder {
    /// Its id.
    pub pid: u32,
    /// The name of its program; empty when it has just ended.
    pub program: String,
}

/// The process that holds the write lock of the database at `path`, if it isn't this one.
pub(crate) fn of(path: &Path) -> Option<LockHolder> {
    let mut shared = OsString::from(path);
    shared.push("-shm");
    let inode = fs::metadata(shared).ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = locks
        .lines()
        .filter_map(|line| writer_of(line, inode))
        .find(|pid| *pid != std::process::id())?;
    let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(LockHolder {
        pid,
        program: program.trim().to_owned(),
    })
}

/// Whose lock it is, if this line of `/proc/locks` is the write lock of the file. Only the
/// inode is compared: some file systems show another device there than `stat` does.
fn writer_of(line: &str, inode: u64) -> Option<u32> {
    let mut words = line.split_ascii_whitespace().skip(1).peekable();
    if words.peek() == Some(&"->") {
        // It waits for the lock.
        return None;
    }
    let (_class, _kind, access) = (words.next()?, words.next()?, words.next()?);
    let pid = words.next()?.parse().ok().filter(|pid| *pid > 0)?;
    let (_device, file) = words.next()?.rsplit_once(':')?;
    let first: u64 = words.next()?.parse().ok()?;
    let last = words.next()?.parse().unwrap_or(u64::MAX);
    let is_it =
        access == "WRITE" && file.parse() == Ok(inode) && (first..=last).contains(&WRITE_LOCK_BYTE);
    is_it.then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_is_told_from_readers_waiters_and_other_files() {
        let of = |line| writer_of(line, 9_961_473);
        let write = "1: POSIX  ADVISORY  WRITE 4711 fd:00:9961473 120 120";
        assert_eq!(of(write), Some(4_711));
        let with_checkpoint = "7: POSIX  ADVISORY  WRITE 4711 fd:00:9961473 120 121";
        assert_eq!(of(with_checkpoint), Some(4_711));
        let whole = "7: POSIX  ADVISORY  WRITE 4711 fd:00:9961473 0 EOF";
        assert_eq!(of(whole), Some(4_711));
        for other in [
            "1: -> POSIX  ADVISORY  WRITE 4711 fd:00:9961473 120 120",
            "1: POSIX  ADVISORY  READ 4711 fd:00:9961473 120 120",
            "1: POSIX  ADVISORY  WRITE 4711 fd:00:9961473 121 127",
            "1: POSIX  ADVISORY  WRITE 4711 fd:00:9961474 120 120",
            "1: OFDLCK ADVISORY  WRITE -1 fd:00:9961473 120 120",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}

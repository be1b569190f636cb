//! Copies a directory of this machine that the operator allows.
//!
//! A copy, not a bind mount: a job may write beside its playbook (retry files,
//! fetched facts, installed roles), and must not change what the next one reads;
//! nor does the playbook change under a job that runs. Directories that aren't
//! small enough for that are refused by the limits that hold for every source.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};

use crate::confine::Confined;
use crate::error::SourceError;

/// The directory behind `path`, links followed, when it is allowed.
pub(crate) fn allowed(path: &str, allow: &[PathBuf]) -> Result<PathBuf, SourceError> {
    let refuse = || {
        SourceError::NotAllowed(format!(
            "{path} isn't in a directory that jobs may read; the operator lists such directories in `sources.allow_paths`"
        ))
    };
    let real = Path::new(path).canonicalize().map_err(|_| refuse())?;
    let mut below = allow.iter().filter_map(|it| it.canonicalize().ok());
    if below.any(|it| real.starts_with(it)) {
        Ok(real)
    } else {
        Err(refuse())
    }
}

/// Copies what is below the directory, without `.git`, whose settings may hold
/// credentials and which no playbook reads.
pub(crate) fn copy(from: &Path, into: &mut Confined<'_>) -> Result<(), SourceError> {
    // The path was resolved when it was allowed: a link in it now is a new one.
    let how = rustix::fs::ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat2(CWD, from, flags, Mode::empty(), how)
        .map_err(io::Error::from)
        .map_err(SourceError::io("open the directory"))?;
    directory(&root, &mut Vec::new(), into)?;
    into.finish()
}

fn directory(
    from: &OwnedFd,
    name: &mut Vec<u8>,
    into: &mut Confined<'_>,
) -> Result<(), SourceError> {
    let read = || SourceError::io("read the directory");
    let entries = Dir::read_from(from)
        .map_err(io::Error::from)
        .map_err(read())?;
    for entry in entries {
        let entry = entry.map_err(io::Error::from).map_err(read())?;
        let file = entry.file_name();
        if matches!(file.to_bytes(), b"." | b".." | b".git") {
            continue;
        }
        let above = name.len();
        if above > 0 {
            name.push(b'/');
        }
        name.extend_from_slice(file.to_bytes());
        one(from, file, name, into)?;
        name.truncate(above);
    }
    Ok(())
}

fn one(
    from: &OwnedFd,
    file: &std::ffi::CStr,
    name: &mut Vec<u8>,
    into: &mut Confined<'_>,
) -> Result<(), SourceError> {
    let read = || SourceError::io("read a file of the directory");
    let link = rustix::fs::readlinkat(from, file, Vec::new());
    if let Ok(target) = link {
        return into.link(name, target.as_c_str().to_bytes());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let stat = rustix::fs::statat(from, file, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .map_err(io::Error::from)
        .map_err(read())?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let below = rustix::fs::openat(from, file, flags | OFlags::DIRECTORY, Mode::empty())
                .map_err(io::Error::from)
                .map_err(read())?;
            into.directory(name)?;
            directory(&below, name, into)
        }
        FileType::RegularFile => {
            let content = rustix::fs::openat(from, file, flags, Mode::empty())
                .map_err(io::Error::from)
                .map_err(read())?;
            let mut content = File::from(content);
            // It may have become another kind of file since.
            let metadata = content.metadata().map_err(read())?;
            if !metadata.is_file() {
                return Err(SourceError::entry(name, "which changes while it is read"));
            }
            into.file(name, metadata.mode() & 0o100 != 0, &mut content)
        }
        // Sockets and pipes of programs that run there are no part of a playbook.
        _ => Ok(()),
    }
}

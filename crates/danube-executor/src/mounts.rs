//! The step's own view of the files: hidden directories and keys, a `/tmp` of
//! its own, a `/proc` that shows its own processes only.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, open, openat};
use rustix::io::Errno;

use crate::sys;
use crate::wire::{Fault, Orders};

/// Directories that `private_tmp` stands for.
pub const TMP_DIRECTORIES: [&str; 2] = ["/tmp", "/var/tmp"];

/// Other directories that everybody may write to: what a job leaves there would
/// be found by the next.
const SHARED_PLACES: [&str; 2] = ["/dev/shm", "/run/lock"];

/// Options of the step's own `/dev/shm`: what test databases and browsers
/// need, little enough to be harmless without a cgroup.
const SHM_OPTIONS: &CStr = c"mode=1777,size=64m";

/// Options of the empty directory over a hidden one: room for mount points only.
const EMPTY_OPTIONS: &CStr = c"mode=0755,size=64k,nr_inodes=1k";

const PLAIN: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV;

/// What is to appear at a path.
enum Cover {
    /// An empty directory or file.
    Nothing,
    /// The directory behind a descriptor opened before anything was covered.
    Directory(OwnedFd),
    /// The same of a file.
    File(OwnedFd),
}

/// Builds the view. Call in a fresh mount namespace, as PID 1 of a fresh PID
/// namespace, with the rights to mount.
pub(crate) fn build(orders: &Orders) -> Result<(), Fault> {
    let none = Path::new("none");
    let private = libc::MS_REC | libc::MS_PRIVATE;
    sys::mount(none, Path::new("/"), c"", private, c"")
        .map_err(Fault::of("unshare mounts of", "/"))?;

    let mut hidden = Vec::new();
    for (path, cover) in covers(orders)? {
        match cover {
            Cover::Nothing => hidden.extend(hide(&path)?.then_some(path)),
            Cover::Directory(fd) => {
                show(&fd, &path)?;
                hidden.retain(|it| *it != path);
            }
            Cover::File(fd) => show_file(&fd, &path)?,
        }
    }
    // Only now: until here they held mount points to be made.
    for path in &hidden {
        let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOEXEC | PLAIN;
        sys::mount(none, path, c"", flags, c"").map_err(Fault::of("make read-only", path))?;
    }
    if orders.private_tmp.is_some() {
        for place in SHARED_PLACES
            .map(Path::new)
            .into_iter()
            .filter(|it| it.is_dir())
        {
            sys::mount(none, place, c"tmpfs", PLAIN, SHM_OPTIONS)
                .map_err(Fault::of("mount", place))?;
        }
    }
    if orders.uid_gid.is_none() && !orders.cgroups.is_empty() {
        // The step has its keeper's uid and could lift its own limits. Where
        // the kernel is too old for this, it still can.
        let _ = sys::read_only_below(c"/sys/fs/cgroup");
    }
    sys::mount(
        none,
        Path::new("/proc"),
        c"proc",
        PLAIN | libc::MS_NOEXEC,
        c"",
    )
    .map_err(Fault::of("mount", "/proc"))
}

/// Everything to cover, outer directories before what lies in them, and
/// hidden before shown at the same path.
fn covers(orders: &Orders) -> Result<Vec<(PathBuf, Cover)>, Fault> {
    let mut all = Vec::new();
    if let Some(tmp) = &orders.private_tmp {
        let mut seen = Vec::new();
        for path in TMP_DIRECTORIES {
            // One may be a link to the other, or be missing.
            let Ok(path) = std::fs::canonicalize(path) else {
                continue;
            };
            if !seen.contains(&path) {
                all.push((path.clone(), Cover::Directory(open_directory(tmp)?)));
                seen.push(path);
            }
        }
    }
    for path in &orders.hide {
        match std::fs::canonicalize(path) {
            Ok(path) if path == Path::new("/") => {
                let busy = io::Error::from_raw_os_error(libc::EBUSY);
                return Err(Fault::of("hide", path)(busy));
            }
            Ok(path) => all.push((path, Cover::Nothing)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Fault::of("hide", path)(error)),
        }
    }
    for path in &orders.expose {
        let path = std::fs::canonicalize(path).map_err(Fault::of("expose", path))?;
        let cover = if path.is_dir() {
            Cover::Directory(open_directory(&path)?)
        } else {
            Cover::File(open_file(&path)?)
        };
        all.push((path, cover));
    }
    all.sort_by_key(|(path, cover)| (path.components().count(), !matches!(cover, Cover::Nothing)));
    Ok(all)
}

/// Covers what is at `path` now, if anything; says whether with a directory.
fn hide(path: &Path) -> Result<bool, Fault> {
    let none = Path::new("none");
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {
            let flags = PLAIN | libc::MS_NOEXEC;
            sys::mount(none, path, c"tmpfs", flags, EMPTY_OPTIONS)
                .map_err(Fault::of("hide", path))?;
            Ok(true)
        }
        Ok(_) => {
            let null = Path::new("/dev/null");
            sys::mount(null, path, c"", libc::MS_BIND, c"").map_err(Fault::of("hide", path))?;
            Ok(false)
        }
        // Below something hidden already.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Fault::of("hide", path)(error)),
    }
}

/// Makes a directory appear at `path`, also where nothing is any more.
fn show(directory: &OwnedFd, path: &Path) -> Result<(), Fault> {
    let at = mount_point(path).map_err(|it| Fault::of("make mount point", path)(it.into()))?;
    let flags = libc::MS_BIND | libc::MS_REC;
    sys::mount(
        &by_descriptor(directory),
        &by_descriptor(&at),
        c"",
        flags,
        c"",
    )
    .map_err(Fault::of("show", path))
}

/// The same of a file: an empty one is made for it to appear at.
fn show_file(file: &OwnedFd, path: &Path) -> Result<(), Fault> {
    let failed = |it: Errno| Fault::of("make mount point", path)(it.into());
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(Errno::ISDIR));
    };
    let parent = mount_point(parent).map_err(failed)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    match openat(parent.as_fd(), name, made, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(error) => return Err(failed(error)),
    }
    let at = openat(parent.as_fd(), name, flags, Mode::empty()).map_err(failed)?;
    sys::mount(
        &by_descriptor(file),
        &by_descriptor(&at),
        c"",
        libc::MS_BIND,
        c"",
    )
    .map_err(Fault::of("show", path))
}

fn by_descriptor(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Opens `path`, making what is missing. Follows no link: an earlier step may
/// have put one into the job's own `/tmp` to steer us elsewhere.
fn mount_point(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = openat(CWD, "/", flags, Mode::empty())?;
    for part in path.components() {
        let Component::Normal(name) = part else {
            continue;
        };
        at = match openat(at.as_fd(), name, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                mkdirat(at.as_fd(), name, Mode::from_raw_mode(0o755))?;
                openat(at.as_fd(), name, flags, Mode::empty())?
            }
            opened => opened?,
        };
    }
    Ok(at)
}

fn open_file(path: &Path) -> Result<OwnedFd, Fault> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = open(path, flags, Mode::empty());
    opened.map_err(|it| Fault::of("open", path)(it.into()))
}

fn open_directory(path: &Path) -> Result<OwnedFd, Fault> {
    open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|it| Fault::of("open directory", path)(it.into()))
}

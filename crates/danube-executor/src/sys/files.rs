//! Descriptors, waiting, mounts.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{check, check_long};

/// One descriptor to wait for, readable or hung up.
#[repr(transparent)]
pub(crate) struct PollFd(libc::pollfd);

impl PollFd {
    /// Waits for `fd` to have data or to hang up. The caller keeps it open.
    pub(crate) fn readable(fd: BorrowedFd<'_>) -> Self {
        Self(libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
    }

    /// Takes a place in the list but never wakes.
    pub(crate) fn nothing() -> Self {
        Self(libc::pollfd {
            fd: -1,
            events: 0,
            revents: 0,
        })
    }

    /// A read would not block.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.revents != 0
    }
}

/// Waits until one of `fds` is ready or `deadline` has come; says how many are ready.
pub(crate) fn poll(fds: &mut [PollFd], deadline: Option<Instant>) -> io::Result<usize> {
    loop {
        let wait = deadline.map(|it| it.saturating_duration_since(Instant::now()));
        let timeout = wait.map(timespec);
        let timeout = timeout
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref);
        let count = libc::nfds_t::try_from(fds.len()).expect("a handful of descriptors");
        // SAFETY: `PollFd` is one `pollfd` and nothing else (`repr(transparent)` is
        // checked below), and `count` of them lie at the pointer for the whole call.
        let result =
            unsafe { libc::ppoll(fds.as_mut_ptr().cast(), count, timeout, std::ptr::null()) };
        match check(result) {
            Ok(ready) => return Ok(usize::try_from(ready).expect("not negative")),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

const _: () = assert!(size_of::<PollFd>() == size_of::<libc::pollfd>());

fn timespec(wait: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(wait.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(wait.subsec_nanos()),
    }
}

/// A new eventfd, not raised.
pub(crate) fn event() -> io::Result<OwnedFd> {
    // SAFETY: takes two numbers, touches no memory of ours.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the kernel just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes an eventfd readable. It can only refuse when it is readable already.
pub(crate) fn raise_event(fd: BorrowedFd<'_>) {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: the eight bytes live for the whole call.
    let _ = unsafe { libc::write(fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
}

/// The descriptor 0 as owned: the sandbox's line to its caller.
pub(crate) fn take_stdin() -> io::Result<OwnedFd> {
    // SAFETY: copies a descriptor to a fresh number, or refuses.
    let fd = check(unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the kernel just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The user at the other end of a Unix socket: who connected, who listens, or who made
/// the pair.
pub(crate) fn peer_uid(socket: &impl AsFd) -> io::Result<u32> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut size = libc::socklen_t::try_from(size_of_val(&peer)).expect("twelve bytes");
    // SAFETY: the kernel writes at most `size` bytes, one `ucred`, and the size; both live
    // for the whole call.
    check(unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut size,
        )
    })?;
    Ok(peer.uid)
}

/// Makes the standard descriptor `number` (0, 1 or 2) mean the same as `from`.
pub(crate) fn replace_fd(from: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    assert!(
        (0..=2).contains(&number),
        "only the standard descriptors may be replaced"
    );
    // SAFETY: the standard library does not own descriptors 0 to 2, so replacing
    // what they mean breaks no `OwnedFd`.
    check(unsafe { libc::dup2(from.as_raw_fd(), number) }).map(|_| ())
}

/// The quick way of `close_from`.
fn close_from_kernel() -> io::Result<()> {
    // SAFETY: called before this process opened anything, so no `OwnedFd` is broken.
    check_long(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) }).map(|_| ())
}

/// Closes every descriptor from 3 on, also on kernels before 5.9. Only for the
/// first line of a fresh process, before it opened anything of its own.
pub(crate) fn close_from() -> io::Result<()> {
    if close_from_kernel().is_ok() {
        return Ok(());
    }
    // Reading the directory opens a descriptor too: note all, then close. The
    // one of the listing is closed by then, and closing it again does nothing.
    let names: Vec<_> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|it| it.ok()?.file_name().to_str()?.parse::<RawFd>().ok())
        .collect();
    for fd in names.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: as above; a number that is not open is refused.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// `mount(2)`.
pub(crate) fn mount(
    source: &Path,
    target: &Path,
    kind: &CStr,
    flags: libc::c_ulong,
    data: &CStr,
) -> io::Result<()> {
    let source = CString::new(source.as_os_str().as_bytes())?;
    let target = CString::new(target.as_os_str().as_bytes())?;
    // SAFETY: all four strings end in NUL and live for the whole call.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    };
    check(result).map(|_| ())
}

/// Makes the mount at `path` and all below it read-only (Linux 5.12 and later).
pub(crate) fn read_only_below(path: &CStr) -> io::Result<()> {
    let change = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path ends in NUL, `change` has the size given, and both live
    // for the whole call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            std::ptr::from_ref(&change),
            size_of::<libc::mount_attr>(),
        )
    };
    check_long(result).map(|_| ())
}

/// Brings up `lo` in a fresh network namespace, so that a step can talk to itself.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: `ifreq` is plain numbers; all zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).expect("two small bits");
    // SAFETY: the kernel reads one `ifreq`, which lives for the whole call.
    check(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            std::ptr::from_ref(&request),
        )
    })
    .map(|_| ())
}

/// Takes the "immutable" and "append-only" marks from a file. Needs root.
pub(crate) fn clear_immutable(fd: BorrowedFd<'_>) -> io::Result<()> {
    /// `FS_APPEND_FL | FS_IMMUTABLE_FL`, which the C library does not name.
    const MARKS: libc::c_long = 0x20 | 0x10;
    let mut marks: libc::c_long = 0;
    // SAFETY: the kernel writes at most one long to `marks`.
    check(unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::FS_IOC_GETFLAGS,
            std::ptr::from_mut(&mut marks),
        )
    })?;
    marks &= !MARKS;
    // SAFETY: the kernel reads at most one long from `marks`.
    check(unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::FS_IOC_SETFLAGS,
            std::ptr::from_ref(&marks),
        )
    })
    .map(|_| ())
}

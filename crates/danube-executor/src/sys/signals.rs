//! Signals as readable descriptors.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd};

use super::check;

/// Blocks SIGCHLD and returns a non-blocking descriptor that is readable when
/// one came.
pub(crate) fn watch_children() -> io::Result<File> {
    // An ignored SIGCHLD would have the kernel collect the children.
    // SAFETY: sets the default, which runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let set = set_of(&[libc::SIGCHLD]);
    // SAFETY: the kernel reads `set`, which lives for the whole call.
    check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) })?;
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: as above.
    let fd = check(unsafe { libc::signalfd(-1, &raw const set, flags) })?;
    // SAFETY: the kernel just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

/// Takes all waiting signals from the descriptor.
pub(crate) fn drain_signals(mut from: &File) -> io::Result<()> {
    let mut record = [0_u8; size_of::<libc::signalfd_siginfo>()];
    loop {
        match from.read(&mut record) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}

/// Ignores those signals that ask a process to end, and has the kernel collect
/// ended children.
pub(crate) fn ignore_polite_signals() {
    let ignored = [
        libc::SIGCHLD,
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
    ];
    for signal in ignored {
        // SAFETY: ignoring runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Every signal back to its default, and none blocked: what a step may expect.
pub(crate) fn reset_signals() -> io::Result<()> {
    /// The kernel's own set of 64 signals.
    const SET_BYTES: usize = 8;
    // A kernel `sigaction` at least; all zero means the default.
    let default = [0_u64; 8];
    for signal in 1..=SET_BYTES * 8 {
        // By number, because the C library would leave out those it uses itself.
        // SAFETY: the kernel reads one action, shorter than `default`, which
        // runs no code of ours. It refuses KILL and STOP, harmlessly.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null::<u64>(),
                SET_BYTES,
            )
        };
    }
    let none = set_of(&[]);
    // SAFETY: the kernel reads `none`, which lives for the whole call.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) })
        .map(|_| ())
}

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: `sigset_t` is plain numbers, and `sigemptyset` makes it valid.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes one `sigset_t`.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in signals {
        // SAFETY: writes one `sigset_t`; a wrong number is refused.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

//! Signals as readable descriptors.

use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd};

use super::check;

/// Blocks `signals` and returns a non-blocking descriptor to read them from.
pub(crate) fn block_and_watch(signals: &[libc::c_int]) -> io::Result<std::fs::File> {
    let set = set_of(signals);
    // SAFETY: the kernel reads `set`, which lives for the whole call.
    check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) })?;
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: as above.
    let fd = check(unsafe { libc::signalfd(-1, &raw const set, flags) })?;
    // SAFETY: the kernel just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

/// Takes all waiting signals from the descriptor; says whether `wanted` was among them.
pub(crate) fn drain_signals(mut from: &std::fs::File, wanted: libc::c_int) -> io::Result<bool> {
    const RECORD: usize = size_of::<libc::signalfd_siginfo>();
    let mut found = false;
    let mut record = [0_u8; RECORD];
    loop {
        match from.read(&mut record) {
            Ok(RECORD) => {
                let number = u32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
                found |= i64::from(number) == i64::from(wanted);
            }
            Ok(_) => return Ok(found),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(found),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Every signal back to its default, and none blocked: what a step may expect.
pub(crate) fn reset_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: sets the default, which runs no code of ours. The kernel
        // refuses it for KILL, STOP and the C library's own, harmlessly.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
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

//! The system calls the sandbox needs and the standard library lacks, as safe
//! functions. Nothing here decides anything.
#![expect(
    unsafe_code,
    reason = "system calls without a safe wrapper; each block says why it holds"
)]

mod clock;
mod files;
mod process;
mod rights;
mod signals;

use std::io;

pub(crate) use clock::is_synchronised;
pub(crate) use files::{
    PollFd, clear_immutable, close_from, event, loopback_up, mount, peer_uid, poll, raise_event,
    read_only_below, replace_fd, take_stdin,
};
pub(crate) use process::{
    Fork, Waited, become_session_leader, children_usage, execve, exit, fork, kill, kill_exact,
    send_to_all, unshare, wait,
};
pub(crate) use rights::{
    Resource, become_subreaper, become_user, clear_capabilities, die_with_parent,
    drop_capability_bounds, forbid_new_privileges, hide_memory, leave_keyrings, set_limit,
    set_umask, show_memory, user_and_group,
};
pub(crate) use signals::{drain_signals, ignore_polite_signals, reset_signals, watch_children};

/// The result of a call that returns −1 and sets `errno`.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The same for `syscall`, which returns a long.
fn check_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

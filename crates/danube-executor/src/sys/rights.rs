//! What a process may do, and giving it up.

use std::io;

use super::{check, check_long};

/// `prctl` with one number.
fn control(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    let none: libc::c_ulong = 0;
    // SAFETY: all options used here take numbers only.
    check(unsafe { libc::prctl(option, value, none, none, none) }).map(|_| ())
}

/// Asks for a signal when the thread that started this process ends. Forgotten
/// by the kernel on fork and on a change of rights, so ask after those, and
/// look whether the parent is still there.
pub(crate) fn die_with_parent(signal: libc::c_int) -> io::Result<()> {
    control(
        libc::PR_SET_PDEATHSIG,
        libc::c_ulong::try_from(signal).expect("signals are positive"),
    )
}

/// Orphans below this process become its children.
pub(crate) fn become_subreaper() -> io::Result<()> {
    control(libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// Keeps other processes of the same user from tracing or reading this one.
pub(crate) fn hide_memory() -> io::Result<()> {
    control(libc::PR_SET_DUMPABLE, 0)
}

/// Takes back [`hide_memory`], which a change of user does too: our own files
/// in `/proc` belong to root while it holds.
pub(crate) fn show_memory() -> io::Result<()> {
    control(libc::PR_SET_DUMPABLE, 1)
}

/// From now on no program gains rights by being started: setuid bits do nothing.
pub(crate) fn forbid_new_privileges() -> io::Result<()> {
    control(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Takes all capabilities out of what a later program could ever have. Without
/// the right to do so there is nothing to take.
pub(crate) fn drop_capability_bounds() -> io::Result<()> {
    for capability in 0.. {
        match control(libc::PR_CAPBSET_DROP, capability) {
            Ok(()) => {}
            // Past the last capability, or not allowed to.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EPERM)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Gives up every capability this process has.
pub(crate) fn clear_capabilities() -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`: two sets of three 32-bit words.
    const VERSION: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION, 0];
    let sets = [0_u32; 6];
    // SAFETY: the kernel reads the header's two words and, by its version, six
    // words of sets; both live for the whole call.
    check_long(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) })
        .map(|_| ())
}

/// The effective uid and gid.
pub(crate) fn user_and_group() -> (u32, u32) {
    // SAFETY: takes nothing and cannot fail.
    let uid = unsafe { libc::geteuid() };
    // SAFETY: as above.
    (uid, unsafe { libc::getegid() })
}

/// Becomes a user without any other group, for good.
pub(crate) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: takes no group from the null pointer, as the count is zero.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: takes three numbers.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: takes three numbers.
    check(unsafe { libc::setresuid(uid, uid, uid) }).map(|_| ())
}

/// The limits of a single process (or, for processes, of its user).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resource {
    CoreBytes,
    OpenFiles,
    Processes,
}

/// Sets the soft and hard limit, but never above the present hard limit, which
/// only root could raise.
pub(crate) fn set_limit(resource: Resource, value: u64) -> io::Result<()> {
    let resource = match resource {
        Resource::CoreBytes => libc::RLIMIT_CORE,
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
        Resource::Processes => libc::RLIMIT_NPROC,
    };
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one `rlimit`.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    let value = value.min(limit.rlim_max);
    let limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: the kernel reads one `rlimit`.
    check(unsafe { libc::setrlimit(resource, &raw const limit) }).map(|_| ())
}

/// Sets the mask of new files' modes.
pub(crate) fn set_umask(mask: libc::mode_t) {
    // SAFETY: takes a number and cannot fail.
    unsafe { libc::umask(mask) };
}

/// Leaves the caller's session keyring for an empty one, and empties those that
/// the kernel keeps for this user: a key must not pass from one job to the next
/// under the same uid. `own_uid`: the uid is lent to this job alone.
pub(crate) fn leave_keyrings(own_uid: bool) {
    // From keyctl(2) and `linux/keyctl.h`, which libc doesn't have.
    const JOIN_SESSION_KEYRING: libc::c_ulong = 1;
    const CLEAR: libc::c_ulong = 7;
    const USER_KEYRING: libc::c_long = -4;
    const USER_SESSION_KEYRING: libc::c_long = -5;
    let none: libc::c_ulong = 0;
    // A kernel without keyrings, or a filter that forbids them, has none to leave.
    // SAFETY: a null name asks for an anonymous keyring; no memory is passed.
    let _ = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, none) };
    if own_uid {
        for keyring in [USER_KEYRING, USER_SESSION_KEYRING] {
            // SAFETY: numbers only.
            let _ = unsafe { libc::syscall(libc::SYS_keyctl, CLEAR, keyring) };
        }
    }
}

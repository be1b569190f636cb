//! Processes: making, ending, waiting.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{check, check_long};

/// Which side of a fork we are on.
pub(crate) enum Fork {
    /// The new process.
    Child,
    /// The old one, with the id of the new.
    Parent(libc::pid_t),
}

/// Forks. Must be called in a process with one thread only, where the child
/// may do whatever the parent could: the sandbox is one.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the sandbox never starts a thread, so no lock is held by a thread
    // that the child lacks.
    match check(unsafe { libc::fork() })? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Ends this process at once, without destructors or exit handlers: those
/// belong to the program we only borrowed the file of.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Moves this process (or its next child, for PIDs) into new namespaces.
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: takes a number. CLONE_FILES is never among the flags.
    check(unsafe { libc::unshare(flags) }).map(|_| ())
}

/// Begins a session and process group of its own, without a terminal.
pub(crate) fn become_session_leader() -> io::Result<()> {
    // SAFETY: takes nothing.
    check(unsafe { libc::setsid() }).map(|_| ())
}

/// Sends a signal to one process of ours. One that is gone already is no error.
pub(crate) fn kill(pid: libc::pid_t, signal: libc::c_int) -> io::Result<()> {
    assert!(pid > 1, "0, 1 and negative ids mean many processes");
    // SAFETY: takes two numbers.
    match check(unsafe { libc::kill(pid, signal) }) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Sends a signal to every process of this PID namespace but ourselves. Only
/// for its first process: anywhere else it would hit the whole machine.
pub(crate) fn send_to_all(signal: libc::c_int) {
    assert!(
        std::process::id() == 1,
        "only PID 1 of a namespace may signal everyone"
    );
    // SAFETY: takes two numbers. It fails only when nobody is left.
    unsafe { libc::kill(-1, signal) };
}

/// Kills the process `pid` if `is_meant` still says so once its id can no
/// longer pass to another process. Returns whether it was killed.
pub(crate) fn kill_exact(pid: libc::pid_t, is_meant: impl Fn() -> bool) -> io::Result<bool> {
    // SAFETY: takes two numbers.
    let fd = match check_long(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }) {
        Ok(fd) => libc::c_int::try_from(fd).expect("descriptors are small"),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(false),
        Err(error) => return Err(error),
    };
    // SAFETY: the kernel just made this descriptor for us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    if !is_meant() {
        return Ok(false);
    }
    // SAFETY: takes numbers and a null pointer, which means "as kill does".
    let sent = check_long(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            fd.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    });
    match sent {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What `wait` found.
pub(crate) enum Waited {
    /// A child ended, with this raw wait status.
    Ended(libc::pid_t, i32),
    /// There are children, and all of them live.
    Running,
    /// There are no children.
    NoChildren,
}

/// Collects one ended child, without waiting for one.
pub(crate) fn wait() -> io::Result<Waited> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one int to `status`.
        match check(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) }) {
            Ok(0) => return Ok(Waited::Running),
            Ok(pid) => return Ok(Waited::Ended(pid, status)),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ECHILD) => return Ok(Waited::NoChildren),
                _ => return Err(error),
            },
        }
    }
}

/// Processor time of all collected children and theirs, and the peak of
/// resident memory in bytes of the largest one.
pub(crate) fn children_usage() -> io::Result<(Duration, u64)> {
    // SAFETY: `rusage` is plain numbers; all zero is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `rusage`.
    check(unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) })?;
    let kibibytes = u64::try_from(usage.ru_maxrss).unwrap_or(0);
    Ok((
        duration(usage.ru_utime) + duration(usage.ru_stime),
        kibibytes.saturating_mul(1024),
    ))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// Becomes another program. Returns only when that fails.
pub(crate) fn execve(
    program: &CString,
    args: &[CString],
    env: &[CString],
) -> Result<Infallible, io::Error> {
    let args = pointers(args);
    let env = pointers(env);
    // SAFETY: both lists end in a null pointer, every string in NUL, and all
    // outlive the call, which replaces the process or changes nothing.
    unsafe { libc::execve(program.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Err(io::Error::last_os_error())
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|it| it.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

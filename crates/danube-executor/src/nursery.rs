//! A small process that forks a sandbox for each step.
//!
//! Started once, as this very program again; then each step costs a fork of
//! something small in place of loading the program anew. It ends with its
//! master, and steps go on without it.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, PipeReader, PipeWriter};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::outer;
use crate::sys::{self, Fork};

/// `argv[1]` of a process that is to become a nursery.
const MARKER: &str = "--danube-become-nursery";

/// Descriptors that each sandbox is born with: see [`Birth`].
const BIRTH_FDS: usize = 4;

/// What a sandbox is born with.
pub(crate) struct Birth {
    /// Its end of the line to the caller.
    pub(crate) link: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// Closes at the far end when the step is to die at once, or the caller died.
    pub(crate) lifeline: OwnedFd,
}

/// The caller's side of a new sandbox.
pub(crate) struct Newborn {
    pub(crate) link: UnixStream,
    pub(crate) stdout: PipeReader,
    pub(crate) stderr: PipeReader,
    pub(crate) lifeline: PipeWriter,
}

struct Nursery {
    program: PathBuf,
    child: Child,
    link: UnixStream,
}

/// The nurseries of this process: one, or in tests one for each program.
static NURSERIES: Mutex<Vec<Nursery>> = Mutex::new(Vec::new());

/// Has a sandbox made, and a nursery before if there is none.
pub(crate) fn new_sandbox(program: &Path) -> io::Result<Newborn> {
    let (link, their_link) = UnixStream::pair()?;
    let (stdout, their_stdout) = io::pipe()?;
    let (stderr, their_stderr) = io::pipe()?;
    let (their_lifeline, lifeline) = io::pipe()?;
    let fds = [
        their_link.as_fd(),
        their_stdout.as_fd(),
        their_stderr.as_fd(),
        their_lifeline.as_fd(),
    ];

    let mut all = NURSERIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(at) = all.iter().position(|it| it.program == program) {
        if send(&all[at].link, fds).is_ok() {
            return Ok(Newborn {
                link,
                stdout,
                stderr,
                lifeline,
            });
        }
        // Somebody killed it. Its steps live on; the next one needs another.
        let mut dead = all.swap_remove(at);
        let _ = dead.child.kill();
        let _ = dead.child.wait();
    }
    let nursery = Nursery::start(program)?;
    send(&nursery.link, fds)?;
    all.push(nursery);
    Ok(Newborn {
        link,
        stdout,
        stderr,
        lifeline,
    })
}

impl Nursery {
    fn start(program: &Path) -> io::Result<Self> {
        let (link, theirs) = UnixStream::pair()?;
        // No environment: the master's may hold secrets. No output: whoever
        // reads the master's should not wait for us.
        let child = Command::new(program)
            .arg(MARKER)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            program: program.to_owned(),
            child,
            link,
        })
    }
}

fn send(link: &UnixStream, fds: [BorrowedFd<'_>; BIRTH_FDS]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BIRTH_FDS))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    assert!(
        with.push(SendAncillaryMessage::ScmRights(&fds)),
        "the space is made for them"
    );
    sendmsg(link, &[IoSlice::new(b"+")], &mut with, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next birth; `None` when the master is gone.
fn receive(link: &UnixStream) -> io::Result<Option<Birth>> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BIRTH_FDS))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut into = [IoSliceMut::new(&mut byte)];
    if recvmsg(link, &mut into, &mut with, RecvFlags::CMSG_CLOEXEC)?.bytes == 0 {
        return Ok(None);
    }
    let mut fds = Vec::new();
    for message in with.drain() {
        if let RecvAncillaryMessage::ScmRights(found) = message {
            fds.extend(found);
        }
    }
    let fds: [OwnedFd; BIRTH_FDS] = fds
        .try_into()
        .map_err(|_| io::Error::from_raw_os_error(libc::EBADMSG))?;
    let [link, stdout, stderr, lifeline] = fds;
    Ok(Some(Birth {
        link,
        stdout,
        stderr,
        lifeline,
    }))
}

/// The first line of the program's `main`. When this process was started as
/// the keeper of sandboxes it becomes one and never returns; otherwise it does
/// nothing.
pub fn sandbox_main_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|it| it == MARKER) && args.next().is_none() {
        let done = be_nursery();
        sys::exit(i32::from(done.is_err()));
    }
}

fn be_nursery() -> io::Result<()> {
    // Whatever the caller's libraries leaked into us must not reach a step.
    sys::close_from()?;
    let link = UnixStream::from(sys::take_stdin()?);
    let quiet = File::options().read(true).write(true).open("/dev/null")?;
    sys::replace_fd(quiet.as_fd(), 0)?;
    std::env::set_current_dir("/")?;
    sys::become_session_leader()?;
    // Mount points we make must let the step's user through.
    sys::set_umask(0o022);
    // A service manager may signal all of a service, or a terminal; the master
    // alone decides what that means for its steps.
    sys::ignore_polite_signals();
    sys::hide_memory()?;
    while let Some(birth) = receive(&link)? {
        // A step that cannot be born is told so by its closing line.
        if let Ok(Fork::Child) = sys::fork() {
            drop(link);
            sys::exit(outer::be_sandbox(birth, &quiet));
        }
    }
    Ok(())
}

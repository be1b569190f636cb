//! A small process that forks a sandbox for each step.
//!
//! Usually it is started once by its caller, as this very program again; then each step
//! costs a fork of something small in place of loading the program anew. Or a service
//! manager starts it for whoever connects to a socket, in a unit of its own: then nothing
//! that the caller may not do is forbidden to its steps. It ends with its caller, and
//! steps go on without it.

mod call;
mod errand;
mod keeper;

use std::fmt;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cgroup::CgroupParent;
use crate::leftovers;
pub(crate) use call::Kind;
pub(crate) use errand::{Answer, FarCgroup, Request};
pub use keeper::sandbox_main_if_asked;

/// `argv[1]` of a process that is to become a nursery.
const MARKER: &str = "--danube-become-nursery";

/// Descriptors that each sandbox is born with: see [`Birth`].
const BIRTH_FDS: usize = 4;

/// Who starts the sandboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nursery {
    /// A child of this process: this program, whose `main` must begin with
    /// [`sandbox_main_if_asked`].
    Child(PathBuf),
    /// Whoever answers at this socket: a process of the same program, and of the same user
    /// or root.
    Behind(PathBuf),
}

impl Default for Nursery {
    /// This program, as a child.
    fn default() -> Self {
        Self::Child(PathBuf::from("/proc/self/exe"))
    }
}

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

/// The line to a nursery that is there.
struct Line {
    to: Nursery,
    /// Of ours; a service manager collects its own.
    child: Option<Child>,
    link: UnixStream,
    /// The user that it is.
    uid: u32,
}

/// The lines of this process: one, or in tests one for each nursery.
static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

impl Nursery {
    /// Has it there, and looks whether it is one of ours. A caller that doesn't ask finds
    /// out with its first step.
    ///
    /// # Errors
    /// What is wrong, where, and what to do.
    pub fn check(&self) -> io::Result<()> {
        self.uid().map(|_| ())
    }

    /// The user as which it starts sandboxes.
    pub(crate) fn uid(&self) -> io::Result<u32> {
        let mut lines = lock();
        let at = self.at(&mut lines)?;
        Ok(lines[at].uid)
    }

    /// As [`CgroupParent::open`], where the sandboxes are started: that may be another part
    /// of the tree than ours.
    ///
    /// # Errors
    /// When the tree, or the nursery, isn't as it should be.
    pub fn open_cgroup(&self, name: &str) -> io::Result<Option<CgroupParent>> {
        match self {
            Self::Child(_) => CgroupParent::open(name),
            Self::Behind(_) => CgroupParent::behind(self, name),
        }
    }

    /// As [`leftovers::kill_leftovers`], by whoever started them: we may not be allowed to
    /// see them.
    ///
    /// # Errors
    /// When processes can't be listed, or the nursery isn't there.
    pub fn kill_leftovers(&self, marker_env: &str) -> io::Result<u32> {
        match self {
            Self::Child(_) => leftovers::kill_leftovers(marker_env),
            Self::Behind(_) => {
                let marker_env = marker_env.to_owned();
                match self.ask(&Request::KillLeftovers { marker_env })?.1 {
                    Answer::Killed(count) => Ok(count),
                    other => Err(other.unexpected()),
                }
            }
        }
    }

    /// Has a sandbox made.
    pub(crate) fn new_sandbox(&self) -> io::Result<Newborn> {
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
        self.send(Kind::Birth, &fds)?;
        Ok(Newborn {
            link,
            stdout,
            stderr,
            lifeline,
        })
    }

    /// Has something done that isn't a step; the answer, and the line for what follows.
    pub(crate) fn ask(&self, request: &Request) -> io::Result<(UnixStream, Answer)> {
        match self.ask_once(request) {
            // It went in this very moment. Another one can.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.ask_once(request),
            asked => asked,
        }
    }

    fn ask_once(&self, request: &Request) -> io::Result<(UnixStream, Answer)> {
        let (ours, theirs) = errand::written(request)?;
        self.send(Kind::Errand, &[theirs.as_fd()])?;
        drop(theirs);
        let answer = errand::answer(&ours)?;
        Ok((ours, answer))
    }

    fn send(&self, kind: Kind, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut lines = lock();
        if let Some(at) = lines.iter().position(|it| it.to == *self) {
            if call::send(&lines[at].link, kind, fds).is_ok() {
                return Ok(());
            }
            // Somebody ended it. Its steps live on; the next one needs another.
            lines.swap_remove(at).end();
        }
        let at = self.at(&mut lines)?;
        call::send(&lines[at].link, kind, fds)
    }

    /// Where its line is; made, if there is none.
    fn at(&self, lines: &mut Vec<Line>) -> io::Result<usize> {
        if let Some(at) = lines.iter().position(|it| it.to == *self) {
            return Ok(at);
        }
        lines.push(self.line()?);
        Ok(lines.len() - 1)
    }

    fn line(&self) -> io::Result<Line> {
        let (link, child) = match self {
            Self::Child(program) => {
                let (link, child) = start(program)?;
                (link, Some(child))
            }
            Self::Behind(path) => (call::connect(path).map_err(|it| self.explain(&it))?, None),
        };
        let uid = match (self, &child) {
            // The same program by definition, and a greeting would hold up the start.
            (_, Some(_)) => crate::sys::user_and_group().0,
            _ => errand::greet(&link).map_err(|it| self.explain(&it))?,
        };
        let to = self.clone();
        Ok(Line {
            to,
            child,
            link,
            uid,
        })
    }

    /// What is wrong with it, where, and what to do.
    fn explain(&self, error: &io::Error) -> io::Error {
        let what = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
                "{error}; nobody listens there: `systemctl start danube-jobs.socket` starts who does"
            ),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                "it doesn't answer in time; see `systemctl status 'danube-jobs@*'`".to_owned()
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => {
                "it takes no orders from us; it must run as the same user, and its own log says more: \
                 `journalctl -u 'danube-jobs@*'`"
                    .to_owned()
            }
            io::ErrorKind::PermissionDenied => {
                format!("{error}; the socket belongs to another user than this process")
            }
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("ask {self} for a sandbox: {what}"))
    }
}

impl fmt::Display for Nursery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Child(program) => write!(f, "{}", program.display()),
            Self::Behind(path) => write!(f, "the nursery at {}", path.display()),
        }
    }
}

impl Line {
    fn end(self) {
        if let Some(mut child) = self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn lock() -> MutexGuard<'static, Vec<Line>> {
    // Whole after every line that changes it.
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(program: &Path) -> io::Result<(UnixStream, Child)> {
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
    Ok((link, child))
}

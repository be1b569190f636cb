//! What a nursery does for a caller beside sandboxes: what the caller may not do itself,
//! or not there.
//!
//! One line down, the [`Request`]; one line up, the [`Answer`]; both as JSON. A cgroup is
//! kept as long as the caller keeps its end of the line.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Kind;
use super::call;
use crate::cgroup::{CgroupParent, Controller, StepCgroup};
use crate::leftovers;
use crate::plan::Limits;
use crate::sys;

/// How long an answer may take: a service manager loads the program first, and processes
/// that outlived their step have a second to end.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a request may take to come. It is written before its line is handed over.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(5);

/// Bytes of either line: a few paths at most.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The question whether a step's cgroup ran out of memory, and the answers to it.
const ORDER_OOM: u8 = b'o';
const YES: u8 = b'y';
const NO: u8 = b'n';

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Who are you?
    Greet,
    /// As [`CgroupParent::open`].
    OpenCgroup { name: String },
    /// As [`CgroupParent::remove`].
    RemoveCgroup { name: String },
    /// As [`CgroupParent::step`], below the one with this name.
    StepCgroup {
        parent: String,
        name: String,
        limits: Limits,
    },
    /// As [`leftovers::kill_leftovers`].
    KillLeftovers { marker_env: String },
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// This version of this program, as this user.
    Greeting {
        version: String,
        uid: u32,
    },
    /// What can be limited.
    Controllers(Vec<(Controller, u8)>),
    /// The files by which a process enters, and whether processes are counted.
    Entrances(Vec<PathBuf>, bool),
    Killed(u32),
    Done,
    /// It couldn't be done.
    Failed(String),
}

impl Answer {
    /// As an error, where something else should have been said.
    pub(crate) fn unexpected(self) -> io::Error {
        match self {
            Self::Failed(why) => io::Error::other(why),
            other => io::Error::other(format!("the nursery answers {other:?}")),
        }
    }
}

/// A line on which the request stands already, so that nobody waits for it; and its end.
pub(super) fn written(request: &Request) -> io::Result<(UnixStream, UnixStream)> {
    let (mut ours, theirs) = UnixStream::pair()?;
    write_line(&mut ours, request)?;
    ours.set_read_timeout(Some(ANSWER_WAIT_MAX))?;
    Ok((ours, theirs))
}

/// The answer that comes up.
pub(super) fn answer(link: &UnixStream) -> io::Result<Answer> {
    read_line(link)
}

/// Asks a nursery behind a socket who it is; its user.
pub(super) fn greet(link: &UnixStream) -> io::Result<u32> {
    let (ours, theirs) = written(&Request::Greet)?;
    call::send(link, Kind::Errand, &[theirs.as_fd()])?;
    drop(theirs);
    let (version, uid) = match answer(&ours)? {
        Answer::Greeting { version, uid } => (version, uid),
        other => return Err(other.unexpected()),
    };
    let ours = env!("CARGO_PKG_VERSION");
    if version != ours {
        return Err(io::Error::other(format!(
            "it is of version {version} and this process of {ours}: restart this one"
        )));
    }
    Ok(uid)
}

/// A step's cgroup, made by a nursery and kept while the line is.
#[derive(Debug)]
pub(crate) struct FarCgroup {
    link: UnixStream,
    pub(crate) entrances: Vec<PathBuf>,
    pub(crate) counts_processes: bool,
}

impl FarCgroup {
    /// From the answer to [`Request::StepCgroup`].
    pub(crate) fn of((link, answer): (UnixStream, Answer)) -> io::Result<Self> {
        match answer {
            Answer::Entrances(entrances, counts_processes) => Ok(Self {
                link,
                entrances,
                counts_processes,
            }),
            other => Err(other.unexpected()),
        }
    }

    /// Whether the kernel killed a process in it for want of memory. Nobody knows when its
    /// keeper is gone.
    pub(crate) fn oom_killed(&self) -> bool {
        let mut link = &self.link;
        let mut answer = [NO];
        let asked = link
            .write_all(&[ORDER_OOM])
            .and_then(|()| link.read_exact(&mut answer));
        asked.is_ok() && answer == [YES]
    }
}

/// The parents that this nursery has opened, by name.
#[derive(Default)]
pub(super) struct Parents(Vec<(String, CgroupParent)>);

impl Parents {
    fn get(&self, name: &str) -> Option<&CgroupParent> {
        let found = self.0.iter().find(|(it, _)| it == name);
        found.map(|(_, parent)| parent)
    }

    fn keep(&mut self, name: &str, parent: CgroupParent) {
        self.0.retain(|(it, _)| it != name);
        self.0.push((name.to_owned(), parent));
    }
}

/// What remains of an errand once the nursery itself has done its part: an answer, or work
/// for a process of its own.
pub(super) enum Next {
    Said,
    Fork(Request),
}

/// The part of an errand that only the nursery itself can do: what it opens it must keep,
/// and it may have to move aside itself.
pub(super) fn begin(link: &UnixStream, parents: &mut Parents) -> io::Result<Next> {
    link.set_read_timeout(Some(REQUEST_WAIT_MAX))?;
    let request = read_line(link)?;
    let said = match &request {
        Request::Greet => Answer::Greeting {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uid: sys::user_and_group().0,
        },
        Request::OpenCgroup { name } => match open(name, CgroupParent::open) {
            Ok(Some(parent)) => {
                let controllers = parent.controllers();
                parents.keep(name, parent);
                Answer::Controllers(controllers)
            }
            Ok(None) => Answer::Controllers(Vec::new()),
            Err(error) => Answer::Failed(error.to_string()),
        },
        Request::StepCgroup { parent, .. }
            if !parents.get(parent).is_some_and(CgroupParent::is_there) =>
        {
            // Its caller had another nursery before; or a service manager has moved us to
            // another place, as systemd does with version 1 when the first units start.
            // Steps may still run: nothing of what is there may be cleared away.
            if let Ok(Some(found)) = open(parent, CgroupParent::open_kept) {
                parents.keep(parent, found);
            }
            return Ok(Next::Fork(request));
        }
        _ => return Ok(Next::Fork(request)),
    };
    write_line(&mut &*link, &said)?;
    Ok(Next::Said)
}

fn open(
    name: &str,
    open: fn(&str) -> io::Result<Option<CgroupParent>>,
) -> io::Result<Option<CgroupParent>> {
    check_name(name)?;
    open(name)
}

/// A name becomes a part of a path.
fn check_name(name: &str) -> io::Result<()> {
    let is_plain = |it: u8| it.is_ascii_alphanumeric() || it == b'-';
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok(())
}

/// The rest of an errand, in a process of its own.
pub(super) fn end(link: &UnixStream, parents: &Parents, request: Request) -> io::Result<()> {
    let said = match request {
        Request::StepCgroup {
            parent,
            name,
            limits,
        } => {
            let made = check_name(&name).and_then(|()| {
                let parent = parents.get(&parent);
                let parent = parent.ok_or_else(|| io::Error::other("there is no such cgroup"))?;
                parent.step_named(&name, &limits)
            });
            match made {
                Ok(cgroup) => return keep(link, &cgroup),
                Err(error) => Answer::Failed(error.to_string()),
            }
        }
        Request::RemoveCgroup { name } => match parents.get(&name).cloned() {
            Some(parent) => done(parent.remove()),
            None => Answer::Done,
        },
        Request::KillLeftovers { marker_env } => match leftovers::kill_leftovers(&marker_env) {
            Ok(count) => Answer::Killed(count),
            Err(error) => Answer::Failed(error.to_string()),
        },
        Request::Greet | Request::OpenCgroup { .. } => return Ok(()),
    };
    write_line(&mut &*link, &said)
}

fn done(result: io::Result<()>) -> Answer {
    result.map_or_else(|it| Answer::Failed(it.to_string()), |()| Answer::Done)
}

/// Keeps a step's cgroup until the caller lets go of the line, or dies.
fn keep(mut link: &UnixStream, cgroup: &StepCgroup) -> io::Result<()> {
    let answer = Answer::Entrances(cgroup.entrances(), cgroup.counts_processes());
    write_line(&mut link, &answer)?;
    link.set_read_timeout(None)?;
    let mut order = [0];
    while link.read(&mut order)? == 1 {
        let answer = if cgroup.oom_killed() { YES } else { NO };
        link.write_all(&[answer])?;
    }
    Ok(())
}

fn write_line<T: Serialize>(to: &mut impl Write, what: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Byte by byte: what follows the line is somebody else's to read.
fn read_line<T: for<'a> Deserialize<'a>>(mut from: &UnixStream) -> io::Result<T> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        from.read_exact(&mut byte)?;
        if byte == [b'\n'] {
            return Ok(serde_json::from_slice(&line)?);
        }
        if line.len() == LINE_BYTES_MAX {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        line.extend(byte);
    }
}

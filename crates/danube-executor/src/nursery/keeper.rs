//! The nursery's own side: takes what is wanted, and forks.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::errand::{self, Next, Parents};
use super::{Birth, Kind, MARKER, call};
use crate::outer;
use crate::sys::{self, Fork};

/// The first line of the program's `main`. When this process was started as
/// the keeper of sandboxes it becomes one and never returns; otherwise it does
/// nothing.
pub fn sandbox_main_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|it| it == MARKER) && args.next().is_none() {
        let done = be_nursery();
        if let Err(error) = &done {
            // Of a child nobody reads it; a service manager keeps it.
            eprintln!("danube: keep sandboxes: {error}");
        }
        sys::exit(i32::from(done.is_err()));
    }
}

fn be_nursery() -> io::Result<()> {
    // Whatever the caller's libraries leaked into us must not reach a step.
    sys::close_from()?;
    let link = UnixStream::from(sys::take_stdin()?);
    let uid = sys::peer_uid(&link)?;
    if !call::is_trusted(uid) {
        return Err(io::Error::other(format!(
            "uid {uid} gives the orders, and only root or uid {} may",
            sys::user_and_group().0
        )));
    }
    let quiet = File::options().read(true).write(true).open("/dev/null")?;
    sys::replace_fd(quiet.as_fd(), 0)?;
    std::env::set_current_dir("/")?;
    // Refused to a process that a service manager has made one already.
    let _ = sys::become_session_leader();
    // Mount points we make must let the step's user through.
    sys::set_umask(0o022);
    // A service manager may signal all of a service, or a terminal; the master
    // alone decides what that means for its steps.
    sys::ignore_polite_signals();
    sys::hide_memory()?;
    let mut parents = Parents::default();
    while let Some((kind, fds)) = call::receive(&link)? {
        match kind {
            Kind::Birth => {
                let birth = Birth::of(fds)?;
                // A step that cannot be born is told so by its closing line.
                if let Ok(Fork::Child) = sys::fork() {
                    drop(link);
                    sys::exit(outer::be_sandbox(birth, &quiet));
                }
            }
            Kind::Errand => {
                let Ok([line]) = <[OwnedFd; 1]>::try_from(fds) else {
                    return Err(io::Error::from_raw_os_error(libc::EBADMSG));
                };
                let line = UnixStream::from(line);
                // Who asks and is gone needs no answer; who asks wrongly gets none.
                if let Ok(Next::Fork(request)) = errand::begin(&line, &mut parents)
                    && let Ok(Fork::Child) = sys::fork()
                {
                    drop(link);
                    let done = errand::end(&line, &parents, request);
                    sys::exit(i32::from(done.is_err()));
                }
            }
        }
    }
    Ok(())
}

impl Birth {
    fn of(fds: Vec<OwnedFd>) -> io::Result<Self> {
        let [link, stdout, stderr, lifeline] = fds
            .try_into()
            .map_err(|_| io::Error::from_raw_os_error(libc::EBADMSG))?;
        Ok(Self {
            link,
            stdout,
            stderr,
            lifeline,
        })
    }
}

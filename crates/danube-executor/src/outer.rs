//! S1, the first process of a sandbox: makes the namespaces, starts S2 in
//! them and waits for it. Its end means that nothing of the step lives.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::init::{self, Kit};
use crate::job;
use crate::nursery::Birth;
use crate::plan::Isolation;
use crate::sys::{self, Fork, PollFd, Waited};
use crate::wire::{Fault, Orders, Report};

/// Exit code when S2 or we ended in a way that nobody foresaw. Nobody reads
/// it: what the caller needs to know went up the line.
const EXIT_BROKEN: i32 = 70;

/// Becomes S1; returns the exit code.
pub(crate) fn be_sandbox(birth: Birth, quiet: &File) -> i32 {
    let mut link = UnixStream::from(birth.link);
    let outputs = [birth.stdout, birth.stderr];
    let done =
        prepare(&mut link, outputs, birth.lifeline, quiet).and_then(|kit| start(&mut link, &kit));
    match done {
        Ok(()) => 0,
        Err(fault) => {
            // A caller that no longer listens needs no reason.
            let _ = Report::Broken(fault).send(&mut link);
            EXIT_BROKEN
        }
    }
}

/// Everything that does not depend on the kind of walls.
fn prepare<'a>(
    link: &mut UnixStream,
    outputs: [OwnedFd; 2],
    lifeline: OwnedFd,
    quiet: &'a File,
) -> Result<Kit<'a>, Fault> {
    for (from, number) in outputs.into_iter().zip(1..) {
        sys::replace_fd(from.as_fd(), number).map_err(Fault::of("replace", "output"))?;
    }
    let orders = Orders::receive(link).map_err(Fault::of("read", "orders"))?;
    sys::become_session_leader().map_err(Fault::of("begin", "session"))?;
    let signals = sys::watch_children().map_err(Fault::of("watch", "signals"))?;
    // While the rights and the paths are still ours.
    let cgroups = job::open_cgroups(&orders)?;
    Ok(Kit {
        orders,
        cgroups,
        quiet,
        signals,
        lifeline,
    })
}

fn start(link: &mut UnixStream, kit: &Kit<'_>) -> Result<(), Fault> {
    match kit.orders.isolation {
        Isolation::Namespaces {
            user_namespace,
            network,
        } => {
            enter_namespaces(&kit.orders, user_namespace, network)?;
            start_init(link, kit)
        }
        Isolation::ProcessGroup => {
            sys::become_subreaper().map_err(Fault::of("become", "subreaper"))?;
            init::run(link, kit)
        }
    }
}

fn enter_namespaces(orders: &Orders, user: bool, network: bool) -> Result<(), Fault> {
    let mut flags = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC;
    if network {
        flags |= libc::CLONE_NEWNET;
    }
    if !user {
        return sys::unshare(flags).map_err(Fault::of("make", "namespaces"));
    }
    // Inside, only the one user exists that made the namespace, so become the
    // step's user first.
    if let Some((uid, gid)) = orders.uid_gid {
        sys::become_user(uid, gid).map_err(Fault::of("become", format!("uid {uid}")))?;
    }
    let (uid, gid) = sys::user_and_group();
    sys::unshare(flags | libc::CLONE_NEWUSER).map_err(Fault::of("make", "user namespace"))?;
    // Until the mounts are made: without it our own files in /proc are root's.
    sys::show_memory().map_err(Fault::of("show", "memory"))?;
    for (path, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{uid} {uid} 1")),
        ("/proc/self/gid_map", format!("{gid} {gid} 1")),
    ] {
        std::fs::write(path, text).map_err(Fault::of("write", path))?;
    }
    Ok(())
}

/// Starts S2 and stays until it and with it the whole namespace is gone.
fn start_init(link: &mut UnixStream, kit: &Kit<'_>) -> Result<(), Fault> {
    // Closes with us, so that S2 sees if we ended before it could ask the kernel.
    let (ours, theirs) = io::pipe().map_err(Fault::of("make", "pipe"))?;
    match sys::fork().map_err(Fault::of("start", "first process"))? {
        Fork::Child => {
            drop(theirs);
            sys::exit(be_init(link, kit, ours.as_fd()));
        }
        Fork::Parent(init) => {
            drop(ours);
            sys::hide_memory().map_err(Fault::of("hide", "memory"))?;
            kit.let_go_of_output()?;
            let status = await_init(init, kit).map_err(Fault::of("await", "first process"))?;
            drop(theirs);
            if status != 0 {
                // A caller that no longer listens needs no reason.
                let _ = Report::KeeperDied { status }.send(link);
            }
            Ok(())
        }
    }
}

fn be_init(link: &mut UnixStream, kit: &Kit<'_>, outer: BorrowedFd<'_>) -> i32 {
    let now = std::time::Instant::now();
    let ready = sys::die_with_parent(libc::SIGKILL)
        .and_then(|()| sys::poll(&mut [PollFd::readable(outer)], Some(now)));
    if !matches!(ready, Ok(0)) {
        return EXIT_BROKEN;
    }
    if let Err(fault) = init::run(link, kit) {
        // A caller that no longer listens needs no reason.
        let _ = Report::Broken(fault).send(link);
    }
    0
}

/// Waits for S2 and returns its raw wait status; kills it when the lifeline is cut.
fn await_init(init: i32, kit: &Kit<'_>) -> io::Result<i32> {
    let mut cut = false;
    loop {
        match sys::wait()? {
            Waited::Ended(_, status) => return Ok(status),
            Waited::NoChildren => return Err(io::Error::from_raw_os_error(libc::ECHILD)),
            Waited::Running => {}
        }
        let lifeline = if cut {
            PollFd::nothing()
        } else {
            PollFd::readable(kit.lifeline.as_fd())
        };
        let mut ready = [PollFd::readable(kit.signals.as_fd()), lifeline];
        sys::poll(&mut ready, None)?;
        if ready[0].is_ready() {
            sys::drain_signals(&kit.signals)?;
        }
        if ready[1].is_ready() {
            cut = true;
            sys::kill(init, libc::SIGKILL)?;
        }
    }
}

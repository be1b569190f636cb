//! S2: keeps the step. Builds the walls, starts the command, collects every
//! process that ends, and leaves nobody behind. PID 1 of the namespace, or in
//! the fallback a subreaper.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::job;
use crate::leftovers;
use crate::mounts;
use crate::plan::Isolation;
use crate::sys::{self, Fork, PollFd, Waited};
use crate::wire::{Fault, ORDER_TERM, Orders, Report, Totals};

/// How often the fallback looks again for processes that forked while it was
/// killing: soon enough not to be noticed, rare enough not to burn a core.
const KILL_AGAIN_MILLIS: u64 = 5;

/// What S1 made for the keeper of a step.
pub(crate) struct Kit<'a> {
    pub(crate) orders: Orders,
    /// The files by which the main process enters its cgroup.
    pub(crate) cgroups: Vec<(PathBuf, File)>,
    /// `/dev/null`
    pub(crate) quiet: &'a File,
    /// Readable when a child ended.
    pub(crate) signals: File,
    /// Hangs up when the step is to die at once.
    pub(crate) lifeline: OwnedFd,
}

impl Kit<'_> {
    /// Only the step may hold its output pipes.
    pub(crate) fn let_go_of_output(&self) -> Result<(), Fault> {
        for number in [1, 2] {
            sys::replace_fd(self.quiet.as_fd(), number).map_err(Fault::of("replace", "output"))?;
        }
        Ok(())
    }
}

/// Runs the step to its end and reports to the caller.
pub(crate) fn run(link: &mut UnixStream, kit: &Kit<'_>) -> Result<(), Fault> {
    let namespaced = match kit.orders.isolation {
        Isolation::Namespaces { network, .. } => {
            if network {
                sys::loopback_up().map_err(Fault::of("bring up", "loopback"))?;
            }
            true
        }
        Isolation::ProcessGroup => false,
    };
    if namespaced {
        mounts::build(&kit.orders)?;
    }
    sys::hide_memory().map_err(Fault::of("hide", "memory"))?;
    // The far end closes when the command starts, or carries why it did not.
    let (mut far, near) = io::pipe().map_err(Fault::of("make", "pipe"))?;
    let main = match sys::fork().map_err(Fault::of("start", "main process"))? {
        Fork::Child => {
            drop(far);
            job::become_command(&kit.orders, &kit.cgroups, near);
        }
        Fork::Parent(pid) => pid,
    };
    drop(near);
    kit.let_go_of_output()?;
    let mut why = Vec::new();
    far.read_to_end(&mut why)
        .map_err(Fault::of("start", "main process"))?;
    if let Ok(fault) = serde_json::from_slice::<Fault>(&why) {
        return Err(fault);
    }
    let keeper = Keeper {
        main,
        namespaced,
        status: None,
        killed: 0,
        finishing: false,
    };
    keeper.keep(link, kit).map_err(Fault::of("keep", "step"))
}

struct Keeper {
    main: i32,
    namespaced: bool,
    /// Raw wait status of the main process, once it ended.
    status: Option<i32>,
    /// Left-over processes that died by our signal.
    killed: u32,
    /// Everybody is to die.
    finishing: bool,
}

impl Keeper {
    fn keep(mut self, link: &mut UnixStream, kit: &Kit<'_>) -> io::Result<()> {
        loop {
            if self.collect(link)? {
                return self.report(link);
            }
            if self.finishing {
                self.kill_everyone()?;
            }
            let unless_finishing = |fd| {
                if self.finishing {
                    PollFd::nothing()
                } else {
                    PollFd::readable(fd)
                }
            };
            let mut ready = [
                PollFd::readable(kit.signals.as_fd()),
                unless_finishing(link.as_fd()),
                unless_finishing(kit.lifeline.as_fd()),
            ];
            sys::poll(&mut ready, self.look_again())?;
            if ready[0].is_ready() {
                sys::drain_signals(&kit.signals)?;
            }
            if ready[1].is_ready() {
                self.obey(link)?;
            }
            self.finishing |= ready[2].is_ready();
        }
    }

    /// Collects whoever ended; says whether nobody is left. Tells the caller
    /// when the main process ended before others.
    fn collect(&mut self, link: &mut UnixStream) -> io::Result<bool> {
        let ran = self.status.is_none();
        loop {
            match sys::wait()? {
                Waited::Ended(pid, status) if pid == self.main => self.status = Some(status),
                Waited::Ended(_, status) => {
                    let by_kill =
                        libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL;
                    self.killed += u32::from(self.finishing && by_kill);
                }
                Waited::Running => {
                    if let (true, Some(status)) = (ran, self.status) {
                        // If the caller is gone, the next read says so.
                        let _ = Report::MainEnded { status }.send(link);
                    }
                    return Ok(false);
                }
                Waited::NoChildren => return Ok(true),
            }
        }
    }

    fn obey(&mut self, link: &mut UnixStream) -> io::Result<()> {
        let mut order = [0];
        match link.read(&mut order) {
            Ok(1) if order[0] == ORDER_TERM => self.signal_everyone(libc::SIGTERM)?,
            // The order to kill, or the end of the caller.
            _ => self.finishing = true,
        }
        Ok(())
    }

    fn signal_everyone(&self, signal: i32) -> io::Result<()> {
        let all = if self.namespaced {
            None
        } else {
            Some(leftovers::descendants()?)
        };
        for signal in [signal, libc::SIGCONT] {
            match &all {
                None => sys::send_to_all(signal),
                // One that became another user by a setuid program is out of reach.
                Some(all) => all.iter().for_each(|pid| drop(sys::kill(*pid, signal))),
            }
        }
        Ok(())
    }

    fn kill_everyone(&self) -> io::Result<()> {
        if self.namespaced {
            sys::send_to_all(libc::SIGKILL);
            return Ok(());
        }
        for pid in leftovers::descendants()? {
            // As above: out of reach means out of reach.
            let _ = sys::kill(pid, libc::SIGKILL);
        }
        Ok(())
    }

    fn look_again(&self) -> Option<Instant> {
        let again = Duration::from_millis(KILL_AGAIN_MILLIS);
        (self.finishing && !self.namespaced).then(|| Instant::now() + again)
    }

    fn report(&self, link: &mut UnixStream) -> io::Result<()> {
        let (cpu, max_rss_bytes) = sys::children_usage()?;
        let totals = Totals {
            status: self
                .status
                .expect("the main process is our child and no child is left"),
            cpu_micros: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
            max_rss_bytes,
            killed: self.killed,
        };
        // A caller that is gone needs no account.
        let _ = Report::AllEnded(totals).send(link);
        Ok(())
    }
}

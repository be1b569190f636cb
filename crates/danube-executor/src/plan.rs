//! What a caller says about a step, and what it hears back.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::cgroup::CgroupParent;
use crate::control::Stop;
use crate::nursery::Nursery;

/// How long a step may take to end after TERM before it is killed.
const GRACE_SECS_DEFAULT: u64 = 10;

/// How long left-over processes may go on writing once the main process ended:
/// enough for a `tee` to flush, short enough that a daemon does not hold a job.
const KILL_OUTPUT_AFTER_SECS_DEFAULT: u64 = 2;

/// One step: what to run, with which environment, where, and within which walls.
#[derive(Clone)]
pub struct StepPlan {
    /// What to run.
    pub command: Command,
    /// The whole environment; nothing is inherited. May hold secrets: it is
    /// never printed and never in an argv. Of two equal names the last one holds.
    pub env: Vec<(String, String)>,
    /// Where the command starts; looked up as the step's own user.
    pub cwd: PathBuf,
    /// The walls around it.
    pub sandbox: Sandbox,
    /// Longest run time; `None` for no bound.
    pub timeout: Option<Duration>,
    /// Time between TERM and KILL when the step is stopped.
    pub grace: Duration,
    /// Once the main process has ended: how long to go on reading what left-over
    /// processes write. They are killed at the step's end anyway.
    pub kill_output_after: Duration,
}

impl StepPlan {
    /// A plan with an empty environment, no timeout and the default waits.
    pub fn new(command: Command, cwd: impl Into<PathBuf>, sandbox: Sandbox) -> Self {
        Self {
            command,
            env: Vec::new(),
            cwd: cwd.into(),
            sandbox,
            timeout: None,
            grace: Duration::from_secs(GRACE_SECS_DEFAULT),
            kill_output_after: Duration::from_secs(KILL_OUTPUT_AFTER_SECS_DEFAULT),
        }
    }
}

impl fmt::Debug for StepPlan {
    /// Leaves out the command and the values of the environment, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("StepPlan")
            .field("env", &names)
            .field("cwd", &self.cwd)
            .field("sandbox", &self.sandbox)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What a step runs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A script given to a shell. The kernel bounds its text to 128 KiB.
    Script {
        /// The text after `-c`.
        text: String,
        /// Which shell reads it.
        shell: Shell,
    },
    /// A program and its arguments; the program is looked up in the `PATH` of
    /// the step's own environment.
    Argv(Vec<OsString>),
}

/// The shells a script can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shell {
    /// `/bin/sh -eu -c TEXT`
    Sh,
    /// `bash -euo pipefail -c TEXT`
    Bash,
}

/// The walls around a step, as decided from [`crate::probe()`] and the settings.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Namespaces, or the fallback without.
    pub isolation: Isolation,
    /// Run as this uid and gid, without other groups. Only root can.
    pub uid_gid: Option<(u32, u32)>,
    /// Directories and files made invisible: an empty directory over the one,
    /// an empty file over the other. What does not exist is skipped.
    /// Needs namespaces.
    pub hide: Vec<PathBuf>,
    /// Directories and files visible at their own path even below a hidden one: the
    /// job's workspace. They must exist. Needs namespaces.
    pub expose: Vec<PathBuf>,
    /// A directory that stands for `/tmp` and `/var/tmp`; with it, `/dev/shm`
    /// is a small tmpfs of the step's own. Needs namespaces.
    pub private_tmp: Option<PathBuf>,
    /// What the step may use.
    pub limits: Limits,
    /// Where the step's own cgroup is made; without it only those limits hold
    /// that the kernel knows by process.
    pub cgroup: Option<CgroupParent>,
    /// Who starts it.
    pub nursery: Nursery,
}

impl Default for Sandbox {
    /// The fallback without namespaces, with nothing hidden and no limits.
    fn default() -> Self {
        Self {
            isolation: Isolation::ProcessGroup,
            uid_gid: None,
            hide: Vec::new(),
            expose: Vec::new(),
            private_tmp: None,
            limits: Limits::default(),
            cgroup: None,
            nursery: Nursery::default(),
        }
    }
}

/// How a step is kept apart from everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// Own PID, mount and IPC namespaces: the step sees only its own processes,
    /// and the kernel kills them all with the first.
    Namespaces {
        /// Through a user namespace: what an unprivileged caller needs.
        user_namespace: bool,
        /// With a network namespace of its own too, that is: no network but loopback.
        network: bool,
    },
    /// A session of its own under a child subreaper. Nothing is hidden, and a
    /// step under the caller's own uid could kill its keeper.
    ProcessGroup,
}

/// What a step may use; `None` is no limit of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of all processes together. Needs a cgroup.
    pub memory_bytes: Option<u64>,
    /// Processes and threads together.
    pub processes: Option<u64>,
    /// Cores' worth of time, `0.5` for half a core. Needs a cgroup.
    pub cpu_cores: Option<f64>,
    /// Open files of each process.
    pub open_files: Option<u64>,
}

/// The two streams of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// Where a step's output goes. Called from the thread that runs the step only.
pub trait Output {
    /// Takes the next bytes of a stream: exact and in order within it. May
    /// block: then the step is held back by its full pipe, and a stop or
    /// timeout is seen when this returns. An error kills the step.
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()>;

    /// When [`Output::tick`] should be called next, for example to flush.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Called once [`Output::deadline`] has come; must move or clear it.
    fn tick(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Readable when there is something to do beside the step.
    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Called while [`Output::wakes`] is readable and the step goes on, after what the step
    /// wrote before. May take its time: the step's output waits in its pipes meanwhile.
    /// `step` becomes readable when the step's main process has ended. An error kills the
    /// step.
    fn woken(&mut self, step: BorrowedFd<'_>) -> io::Result<()> {
        let _ = step;
        Ok(())
    }
}

/// How a step ended and what it used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOutcome {
    /// How its main process ended, or why it was stopped.
    pub end: End,
    /// Processor time of all its processes, user and system.
    pub cpu: Duration,
    /// Resident memory of its largest process at the peak; a few MiB at least,
    /// because the sandbox becomes the step.
    pub max_rss_bytes: u64,
    /// From start to the end of the main process.
    pub wall: Duration,
    /// The kernel killed one of its processes for memory.
    pub oom_killed: bool,
    /// Processes left over by the main process and killed at the end.
    pub processes_killed: u32,
}

/// The end of a step's main process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this code.
    Exit(i32),
    /// This signal killed it.
    Signal(i32),
    /// We stopped it, or it was stopped before it began.
    Stopped(Stop),
}

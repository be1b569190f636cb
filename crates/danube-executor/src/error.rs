//! Why a step could not be run, as opposed to: ran and failed.

use std::io;

/// The step did not run, or was given up, for a reason that is not its own.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The plan cannot be carried out as it is written.
    #[error("read step plan: {0}")]
    Plan(String),
    /// The sandbox process could not be started or spoken to.
    #[error("start sandbox: {0}")]
    Start(#[source] io::Error),
    /// Something on the way to the command went wrong: a missing working
    /// directory or shell, a refused mount, a missing right.
    #[error("{what} {place}: {source}")]
    Setup {
        /// What was tried: a verb phrase.
        what: String,
        /// On which path or thing.
        place: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The sandbox vanished without a result. In namespaces the step's processes
    /// died with it; in the fallback a step under our own uid may have killed
    /// its keeper, so look for [`crate::kill_leftovers`].
    #[error("keep sandbox: it ended without a result ({0})")]
    Died(String),
    /// Processes of the step outlived SIGKILL, so they hang in the kernel.
    #[error("kill step: processes still alive {0} seconds after SIGKILL")]
    Unkillable(u64),
    /// The output was not taken; the step was killed.
    #[error("write output: {0}")]
    Output(#[source] io::Error),
    /// The step's cgroup could not be made, limited or read.
    #[error("prepare cgroup: {0}")]
    Cgroup(#[source] io::Error),
}

//! Runs one step of a job in a sandbox of its own.
//!
//! [`run_step`] starts this very program again as a small sandbox, which puts
//! the step into its own PID, mount and IPC namespace (where the kernel lets
//! us), under its own uid, with limits, and kills whatever the step leaves
//! behind. The program's `main` must therefore begin with
//! [`sandbox_main_if_asked`].
//!
//! ```text
//! caller ── run.rs ──▶ S1 outer.rs ──▶ S2 init.rs, PID 1 ──▶ S3 job.rs ──▶ execve
//!    └───── one socket: the plan goes down, the result comes up ─────┘
//! ```
//!
//! Each dies with the one before it, so a killed caller leaves nothing behind.

mod cgroup;
mod control;
mod error;
mod init;
mod job;
mod leftovers;
mod mounts;
mod outer;
mod plan;
mod probe;
mod run;
mod sys;
mod uids;
mod wire;
mod workspace;

pub use cgroup::{CgroupParent, Controller};
pub use control::{Control, Stop};
pub use error::ExecutorError;
pub use leftovers::kill_leftovers;
pub use outer::sandbox_main_if_asked;
pub use plan::{
    Command, End, Isolation, Limits, Output, Sandbox, Shell, StepOutcome, StepPlan, Stream,
};
pub use probe::{Capabilities, probe};
pub use run::run_step;
pub use uids::{UID_BASE_DEFAULT, UID_COUNT_DEFAULT, UidLease, UidPool};
pub use workspace::Workspace;

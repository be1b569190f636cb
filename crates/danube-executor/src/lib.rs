//! Runs one step of a job in a sandbox of its own.
//!
//! [`run_step`] has a small process fork a sandbox, which puts the step into
//! its own PID, mount and IPC namespace (where the kernel lets us), under its
//! own uid, with limits, and kills whatever the step leaves behind. The small
//! process is this very program, started again once: its `main` must begin
//! with [`sandbox_main_if_asked`]. Or a service manager has started it in a unit
//! of its own, and we connect to it ([`Nursery`]).
//!
//! ```text
//! caller: run.rs          nursery/  ──fork──▶ S1 outer.rs ──▶ S2 init.rs, PID 1 ──▶ S3 job.rs ──▶ execve
//!    ├── one line: the plan goes down, the result comes up ──┴────────┘
//!    └── a lifeline: cut, or when the caller dies, S1 kills S2 and the kernel the rest
//! ```

mod cgroup;
mod control;
mod error;
mod init;
mod job;
mod leftovers;
mod mounts;
mod nursery;
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
pub use mounts::TMP_DIRECTORIES;
pub use nursery::{Nursery, sandbox_main_if_asked};
pub use plan::{
    Command, End, Isolation, Limits, Output, Sandbox, Shell, StepOutcome, StepPlan, Stream,
};
pub use probe::{Capabilities, clock_is_synchronised, probe, probe_by};
pub use run::run_step;
pub use uids::{UID_BASE_DEFAULT, UID_COUNT_DEFAULT, UidLease, UidPool};
pub use workspace::Workspace;

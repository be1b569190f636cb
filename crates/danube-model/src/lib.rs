//! What a job is: ids, states and moves, pipeline specs, limits.
//!
//! No I/O and no async live here, so every rule of the house can be tested with
//! nothing but values. Start with [`State::after`], the one table of moves.

mod artifact;
mod audit;
pub mod coordinator;
pub mod credential;
mod forge;
mod glob;
mod id;
mod job;
pub mod limits;
mod mistake;
pub mod playbook;
mod queue;
pub mod secret;
pub mod spec;
mod state;
mod timestamp;
mod trace;

pub use artifact::{ARTIFACT_NAME_BYTES_MAX, ARTIFACTS_MAX, wrong_artifact_name};
pub use audit::{AuditHead, BadAuditHead};
pub use forge::{ForgeKind, FromForge};
pub use glob::{GLOBS_MAX, Globs, wrong_glob};
pub use id::{BadId, JobId, SHORT_ID_CHARS};
pub use job::{
    Attempt, Ended, Job, Kind, Order, Page, PlaybookJob, Step, StepStatus, Task, Transition,
    Trigger,
};
pub use mistake::{Mistake, Mistakes, Position, Source};
pub use queue::{
    BadQueue, BadQueues, QUEUE_DEFAULT, QUEUE_JOBS_MAX, QUEUE_PRIORITY_MAX, Queue, Queues,
    is_queue_name,
};
pub use state::{Cause, FailReason, Refused, State};
pub use timestamp::Timestamp;
pub use trace::{Follows, RequestTrace, Trace};

//! A worker on another machine than the master.
//!
//! ```text
//! agent.rs ── claim (long poll) ──▶ danube-worker: a thread a job ──▶ its log, in the spool
//!    │                                   │ Dispatch (desk.rs)              │
//!    └── heartbeat (long poll):          └──▶ shipment.rs: reports and the log, in order,
//!        stop, values to mask                 until the master has all of it
//! ```
//!
//! A job isn't held up by a master that is away: what it says waits in the spool, and
//! its end is told until it is heard. Who is refused (another worker has the job by now)
//! ends it and says nothing more of it.

mod agent;
mod calls;
mod claim;
mod desk;
mod hearing;
mod job;
mod leave;
mod link;
mod pieces;
mod relay;
mod shipment;
mod upload;
mod watchdog;

pub use agent::{Home, RemoteError, run};
pub use job::{JobCallError, JobLink, JobServer};
pub use link::Master;
pub use relay::{Relay, serve as serve_door};

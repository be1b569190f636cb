//! Runs jobs and reports on them, through [`Dispatch`] to whoever hands them out.
//!
//! ```text
//! Worker ── a thread a job ──▶ attempt.rs ── each step ──▶ danube-executor
//!    ▲                             │  └── output.rs ──▶ danube-joblog (redacted, stored)
//!    └── stop, drain               └── Dispatch: started, step, finish | hand back
//! ```
//!
//! The worker knows no SQL and no HTTP; inside the master `Dispatch` is a few
//! calls to the store.

mod artifacts;
mod attempt;
mod calls;
mod dispatch;
mod downloads;
mod environment;
mod export;
mod hears;
mod output;
mod place;
mod playbooks;
mod plays;
mod report;
mod source;
mod token;
mod tools;
pub mod trace;
mod verdict;
mod worker;

pub use calls::{Calls, Listener};
pub use dispatch::{Dispatch, Door, Leaving, Opened, ReportError, Unkept, Work};
pub use downloads::HttpCalls;
pub use place::{PlaceSettings, Where};
pub use playbooks::{Galaxy, PlaybookSettings};
pub use plays::Plays;
pub use token::{JobToken, TokenHash};
pub use trace::Traced;
pub use verdict::Verdict;
pub use worker::{Bearer, Busy, HeldTokens, Load, NoWorker, Settings, Worker};

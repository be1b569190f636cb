//! Whether the master can take work, and what is done where it can't.
//!
//! ```text
//! checks/*.rs ── one file a check ──▶ watch.rs: a task each, deadlines, rounds ──▶ board.rs: latest results
//!                                        │ trouble                                    ├──▶ probes, pages, `danube health`
//!                                        └──▶ heal.rs: event, metric, span            └──▶ alarm: the alerts look at once
//! ```
//!
//! A new check is a file in `checks/` and a line in its list. When it runs next and when
//! healing may be tried is decided in `pace.rs`, from counts and times alone.

mod beat;
mod board;
mod check;
mod checks;
mod heal;
mod pace;
pub(crate) mod usage;
mod watch;

pub(crate) use beat::Beat;
pub(crate) use board::Health;
pub(crate) use check::HealthCheck;
pub(crate) use checks::{Looked, checks};
pub(crate) use watch::{look_once, watch};

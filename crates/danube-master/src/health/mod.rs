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
pub(crate) use watch::watch;

use std::sync::Arc;

use danube_telemetry::otlp::Lost;

use crate::app::Shared;

/// The checks, each of which has looked once: the first probe must find results. `beat` is
/// the scheduler's; `export` tells how the export to a collector goes, where there is one.
/// May block.
pub(crate) fn begin(app: &Shared, beat: Arc<Beat>, export: Option<Lost>) -> Vec<HealthCheck> {
    let checks = checks::all(app, beat, export);
    watch::look_once(&app.health, &checks);
    checks
}

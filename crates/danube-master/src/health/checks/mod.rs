//! The checks: one file each, and this list.

mod blueprint;
mod database;
mod dex;
mod disk;
mod forges;
mod git;
mod log_pipeline;
mod otlp_export;
mod queue;
mod registry;
mod webhooks;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use danube_telemetry::otlp::Lost;

use super::beat::Beat;
use super::check::HealthCheck;
use crate::app::Shared;

/// All checks of parts that are there.
pub(super) fn all(app: &Shared, beat: Arc<Beat>, export: Option<Lost>) -> Vec<HealthCheck> {
    let interval = app.settings.health.interval;
    vec![
        database::check(app),
        queue::check(app),
        disk::check(app),
        workers::check(app, beat),
        otlp_export::check(export),
        webhooks::check(app, interval),
        forges::check(app, interval),
        log_pipeline::check(app, interval),
        git::check(interval),
        registry::check(app, interval),
        dex::check(app, interval),
        blueprint::check(app),
    ]
}

/// A time for people: `34 s`, `7 min`, `3 h`.
fn shown(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

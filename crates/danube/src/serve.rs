//! `danube master`: runs the server until it is told to stop.

use std::process::ExitCode;

use danube_master::{LogControl, ReadLevel, Settings, StartError};

use danube_worker::NoWorker;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::telemetry::Telemetry;

/// What to do when nobody can start a step.
pub(crate) const NURSERY_HINT: &str = "`steps.nursery_socket` names the socket of the unit that starts the steps; without it \
     this process starts them itself";

/// Serves with checked settings. `configured` reads the log's level again.
pub(crate) fn serve(
    settings: Settings,
    telemetry: &Telemetry,
    configured: ReadLevel,
) -> Result<ExitCode, Failure> {
    let log = LogControl {
        handle: telemetry.log.clone(),
        configured,
        mask: telemetry.mask(),
    };
    let exports = telemetry.exports(&settings.data_dir);
    match danube_master::run(settings, &telemetry.signals, log, exports) {
        Ok(()) => Ok(Exit::Ok.into()),
        Err(error) => Err(told("master", &error)),
    }
}

/// What to say of a `what` that didn't start.
pub(crate) fn told(what: &str, error: &StartError) -> Failure {
    let message = format!("start {what}: {error}");
    match error {
        StartError::InUse(_) => Failure::new(Exit::Conflict, "data_dir_in_use", message)
            .hint("use that one, stop it, or give this one its own `--data-dir`"),
        StartError::Listen { .. } => Failure::new(Exit::Failed, "listen", message)
            .hint("another program may have the address; choose one with `--listen`, or port 0 for any free one"),
        StartError::Directory { .. } => Failure::new(Exit::Failed, "data_dir", message)
            .hint("the directory must be writable by the user that runs the master; choose one with `--data-dir`"),
        StartError::Worker(NoWorker::Nursery(_)) => Failure::new(Exit::Failed, "nursery", message)
            .hint(NURSERY_HINT),
        _ => Failure::new(Exit::Failed, "start", message),
    }
}

//! The directory of a worker that isn't inside a master, and what it is set to.

use std::path::Path;

use danube_joblog::JobLogs;
use danube_signals::Signals;

use crate::lock::DirectoryLock;
use crate::settings::Settings;
use crate::start::{
    StartError, clear_workspaces, directory, prepare_directory, raise_open_files, system,
};
use crate::worker_settings::worker_settings;

/// A worker's own directory, while the process holds it.
pub struct WorkerHome {
    /// What the worker is told; its id and the server's address are still a master's.
    pub settings: danube_worker::Settings,
    /// Logs until the master has them.
    pub logs: JobLogs,
    _lock: DirectoryLock,
}

impl WorkerHome {
    /// Takes the directory, and clears away what died with the process before.
    ///
    /// # Errors
    /// [`StartError`], above all when another process has it.
    pub fn take(settings: &Settings, signals: &Signals, about: &str) -> Result<Self, StartError> {
        let dir = &settings.data_dir;
        prepare_directory(dir)?;
        let lock = DirectoryLock::take(dir)?;
        lock.describe(about)
            .map_err(system("write the lock file"))?;
        raise_open_files();
        clear_workspaces(dir, signals)?;
        let logs = dir.join("spool");
        clear(&logs).map_err(directory(&logs))?;
        let limits = danube_joblog::Limits {
            head_bytes: settings.log_head_bytes,
            total_bytes: settings.log_total_bytes,
        };
        let logs = JobLogs::open(&logs, limits).map_err(directory(&logs))?;
        Ok(Self {
            settings: worker_settings(settings)?,
            logs,
            _lock: lock,
        })
    }
}

/// Removes the logs of attempts that died with the process before: their leases go
/// to others, and nobody asks for the rest.
fn clear(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

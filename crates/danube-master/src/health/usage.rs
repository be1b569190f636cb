//! What takes room on the disk, and how much is left.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use danube_signals::{DiskKind, Signals};
use tokio::time::sleep;

use crate::app::{Shared, blocking};
use crate::registry::Started;

/// How often logs and artifacts are measured: it walks their directories.
const LOGS_EVERY: Duration = Duration::from_secs(300);

/// Room on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes that the server may still write.
    pub(crate) free_bytes: u64,
    /// All there are.
    pub(crate) bytes: u64,
}

impl Room {
    /// The free share.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub(crate) fn free_ratio(self) -> f64 {
        if self.bytes == 0 {
            return 1.0;
        }
        self.free_bytes as f64 / self.bytes as f64
    }
}

/// Room where `dir` lies.
pub(crate) fn room(dir: &Path) -> io::Result<Room> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(Room {
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
    })
}

/// Measures logs and artifacts for ever: beside the checks, since it may take longer than they may.
pub(crate) async fn measure_logs(app: Shared) {
    loop {
        let own = Arc::clone(&app);
        let _ = blocking(move || logs(&own)).await;
        sleep(LOGS_EVERY).await;
    }
}

fn logs(app: &Shared) {
    if let Ok(bytes) = app.logs.usage_bytes() {
        app.signals
            .disk_usage_bytes
            .at(DiskKind::Logs)
            .set_u64(bytes);
    }
    registry(app);
    if let Ok(bytes) = app.artifacts.usage_bytes() {
        app.signals
            .disk_usage_bytes
            .at(DiskKind::Artifacts)
            .set_u64(bytes);
    }
}

/// Measures what the registry that the server started keeps.
pub(crate) fn registry(app: &Shared) {
    if let Some(Ok(bytes)) = app.registry.started().map(Started::usage_bytes) {
        app.signals
            .disk_usage_bytes
            .at(DiskKind::Registry)
            .set_u64(bytes);
    }
}

/// Measures the database.
pub(super) fn database(signals: &Signals, dir: &Path) {
    let files = ["danube.db", "danube.db-wal", "danube.db-shm"];
    let bytes = files
        .iter()
        .filter_map(|it| std::fs::metadata(dir.join(it)).ok())
        .map(|it| it.len())
        .sum();
    signals
        .disk_usage_bytes
        .at(DiskKind::Database)
        .set_u64(bytes);
}

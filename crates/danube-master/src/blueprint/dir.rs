//! A blueprint in a directory of this machine, for who has no git repository for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use danube_blueprint::{Blueprint, read};
use danube_signals::BlueprintSyncFailed;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{Shared, blocking};

/// Reads it whole.
pub(crate) fn from(dir: &Path) -> Result<Arc<Blueprint>, String> {
    read(dir).map(Arc::new).map_err(|files| {
        let count: usize = files.iter().map(|it| it.list.len()).sum();
        format!(
            "the blueprint in {} has {count} mistakes; `danube blueprint check {0}` tells them",
            dir.display()
        )
    })
}

/// Reads it again at each SIGHUP; a wrong one leaves the last in force, and is told. Ends with
/// the master.
pub(crate) async fn watch(app: Shared, dir: PathBuf) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return;
    };
    while hangup.recv().await.is_some() {
        let dir = dir.clone();
        match blocking(move || from(&dir)).await {
            Ok(Ok(blueprint)) => {
                app.blueprint.set(blueprint);
                app.adopt();
            }
            Ok(Err(why)) => app.signals.emit(BlueprintSyncFailed { error: &why }),
            Err(_) => {}
        }
    }
}

//! Deletes logs that are kept no longer.

use danube_joblog::JobLogs;
use danube_model::JobId;
use danube_store::{LogDeletion, StoreError};

use crate::app::{Shared, blocking};

/// Why a log isn't deleted by hand.
pub(crate) enum Undeleted {
    /// Its job hasn't ended.
    NotEnded,
    /// There is no such job.
    NoJob,
    /// A file can't be deleted.
    Io,
    /// The store can't say so.
    Store(StoreError),
}

/// Deletes the log of one ended job; the bytes that are free again.
pub(crate) async fn delete(app: &Shared, id: JobId) -> Result<u64, Undeleted> {
    let (logs, store) = (app.logs.clone(), app.store.clone());
    let deleted = blocking(move || delete_files(&logs, &store, id)).await;
    let freed = deleted.map_err(|_| Undeleted::Io)??;
    match app.store.log_deleted(id).await {
        Ok(LogDeletion::Deleted(_)) => Ok(freed),
        Ok(LogDeletion::NotEnded(_)) => Err(Undeleted::NotEnded),
        Ok(LogDeletion::NotFound) => Err(Undeleted::NoJob),
        Err(error) => Err(Undeleted::Store(error)),
    }
}

fn delete_files(logs: &JobLogs, store: &danube_store::Store, id: JobId) -> Result<u64, Undeleted> {
    let job = store.job(id).map_err(Undeleted::Store)?;
    let job = job.ok_or(Undeleted::NoJob)?;
    if !job.state.is_terminal() {
        return Err(Undeleted::NotEnded);
    }
    // An ended job stays ended, so nobody writes its log again.
    logs.delete(&id.to_string())
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::ResourceBusy => Undeleted::NotEnded,
            _ => Undeleted::Io,
        })
}

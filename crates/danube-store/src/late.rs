//! What changes about a job beside its state: values to mask that are learned
//! late, and a log that was deleted.

use danube_model::JobId;
use danube_model::limits::{MASKS_BYTES_MAX, MASKS_MAX};

use crate::writer::Tx;
use crate::{LogDeletion, MaskOutcome, StoreError, jobs, playbooks, rows};

/// Adds a value to those that later attempts, and retries, keep out of their logs.
pub(crate) fn add_mask(tx: &Tx<'_>, id: JobId, value: &str) -> Result<MaskOutcome, StoreError> {
    let Some(record) = rows::find(tx.connection, id)? else {
        return Ok(MaskOutcome::NotFound);
    };
    let mut order = jobs::order(tx, &record)?;
    if order.masks.iter().any(|it| it == value) {
        return Ok(MaskOutcome::Kept);
    }
    let bytes: usize = order.masks.iter().map(String::len).sum();
    if order.masks.len() >= MASKS_MAX || bytes + value.len() > MASKS_BYTES_MAX {
        return Ok(MaskOutcome::Full);
    }
    order.masks.push(value.to_owned());
    let sealed = jobs::seal_order(&tx.shared.sealer, id, &order)?;
    tx.connection
        .prepare_cached("UPDATE orders SET sealed = ?2 WHERE seq = ?1")?
        .execute((record.seq, sealed))?;
    Ok(MaskOutcome::Kept)
}

/// Notes that the log of an ended job is gone. Twice is once.
pub(crate) fn log_deleted(tx: &Tx<'_>, id: JobId) -> Result<LogDeletion, StoreError> {
    let Some(mut record) = rows::find(tx.connection, id)? else {
        return Ok(LogDeletion::NotFound);
    };
    if !record.job.state.is_terminal() {
        return jobs::full(tx, record).map(LogDeletion::NotEnded);
    }
    if record.job.log_deleted_at.is_none() {
        record.job.log_deleted_at = Some(tx.now);
        tx.connection
            .prepare_cached("UPDATE jobs SET log_deleted_at = ?2 WHERE seq = ?1")?
            .execute((record.seq, tx.now.as_millis()))?;
        playbooks::forget(tx, record.seq)?;
    }
    jobs::full(tx, record).map(LogDeletion::Deleted)
}

//! Workers on other machines: the hashes of their tokens, and when they were seen.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};

use crate::rows::{optional_time, time};
use crate::writer::Tx;
use crate::{NewWorker, Store, StoreError, WorkerId, WorkerRecord};

macro_rules! columns {
    () => {
        "id, name, prefix, sha256, created_at, revoked_at, last_seen_at"
    };
}

pub(crate) fn create(tx: &Tx<'_>, worker: &NewWorker) -> Result<WorkerRecord, StoreError> {
    let inserted = tx
        .connection
        .prepare_cached(
            "INSERT INTO workers (name, prefix, sha256, created_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .insert((
            &worker.name,
            &worker.prefix,
            &worker.sha256,
            tx.now.as_millis(),
        ));
    let id = inserted.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => StoreError::NameTaken(worker.name.clone()),
        _ => error.into(),
    })?;
    Ok(WorkerRecord {
        id: WorkerId(id),
        name: worker.name.clone(),
        prefix: worker.prefix.clone(),
        sha256: worker.sha256,
        created_at: tx.now,
        revoked_at: None,
        last_seen_at: None,
    })
}

pub(crate) fn revoke(tx: &Tx<'_>, name: &str) -> Result<Option<WorkerRecord>, StoreError> {
    const SQL: &str = concat!(
        "UPDATE workers SET revoked_at = ?2 WHERE name = ?1 AND revoked_at IS NULL RETURNING ",
        columns!()
    );
    let revoked = tx
        .connection
        .prepare_cached(SQL)?
        .query_row((name, tx.now.as_millis()), record)
        .optional()?;
    Ok(revoked)
}

pub(crate) fn seen(tx: &Tx<'_>, worker: WorkerId) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached("UPDATE workers SET last_seen_at = ?2 WHERE id = ?1")?
        .execute((worker.0, tx.now.as_millis()))?;
    Ok(())
}

impl Store {
    /// Every worker that was ever made, revoked ones included, oldest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError> {
        self.inner.readers.read(all)
    }
}

fn all(connection: &Connection) -> Result<Vec<WorkerRecord>, StoreError> {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM workers ORDER BY id");
    let mut statement = connection.prepare_cached(SQL)?;
    let rows = statement.query_map([], record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn record(row: &Row<'_>) -> rusqlite::Result<WorkerRecord> {
    Ok(WorkerRecord {
        id: WorkerId(row.get(0)?),
        name: row.get(1)?,
        prefix: row.get(2)?,
        sha256: row.get(3)?,
        created_at: time(row, 4)?,
        revoked_at: optional_time(row, 5)?,
        last_seen_at: optional_time(row, 6)?,
    })
}

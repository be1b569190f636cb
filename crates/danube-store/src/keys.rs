//! API keys: their hashes, roles and lives.

use danube_model::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};

use crate::rows::{named, optional_time, time};
use crate::writer::Tx;
use crate::{KeyId, KeyRecord, NewKey, Role, Store, StoreError};

macro_rules! columns {
    () => {
        "id, name, role, prefix, sha256, created_at, revoked_at, last_used_at"
    };
}

pub(crate) fn create(tx: &Tx<'_>, key: &NewKey) -> Result<KeyRecord, StoreError> {
    let inserted = tx
        .connection
        .prepare_cached(
            "INSERT INTO api_keys (name, role, prefix, sha256, created_at) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .insert((
            &key.name,
            key.role.as_str(),
            &key.prefix,
            &key.sha256,
            tx.now.as_millis(),
        ));
    let id = inserted.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => StoreError::NameTaken(key.name.clone()),
        _ => error.into(),
    })?;
    Ok(KeyRecord {
        id: KeyId(id),
        name: key.name.clone(),
        role: key.role,
        prefix: key.prefix.clone(),
        sha256: key.sha256,
        created_at: tx.now,
        revoked_at: None,
        last_used_at: None,
    })
}

pub(crate) fn revoke(tx: &Tx<'_>, key: KeyId) -> Result<Option<KeyRecord>, StoreError> {
    const SQL: &str = concat!(
        "UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL RETURNING ",
        columns!()
    );
    let revoked = tx
        .connection
        .prepare_cached(SQL)?
        .query_row((key.0, tx.now.as_millis()), record)
        .optional()?;
    Ok(revoked)
}

pub(crate) fn used(tx: &Tx<'_>, key: KeyId) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached("UPDATE api_keys SET last_used_at = ?2 WHERE id = ?1")?
        .execute((key.0, tx.now.as_millis()))?;
    Ok(())
}

impl Store {
    /// Every key, revoked ones included, oldest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.inner.readers.read(all)
    }

    /// The live key with this hash.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn find_key(&self, sha256: &[u8; 32]) -> Result<Option<KeyRecord>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM api_keys WHERE sha256 = ?1 AND revoked_at IS NULL"
        );
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            Ok(statement.query_row([sha256], record).optional()?)
        })
    }
}

fn all(connection: &Connection) -> Result<Vec<KeyRecord>, StoreError> {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM api_keys ORDER BY id");
    let mut statement = connection.prepare_cached(SQL)?;
    let rows = statement.query_map([], record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn record(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let created_at: Timestamp = time(row, 5)?;
    Ok(KeyRecord {
        id: KeyId(row.get(0)?),
        name: row.get(1)?,
        role: named(row, 2, Role::parse)?,
        prefix: row.get(3)?,
        sha256: row.get(4)?,
        created_at,
        revoked_at: optional_time(row, 6)?,
        last_used_at: optional_time(row, 7)?,
    })
}

//! API keys: their hashes, roles, bounds and lives.

mod types;

use danube_model::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};

use crate::rows::{named, optional_time, time};
use crate::writer::Tx;
use crate::{Store, StoreError};

pub use types::{KeyBounds, KeyId, KeyRecord, NewKey, Role};

macro_rules! columns {
    () => {
        "id, name, role, prefix, sha256, created_at, revoked_at, last_used_at, expires_at, account, \
         pipelines, user"
    };
}

pub(crate) fn create(tx: &Tx<'_>, key: &NewKey) -> Result<KeyRecord, StoreError> {
    make_way(tx, key)?;
    let KeyBounds {
        expires_at,
        account,
        pipelines,
        user,
    } = &key.bounds;
    let pipelines = pipelines.as_ref().map(|it| patterns(it));
    let inserted = tx
        .connection
        .prepare_cached(
            "INSERT INTO api_keys (name, role, prefix, sha256, created_at, expires_at, account, \
             pipelines, user) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .insert((
            &key.name,
            key.role.as_str(),
            &key.prefix,
            &key.sha256,
            tx.now.as_millis(),
            expires_at.map(Timestamp::as_millis),
            account,
            pipelines,
            user,
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
        bounds: key.bounds.clone(),
    })
}

/// The name of a key that has expired is free. One name stands for one owner: a key of its
/// own, or an account with all of its keys.
fn make_way(tx: &Tx<'_>, key: &NewKey) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached(
            "UPDATE api_keys SET revoked_at = expires_at \
             WHERE name = ?1 AND revoked_at IS NULL AND expires_at <= ?2",
        )?
        .execute((&key.name, tx.now.as_millis()))?;
    if key.bounds.user.is_some() {
        // Users get one a day, and each is of no interest once it is over.
        tx.connection
            .prepare_cached(
                "DELETE FROM api_keys WHERE user IS NOT NULL \
                 AND (expires_at <= ?1 OR revoked_at IS NOT NULL)",
            )?
            .execute([tx.now.as_millis()])?;
    }
    let account = key.bounds.account.as_ref();
    let owner = account.unwrap_or(&key.name);
    let is_anothers: bool = tx
        .connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM api_keys WHERE revoked_at IS NULL \
             AND coalesce(account, name) = ?1 AND (account IS NULL) <> (?2 IS NULL))",
        )?
        .query_row((owner, account), |row| row.get(0))?;
    if is_anothers {
        return Err(StoreError::NameTaken(owner.clone()));
    }
    Ok(())
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
    tx.connection
        .prepare_cached("DELETE FROM sessions WHERE key_id = ?1")?
        .execute([key.0])?;
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
        bounds: KeyBounds {
            expires_at: optional_time(row, 8)?,
            account: row.get(9)?,
            pipelines: row
                .get::<_, Option<String>>(10)?
                .map(|it| read_patterns(&it)),
            user: row.get(11)?,
        },
    })
}

/// Patterns as they are stored, and as SQL reads them.
pub(crate) fn patterns(all: &[String]) -> String {
    serde_json::to_string(all).expect("texts")
}

/// None for what isn't ours: it reaches nothing, rather than everything.
fn read_patterns(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_default()
}

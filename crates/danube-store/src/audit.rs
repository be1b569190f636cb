//! The audit log: appended to, read in order, never changed.

use danube_model::AuditHead;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::writer::Tx;
use crate::{Store, StoreError};

/// An entry of the audit log, with what binds it to those before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number, from 1.
    pub seq: u64,
    /// What it says, as it was hashed.
    pub entry: String,
    /// The hash up to here.
    pub hash: [u8; 32],
}

pub(crate) fn append(tx: &Tx<'_>, entry: &str) -> Result<u64, StoreError> {
    let head = head(tx.connection)?.then(entry);
    tx.connection
        .prepare_cached("INSERT INTO audit (seq, entry, hash) VALUES (?1, ?2, ?3)")?
        .execute((head.seq.cast_signed(), entry, head.hash))?;
    Ok(head.seq)
}

impl Store {
    /// Entries after this number, oldest first, so many at most; and how far the log goes.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn audit_entries(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<(Vec<AuditRow>, AuditHead), StoreError> {
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, entry, hash FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let rows = statement.query_map((after, limit), row)?;
            Ok((rows.collect::<Result<_, _>>()?, head(connection)?))
        })
    }
}

fn head(connection: &Connection) -> Result<AuditHead, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?;
    let head = statement.query_row([], |row| {
        Ok(AuditHead {
            seq: row.get::<_, i64>(0)?.cast_unsigned(),
            hash: row.get(1)?,
        })
    });
    Ok(head.optional()?.unwrap_or_default())
}

fn row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        seq: row.get::<_, i64>(0)?.cast_unsigned(),
        entry: row.get(1)?,
        hash: row.get(2)?,
    })
}

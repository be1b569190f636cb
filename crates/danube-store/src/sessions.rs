//! Browsers that are signed in. Who bounds them and when they end is for the master to say.

use danube_model::Timestamp;
use rusqlite::Row;

use crate::rows::time;
use crate::{KeyId, Pending, Store, StoreError};

/// Who is behind a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOf {
    /// Who showed this key.
    Key(KeyId),
    /// The user of this name.
    User(String),
    /// Who followed the link that a start prints.
    Link,
}

/// A session as it is remembered. The token itself never reaches the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
    /// Who it is.
    pub of: SessionOf,
    /// When they signed in.
    pub created_at: Timestamp,
    /// When they were last seen, as far as was told.
    pub seen_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
}

impl Store {
    /// Every session.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn sessions(&self) -> Result<Vec<SessionRecord>, StoreError> {
        const SQL: &str =
            "SELECT sha256, key_id, user, created_at, seen_at, expires_at FROM sessions";
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            let rows = statement.query_map([], record)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Remembers a session and forgets those that it takes the place of.
    pub fn begin_session(&self, new: SessionRecord, gone: Vec<[u8; 32]>) -> Pending<()> {
        self.urgent(move |tx| {
            forget(tx, &gone)?;
            let (key, user) = match &new.of {
                SessionOf::Key(KeyId(id)) => (Some(*id), None),
                SessionOf::User(name) => (None, Some(name)),
                SessionOf::Link => (None, None),
            };
            tx.connection
                .prepare_cached("INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute((
                    &new.sha256,
                    key,
                    user,
                    new.created_at.as_millis(),
                    new.seen_at.as_millis(),
                    new.expires_at.as_millis(),
                ))?;
            Ok(())
        })
    }

    /// Forgets sessions.
    pub fn end_sessions(&self, gone: Vec<[u8; 32]>) -> Pending<()> {
        self.urgent(move |tx| forget(tx, &gone))
    }

    /// Somebody was seen. Not urgent; the caller tells it once a minute or so.
    pub fn session_seen(&self, sha256: [u8; 32], at: Timestamp) -> Pending<()> {
        self.lazy(move |tx| {
            tx.connection
                .prepare_cached("UPDATE sessions SET seen_at = ?2 WHERE sha256 = ?1")?
                .execute((&sha256, at.as_millis()))?;
            Ok(())
        })
    }
}

fn forget(tx: &crate::writer::Tx<'_>, gone: &[[u8; 32]]) -> Result<(), StoreError> {
    let mut statement = tx
        .connection
        .prepare_cached("DELETE FROM sessions WHERE sha256 = ?1")?;
    for it in gone {
        statement.execute([it])?;
    }
    Ok(())
}

fn record(row: &Row<'_>) -> rusqlite::Result<SessionRecord> {
    let key: Option<i64> = row.get(1)?;
    let user: Option<String> = row.get(2)?;
    let of = match (key, user) {
        (Some(id), _) => SessionOf::Key(KeyId(id)),
        (None, Some(name)) => SessionOf::User(name),
        (None, None) => SessionOf::Link,
    };
    Ok(SessionRecord {
        sha256: row.get(0)?,
        of,
        created_at: time(row, 3)?,
        seen_at: time(row, 4)?,
        expires_at: time(row, 5)?,
    })
}

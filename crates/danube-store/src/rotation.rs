//! Replaces the sealing key while everything goes on.
//!
//! A new key is put first in the key file; from then on everything is sealed with
//! it. Then all that was sealed before is sealed anew, a few rows a transaction.
//! When nothing needs the old key any more, it leaves the file. A crash on any
//! line leaves both keys, and [`Store::reseal_some`] begins again: rows that are
//! done are passed over.

use rusqlite::{Connection, OptionalExtension};

use crate::blueprint;
use crate::credentials;
use crate::jobs::ORDER;
use crate::open::{HASH_KEY, SEAL_CHECK};
use crate::rows;
use crate::secrets;
use crate::webhooks;
use crate::writer::{Class, Tx};
use crate::{Pending, Resealed, Rotation, SealState, Store, StoreError};

/// Rows that one transaction looks at: some milliseconds, so that a submit hardly
/// waits longer than for the company that it has anyway.
const ROWS_AT_ONCE: usize = 64;

/// Bytes after which a transaction takes no more rows: orders may be large.
const BYTES_AT_ONCE: usize = 1024 * 1024;

impl Store {
    /// How the sealing key stands.
    #[must_use]
    pub fn seal_state(&self) -> SealState {
        let sealer = &self.inner.shared.sealer;
        SealState {
            key_id: sealer.key_id(),
            has_old_keys: sealer.has_old_keys(),
        }
    }

    /// A new key seals from now on. When an earlier rotation hasn't ended, nothing
    /// changes: that one has to go on. [`Store::reseal_some`] follows.
    pub fn begin_rotation(&self) -> Pending<SealState> {
        self.inner.writer.send(Class::Growing(0), |tx| {
            let sealer = &tx.shared.sealer;
            if !sealer.has_old_keys() {
                sealer.add_key().map_err(|error| refused(&error))?;
            }
            Ok(SealState {
                key_id: sealer.key_id(),
                has_old_keys: sealer.has_old_keys(),
            })
        })
    }

    /// Seals some of what is still sealed with an old key, from `at` on. To be
    /// called until it says that it is done; the old key is gone then.
    pub fn reseal_some(&self, at: Rotation) -> Pending<Resealed> {
        self.inner
            .writer
            .send(Class::Growing(0), move |tx| reseal(tx, at))
    }
}

fn reseal(tx: &Tx<'_>, at: Rotation) -> Result<Resealed, StoreError> {
    let mut done = Resealed {
        next: at,
        rows: 0,
        unreadable: 0,
        is_done: false,
    };
    match at {
        Rotation::Meta => {
            meta(tx, &mut done)?;
            done.next = Rotation::Credentials { after: 0 };
        }
        Rotation::Credentials { after } => {
            done.next = match credentials(tx, after, &mut done)? {
                Some(after) => Rotation::Credentials { after },
                None => Rotation::Secrets { after: 0 },
            };
        }
        Rotation::Secrets { after } => {
            done.next = match secrets(tx, after, &mut done)? {
                Some(after) => Rotation::Secrets { after },
                None => Rotation::Orders { after: 0 },
            };
        }
        Rotation::Orders { after } => {
            done.next = match orders(tx, after, &mut done)? {
                Some(after) => Rotation::Orders { after },
                None => Rotation::Webhooks { after: 0 },
            };
        }
        Rotation::Webhooks { after } => {
            done.next = match addresses(tx, after, &mut done)? {
                Some(after) => Rotation::Webhooks { after },
                None => Rotation::WebhookSecrets,
            };
        }
        Rotation::WebhookSecrets => {
            let (rows, unreadable) = webhooks::reseal_secrets(tx)?;
            done.rows += rows;
            done.unreadable += unreadable;
            let (rows, unreadable) = blueprint::reseal(tx)?;
            done.rows += rows;
            done.unreadable += unreadable;
            done.next = Rotation::Last;
        }
        // A step of its own: the rows before it are durable.
        Rotation::Last => {
            if tx.shared.sealer.has_old_keys() {
                let dropped = tx.shared.sealer.drop_old_keys();
                dropped.map_err(|error| refused(&error))?;
            }
            done.is_done = true;
        }
    }
    Ok(done)
}

fn meta(tx: &Tx<'_>, done: &mut Resealed) -> Result<(), StoreError> {
    let sealer = &tx.shared.sealer;
    for name in [SEAL_CHECK, HASH_KEY] {
        let sealed: Option<Vec<u8>> = tx
            .connection
            .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        let Some(sealed) = sealed.filter(|it| !sealer.is_current(it)) else {
            continue;
        };
        // Without these the next start would refuse the key: the old one stays.
        let plain = sealer.unseal(name, &[], &sealed).ok_or_else(|| {
            StoreError::Internal(format!("`{name}` can't be unsealed; the old key is kept"))
        })?;
        let sealed = sealer.seal(name, &[], &plain)?;
        tx.connection
            .prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1")?
            .execute((name, sealed))?;
        done.rows += 1;
    }
    Ok(())
}

/// Where to go on; none when there is nothing more.
fn credentials(tx: &Tx<'_>, after: i64, done: &mut Resealed) -> Result<Option<i64>, StoreError> {
    let sealer = &tx.shared.sealer;
    let rows = some(
        tx.connection,
        "SELECT id, name, kind, metadata, version, sealed FROM credentials \
         WHERE id > ?1 ORDER BY id",
        after,
        credentials::bound,
    )?;
    let last = rows.last().map(|(bound, _)| bound.id);
    for (bound, sealed) in rows.iter().filter(|(_, it)| !sealer.is_current(it)) {
        match bound.reseal(sealer, sealed) {
            Some(sealed) => {
                credentials::put_sealed(tx.connection, bound.id, &sealed?)?;
                done.rows += 1;
            }
            None => done.unreadable += 1,
        }
    }
    Ok(last)
}

/// As [`credentials()`].
fn secrets(tx: &Tx<'_>, after: i64, done: &mut Resealed) -> Result<Option<i64>, StoreError> {
    let sealer = &tx.shared.sealer;
    let rows = some(
        tx.connection,
        "SELECT id, pipeline, name, version, sealed FROM secrets WHERE id > ?1 ORDER BY id",
        after,
        secrets::bound,
    )?;
    let last = rows.last().map(|(bound, _)| bound.id);
    for (bound, sealed) in rows.iter().filter(|(_, it)| !sealer.is_current(it)) {
        match bound.reseal(sealer, sealed) {
            Some(sealed) => {
                secrets::put_sealed(tx.connection, bound.id, &sealed?)?;
                done.rows += 1;
            }
            None => done.unreadable += 1,
        }
    }
    Ok(last)
}

fn orders(tx: &Tx<'_>, after: i64, done: &mut Resealed) -> Result<Option<i64>, StoreError> {
    let sealer = &tx.shared.sealer;
    let rows = some(
        tx.connection,
        "SELECT jobs.id, orders.sealed, orders.seq FROM orders \
         JOIN jobs ON jobs.seq = orders.seq WHERE orders.seq > ?1 ORDER BY orders.seq",
        after,
        |row| Ok(((rows::id(row, 0)?, row.get::<_, i64>(2)?), row.get(1)?)),
    )?;
    let last = rows.last().map(|((_, seq), _)| *seq);
    for ((job, seq), sealed) in rows.iter().filter(|(_, it)| !sealer.is_current(it)) {
        let Some(plain) = sealer.unseal(ORDER, job.as_bytes(), sealed) else {
            // No key that is here opens it, so none that goes is missed.
            done.unreadable += 1;
            continue;
        };
        let sealed = sealer.seal(ORDER, job.as_bytes(), &plain)?;
        tx.connection
            .prepare_cached("UPDATE orders SET sealed = ?2 WHERE seq = ?1")?
            .execute((seq, sealed))?;
        done.rows += 1;
    }
    Ok(last)
}

fn addresses(tx: &Tx<'_>, after: i64, done: &mut Resealed) -> Result<Option<i64>, StoreError> {
    let sealer = &tx.shared.sealer;
    let rows = some(
        tx.connection,
        "SELECT jobs.id, webhooks.sealed, webhooks.seq FROM webhooks \
         JOIN jobs USING (seq) WHERE webhooks.seq > ?1 ORDER BY webhooks.seq",
        after,
        |row| Ok(((rows::id(row, 0)?, row.get::<_, i64>(2)?), row.get(1)?)),
    )?;
    let last = rows.last().map(|((_, seq), _)| *seq);
    for ((job, seq), sealed) in rows.iter().filter(|(_, it)| !sealer.is_current(it)) {
        match webhooks::reseal(sealer, *job, sealed) {
            Some(sealed) => {
                tx.connection
                    .prepare_cached("UPDATE webhooks SET sealed = ?2 WHERE seq = ?1")?
                    .execute((seq, sealed?))?;
                done.rows += 1;
            }
            None => done.unreadable += 1,
        }
    }
    Ok(last)
}

/// The rows of one transaction: whatever each is, and what is sealed in it.
fn some<T>(
    connection: &Connection,
    sql: &str,
    after: i64,
    read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<(T, Vec<u8>)>,
) -> Result<Vec<(T, Vec<u8>)>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([after])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while found.len() < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE {
        let Some(row) = rows.next()? else { break };
        let row = read(row)?;
        bytes += row.1.len();
        found.push(row);
    }
    Ok(found)
}

/// The key file can't be written; both keys are where they were.
fn refused(error: &std::io::Error) -> StoreError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        // Not `NoSpace`, which would end the whole transaction.
        return StoreError::KeyFile("no space left on its disk".into());
    }
    StoreError::KeyFile(error.to_string())
}

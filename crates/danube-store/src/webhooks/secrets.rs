//! The secrets that sign webhooks: one an owner, sealed, and after rotations those before,
//! each for its own time.

use std::time::Duration;

use danube_model::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::types::{ShowOutcome, ShownSecret, SigningSecrets};
use crate::rows::time;
use crate::seal::Sealer;
use crate::writer::{Class, Tx};
use crate::{Pending, Store, StoreError};

/// Bytes of a signing secret: as many as Standard Webhooks asks for at least.
pub const SECRET_BYTES: usize = 24;

/// How long a secret still signs after it was replaced: time to bring a newer one to
/// every receiver.
pub const ROTATION_OVERLAP: Duration = Duration::from_secs(24 * 3_600);

/// Secrets that were replaced and sign at once: each makes every message longer. When
/// there are so many, the next rotation waits for the first of them to end; to end one
/// early would break receivers that were promised its time.
pub const OLD_SECRETS_MAX: usize = 4;

/// The purpose under which they are sealed.
const SECRET: &str = "webhook secret";

/// Signing secrets.
impl Store {
    /// The owner's secrets; `fresh` becomes theirs if they have none that can be unsealed.
    pub fn make_webhook_secret(
        &self,
        owner: &str,
        fresh: [u8; SECRET_BYTES],
    ) -> Pending<SigningSecrets> {
        let owner = owner.to_owned();
        self.inner.writer.send(Class::Growing(0), move |tx| {
            let place = (tx.connection, &tx.shared.sealer);
            if let Some(known) = secrets(place, &owner, tx.now)? {
                return Ok(known);
            }
            // One that nothing opens any more signs nothing any more.
            put_secret(tx, (&owner, &fresh, false), None)?;
            Ok(SigningSecrets {
                current: fresh.to_vec(),
                previous: Vec::new(),
            })
        })
    }

    /// Shows the owner's secret if nobody has seen it and it can be unsealed; else `fresh`
    /// takes its place, and that one signs too for [`ROTATION_OVERLAP`].
    pub fn show_webhook_secret(
        &self,
        owner: &str,
        fresh: [u8; SECRET_BYTES],
    ) -> Pending<ShowOutcome> {
        let owner = owner.to_owned();
        self.inner
            .writer
            .send(Class::Growing(0), move |tx| show(tx, &owner, &fresh))
    }

    /// The owner's secrets, if there are any that can be unsealed: one that can't, because
    /// its key is gone, signs nothing any more, and a new one must take its place.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn webhook_secrets(&self, owner: &str) -> Result<Option<SigningSecrets>, StoreError> {
        let shared = &self.inner.shared;
        self.inner
            .readers
            .read(|connection| secrets((connection, &shared.sealer), owner, Timestamp::now()))
    }
}

/// A row of the secrets.
struct Known {
    sealed: Vec<u8>,
    shown: bool,
}

/// A secret that was replaced and still signs.
struct Old {
    sealed: Vec<u8>,
    until: Timestamp,
}

fn find_secret(connection: &Connection, owner: &str) -> Result<Option<Known>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT sealed, shown FROM webhook_secrets WHERE owner = ?1")?;
    let found = statement.query_row([owner], |row| {
        Ok(Known {
            sealed: row.get(0)?,
            shown: row.get(1)?,
        })
    });
    Ok(found.optional()?)
}

/// Those that still sign at `now`, the latest first.
fn old_secrets(
    connection: &Connection,
    owner: &str,
    now: Timestamp,
) -> Result<Vec<Old>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT sealed, until FROM webhook_old_secrets WHERE owner = ?1 AND until > ?2 \
         ORDER BY id DESC",
    )?;
    let found = statement.query_map((owner, now.as_millis()), |row| {
        Ok(Old {
            sealed: row.get(0)?,
            until: time(row, 1)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn secrets(
    (connection, sealer): (&Connection, &Sealer),
    owner: &str,
    now: Timestamp,
) -> Result<Option<SigningSecrets>, StoreError> {
    let open = |sealed: &[u8]| sealer.unseal(SECRET, owner.as_bytes(), sealed);
    let known = find_secret(connection, owner)?;
    let Some(current) = known.and_then(|it| open(&it.sealed)) else {
        return Ok(None);
    };
    let old = old_secrets(connection, owner, now)?;
    Ok(Some(SigningSecrets {
        current,
        // One that nobody can open signs nothing; the others go on.
        previous: old.iter().filter_map(|it| open(&it.sealed)).collect(),
    }))
}

/// Keeps `fresh` as the owner's secret; `replaced`, if somebody may still verify with it,
/// signs too until the time that is returned.
fn put_secret(
    tx: &Tx<'_>,
    (owner, fresh, shown): (&str, &[u8], bool),
    replaced: Option<&[u8]>,
) -> Result<Timestamp, StoreError> {
    let sealed = tx.shared.sealer.seal(SECRET, owner.as_bytes(), fresh)?;
    let now = tx.now.as_millis();
    let overlap = i64::try_from(ROTATION_OVERLAP.as_millis()).unwrap_or(i64::MAX);
    let until = now.saturating_add(overlap);
    tx.connection
        .prepare_cached("DELETE FROM webhook_old_secrets WHERE owner = ?1 AND until <= ?2")?
        .execute((owner, now))?;
    if let Some(replaced) = replaced {
        tx.connection
            .prepare_cached(
                "INSERT INTO webhook_old_secrets (owner, sealed, until) VALUES (?1, ?2, ?3)",
            )?
            .execute((owner, replaced, until))?;
    }
    tx.connection
        .prepare_cached(
            "INSERT INTO webhook_secrets (owner, sealed, shown, made_at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (owner) DO UPDATE SET sealed = excluded.sealed, \
             shown = excluded.shown, made_at = excluded.made_at",
        )?
        .execute((owner, sealed, shown, now))?;
    Ok(Timestamp::from_millis(until))
}

fn show(tx: &Tx<'_>, owner: &str, fresh: &[u8]) -> Result<ShowOutcome, StoreError> {
    let known = find_secret(tx.connection, owner)?;
    let open = |it: &Known| {
        tx.shared
            .sealer
            .unseal(SECRET, owner.as_bytes(), &it.sealed)
    };
    let readable = known.and_then(|it| open(&it).map(|plain| (it, plain)));
    let Some((known, plain)) = readable else {
        put_secret(tx, (owner, fresh, true), None)?;
        return Ok(ShowOutcome::Shown(ShownSecret {
            secret: fresh.to_vec(),
            previous_until: None,
        }));
    };
    if !known.shown {
        tx.connection
            .prepare_cached("UPDATE webhook_secrets SET shown = 1 WHERE owner = ?1")?
            .execute([owner])?;
        return Ok(ShowOutcome::Shown(ShownSecret {
            secret: plain,
            previous_until: None,
        }));
    }
    let old = old_secrets(tx.connection, owner, tx.now)?;
    if old.len() >= OLD_SECRETS_MAX {
        let first = old.last().map_or(tx.now, |it| it.until);
        return Ok(ShowOutcome::TooMany(first));
    }
    let until = put_secret(tx, (owner, fresh, true), Some(&known.sealed))?;
    Ok(ShowOutcome::Shown(ShownSecret {
        secret: fresh.to_vec(),
        previous_until: Some(until),
    }))
}

/// Seals the secrets of all owners anew: how many, and how many no key opens. There are a
/// few an API key at most, so one transaction does.
pub(crate) fn reseal_secrets(tx: &Tx<'_>) -> Result<(u64, u64), StoreError> {
    let (mut done, mut unreadable) = (0, 0);
    for (read, write) in [
        (
            "SELECT owner, owner, sealed FROM webhook_secrets",
            "UPDATE webhook_secrets SET sealed = ?2 WHERE owner = ?1",
        ),
        (
            "SELECT id, owner, sealed FROM webhook_old_secrets",
            "UPDATE webhook_old_secrets SET sealed = ?2 WHERE id = ?1",
        ),
    ] {
        let (more, lost) = reseal_table(tx, read, write)?;
        done += more;
        unreadable += lost;
    }
    Ok((done, unreadable))
}

fn reseal_table(tx: &Tx<'_>, read: &str, write: &str) -> Result<(u64, u64), StoreError> {
    let sealer = &tx.shared.sealer;
    let (mut done, mut unreadable) = (0, 0);
    let mut statement = tx.connection.prepare_cached(read)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let rows: Vec<(rusqlite::types::Value, String, Vec<u8>)> = rows.collect::<Result<_, _>>()?;
    for (key, owner, sealed) in rows {
        if sealer.is_current(&sealed) {
            continue;
        }
        let Some(plain) = sealer.unseal(SECRET, owner.as_bytes(), &sealed) else {
            unreadable += 1;
            continue;
        };
        let anew = sealer.seal(SECRET, owner.as_bytes(), &plain)?;
        tx.connection.prepare_cached(write)?.execute((key, anew))?;
        done += 1;
    }
    Ok((done, unreadable))
}

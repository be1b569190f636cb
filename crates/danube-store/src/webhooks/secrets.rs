//! The secrets that sign webhooks: one an owner, sealed, and after a rotation the one before.

use std::time::Duration;

use danube_model::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::types::{ShownSecret, SigningSecrets};
use crate::rows::optional_time;
use crate::seal::Sealer;
use crate::writer::{Class, Tx};
use crate::{Pending, Store, StoreError};

/// Bytes of a signing secret: as many as Standard Webhooks asks for at least.
pub const SECRET_BYTES: usize = 24;

/// How long the secret before still signs after a rotation: time to bring the new one to
/// every receiver.
pub const ROTATION_OVERLAP: Duration = Duration::from_secs(24 * 3_600);

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
            if let Some(known) = secrets(tx.connection, tx, &owner)? {
                return Ok(known);
            }
            put_secret(tx, (&owner, &fresh), false)?;
            Ok(SigningSecrets {
                current: fresh.to_vec(),
                previous: None,
            })
        })
    }

    /// Shows the owner's secret if nobody has seen it and it can be unsealed; else `fresh`
    /// takes its place.
    pub fn show_webhook_secret(
        &self,
        owner: &str,
        fresh: [u8; SECRET_BYTES],
    ) -> Pending<ShownSecret> {
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
        self.inner.readers.read(|connection| {
            let found = find_secret(connection, owner)?;
            Ok(found.and_then(|it| it.unsealed(&shared.sealer, owner, Timestamp::now())))
        })
    }
}

/// A row of the secrets.
struct Known {
    sealed: Vec<u8>,
    shown: bool,
    previous: Option<Vec<u8>>,
    previous_until: Option<Timestamp>,
}

impl Known {
    fn unsealed(&self, sealer: &Sealer, owner: &str, now: Timestamp) -> Option<SigningSecrets> {
        let open = |sealed: &[u8]| sealer.unseal(SECRET, owner.as_bytes(), sealed);
        let previous = self
            .previous
            .as_deref()
            .filter(|_| self.previous_until.is_some_and(|until| until > now));
        Some(SigningSecrets {
            current: open(&self.sealed)?,
            // One that nobody can open signs nothing; the current one goes on.
            previous: previous.and_then(open),
        })
    }
}

fn find_secret(connection: &Connection, owner: &str) -> Result<Option<Known>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT sealed, shown, previous, previous_until FROM webhook_secrets WHERE owner = ?1",
    )?;
    let found = statement.query_row([owner], |row| {
        Ok(Known {
            sealed: row.get(0)?,
            shown: row.get(1)?,
            previous: row.get(2)?,
            previous_until: optional_time(row, 3)?,
        })
    });
    Ok(found.optional()?)
}

fn secrets(
    connection: &Connection,
    tx: &Tx<'_>,
    owner: &str,
) -> Result<Option<SigningSecrets>, StoreError> {
    let found = find_secret(connection, owner)?;
    Ok(found.and_then(|it| it.unsealed(&tx.shared.sealer, owner, tx.now)))
}

/// Keeps `fresh` as the owner's secret; one that was there becomes the one before.
fn put_secret(
    tx: &Tx<'_>,
    (owner, fresh): (&str, &[u8]),
    shown: bool,
) -> Result<Timestamp, StoreError> {
    let sealed = tx.shared.sealer.seal(SECRET, owner.as_bytes(), fresh)?;
    let overlap = i64::try_from(ROTATION_OVERLAP.as_millis()).unwrap_or(i64::MAX);
    let until = Timestamp::from_millis(tx.now.as_millis().saturating_add(overlap));
    tx.connection
        .prepare_cached(
            "INSERT INTO webhook_secrets (owner, sealed, shown, made_at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (owner) DO UPDATE SET previous = sealed, previous_until = ?5, \
             sealed = excluded.sealed, shown = excluded.shown, made_at = excluded.made_at",
        )?
        .execute((owner, sealed, shown, tx.now.as_millis(), until.as_millis()))?;
    Ok(until)
}

fn show(tx: &Tx<'_>, owner: &str, fresh: &[u8]) -> Result<ShownSecret, StoreError> {
    let known = find_secret(tx.connection, owner)?;
    let unseen = known.as_ref().filter(|it| !it.shown);
    let unseen = unseen.and_then(|it| it.unsealed(&tx.shared.sealer, owner, tx.now));
    if let Some(unseen) = unseen {
        tx.connection
            .prepare_cached("UPDATE webhook_secrets SET shown = 1 WHERE owner = ?1")?
            .execute([owner])?;
        return Ok(ShownSecret {
            secret: unseen.current,
            previous_until: None,
        });
    }
    let until = put_secret(tx, (owner, fresh), true)?;
    Ok(ShownSecret {
        secret: fresh.to_vec(),
        previous_until: known.map(|_| until),
    })
}

/// Seals the secrets of all owners anew: how many, and how many no key opens. There is one
/// an API key at most, so one transaction does.
pub(crate) fn reseal_secrets(tx: &Tx<'_>) -> Result<(u64, u64), StoreError> {
    let sealer = &tx.shared.sealer;
    let (mut done, mut unreadable) = (0, 0);
    let mut statement = tx
        .connection
        .prepare_cached("SELECT owner, sealed, previous FROM webhook_secrets")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let rows: Vec<(String, Vec<u8>, Option<Vec<u8>>)> = rows.collect::<Result<_, _>>()?;
    for (owner, sealed, previous) in rows {
        let mut anew = |sealed: Vec<u8>| -> Result<Vec<u8>, StoreError> {
            if sealer.is_current(&sealed) {
                return Ok(sealed);
            }
            let Some(plain) = sealer.unseal(SECRET, owner.as_bytes(), &sealed) else {
                unreadable += 1;
                return Ok(sealed);
            };
            done += 1;
            sealer.seal(SECRET, owner.as_bytes(), &plain)
        };
        let (sealed, previous) = (anew(sealed)?, previous.map(anew).transpose()?);
        tx.connection
            .prepare_cached(
                "UPDATE webhook_secrets SET sealed = ?2, previous = ?3 WHERE owner = ?1",
            )?
            .execute((&owner, sealed, previous))?;
    }
    Ok((done, unreadable))
}

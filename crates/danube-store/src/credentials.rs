//! Credentials: what is shown of them, their sealed values, and who was given them.

use std::collections::BTreeMap;

use danube_model::Attempt;
use danube_model::credential::{Credential, CredentialKind, SecretText};
use danube_model::limits::{CREDENTIALS_MAX, CREDENTIALS_OF_JOB_MAX};
use rusqlite::{Connection, OptionalExtension, Row};
use zeroize::Zeroizing;

use crate::rows::{id, optional_time, time};
use crate::seal::{Sealer, owner};
use crate::writer::{Class, Tx};
use crate::{CredentialRecord, CredentialUse, Pending, Store, StoreError, jobs, leases};

/// The purpose under which the values are sealed.
const CREDENTIAL: &str = "credential";

/// Uses that are kept of each credential, the latest.
const USES_OF_ONE_MAX: i64 = 1_000;

/// Uses that are kept of all, the latest: names come and go.
const USES_MAX: i64 = 200_000;

/// Old uses that one new use removes: more than it adds, so that they never pile
/// up, and few, so that nobody waits for it.
const USES_PURGED_AT_ONCE: i64 = 8;

/// Uses of one answer.
const USES_SHOWN_MAX: i64 = USES_OF_ONE_MAX;

macro_rules! columns {
    () => {
        "id, name, kind, metadata, version, created_at, created_by, updated_at, updated_by, \
         last_used_at"
    };
}

/// A row and what its values are bound to.
pub(crate) struct Bound {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) metadata: String,
    pub(crate) version: i64,
}

impl Bound {
    fn owner(&self) -> Vec<u8> {
        owner(
            self.id,
            self.version,
            &[&self.name, &self.kind, &self.metadata],
        )
    }

    fn seal(&self, sealer: &Sealer, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        sealer.seal(CREDENTIAL, &self.owner(), plain)
    }

    /// What was sealed for this row; none when it wasn't.
    pub(crate) fn unseal(&self, sealer: &Sealer, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        sealer
            .unseal(CREDENTIAL, &self.owner(), sealed)
            .map(Zeroizing::new)
    }

    /// The same values, sealed with the key of now; none when they can't be opened.
    pub(crate) fn reseal(
        &self,
        sealer: &Sealer,
        sealed: &[u8],
    ) -> Option<Result<Vec<u8>, StoreError>> {
        let plain = self.unseal(sealer, sealed)?;
        Some(self.seal(sealer, &plain))
    }
}

/// Writes about credentials. Each answers after the commit is durable.
impl Store {
    /// Remembers a new credential.
    ///
    /// Errors: [`StoreError::CredentialExists`], [`StoreError::TooManyCredentials`].
    pub fn create_credential(&self, new: Credential, by: &str) -> Pending<CredentialRecord> {
        let by = by.to_owned();
        self.inner
            .writer
            .send(Class::Growing(bytes(&new)), move |tx| create(tx, &new, &by))
    }

    /// Remembers a credential, or puts other values in the place of those that it
    /// has. Whether it is new comes with it.
    ///
    /// Errors: [`StoreError::TooManyCredentials`].
    pub fn put_credential(&self, new: Credential, by: &str) -> Pending<(CredentialRecord, bool)> {
        let by = by.to_owned();
        self.inner
            .writer
            .send(Class::Growing(bytes(&new)), move |tx| put(tx, &new, &by))
    }

    /// Forgets a credential; who used it stays known. A job that names it fails
    /// from now on. None when there is none with this name.
    pub fn delete_credential(&self, name: &str) -> Pending<Option<CredentialRecord>> {
        let name = name.to_owned();
        self.urgent(move |tx| delete(tx, &name))
    }

    /// The credentials that a job asked for, all of them or none. That it was given
    /// them is durable before this answers.
    ///
    /// Errors: [`StoreError::Fenced`], [`StoreError::NoCredentials`] with every name
    /// that there isn't, [`StoreError::CredentialUnreadable`].
    pub fn resolve_credentials(
        &self,
        attempt: Attempt,
        names: Vec<String>,
    ) -> Pending<Vec<Credential>> {
        self.urgent(move |tx| resolve(tx, attempt, &names))
    }
}

/// Reads about credentials.
impl Store {
    /// What is known of every credential, by name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn credentials(&self) -> Result<Vec<CredentialRecord>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM credentials ORDER BY name");
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            let rows = statement.query_map([], record)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// What is known of one; none when there is none with this name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn credential(&self, name: &str) -> Result<Option<CredentialRecord>, StoreError> {
        self.inner.readers.read(|connection| find(connection, name))
    }

    /// Which jobs were given the credential, the latest first. None when neither
    /// it nor a use of it is known.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn credential_uses(&self, name: &str) -> Result<Option<Vec<CredentialUse>>, StoreError> {
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT job, attempt, at FROM credential_uses WHERE name = ?1 \
                 ORDER BY seq DESC LIMIT ?2",
            )?;
            let rows = statement.query_map((name, USES_SHOWN_MAX), |row| {
                Ok(CredentialUse {
                    job: id(row, 0)?,
                    attempt: row.get(1)?,
                    at: time(row, 2)?,
                })
            })?;
            let uses: Vec<CredentialUse> = rows.collect::<Result<_, _>>()?;
            let is_known = !uses.is_empty() || find(connection, name)?.is_some();
            Ok(is_known.then_some(uses))
        })
    }

    /// A credential with its values, for the server itself: no job's rights are asked.
    ///
    /// # Errors
    /// [`StoreError::NoCredentials`], [`StoreError::CredentialUnreadable`], and when the
    /// database can't be read.
    pub fn own_credential(&self, name: &str) -> Result<Credential, StoreError> {
        let sealer = &self.inner.shared.sealer;
        self.inner.readers.read(|connection| {
            let found = opened(connection, sealer, name)?;
            found.ok_or_else(|| StoreError::NoCredentials(vec![name.to_owned()]))
        })
    }

    /// Every secret value, to keep it out of the server's own log. Those that can't
    /// be unsealed are left out: nobody is given them either.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn credential_values(&self) -> Result<Vec<SecretText>, StoreError> {
        let sealer = &self.inner.shared.sealer;
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(BOUND)?;
            let rows = statement.query_map([], bound)?;
            let mut all = Vec::new();
            for row in rows {
                let (bound, sealed) = row?;
                let plain = bound.unseal(sealer, &sealed);
                let values = plain.and_then(|it| Credential::values_of(&it));
                all.extend(values.into_iter().flat_map(BTreeMap::into_values));
            }
            Ok(all)
        })
    }
}

const BOUND: &str = "SELECT id, name, kind, metadata, version, sealed FROM credentials ORDER BY id";

pub(crate) fn bound(row: &Row<'_>) -> rusqlite::Result<(Bound, Vec<u8>)> {
    let bound = Bound {
        id: row.get(0)?,
        name: row.get(1)?,
        kind: row.get(2)?,
        metadata: row.get(3)?,
        version: row.get(4)?,
    };
    Ok((bound, row.get(5)?))
}

fn create(tx: &Tx<'_>, new: &Credential, by: &str) -> Result<CredentialRecord, StoreError> {
    if find(tx.connection, &new.name)?.is_some() {
        return Err(StoreError::CredentialExists(new.name.clone()));
    }
    let count: i64 = tx
        .connection
        .prepare_cached("SELECT count(*) FROM credentials")?
        .query_row([], |row| row.get(0))?;
    if usize::try_from(count).is_ok_and(|it| it >= CREDENTIALS_MAX) {
        return Err(StoreError::TooManyCredentials);
    }
    let mut bound = Bound {
        id: 0,
        name: new.name.clone(),
        kind: new.kind.as_str().to_owned(),
        metadata: metadata(new)?,
        version: 1,
    };
    // The id is known only once the row is there.
    bound.id = tx
        .connection
        .prepare_cached(
            "INSERT INTO credentials (name, kind, metadata, sealed, version, created_at, \
             created_by, updated_at, updated_by) VALUES (?1, ?2, ?3, x'', ?4, ?5, ?6, ?5, ?6)",
        )?
        .insert((
            &bound.name,
            &bound.kind,
            &bound.metadata,
            bound.version,
            tx.now.as_millis(),
            by,
        ))?;
    let sealed = bound.seal(&tx.shared.sealer, &new.plain())?;
    put_sealed(tx.connection, bound.id, &sealed)?;
    known(tx.connection, &new.name)
}

fn put(tx: &Tx<'_>, new: &Credential, by: &str) -> Result<(CredentialRecord, bool), StoreError> {
    let Some(before) = find(tx.connection, &new.name)? else {
        return Ok((create(tx, new, by)?, true));
    };
    let bound = Bound {
        id: before.id,
        name: before.name,
        kind: new.kind.as_str().to_owned(),
        metadata: metadata(new)?,
        version: before.version + 1,
    };
    let sealed = bound.seal(&tx.shared.sealer, &new.plain())?;
    tx.connection
        .prepare_cached(
            "UPDATE credentials SET kind = ?2, metadata = ?3, version = ?4, sealed = ?5, \
             updated_at = ?6, updated_by = ?7 WHERE id = ?1",
        )?
        .execute((
            bound.id,
            &bound.kind,
            &bound.metadata,
            bound.version,
            sealed,
            tx.now.as_millis(),
            by,
        ))?;
    Ok((known(tx.connection, &new.name)?, false))
}

fn delete(tx: &Tx<'_>, name: &str) -> Result<Option<CredentialRecord>, StoreError> {
    let Some(record) = find(tx.connection, name)? else {
        return Ok(None);
    };
    tx.connection
        .prepare_cached("DELETE FROM credentials WHERE id = ?1")?
        .execute([record.id])?;
    Ok(Some(record))
}

fn resolve(tx: &Tx<'_>, attempt: Attempt, names: &[String]) -> Result<Vec<Credential>, StoreError> {
    let held = leases::held(tx, attempt)?;
    if jobs::order(tx, &held)?.is_untrusted() {
        return Err(StoreError::NoCredentials(names.to_vec()));
    }
    if names.len() > CREDENTIALS_OF_JOB_MAX {
        return Err(StoreError::TooManyCredentials);
    }
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        match unsealed(tx, name)? {
            // What a forge is known by is the server's own.
            Some(credential) if credential.kind.forge().is_none() => found.push(credential),
            _ => missing.push(name.clone()),
        }
    }
    if !missing.is_empty() {
        return Err(StoreError::NoCredentials(missing));
    }
    for credential in &found {
        used(tx, attempt, &credential.name)?;
    }
    Ok(found)
}

fn unsealed(tx: &Tx<'_>, name: &str) -> Result<Option<Credential>, StoreError> {
    opened(tx.connection, &tx.shared.sealer, name)
}

fn opened(
    connection: &Connection,
    sealer: &Sealer,
    name: &str,
) -> Result<Option<Credential>, StoreError> {
    let row = connection
        .prepare_cached(
            "SELECT id, name, kind, metadata, version, sealed FROM credentials WHERE name = ?1",
        )?
        .query_row([name], bound)
        .optional()?;
    let Some((bound, sealed)) = row else {
        return Ok(None);
    };
    let unreadable = || StoreError::CredentialUnreadable(name.to_owned());
    let plain = bound.unseal(sealer, &sealed);
    let plain = plain.ok_or_else(unreadable)?;
    Ok(Some(Credential {
        kind: CredentialKind::parse(&bound.kind).ok_or_else(unreadable)?,
        metadata: serde_json::from_str(&bound.metadata).map_err(|_| unreadable())?,
        values: Credential::values_of(&plain).ok_or_else(unreadable)?,
        name: bound.name,
    }))
}

/// Notes a use, and removes some of those that are too many.
fn used(tx: &Tx<'_>, attempt: Attempt, name: &str) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached("UPDATE credentials SET last_used_at = ?2 WHERE name = ?1")?
        .execute((name, tx.now.as_millis()))?;
    let seq = tx
        .connection
        .prepare_cached(
            "INSERT INTO credential_uses (name, job, attempt, at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .insert((
            name,
            attempt.job.as_bytes(),
            attempt.number,
            tx.now.as_millis(),
        ))?;
    tx.connection
        .prepare_cached(
            "DELETE FROM credential_uses WHERE seq IN (SELECT seq FROM credential_uses \
             WHERE name = ?1 ORDER BY seq DESC LIMIT ?3 OFFSET ?2)",
        )?
        .execute((name, USES_OF_ONE_MAX, USES_PURGED_AT_ONCE))?;
    tx.connection
        .prepare_cached(
            "DELETE FROM credential_uses WHERE seq IN \
             (SELECT seq FROM credential_uses ORDER BY seq LIMIT ?1) AND seq <= ?2",
        )?
        .execute((USES_PURGED_AT_ONCE, seq - USES_MAX))?;
    Ok(())
}

pub(crate) fn put_sealed(
    connection: &Connection,
    id: i64,
    sealed: &[u8],
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE credentials SET sealed = ?2 WHERE id = ?1")?
        .execute((id, sealed))?;
    Ok(())
}

fn find(connection: &Connection, name: &str) -> Result<Option<CredentialRecord>, StoreError> {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM credentials WHERE name = ?1");
    let mut statement = connection.prepare_cached(SQL)?;
    Ok(statement.query_row([name], record).optional()?)
}

fn known(connection: &Connection, name: &str) -> Result<CredentialRecord, StoreError> {
    let gone = || StoreError::Internal("a credential that was just written".into());
    find(connection, name)?.ok_or_else(gone)
}

fn record(row: &Row<'_>) -> rusqlite::Result<CredentialRecord> {
    let metadata: String = row.get(3)?;
    Ok(CredentialRecord {
        id: row.get(0)?,
        name: row.get(1)?,
        kind: row.get(2)?,
        // Damaged, there is nothing to show of it; who asks for its values is told.
        metadata: serde_json::from_str(&metadata).unwrap_or_default(),
        version: row.get(4)?,
        created_at: time(row, 5)?,
        created_by: row.get(6)?,
        updated_at: time(row, 7)?,
        updated_by: row.get(8)?,
        last_used_at: optional_time(row, 9)?,
    })
}

fn metadata(new: &Credential) -> Result<String, StoreError> {
    serde_json::to_string(&new.metadata)
        .map_err(|error| StoreError::Internal(format!("write what is shown: {error}")))
}

/// How much room it takes while it waits.
fn bytes(new: &Credential) -> usize {
    new.values.values().map(|it| it.reveal().len()).sum()
}

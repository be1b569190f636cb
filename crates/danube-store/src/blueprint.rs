//! The blueprint in force, and why the last attempt to take another failed. One row: a
//! blueprint is there whole, or the one before still is.

use danube_model::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::rows::optional_time;
use crate::seal::Sealer;
use crate::writer::{Class, Tx};
use crate::{Pending, Store, StoreError};

/// The purpose under which what it declares is sealed.
const CONTENT: &str = "blueprint";

/// The purpose under which a failure is sealed: it repeats what stands in files.
const FAILURE: &str = "blueprint failure";

/// What is known of the blueprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlueprint {
    /// The one in force; none where none was ever taken, or it can't be unsealed.
    pub taken: Option<TakenBlueprint>,
    /// Why the last attempt took nothing, as it was told; none where it was good.
    pub failure: Option<String>,
}

/// A blueprint that was taken whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenBlueprint {
    /// Its commit.
    pub commit: String,
    /// When it was taken.
    pub at: Timestamp,
    /// What it declares, as it was given.
    pub content: String,
}

/// The row.
struct Known {
    location: String,
    commit: Option<String>,
    at: Option<Timestamp>,
    sealed: Option<Vec<u8>>,
    failure: Option<Vec<u8>>,
}

impl Known {
    fn content(&self, sealer: &Sealer) -> Option<(&str, Vec<u8>)> {
        let commit = self.commit.as_deref()?;
        let owner = owner(&self.location, commit);
        let plain = sealer.unseal(CONTENT, &owner, self.sealed.as_deref()?)?;
        Some((commit, plain))
    }

    fn failure(&self, sealer: &Sealer) -> Option<Vec<u8>> {
        let sealed = self.failure.as_deref()?;
        sealer.unseal(FAILURE, self.location.as_bytes(), sealed)
    }
}

/// What the content is bound to: no other commit's, and no other repository's.
fn owner(location: &str, commit: &str) -> Vec<u8> {
    let mut owner = (location.len() as u64).to_be_bytes().to_vec();
    owner.extend_from_slice(location.as_bytes());
    owner.extend_from_slice(commit.as_bytes());
    owner
}

fn known(connection: &Connection) -> Result<Option<Known>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT location, commit_id, synced_at, sealed, failure FROM blueprint WHERE id = 1",
    )?;
    let read = |row: &Row<'_>| {
        Ok(Known {
            location: row.get(0)?,
            commit: row.get(1)?,
            at: optional_time(row, 2)?,
            sealed: row.get(3)?,
            failure: row.get(4)?,
        })
    };
    Ok(statement.query_row([], read).optional()?)
}

fn take(
    tx: &Tx<'_>,
    location: &str,
    (commit, content): (&str, &str),
) -> Result<Timestamp, StoreError> {
    let sealer = &tx.shared.sealer;
    let sealed = sealer.seal(CONTENT, &owner(location, commit), content.as_bytes())?;
    tx.connection
        .prepare_cached(
            "INSERT OR REPLACE INTO blueprint (id, location, commit_id, synced_at, sealed) \
             VALUES (1, ?1, ?2, ?3, ?4)",
        )?
        .execute((location, commit, tx.now.as_millis(), sealed))?;
    Ok(tx.now)
}

/// Notes how the last attempt went, for this location; what was taken from another is no
/// longer of use.
fn note(tx: &Tx<'_>, location: &str, failure: Option<&str>) -> Result<(), StoreError> {
    let sealer = &tx.shared.sealer;
    let sealed = failure
        .map(|it| sealer.seal(FAILURE, location.as_bytes(), it.as_bytes()))
        .transpose()?;
    tx.connection
        .prepare_cached("DELETE FROM blueprint WHERE location <> ?1")?
        .execute([location])?;
    tx.connection
        .prepare_cached(
            "INSERT INTO blueprint (id, location, failure) VALUES (1, ?1, ?2) \
             ON CONFLICT (id) DO UPDATE SET failure = excluded.failure",
        )?
        .execute((location, sealed))?;
    Ok(())
}

/// Seals the row anew: how many texts, and how many no key opens.
pub(crate) fn reseal(tx: &Tx<'_>) -> Result<(u64, u64), StoreError> {
    let sealer = &tx.shared.sealer;
    let Some(row) = known(tx.connection)? else {
        return Ok((0, 0));
    };
    let is_old = |it: &Option<Vec<u8>>| it.as_deref().is_some_and(|it| !sealer.is_current(it));
    let (mut done, mut unreadable) = (0, 0);
    if is_old(&row.sealed) {
        match row.content(sealer) {
            Some((commit, plain)) => {
                let anew = sealer.seal(CONTENT, &owner(&row.location, commit), &plain)?;
                tx.connection
                    .prepare_cached("UPDATE blueprint SET sealed = ?1")?
                    .execute([anew])?;
                done += 1;
            }
            None => unreadable += 1,
        }
    }
    if is_old(&row.failure) {
        match row.failure(sealer) {
            Some(plain) => {
                let anew = sealer.seal(FAILURE, row.location.as_bytes(), &plain)?;
                tx.connection
                    .prepare_cached("UPDATE blueprint SET failure = ?1")?
                    .execute([anew])?;
                done += 1;
            }
            None => unreadable += 1,
        }
    }
    Ok((done, unreadable))
}

/// The blueprint. What is written answers after the commit is durable.
impl Store {
    /// Puts a blueprint in the place of the one before, whole; answers since when it is there.
    pub fn take_blueprint(
        &self,
        location: &str,
        commit: &str,
        content: String,
    ) -> Pending<Timestamp> {
        let (location, commit) = (location.to_owned(), commit.to_owned());
        let bytes = content.len();
        self.inner.writer.send(Class::Growing(bytes), move |tx| {
            take(tx, &location, (&commit, &content))
        })
    }

    /// Notes why the last attempt took nothing, or that it was good and found nothing new.
    pub fn note_blueprint(&self, location: &str, failure: Option<String>) -> Pending<()> {
        let location = location.to_owned();
        self.urgent(move |tx| note(tx, &location, failure.as_deref()))
    }

    /// What is known of the blueprint of this location; none where another's is, or none.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn blueprint(&self, location: &str) -> Result<Option<StoredBlueprint>, StoreError> {
        let sealer = &self.inner.shared.sealer;
        self.inner.readers.read(|connection| {
            let row = known(connection)?.filter(|it| it.location == location);
            Ok(row.map(|row| stored(&row, sealer)))
        })
    }
}

fn stored(row: &Known, sealer: &Sealer) -> StoredBlueprint {
    let text = |plain: Vec<u8>| String::from_utf8(plain).ok();
    let taken = row.content(sealer).zip(row.at);
    StoredBlueprint {
        taken: taken.and_then(|((commit, plain), at)| {
            Some(TakenBlueprint {
                commit: commit.to_owned(),
                at,
                content: text(plain)?,
            })
        }),
        failure: row.failure(sealer).and_then(text),
    }
}

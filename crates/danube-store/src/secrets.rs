//! Secrets of pipelines: what is known of them, their sealed values, and who is given them.

use danube_model::limits::SECRETS_MAX;
use danube_model::secret::NewSecret;
use danube_model::{Attempt, Task, Timestamp, credential::SecretText};
use rusqlite::{Connection, OptionalExtension, Row};
use zeroize::Zeroizing;

use crate::rows::{optional_time, time};
use crate::seal::{Sealer, owner};
use crate::writer::{Class, Tx};
use crate::{Pending, Store, StoreError, jobs, leases};

/// The purpose under which the values are sealed.
const SECRET: &str = "secret";

macro_rules! columns {
    () => {
        "id, pipeline, name, version, created_at, created_by, updated_at, updated_by, \
         last_used_at"
    };
}

/// What is known of a secret: everything but its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRecord {
    /// Its id, never given twice.
    pub id: i64,
    /// The pipeline that it is for; none for every one that names it.
    pub pipeline: Option<String>,
    /// Its name.
    pub name: String,
    /// Grows with each replacement.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// By which key.
    pub created_by: String,
    /// When its value was last set.
    pub updated_at: Timestamp,
    /// By which key.
    pub updated_by: String,
    /// When a job was last given it from here.
    pub last_used_at: Option<Timestamp>,
}

/// What a job hears about secrets that it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenSecrets {
    /// The job's pipeline.
    pub pipeline: String,
    /// The name of the API key that submitted the job.
    pub user: String,
    /// What became of each name, in the order in which they were asked for.
    pub secrets: Vec<(String, Result<SecretText, SecretRefusal>)>,
}

/// Why a job isn't given a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefusal {
    /// It runs what a stranger wrote, and nobody has approved that.
    #[error(
        "the job runs a fork's commit, which gets none unless somebody approves it (`danube approve`)"
    )]
    Untrusted,
    /// Its pipeline doesn't say that it may have it.
    #[error("the pipeline doesn't name it in `secrets`")]
    NotNamed,
    /// There is none.
    #[error("there is no such secret")]
    Missing,
    /// It can't be unsealed: it was changed, or by another key.
    #[error("it can't be unsealed; set it anew")]
    Unreadable,
}

/// A row and what its value is bound to.
pub(crate) struct Bound {
    pub(crate) id: i64,
    pub(crate) pipeline: String,
    pub(crate) name: String,
    pub(crate) version: i64,
}

impl Bound {
    fn owner(&self) -> Vec<u8> {
        owner(self.id, self.version, &[&self.pipeline, &self.name])
    }

    fn seal(&self, sealer: &Sealer, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        sealer.seal(SECRET, &self.owner(), plain)
    }

    /// What was sealed for this row; none when it wasn't.
    fn unseal(&self, sealer: &Sealer, sealed: &[u8]) -> Option<SecretText> {
        let plain = sealer.unseal(SECRET, &self.owner(), sealed);
        let plain = Zeroizing::new(plain?);
        let text = std::str::from_utf8(&plain).ok()?;
        Some(SecretText::new(text.to_owned()))
    }

    /// The same value, sealed with the key of now; none when it can't be opened.
    pub(crate) fn reseal(
        &self,
        sealer: &Sealer,
        sealed: &[u8],
    ) -> Option<Result<Vec<u8>, StoreError>> {
        let plain = self.unseal(sealer, sealed)?;
        Some(self.seal(sealer, plain.reveal().as_bytes()))
    }
}

/// Writes about secrets. Each answers after the commit is durable.
impl Store {
    /// Remembers a secret, or puts another value in the place of the one that it has.
    /// Whether it is new comes with it.
    ///
    /// Errors: [`StoreError::TooManySecrets`].
    pub fn put_secret(&self, new: NewSecret, by: &str) -> Pending<(SecretRecord, bool)> {
        let by = by.to_owned();
        let bytes = new.value.reveal().len();
        self.inner
            .writer
            .send(Class::Growing(bytes), move |tx| put(tx, &new, &by))
    }

    /// Forgets a secret. A job that asks for it fails from now on. None when there is none.
    pub fn delete_secret(
        &self,
        pipeline: Option<&str>,
        name: &str,
    ) -> Pending<Option<SecretRecord>> {
        let (pipeline, name) = (pipeline.unwrap_or_default().to_owned(), name.to_owned());
        self.urgent(move |tx| delete(tx, (&pipeline, &name)))
    }

    /// What an attempt's job may have of these secrets. One of its own pipeline goes before
    /// one of all. That it was given them is durable before this answers.
    ///
    /// Errors: [`StoreError::Fenced`], and what is wrong with the job's own order.
    pub fn resolve_secrets(&self, attempt: Attempt, names: Vec<String>) -> Pending<GivenSecrets> {
        self.urgent(move |tx| resolve(tx, attempt, &names))
    }
}

/// Reads about secrets.
impl Store {
    /// What is known of every secret, by name, those of all pipelines first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn secrets(&self) -> Result<Vec<SecretRecord>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM secrets ORDER BY name, pipeline"
        );
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            let rows = statement.query_map([], record)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Every value, to keep it out of the server's own log. Those that can't be unsealed
    /// are left out: nobody is given them either.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn secret_values(&self) -> Result<Vec<SecretText>, StoreError> {
        const SQL: &str = "SELECT id, pipeline, name, version, sealed FROM secrets ORDER BY id";
        let sealer = &self.inner.shared.sealer;
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            let rows = statement.query_map([], bound)?;
            let mut all = Vec::new();
            for row in rows {
                let (bound, sealed) = row?;
                all.extend(bound.unseal(sealer, &sealed));
            }
            Ok(all)
        })
    }
}

pub(crate) fn bound(row: &Row<'_>) -> rusqlite::Result<(Bound, Vec<u8>)> {
    let bound = Bound {
        id: row.get(0)?,
        pipeline: row.get(1)?,
        name: row.get(2)?,
        version: row.get(3)?,
    };
    Ok((bound, row.get(4)?))
}

pub(crate) fn put_sealed(
    connection: &Connection,
    id: i64,
    sealed: &[u8],
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE secrets SET sealed = ?2 WHERE id = ?1")?
        .execute((id, sealed))?;
    Ok(())
}

fn put(tx: &Tx<'_>, new: &NewSecret, by: &str) -> Result<(SecretRecord, bool), StoreError> {
    let pipeline = new.pipeline.as_deref().unwrap_or_default();
    let before = find(tx.connection, (pipeline, &new.name))?;
    let mut bound = Bound {
        id: 0,
        pipeline: pipeline.to_owned(),
        name: new.name.clone(),
        version: 1,
    };
    if let Some(before) = &before {
        (bound.id, bound.version) = (before.id, before.version + 1);
        tx.connection
            .prepare_cached(
                "UPDATE secrets SET version = ?2, updated_at = ?3, updated_by = ?4 WHERE id = ?1",
            )?
            .execute((bound.id, bound.version, tx.now.as_millis(), by))?;
    } else {
        let count: i64 = tx
            .connection
            .prepare_cached("SELECT count(*) FROM secrets")?
            .query_row([], |row| row.get(0))?;
        if usize::try_from(count).is_ok_and(|it| it >= SECRETS_MAX) {
            return Err(StoreError::TooManySecrets);
        }
        // The id is known only once the row is there.
        bound.id = tx
            .connection
            .prepare_cached(
                "INSERT INTO secrets (pipeline, name, sealed, version, created_at, created_by, \
                 updated_at, updated_by) VALUES (?1, ?2, x'', ?3, ?4, ?5, ?4, ?5)",
            )?
            .insert((
                &bound.pipeline,
                &bound.name,
                bound.version,
                tx.now.as_millis(),
                by,
            ))?;
    }
    let sealed = bound.seal(&tx.shared.sealer, new.value.reveal().as_bytes())?;
    put_sealed(tx.connection, bound.id, &sealed)?;
    let gone = || StoreError::Internal("a secret that was just written".into());
    let record = find(tx.connection, (pipeline, &new.name))?.ok_or_else(gone)?;
    Ok((record, before.is_none()))
}

fn delete(tx: &Tx<'_>, key: (&str, &str)) -> Result<Option<SecretRecord>, StoreError> {
    let Some(record) = find(tx.connection, key)? else {
        return Ok(None);
    };
    tx.connection
        .prepare_cached("DELETE FROM secrets WHERE id = ?1")?
        .execute([record.id])?;
    Ok(Some(record))
}

fn resolve(tx: &Tx<'_>, attempt: Attempt, names: &[String]) -> Result<GivenSecrets, StoreError> {
    let held = leases::held(tx, attempt)?;
    let order = jobs::order(tx, &held)?;
    let is_named = |name: &String| match &order.task {
        Task::Pipeline(it) => it.secrets.contains(name),
        Task::Playbook(_) => false,
    };
    let mut secrets = Vec::new();
    for name in names {
        let found = if order.is_untrusted() {
            Err(SecretRefusal::Untrusted)
        } else if is_named(name) {
            unsealed(tx, (&held.job.pipeline, name))?
        } else {
            Err(SecretRefusal::NotNamed)
        };
        secrets.push((name.clone(), found));
    }
    Ok(GivenSecrets {
        pipeline: held.job.pipeline,
        user: held.job.submitted_by,
        secrets,
    })
}

fn unsealed(
    tx: &Tx<'_>,
    (pipeline, name): (&str, &str),
) -> Result<Result<SecretText, SecretRefusal>, StoreError> {
    let row = tx
        .connection
        .prepare_cached(
            "SELECT id, pipeline, name, version, sealed FROM secrets \
             WHERE name = ?2 AND pipeline IN (?1, '') ORDER BY pipeline DESC LIMIT 1",
        )?
        .query_row((pipeline, name), bound)
        .optional()?;
    let Some((bound, sealed)) = row else {
        return Ok(Err(SecretRefusal::Missing));
    };
    let Some(value) = bound.unseal(&tx.shared.sealer, &sealed) else {
        return Ok(Err(SecretRefusal::Unreadable));
    };
    tx.connection
        .prepare_cached("UPDATE secrets SET last_used_at = ?2 WHERE id = ?1")?
        .execute((bound.id, tx.now.as_millis()))?;
    Ok(Ok(value))
}

fn find(
    connection: &Connection,
    (pipeline, name): (&str, &str),
) -> Result<Option<SecretRecord>, StoreError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM secrets WHERE pipeline = ?1 AND name = ?2"
    );
    let mut statement = connection.prepare_cached(SQL)?;
    Ok(statement.query_row((pipeline, name), record).optional()?)
}

fn record(row: &Row<'_>) -> rusqlite::Result<SecretRecord> {
    let pipeline: String = row.get(1)?;
    Ok(SecretRecord {
        id: row.get(0)?,
        pipeline: Some(pipeline).filter(|it| !it.is_empty()),
        name: row.get(2)?,
        version: row.get(3)?,
        created_at: time(row, 4)?,
        created_by: row.get(5)?,
        updated_at: time(row, 6)?,
        updated_by: row.get(7)?,
        last_used_at: optional_time(row, 8)?,
    })
}

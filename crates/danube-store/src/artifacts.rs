//! Files that jobs left: what they are called, how long they are, what they hash to. The
//! bytes lie elsewhere, under names that the store only remembers.

use danube_model::{Attempt, JobId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::rows::{self, count, time, to_integer};
use crate::writer::{Class, Tx};
use crate::{Pending, Store, StoreError, jobs, leases};

/// A file that an attempt left, about to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewArtifact {
    /// What the job calls it.
    pub name: String,
    /// What it is called in the job's directory of artifacts.
    pub file: String,
    /// How long it is.
    pub bytes: u64,
    /// What its bytes hash to.
    pub sha256: [u8; 32],
    /// The step that left it, if that said so.
    pub step: Option<String>,
}

/// What a job may have of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactLimits {
    /// So many.
    pub count: u64,
    /// So many bytes, all together.
    pub bytes: u64,
}

/// A file that a job left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What the job calls it.
    pub name: String,
    /// What it is called in the job's directory of artifacts.
    pub file: String,
    /// How long it is.
    pub bytes: u64,
    /// What its bytes hash to.
    pub sha256: [u8; 32],
    /// The step that left it, if that said so.
    pub step: Option<String>,
    /// The attempt that left it.
    pub attempt: u32,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// Neither its time nor the size of all ends it: somebody said so.
    pub is_kept: bool,
}

/// What came of remembering one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactOutcome {
    /// It is there now; an earlier attempt's file of the same name isn't any more.
    Kept {
        /// As it is remembered.
        artifact: Artifact,
        /// The file that nothing names any more.
        replaced: Option<String>,
    },
    /// The attempt left the same bytes under this name before.
    Same(Artifact),
    /// The attempt left other bytes under this name before.
    Taken,
    /// The name holds a value that is to be masked.
    Masked,
    /// The job has as many as it may.
    TooMany,
    /// They would have more bytes than a job's may.
    TooLarge,
}

/// An artifact whose time has come, or whose file is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredArtifact {
    /// Whose it is.
    pub job: JobId,
    /// What it is.
    pub artifact: Artifact,
}

macro_rules! columns {
    () => {
        "name, file, bytes, sha256, step, attempt, created_at, kept"
    };
}

fn artifact(row: &Row<'_>) -> rusqlite::Result<Artifact> {
    Ok(Artifact {
        name: row.get(0)?,
        file: row.get(1)?,
        bytes: count(row, 2)?,
        sha256: row.get(3)?,
        step: row.get(4)?,
        attempt: row.get(5)?,
        created_at: time(row, 6)?,
        is_kept: row.get(7)?,
    })
}

fn one(connection: &Connection, seq: i64, name: &str) -> Result<Option<Artifact>, StoreError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM artifacts WHERE seq = ?1 AND name = ?2"
    );
    let mut statement = connection.prepare_cached(SQL)?;
    Ok(statement.query_row((seq, name), artifact).optional()?)
}

fn add(
    tx: &Tx<'_>,
    attempt: Attempt,
    new: &NewArtifact,
    limits: ArtifactLimits,
) -> Result<ArtifactOutcome, StoreError> {
    let record = leases::held(tx, attempt)?;
    let (seq, number) = (record.seq, record.job.attempt);
    let masks = jobs::order(tx, &record)?.masks;
    if masks.iter().any(|it| new.name.contains(it.as_str())) {
        return Ok(ArtifactOutcome::Masked);
    }
    let before = one(tx.connection, seq, &new.name)?;
    match &before {
        Some(it) if it.sha256 == new.sha256 && it.attempt == number => {
            return Ok(ArtifactOutcome::Same(it.clone()));
        }
        Some(it) if it.attempt == number => return Ok(ArtifactOutcome::Taken),
        _ => {}
    }
    let (others, bytes) = tx
        .connection
        .prepare_cached(
            "SELECT count(*), coalesce(sum(bytes), 0) FROM artifacts WHERE seq = ?1 AND name <> ?2",
        )?
        .query_row((seq, &new.name), |row| Ok((count(row, 0)?, count(row, 1)?)))?;
    if others >= limits.count {
        return Ok(ArtifactOutcome::TooMany);
    }
    if bytes.saturating_add(new.bytes) > limits.bytes {
        return Ok(ArtifactOutcome::TooLarge);
    }
    tx.connection
        .prepare_cached(
            "INSERT OR REPLACE INTO artifacts (seq, name, file, bytes, sha256, step, attempt, \
             created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((
            seq,
            &new.name,
            &new.file,
            to_integer(new.bytes),
            new.sha256,
            &new.step,
            number,
            tx.now.as_millis(),
        ))?;
    let kept = Artifact {
        name: new.name.clone(),
        file: new.file.clone(),
        bytes: new.bytes,
        sha256: new.sha256,
        step: new.step.clone(),
        attempt: number,
        created_at: tx.now,
        is_kept: false,
    };
    Ok(ArtifactOutcome::Kept {
        artifact: kept,
        replaced: before.map(|it| it.file),
    })
}

/// Forgets those of a job whose files these are; the names of files that were forgotten.
fn forget(tx: &Tx<'_>, job: JobId, files: &[String]) -> Result<Vec<String>, StoreError> {
    let Some(record) = rows::find(tx.connection, job)? else {
        return Ok(Vec::new());
    };
    let mut delete = tx
        .connection
        .prepare_cached("DELETE FROM artifacts WHERE seq = ?1 AND file = ?2")?;
    let mut gone = Vec::new();
    for file in files {
        if delete.execute((record.seq, file))? > 0 {
            gone.push(file.clone());
        }
    }
    Ok(gone)
}

fn keep(tx: &Tx<'_>, job: JobId, name: Option<&str>, is_kept: bool) -> Result<u64, StoreError> {
    let Some(record) = rows::find(tx.connection, job)? else {
        return Ok(0);
    };
    let mut update = tx.connection.prepare_cached(
        "UPDATE artifacts SET kept = ?3 WHERE seq = ?1 AND (?2 IS NULL OR name = ?2)",
    )?;
    Ok(update.execute((record.seq, name, is_kept))? as u64)
}

/// Artifacts of jobs.
impl Store {
    /// Remembers a file that an attempt left.
    ///
    /// Errors: [`StoreError::Fenced`].
    pub fn add_artifact(
        &self,
        attempt: Attempt,
        new: NewArtifact,
        limits: ArtifactLimits,
    ) -> Pending<ArtifactOutcome> {
        let bytes = new.name.len();
        let work = move |tx: &Tx<'_>| add(tx, attempt, &new, limits);
        self.inner.writer.send(Class::Growing(bytes), work)
    }

    /// Forgets artifacts of a job by the names of their files; answers with those that it
    /// remembered.
    pub fn forget_artifacts(&self, job: JobId, files: Vec<String>) -> Pending<Vec<String>> {
        self.urgent(move |tx| forget(tx, job, &files))
    }

    /// Has artifacts of a job be passed over when others had their time, or no more: one, or
    /// all that there are. How many that were.
    pub fn keep_artifacts(&self, job: JobId, name: Option<String>, is_kept: bool) -> Pending<u64> {
        self.urgent(move |tx| keep(tx, job, name.as_deref(), is_kept))
    }

    /// Bytes of all that there are.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn artifact_bytes(&self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT coalesce(sum(bytes), 0) FROM artifacts";
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            Ok(statement.query_row([], |row| count(row, 0))?)
        })
    }

    /// What a job left, by name; nothing of a job that there isn't.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn artifacts(&self, job: JobId) -> Result<Vec<Artifact>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM artifacts WHERE seq = ?1 ORDER BY name"
        );
        self.inner.readers.read(|connection| {
            let Some(record) = rows::find(connection, job)? else {
                return Ok(Vec::new());
            };
            let mut statement = connection.prepare_cached(SQL)?;
            let rows = statement.query_map([record.seq], artifact)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// One of them.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn artifact(&self, job: JobId, name: &str) -> Result<Option<Artifact>, StoreError> {
        self.inner.readers.read(|connection| {
            let Some(record) = rows::find(connection, job)? else {
                return Ok(None);
            };
            one(connection, record.seq, name)
        })
    }

    /// Artifacts of ended jobs that nobody said are kept, oldest first, at most so many.
    /// `kept` says the same of a job's pipeline and ref and of when an artifact was left.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn oldest_artifacts(
        &self,
        limit: usize,
        kept: impl Fn(&str, Option<&str>, Timestamp) -> bool,
    ) -> Result<Vec<StoredArtifact>, StoreError> {
        const SQL: &str = "SELECT a.name, a.file, a.bytes, a.sha256, a.step, a.attempt, \
             a.created_at, a.kept, j.id, j.pipeline, j.trigger_ref \
             FROM artifacts a JOIN jobs j ON j.seq = a.seq \
             WHERE a.kept = 0 AND j.finished_at IS NOT NULL \
             ORDER BY a.created_at";
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            let mut rows = statement.query([])?;
            let mut oldest = Vec::new();
            while oldest.len() < limit {
                let Some(row) = rows.next()? else {
                    break;
                };
                let (pipeline, git_ref): (String, Option<String>) = (row.get(9)?, row.get(10)?);
                if kept(&pipeline, git_ref.as_deref(), time(row, 6)?) {
                    continue;
                }
                oldest.push(StoredArtifact {
                    artifact: artifact(row)?,
                    job: rows::id(row, 8)?,
                });
            }
            Ok(oldest)
        })
    }

    /// The jobs that left something.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn jobs_with_artifacts(&self) -> Result<Vec<JobId>, StoreError> {
        const SQL: &str = "SELECT j.id FROM jobs j WHERE EXISTS \
             (SELECT 1 FROM artifacts a WHERE a.seq = j.seq) ORDER BY j.seq";
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            let rows = statement.query_map([], |row| rows::id(row, 0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

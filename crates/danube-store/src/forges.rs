//! Jobs that forges asked for: where each comes from, what its forge is to be told, and which
//! webhooks came already.
//!
//! A row is made with the job and is due at once, and again in the transaction that ends it,
//! so that no crash comes between.

mod deliveries;
mod inbox;
mod untold;

use danube_model::{ForgeKind, FromForge, Job, JobId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::rows::{self, named, optional_time};
use crate::writer::Tx;
use crate::{AfterTry, Pending, Store, StoreError};

pub use deliveries::{DELIVERIES_MAX, DELIVERY_KEPT, Delivery, SeenDelivery};
pub use inbox::{
    ForgeInbox, ForgeStart, INBOX_BYTES_MAX, INBOX_STARTS_MAX, Kept, NewStart, WaitingStart,
};
pub use untold::{StatusOutbox, UntoldState, UntoldStatus};

/// What a forge is to be told now.
#[derive(Debug, Clone, PartialEq)]
pub struct DueStatus {
    /// The job as it is.
    pub job: Job,
    /// Where it comes from.
    pub from: FromForge,
    /// Another job of the pipeline for the same commit came after it: that one is told of.
    pub is_outdated: bool,
    /// How often there was something new to tell.
    pub changes: u32,
    /// Attempts since there was.
    pub round: u32,
}

/// What came of an attempt to tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusTried {
    /// The job.
    pub job: JobId,
    /// What [`DueStatus::changes`] was when it began.
    pub changes: u32,
    /// What follows, unless there is something new to tell.
    pub next: AfterTry,
    /// Why it came to nothing; without secrets.
    pub error: Option<String>,
}

/// A forge's job as its readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgeJob {
    /// Where it comes from.
    pub from: FromForge,
    /// The forge doesn't know yet how the job stands.
    pub is_due: bool,
    /// Why the last attempt to tell it came to nothing.
    pub error: Option<String>,
}

macro_rules! columns {
    () => {
        "kind, name, repository, commit_id, request, fork, approved_by"
    };
}

/// The new job of a forge: it is told at once that there is one.
pub(crate) fn insert(tx: &Tx<'_>, seq: i64, from: &FromForge) -> Result<(), StoreError> {
    const SQL: &str = concat!(
        "INSERT INTO forge_jobs (seq, ",
        columns!(),
        ", changes, due_at, round) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9, 0)"
    );
    tx.connection.prepare_cached(SQL)?.execute((
        seq,
        from.kind.as_str(),
        &from.name,
        &from.repository,
        &from.commit,
        from.request.map(u64::cast_signed),
        from.is_fork,
        &from.approved_by,
        tx.now.as_millis(),
    ))?;
    tx.webhook_due();
    Ok(())
}

/// The job ended: its forge, if one asked for it, is told in the same transaction.
pub(crate) fn job_ended(tx: &Tx<'_>, seq: i64) -> Result<(), StoreError> {
    let changed = tx
        .connection
        .prepare_cached(
            "UPDATE forge_jobs SET changes = changes + 1, due_at = ?2, round = 0, error = NULL \
             WHERE seq = ?1",
        )?
        .execute((seq, tx.now.as_millis()))?;
    if changed > 0 {
        tx.webhook_due();
    }
    Ok(())
}

/// What forges are told.
impl Store {
    /// An attempt was made, or there was nobody to tell.
    pub fn status_tried(&self, tried: StatusTried) -> Pending<()> {
        self.urgent(move |tx| tell_tried(tx, &tried))
    }

    /// What is due at each forge, the longest due first, so many each.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn due_statuses(&self, now: Timestamp, each: u32) -> Result<Vec<DueStatus>, StoreError> {
        self.inner.readers.read(|connection| {
            let mut names = connection.prepare_cached(
                "SELECT DISTINCT name FROM forge_jobs WHERE due_at IS NOT NULL AND due_at <= ?1",
            )?;
            let names = names.query_map([now.as_millis()], |row| row.get(0))?;
            let names: Vec<String> = names.collect::<Result<_, _>>()?;
            let mut all = Vec::new();
            for name in names {
                all.extend(due(connection, (&name, now, each))?);
            }
            Ok(all)
        })
    }

    /// When the next one after `now` is due, if one waits.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn next_status_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.inner.readers.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT min(due_at) FROM forge_jobs WHERE due_at > ?1")?;
            Ok(statement.query_row([now.as_millis()], |row| optional_time(row, 0))?)
        })
    }

    /// Where a job of a forge comes from; none of another job.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn forge_job(&self, job: JobId) -> Result<Option<ForgeJob>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            ", due_at IS NOT NULL, error FROM forge_jobs \
             WHERE seq = (SELECT seq FROM jobs WHERE id = ?1)"
        );
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            let read = |row: &Row<'_>| {
                Ok(ForgeJob {
                    from: from(row, 0)?,
                    is_due: row.get(7)?,
                    error: row.get(8)?,
                })
            };
            Ok(statement.query_row([job.as_bytes()], read).optional()?)
        })
    }
}

fn due(
    connection: &Connection,
    (name, now, each): (&str, Timestamp, u32),
) -> Result<Vec<DueStatus>, StoreError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        ", changes, round, seq FROM forge_jobs WHERE name = ?1 AND due_at IS NOT NULL \
         AND due_at <= ?2 ORDER BY due_at LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(SQL)?;
    let rows = statement.query_map((name, now.as_millis(), each), |row| {
        let numbers: (u32, u32, i64) = (row.get(7)?, row.get(8)?, row.get(9)?);
        Ok((from(row, 0)?, numbers))
    })?;
    let mut all = Vec::new();
    for row in rows {
        let (from, (changes, round, seq)) = row?;
        let Some(record) = rows::at(connection, seq)? else {
            continue;
        };
        all.push(DueStatus {
            is_outdated: is_outdated(connection, (seq, &record.job.pipeline), &from)?,
            job: record.job,
            from,
            changes,
            round,
        });
    }
    Ok(all)
}

/// Whether a later job of the same pipeline stands for the same commit.
fn is_outdated(
    connection: &Connection,
    (seq, pipeline): (i64, &str),
    from: &FromForge,
) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM forge_jobs JOIN jobs USING (seq) WHERE commit_id = ?1 \
         AND forge_jobs.seq > ?2 AND name = ?3 AND repository = ?4 AND pipeline = ?5)",
    )?;
    let values = (&from.commit, seq, &from.name, &from.repository, pipeline);
    Ok(statement.query_row(values, |row| row.get(0))?)
}

fn from(row: &Row<'_>, first: usize) -> rusqlite::Result<FromForge> {
    let request: Option<i64> = row.get(first + 4)?;
    Ok(FromForge {
        kind: named(row, first, ForgeKind::parse)?,
        name: row.get(first + 1)?,
        repository: row.get(first + 2)?,
        commit: row.get(first + 3)?,
        request: request.map(i64::cast_unsigned),
        is_fork: row.get(first + 5)?,
        approved_by: row.get(first + 6)?,
    })
}

/// What follows counts only while there is nothing new to tell.
fn tell_tried(tx: &Tx<'_>, tried: &StatusTried) -> Result<(), StoreError> {
    let due_at = match tried.next {
        AfterTry::Delivered | AfterTry::Failed => None,
        AfterTry::Again(at) => Some(at.as_millis()),
    };
    tx.connection
        .prepare_cached(
            "UPDATE forge_jobs SET due_at = :due_at, round = round + 1, error = :error \
             WHERE seq = (SELECT seq FROM jobs WHERE id = :job) AND changes = :changes",
        )?
        .execute(named_params! {
            ":job": tried.job.as_bytes(),
            ":changes": tried.changes,
            ":due_at": due_at,
            ":error": &tried.error,
        })?;
    Ok(())
}

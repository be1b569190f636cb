//! What playbooks do while they run: events, and the progress that they add up to.

use danube_model::playbook::{Progress, RunEvent, RunRecord};
use danube_model::{Attempt, JobId, Kind};
use rusqlite::{Connection, OptionalExtension};

use crate::rows::{self, Record, time, to_integer};
use crate::writer::Tx;
use crate::{RunEvents, RunNames, Store, StoreError, leases};

/// Adds what an attempt did. Repeated, it changes nothing: an event is known by its number.
pub(crate) fn report(
    tx: &Tx<'_>,
    attempt: Attempt,
    (records, progress): (&[RunRecord], &Progress),
) -> Result<(), StoreError> {
    let record = leases::held(tx, attempt)?;
    let (seq, number) = (record.seq, record.job.attempt);
    let mut insert = tx.connection.prepare_cached(
        "INSERT OR IGNORE INTO playbook_events (seq, attempt, n, at, event) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut is_news = records.is_empty();
    for it in records {
        let event = serde_json::to_string(&it.event).map_err(unwritable)?;
        let added = insert.execute((seq, number, to_integer(it.n), it.at.as_millis(), event))?;
        is_news |= added > 0;
    }
    if !is_news {
        // An old report, sent again: what came after it has a later sum.
        return Ok(());
    }
    let progress = serde_json::to_string(progress).map_err(unwritable)?;
    tx.connection
        .prepare_cached(
            "INSERT OR REPLACE INTO playbook_runs (seq, attempt, progress) VALUES (?1, ?2, ?3)",
        )?
        .execute((seq, number, progress))?;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` gives it away")]
fn unwritable(error: serde_json::Error) -> StoreError {
    StoreError::Internal(format!("write what a playbook did: {error}"))
}

/// What an attempt has done so far; none before its first report.
pub(crate) fn progress(
    connection: &Connection,
    (seq, attempt): (i64, u32),
) -> Result<Option<Progress>, StoreError> {
    let text: Option<String> = connection
        .prepare_cached("SELECT progress FROM playbook_runs WHERE seq = ?1 AND attempt = ?2")?
        .query_row((seq, attempt), |row| row.get(0))
        .optional()?;
    // One that another version wrote in another way is as good as none.
    Ok(text.and_then(|it| serde_json::from_str(&it).ok()))
}

/// The events of a job go with its log.
pub(crate) fn forget(tx: &Tx<'_>, seq: i64) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached("DELETE FROM playbook_events WHERE seq = ?1")?
        .execute([seq])?;
    Ok(())
}

/// Events of an attempt from a number on.
pub(crate) fn events(
    connection: &Connection,
    (seq, attempt): (i64, u32),
    (from, limit): (u64, usize),
) -> Result<Vec<RunRecord>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT n, at, event FROM playbook_events \
         WHERE seq = ?1 AND attempt = ?2 AND n >= ?3 ORDER BY n LIMIT ?4",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map((seq, attempt, to_integer(from), limit), |row| {
        let text: String = row.get(2)?;
        Ok((rows::count(row, 0)?, time(row, 1)?, text))
    })?;
    let mut all = Vec::new();
    for row in rows {
        let (n, at, text) = row?;
        if let Ok(event) = serde_json::from_str::<RunEvent>(&text) {
            all.push(RunRecord { n, at, event });
        }
    }
    Ok(all)
}

/// The names of an attempt's plays and tasks in their order, at most so many together.
fn names(
    connection: &Connection,
    (seq, attempt): (i64, u32),
    limit: usize,
) -> Result<RunNames, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT event FROM playbook_events WHERE seq = ?1 AND attempt = ?2 \
         AND json_extract(event, '$.event') IN ('play_started', 'task_started') \
         ORDER BY n LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map((seq, attempt, limit), |row| row.get::<_, String>(0))?;
    let mut names = RunNames::default();
    for text in rows {
        match serde_json::from_str::<RunEvent>(&text?) {
            Ok(RunEvent::PlayStarted { play }) => names.plays.push(play),
            Ok(RunEvent::TaskStarted { task, .. }) => names.tasks.push(task),
            _ => {}
        }
    }
    Ok(names)
}

/// The events of each attempt; nothing for a pipeline's job.
pub(crate) fn all_events(
    connection: &Connection,
    record: &Record,
) -> Result<Vec<Vec<RunRecord>>, StoreError> {
    if record.job.kind != Kind::Playbook {
        return Ok(Vec::new());
    }
    let attempts = 1..=record.job.attempt;
    let all = attempts.map(|it| events(connection, (record.seq, it), (0, usize::MAX)));
    all.collect()
}

impl Store {
    /// The names of the plays and tasks of an attempt at a job, at most so many together;
    /// none of a job that there isn't.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn run_names(
        &self,
        job: JobId,
        attempt: u32,
        limit: usize,
    ) -> Result<RunNames, StoreError> {
        self.inner.readers.read(|connection| {
            let Some(record) = rows::find(connection, job)? else {
                return Ok(RunNames::default());
            };
            names(connection, (record.seq, attempt), limit)
        })
    }

    /// The events of the job's attempt from number `from` on, at most `limit`; none when
    /// there is no such job. Without an attempt, those of the latest.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn run_events(
        &self,
        job: JobId,
        attempt: Option<u32>,
        (from, limit): (u64, usize),
    ) -> Result<Option<RunEvents>, StoreError> {
        self.inner.readers.read(|connection| {
            let Some(record) = rows::find(connection, job)? else {
                return Ok(None);
            };
            let attempt = attempt.unwrap_or(record.job.attempt);
            Ok(Some(RunEvents {
                attempt,
                records: events(connection, (record.seq, attempt), (from, limit))?,
                latest: record.job.attempt,
                has_ended: record.job.state.is_terminal(),
            }))
        })
    }
}

//! Rows of the tables as values of the model, and back.

use danube_model::{Job, JobId, Kind, PlaybookJob, State, Step, StepStatus, Timestamp, Trigger};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::StoreError;

/// Everything the store keeps of a job but its order; `job` is what readers see.
pub(crate) struct Record {
    pub(crate) seq: i64,
    pub(crate) job: Job,
    pub(crate) retry_on_lost: bool,
    pub(crate) losses: u32,
    pub(crate) fence: u64,
    pub(crate) moves: i64,
    pub(crate) cancel_by: Option<String>,
    /// The newer job for which it is or was cancelled.
    pub(crate) superseded_by: Option<JobId>,
    pub(crate) turn: Turn,
}

/// Whose share of the workers a job takes, and which bound its pipeline has.
#[derive(Clone, Default)]
pub(crate) struct Turn {
    /// Empty for none.
    pub(crate) team: String,
    pub(crate) concurrency: Option<u32>,
    /// What it is about, as a keyed hash.
    pub(crate) subject: Option<[u8; 32]>,
}

/// The columns that [`record`] reads, in its order.
macro_rules! columns {
    () => {
        "seq, id, kind, pipeline, state, trigger_type, trigger_ref, submitted_by, queue, \
         retry_on_lost, retry_of, trace_id, traceparent, created_at, started_at, finished_at, \
         attempt, losses, fence, moves, worker_id, cancel_by, exit_code, reason, log_bytes, \
         log_complete, log_missing_bytes, log_deleted_at, source_type, source, team, concurrency, \
         subject, superseded_by"
    };
}
pub(crate) use columns;

/// The record in a row of [`columns`].
pub(crate) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let cancel_by: Option<String> = row.get(21)?;
    let source_type: Option<String> = row.get(28)?;
    let source: Option<String> = row.get(29)?;
    let job = Job {
        id: id(row, 1)?,
        kind: named(row, 2, Kind::parse)?,
        pipeline: row.get(3)?,
        state: state(row, 4)?,
        trigger: named(row, 5, Trigger::parse)?,
        trigger_ref: row.get(6)?,
        submitted_by: row.get(7)?,
        queue: row.get(8)?,
        retry_of: optional_id(row, 10)?,
        trace_id: row.get(11)?,
        traceparent: row.get(12)?,
        created_at: time(row, 13)?,
        started_at: optional_time(row, 14)?,
        finished_at: optional_time(row, 15)?,
        attempt: row.get(16)?,
        worker_id: row.get(20)?,
        cancel_asked: cancel_by.is_some(),
        cancelled_by: cancel_by.clone(),
        exit_code: row.get(22)?,
        reason: row.get(23)?,
        log_bytes: count(row, 24)?,
        log_complete: row.get(25)?,
        log_missing_bytes: count(row, 26)?,
        log_deleted_at: optional_time(row, 27)?,
        steps: Vec::new(),
        playbook: source_type
            .zip(source)
            .map(|(source_type, source)| PlaybookJob {
                source_type,
                source,
                progress: None,
            }),
    };
    Ok(Record {
        seq: row.get(0)?,
        job,
        retry_on_lost: row.get(9)?,
        losses: row.get(17)?,
        fence: count(row, 18)?,
        moves: row.get(19)?,
        cancel_by,
        superseded_by: optional_id(row, 33)?,
        turn: Turn {
            team: row.get(30)?,
            concurrency: row.get(31)?,
            subject: row.get(32)?,
        },
    })
}

/// The record of a job, without its steps.
pub(crate) fn find(connection: &Connection, job: JobId) -> Result<Option<Record>, StoreError> {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM jobs WHERE id = ?1");
    let mut statement = connection.prepare_cached(SQL)?;
    let found = statement.query_row([job.as_bytes()], record).optional()?;
    Ok(found)
}

/// The same by its place in the order of acceptance.
pub(crate) fn at(connection: &Connection, seq: i64) -> Result<Option<Record>, StoreError> {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM jobs WHERE seq = ?1");
    let mut statement = connection.prepare_cached(SQL)?;
    Ok(statement.query_row([seq], record).optional()?)
}

/// The steps of the latest attempt, in order.
pub(crate) fn steps(connection: &Connection, record: &Record) -> Result<Vec<Step>, StoreError> {
    steps_of(connection, record.seq, record.job.attempt)
}

/// The steps of an attempt, in order.
pub(crate) fn steps_of(
    connection: &Connection,
    seq: i64,
    attempt: u32,
) -> Result<Vec<Step>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT name, status, exit_code, started_at, finished_at, log_start, log_end, \
         cpu_seconds, max_rss_bytes FROM steps WHERE seq = ?1 AND attempt = ?2 ORDER BY position",
    )?;
    let rows = statement.query_map((seq, attempt), |row| {
        Ok(Step {
            name: row.get(0)?,
            status: named(row, 1, StepStatus::parse)?,
            exit_code: row.get(2)?,
            started_at: optional_time(row, 3)?,
            finished_at: optional_time(row, 4)?,
            log_start: optional_count(row, 5)?,
            log_end: optional_count(row, 6)?,
            cpu_seconds: row.get(7)?,
            max_rss_bytes: optional_count(row, 8)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Writes one step of an attempt over what was there.
pub(crate) fn put_step(
    connection: &Connection,
    (seq, attempt, position): (i64, u32, usize),
    step: &Step,
) -> Result<(), StoreError> {
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO steps (seq, attempt, position, name, status, exit_code, \
             started_at, finished_at, log_start, log_end, cpu_seconds, max_rss_bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute((
            seq,
            attempt,
            position,
            &step.name,
            step.status.as_str(),
            step.exit_code,
            step.started_at.map(Timestamp::as_millis),
            step.finished_at.map(Timestamp::as_millis),
            step.log_start.map(to_integer),
            step.log_end.map(to_integer),
            step.cpu_seconds,
            step.max_rss_bytes.map(to_integer),
        ))?;
    Ok(())
}

/// A count as SQLite keeps it. Nothing that is counted reaches 2^63.
pub(crate) fn to_integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    optional_count(row, column)?.ok_or_else(|| broken(column, "a count is missing"))
}

fn optional_count(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let value: Option<i64> = row.get(column)?;
    value
        .map(|it| u64::try_from(it).map_err(|_| broken(column, "a count is negative")))
        .transpose()
}

pub(crate) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(crate) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let millis: Option<i64> = row.get(column)?;
    Ok(millis.map(Timestamp::from_millis))
}

pub(crate) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<JobId> {
    row.get(column).map(|Id(id)| id)
}

fn optional_id(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<JobId>> {
    let id: Option<Id> = row.get(column)?;
    Ok(id.map(|Id(id)| id))
}

pub(crate) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    named(row, column, State::parse)
}

/// A value kept by its name.
pub(crate) fn named<T>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    parse(text).ok_or_else(|| broken(column, "an unknown name"))
}

fn broken(column: usize, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, what.into())
}

struct Id(JobId);

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| FromSqlError::InvalidType)?;
        Ok(Self(JobId::from_bytes(bytes)))
    }
}

//! What the master asks of jobs, one snapshot each.

use std::collections::HashMap;

use danube_model::{Attempt, Job, JobId, Kind, State, Transition};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::rows::{self, Record, count, id, named, state, time, to_integer};
use crate::{
    Counts, JobTrace, Lane, LeaseState, Leased, Live, Moved, Store, StoreError, Waiters, Waiting,
    jobs, playbooks,
};

pub(crate) const WAITING: &str = "SELECT seq, id, queue, traceparent, team, lane, concurrency FROM jobs \
    INDEXED BY jobs_pending WHERE state = 'pending' AND queue = ?1 AND team = ?2 AND lane = ?3 \
    AND seq > ?4 ORDER BY seq LIMIT ?5";

/// The next lane of a queue, with the bound of its first job.
pub(crate) const NEXT_LANE: &str = "SELECT team, lane, concurrency FROM jobs \
    INDEXED BY jobs_pending WHERE state = 'pending' AND queue = ?1 AND (team, lane) > (?2, ?3) \
    ORDER BY team, lane, seq LIMIT 1";

/// The first one: that of no team and no bounded pipeline is below all others, and often the only one.
pub(crate) const FIRST_LANE: &str = "SELECT team, lane, concurrency FROM jobs \
    INDEXED BY jobs_pending WHERE state = 'pending' AND queue = ?1 ORDER BY team, lane, seq LIMIT 1";

/// Steps from name to name, so that it costs as much as there are queues, not jobs.
pub(crate) const PENDING_QUEUES: &str = "WITH RECURSIVE names(name) AS ( \
    SELECT min(queue) FROM jobs INDEXED BY jobs_pending WHERE state = 'pending' UNION ALL \
    SELECT (SELECT min(queue) FROM jobs INDEXED BY jobs_pending WHERE state = 'pending' AND queue > name) \
    FROM names WHERE name IS NOT NULL) SELECT name FROM names WHERE name IS NOT NULL";

pub(crate) const PENDING_JOB: &str = "SELECT seq, id, queue, traceparent, team, lane, concurrency FROM jobs \
    WHERE id = ?1 AND state = 'pending'";

pub(crate) const LEASED: &str = "SELECT id, fence, attempt, worker_id, state, \
    cancel_by IS NOT NULL, queue, team, pipeline FROM jobs WHERE state IN ('scheduling', 'running')";

/// Walks all of the index of ids: some 100 ms for a million jobs, paid by the
/// person who types a short id instead of by every submit.
pub(crate) const SHORT: &str = "SELECT id FROM jobs WHERE substr(id, 12) = ?1 LIMIT ?2";

pub(crate) const HISTORY: &str = "SELECT at, from_state, to_state, cause, attempt, by_whom, detail \
    FROM transitions WHERE seq = ?1 ORDER BY n";

pub(crate) const CHECK: &str = "SELECT fence, state, cancel_by IS NOT NULL FROM jobs WHERE id = ?1";

pub(crate) const PENDING: &str = "SELECT pipeline, kind, queue FROM jobs WHERE state = 'pending'";

pub(crate) const ACTIVE: &str =
    "SELECT id, pipeline, state, kind, queue FROM jobs WHERE state IN ('scheduling', 'running')";

/// The digits of a short id, as [`JobId::short`] writes them.
const SHORT_DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Jobs shown for one short id: two are a rare coincidence already.
const SHORT_MATCHES_MAX: i64 = 16;

fn waiting(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    Ok(Waiting {
        seq: row.get(0)?,
        job: id(row, 1)?,
        lane: Lane {
            queue: row.get(2)?,
            team: row.get(4)?,
            pipeline: row.get(5)?,
        },
        concurrency: row.get(6)?,
        traceparent: row.get(3)?,
    })
}

/// Every change of the job's state, its submit first.
fn history(connection: &Connection, record: &Record) -> Result<Vec<Transition>, StoreError> {
    let mut history = vec![Transition {
        at: record.job.created_at,
        from: None,
        to: State::Pending,
        cause: "submitted".to_owned(),
        attempt: 0,
        by: record.job.submitted_by.clone(),
        detail: None,
    }];
    let mut statement = connection.prepare_cached(HISTORY)?;
    let rows = statement.query_map([record.seq], |row| {
        Ok(Transition {
            at: time(row, 0)?,
            from: Some(state(row, 1)?),
            to: state(row, 2)?,
            cause: row.get(3)?,
            attempt: row.get(4)?,
            by: row.get(5)?,
            detail: row.get(6)?,
        })
    })?;
    for row in rows {
        history.push(row?);
    }
    Ok(history)
}

/// Reads about jobs. They block for a moment; async callers put them on a
/// thread that may. All of them err when the database can't be read.
impl Store {
    /// The job with the steps of its latest attempt.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn job(&self, job: JobId) -> Result<Option<Job>, StoreError> {
        self.inner.readers.read(|connection| {
            let Some(mut record) = rows::find(connection, job)? else {
                return Ok(None);
            };
            jobs::complete(connection, &mut record)?;
            Ok(Some(record.job))
        })
    }

    /// The jobs with this short id, in any case: mostly one, seldom none or two.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn resolve_short(&self, short: &str) -> Result<Vec<JobId>, StoreError> {
        let Some(end) = short_bits(short) else {
            return Ok(Vec::new());
        };
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SHORT)?;
            let rows = statement.query_map((end, SHORT_MATCHES_MAX), |row| id(row, 0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Every change of the job's state, oldest first; none when there is no
    /// such job.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn history(&self, job: JobId) -> Result<Option<Vec<Transition>>, StoreError> {
        self.inner.readers.read(|connection| {
            let Some(record) = rows::find(connection, job)? else {
                return Ok(None);
            };
            history(connection, &record).map(Some)
        })
    }

    /// Everything that the job's spans can be made from; none when there is no such job.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn job_trace(&self, job: JobId) -> Result<Option<JobTrace>, StoreError> {
        self.inner.readers.read(|connection| {
            let Some(record) = rows::find(connection, job)? else {
                return Ok(None);
            };
            let order = jobs::order_of(connection, &self.inner.shared.sealer, &record);
            let (trace, repository, masks, parameters) = match order {
                Ok(order) => {
                    let repository = order.task.repository();
                    (order.trace, repository, order.masks, order.parameters)
                }
                Err(StoreError::Unreadable(_)) => Default::default(),
                Err(error) => return Err(error),
            };
            let attempts = 1..=record.job.attempt;
            let attempts = attempts.map(|it| rows::steps_of(connection, record.seq, it));
            Ok(Some(JobTrace {
                moves: history(connection, &record)?,
                attempts: attempts.collect::<Result<_, _>>()?,
                events: playbooks::all_events(connection, &record)?,
                job: record.job,
                team: record.turn.team,
                trace,
                repository,
                parameters,
                masks,
            }))
        })
    }

    /// The queues in which jobs are pending, by name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn pending_queues(&self) -> Result<Vec<String>, StoreError> {
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(PENDING_QUEUES)?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The lanes of a queue in which jobs are pending, each with how many of its pipeline may
    /// run at once as its oldest job says. Costs as much as there are lanes, whatever waits.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn lanes(&self, queue: &str) -> Result<Vec<(Lane, Option<u32>)>, StoreError> {
        let read = |row: &Row<'_>| {
            let lane = Lane {
                queue: queue.to_owned(),
                team: row.get(0)?,
                pipeline: row.get(1)?,
            };
            Ok((lane, row.get(2)?))
        };
        self.inner.readers.read(|connection| {
            let mut first = connection.prepare_cached(FIRST_LANE)?;
            let mut next = connection.prepare_cached(NEXT_LANE)?;
            let mut lanes: Vec<(Lane, Option<u32>)> = Vec::new();
            loop {
                let found = match lanes.last() {
                    None => first.query_row([queue], read),
                    Some((last, _)) => next.query_row((queue, &last.team, &last.pipeline), read),
                };
                match found.optional()? {
                    Some(lane) => lanes.push(lane),
                    None => return Ok(lanes),
                }
            }
        })
    }

    /// The pending jobs of a lane that were accepted after the one with the number
    /// `after` (0 for all), oldest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn waiting(
        &self,
        lane: &Lane,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let Lane {
            queue,
            team,
            pipeline,
        } = lane;
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(WAITING)?;
            let rows = statement.query_map((queue, team, pipeline, after, limit), waiting)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Those of the jobs that are pending.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn pending_of(&self, jobs: &[JobId]) -> Result<Vec<Waiting>, StoreError> {
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(PENDING_JOB)?;
            let mut pending = Vec::new();
            for job in jobs {
                let row = statement.query_row([job.as_bytes()], waiting);
                pending.extend(row.optional()?);
            }
            Ok(pending)
        })
    }

    /// The jobs that workers hold.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn leased(&self) -> Result<Vec<Leased>, StoreError> {
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(LEASED)?;
            let rows = statement.query_map([], |row| {
                Ok(Leased {
                    attempt: Attempt {
                        job: id(row, 0)?,
                        fence: count(row, 1)?,
                        number: row.get(2)?,
                    },
                    worker: row.get(3)?,
                    state: named(row, 4, State::parse)?,
                    cancel_asked: row.get(5)?,
                    queue: row.get(6)?,
                    team: row.get(7)?,
                    pipeline: row.get(8)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Whether the attempt still holds its job.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn check(&self, attempt: Attempt) -> Result<LeaseState, StoreError> {
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(CHECK)?;
            let found = statement
                .query_row([attempt.job.as_bytes()], |row| {
                    let fence: i64 = row.get(0)?;
                    Ok((fence, state(row, 1)?, row.get(2)?))
                })
                .optional()?;
            Ok(match found {
                Some((fence, state, cancel_asked))
                    if fence == to_integer(attempt.fence) && state.is_leased() =>
                {
                    LeaseState::Held { cancel_asked }
                }
                _ => LeaseState::Lost,
            })
        })
    }

    /// How many jobs wait and run, as of the latest commit. Reads nothing.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner.shared.counts.get()
    }
}

/// The last 40 bits of an id, which its short form spells.
fn short_bits(short: &str) -> Option<[u8; 5]> {
    if !JobId::is_short(short) {
        return None;
    }
    let digits = short.bytes().map(|byte| {
        let byte = byte.to_ascii_lowercase();
        SHORT_DIGITS.iter().position(|&it| it == byte)
    });
    let mut bits = 0_u64;
    for digit in digits {
        bits = bits << 5 | u64::try_from(digit?).ok()?;
    }
    bits.to_be_bytes().last_chunk().copied()
}

/// The jobs that haven't ended, found by the index of their states.
pub(crate) fn live(connection: &Connection) -> Result<Live, StoreError> {
    let mut waiting = connection.prepare_cached(PENDING)?;
    let mut rows = waiting.query([])?;
    // Counted here: SQLite would sort them all, or walk the index of all pipelines.
    let mut pending: HashMap<(String, Kind, String), u64> = HashMap::new();
    while let Some(row) = rows.next()? {
        let of = (row.get(0)?, named(row, 1, Kind::parse)?, row.get(2)?);
        *pending.entry(of).or_default() += 1;
    }
    let pending = pending.into_iter();
    let pending = pending.map(|((pipeline, kind, queue), jobs)| Waiters {
        pipeline,
        kind,
        queue,
        jobs,
    });
    let pending = pending.collect();
    let mut leased = connection.prepare_cached(ACTIVE)?;
    let leased = leased.query_map([], |row| {
        Ok(Moved {
            job: id(row, 0)?,
            pipeline: row.get(1)?,
            kind: named(row, 3, Kind::parse)?,
            queue: row.get(4)?,
            from: None,
            to: state(row, 2)?,
        })
    })?;
    Ok(Live {
        pending,
        leased: leased.collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_id_spells_the_end_of_its_id() {
        for id in (0..1_000).map(|_| JobId::new()) {
            let end = id.as_bytes().last_chunk().copied();
            assert_eq!(short_bits(&id.short()), end);
            assert_eq!(short_bits(&id.short().to_uppercase()), end);
        }
        for text in ["", "0000000", "000000000", "0000000u", "ü000000"] {
            assert_eq!(short_bits(text), None, "{text}");
        }
    }
}

//! What the latest runs of a pipeline took, as it is stored: for whoever asks where the
//! time goes. Read in one snapshot, and never for long.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_model::{Cause, FailReason, State, StepStatus, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};

use crate::rows::{named, state, time};
use crate::{AllPastRuns, PastRun, PastRuns, PastStep, Store, StoreError};

/// The last name before a bound, with its newest job: one seek in the index for each
/// pipeline, where `DISTINCT` would walk all jobs.
pub(crate) const NAMES: &str = "SELECT pipeline, seq FROM jobs WHERE pipeline < ?1 \
    ORDER BY pipeline DESC, seq DESC LIMIT 1";

/// Newest first. What doesn't count is left out by the reader, which stops when it has
/// enough: SQLite would rather take the index of the states.
pub(crate) const RUNS: &str = "SELECT seq, state, attempt, created_at, started_at, finished_at \
    FROM jobs WHERE pipeline = ?1 ORDER BY seq DESC LIMIT ?2";

pub(crate) const MOVES: &str =
    "SELECT at, to_state, cause FROM transitions WHERE seq = ?1 ORDER BY n";

pub(crate) const STEPS: &str = "SELECT name, status, started_at, finished_at FROM steps \
    WHERE seq = ?1 AND attempt = ?2 ORDER BY position";

/// Jobs of one pipeline that are looked at, whether they count or not: a pipeline whose
/// jobs are all cancelled must not be read to its first day.
const JOBS_LOOKED_AT_MAX: i64 = 20_000;

/// Steps of all runs of one answer together: some 8 MiB.
const STEPS_READ_MAX: usize = 100_000;

/// Names of pipelines that are looked for; each is a seek in an index.
pub(crate) const NAMES_MAX: usize = 10_000;

/// Pipelines of an answer about all of them: those with the newest jobs.
const PIPELINES_MAX: usize = 200;

/// How long one read may go on: it has one of the few connections, for which others wait
/// five seconds at most.
const READ_TIME_MAX: Duration = Duration::from_secs(2);

/// Reads about what runs took. They block, for two seconds at most.
impl Store {
    /// The latest runs of a pipeline that count, newest first, with their steps: `wanted`
    /// of them, or as many as there are.
    ///
    /// Those count that ended by themselves, well or not, after their first step began. One
    /// that was stopped or lost its worker says nothing of how long it would have taken.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn past_runs(&self, pipeline: &str, wanted: usize) -> Result<PastRuns, StoreError> {
        self.inner.readers.read(|connection| {
            let mut reading = Reading::begin(true);
            reading.runs(connection, pipeline, wanted)
        })
    }

    /// The same of every pipeline that counts, without steps; those with the newest jobs first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn past_runs_of_all(
        &self,
        wanted: usize,
        counts: impl Fn(&str) -> bool,
    ) -> Result<AllPastRuns, StoreError> {
        self.inner.readers.read(|connection| {
            let mut reading = Reading::begin(false);
            let mut names = names(connection)?;
            names.retain(|(name, _)| counts(name));
            names.sort_by_key(|(_, newest)| std::cmp::Reverse(*newest));
            let mut all = AllPastRuns {
                is_cut: names.len() > PIPELINES_MAX,
                pipelines: Vec::new(),
            };
            for (name, _) in names.into_iter().take(PIPELINES_MAX) {
                if reading.is_late() {
                    all.is_cut = true;
                    break;
                }
                let runs = reading.runs(connection, &name, wanted)?;
                all.pipelines.push((name, runs));
            }
            Ok(all)
        })
    }

    /// The names of pipelines that have jobs, the last in the alphabet first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn pipeline_names(&self) -> Result<Vec<String>, StoreError> {
        let names = self.inner.readers.read(names)?;
        Ok(names.into_iter().map(|(name, _)| name).collect())
    }
}

/// Each name with its newest job.
pub(crate) fn names(connection: &Connection) -> Result<Vec<(String, i64)>, StoreError> {
    let mut statement = connection.prepare_cached(NAMES)?;
    let mut names: Vec<(String, i64)> = Vec::new();
    // SQLite sorts every blob behind every text.
    let mut bound = Value::Blob(Vec::new());
    while names.len() < NAMES_MAX {
        let found = statement.query_row([&bound], |row| Ok((row.get(0)?, row.get(1)?)));
        let Some((name, newest)) = found.optional()? else {
            break;
        };
        bound = Value::Text(String::clone(&name));
        names.push((name, newest));
    }
    Ok(names)
}

/// One answer on its way.
struct Reading {
    until: Instant,
    with_steps: bool,
    steps: usize,
    /// Each step's name once, however many runs there are.
    names: HashSet<Arc<str>>,
}

impl Reading {
    fn begin(with_steps: bool) -> Self {
        Self {
            until: Instant::now() + READ_TIME_MAX,
            with_steps,
            steps: 0,
            names: HashSet::new(),
        }
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    fn runs(
        &mut self,
        connection: &Connection,
        pipeline: &str,
        wanted: usize,
    ) -> Result<PastRuns, StoreError> {
        let mut found = PastRuns::default();
        let mut statement = connection.prepare_cached(RUNS)?;
        let mut rows = statement.query((pipeline, JOBS_LOOKED_AT_MAX))?;
        let mut looked_at = 0;
        while found.runs.len() < wanted
            && let Some(row) = rows.next()?
        {
            looked_at += 1;
            if self.is_late() || self.steps >= STEPS_READ_MAX {
                found.is_cut = true;
                return Ok(found);
            }
            let ended: State = state(row, 1)?;
            if !matches!(ended, State::Success | State::Failure) {
                continue;
            }
            let (seq, attempt): (i64, u32) = (row.get(0)?, row.get(2)?);
            let Some(started_at) = row.get(4)? else {
                continue;
            };
            let created_at = time(row, 3)?;
            let Some(waited) = waited(connection, seq, created_at)? else {
                continue;
            };
            found.runs.push(PastRun {
                created_at,
                queued: waited.queued,
                claimed_at: waited.claimed_at,
                attempt,
                started_at: Timestamp::from_millis(started_at),
                finished_at: time(row, 5)?,
                steps: self.steps(connection, seq, attempt)?,
            });
        }
        found.is_cut = looked_at >= JOBS_LOOKED_AT_MAX && found.runs.len() < wanted;
        Ok(found)
    }

    fn steps(
        &mut self,
        connection: &Connection,
        seq: i64,
        attempt: u32,
    ) -> Result<Vec<PastStep>, StoreError> {
        let mut steps = Vec::new();
        if !self.with_steps {
            return Ok(steps);
        }
        let mut statement = connection.prepare_cached(STEPS)?;
        let mut rows = statement.query((seq, attempt))?;
        while let Some(row) = rows.next()? {
            self.steps += 1;
            let status = named(row, 1, StepStatus::parse)?;
            let (Some(from), Some(to)) = (row.get(2)?, row.get(3)?) else {
                continue;
            };
            // One that was out of time before a run that went on took that time, too.
            if !matches!(
                status,
                StepStatus::Success | StepStatus::Failure | StepStatus::Timeout
            ) {
                continue;
            }
            steps.push(PastStep {
                name: self.name(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?),
                started_at: Timestamp::from_millis(from),
                finished_at: Timestamp::from_millis(to),
            });
        }
        Ok(steps)
    }

    fn name(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.names.get(text) {
            return Arc::clone(known);
        }
        let name: Arc<str> = text.into();
        self.names.insert(Arc::clone(&name));
        name
    }
}

/// How a run waited.
#[derive(Debug, PartialEq, Eq)]
struct Waited {
    queued: Duration,
    claimed_at: Timestamp,
}

/// A change of state: when, to which, why.
type Move = (Timestamp, State, String);

/// How a run waited; none for one that didn't end by itself.
fn waited(
    connection: &Connection,
    seq: i64,
    created_at: Timestamp,
) -> Result<Option<Waited>, StoreError> {
    let mut statement = connection.prepare_cached(MOVES)?;
    let moves = statement.query_map([seq], |row| {
        Ok((time(row, 0)?, state(row, 1)?, row.get(2)?))
    });
    let moves: Vec<Move> = moves?.collect::<Result<_, _>>()?;
    Ok(of_moves(created_at, &moves))
}

/// All waits together: each ends with a claim, and begins with the submit or when an attempt
/// was given up.
fn of_moves(created_at: Timestamp, moves: &[Move]) -> Option<Waited> {
    let by_itself = [
        Cause::Succeeded.as_str(),
        Cause::Failed(FailReason::StepFailed).as_str(),
    ];
    let (.., why) = moves.last()?;
    if !by_itself.contains(&why.as_str()) {
        return None;
    }
    let (mut queued, mut since, mut claimed_at) = (0, created_at, None);
    for (at, to, _) in moves {
        match to {
            State::Pending => since = *at,
            State::Scheduling => {
                // The clock may have been set back.
                queued += at.as_millis().saturating_sub(since.as_millis()).max(0);
                claimed_at = Some(*at);
            }
            _ => {}
        }
    }
    Some(Waited {
        queued: Duration::from_millis(queued.unsigned_abs()),
        claimed_at: claimed_at?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(list: &[(i64, State, &str)]) -> Vec<Move> {
        let one = |(at, to, cause): &(i64, State, &str)| {
            (Timestamp::from_millis(*at), *to, (*cause).to_owned())
        };
        list.iter().map(one).collect()
    }

    #[track_caller]
    fn check(list: &[(i64, State, &str)], expected: Option<(u64, i64)>) {
        let expected = expected.map(|(queued, claimed)| Waited {
            queued: Duration::from_millis(queued),
            claimed_at: Timestamp::from_millis(claimed),
        });
        let created = Timestamp::from_millis(1_000);
        assert_eq!(of_moves(created, &moves(list)), expected);
    }

    #[test]
    fn every_wait_counts_and_the_last_claim_is_the_one_that_ran() {
        use State::{Failure, Pending, Running, Scheduling, Success};
        check(
            &[
                (1_070, Scheduling, "claimed"),
                (1_080, Running, "started"),
                (9_000, Success, "succeeded"),
            ],
            Some((70, 1_070)),
        );
        check(
            &[
                (1_070, Scheduling, "claimed"),
                (5_000, Pending, "lease_lost"),
                (5_300, Scheduling, "claimed"),
                (5_400, Running, "started"),
                (9_000, Failure, "failed"),
            ],
            Some((370, 5_300)),
        );
        // The clock was set back meanwhile.
        check(
            &[(400, Scheduling, "claimed"), (900, Failure, "failed")],
            Some((0, 400)),
        );
    }

    #[test]
    fn a_run_that_lost_its_worker_did_not_end_by_itself() {
        use State::{Failure, Scheduling};
        check(
            &[
                (1_070, Scheduling, "claimed"),
                (9_000, Failure, "lease_lost"),
            ],
            None,
        );
        check(&[], None);
    }

    #[test]
    fn what_takes_too_long_or_too_much_is_cut_between_runs() {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::schema::migrate(&mut connection).unwrap();
        for seq in 1..=3 {
            connection
                .execute(
                    "INSERT INTO jobs VALUES (?1, ?2, 'pipeline', 'p', 'success', 'api', NULL, 'a', \
                     'q', 1, NULL, 't', 'tp', 1, 2, 3, 1, 0, 1, 1, 'w', NULL, 0, NULL, 0, 1, 0, NULL, NULL, NULL, \
                     '', NULL, '', NULL, NULL)",
                    (seq, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, seq]),
                )
                .unwrap();
            for (n, to, cause) in [(1, "scheduling", "claimed"), (2, "success", "succeeded")] {
                connection
                    .execute(
                        "INSERT INTO transitions VALUES (?1, ?2, 2, 'pending', ?3, ?4, 1, 'w', NULL)",
                        (seq, n, to, cause),
                    )
                    .unwrap();
            }
        }
        let read = |mut reading: Reading, wanted| {
            let found = reading.runs(&connection, "p", wanted).unwrap();
            (found.runs.len(), found.is_cut)
        };
        assert_eq!(read(Reading::begin(true), 3), (3, false));
        assert_eq!(read(Reading::begin(true), 2), (2, false));
        assert_eq!(read(Reading::begin(true), 9), (3, false));
        let late = Reading {
            until: Instant::now(),
            ..Reading::begin(true)
        };
        assert_eq!(read(late, 3), (0, true));
        let full = Reading {
            steps: STEPS_READ_MAX,
            ..Reading::begin(true)
        };
        assert_eq!(read(full, 3), (0, true));
    }
}

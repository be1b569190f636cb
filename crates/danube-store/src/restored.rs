//! Makes a database that was restored from a backup one that can be served.
//!
//! The jobs of a backup went on after it was taken, somewhere: workers may still hold
//! them, and what was pending may have run. So each job that hasn't ended gets a fence
//! that nobody can show, says that it may have run, and isn't run again if it must run
//! at most once.

use danube_model::{Cause, Timestamp};

use crate::rows::{self, Record, columns, to_integer};
use crate::writer::{Class, Tx};
use crate::{Pending, Store, StoreError, moves};

/// Who is named in the history of what a restore ends.
const BY: &str = "restore";

/// Low bits of a fence base: random, and counted up from with each claim. Above stand
/// the seconds of the clock, so that all of it fits in the 53 bits that every reader of
/// JSON keeps.
const RANDOM_BITS: u32 = 21;

/// What became of the jobs that hadn't ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resumed {
    /// So many go on.
    pub go_on: u64,
    /// So many run at most once and may have run since: they are failures now.
    pub given_up: u64,
}

impl Store {
    /// Takes the jobs over that hadn't ended when the backup was taken, at
    /// `taken_at`. To be called once, before the directory is served.
    pub fn restored(&self, taken_at: Timestamp) -> Pending<Resumed> {
        self.inner
            .writer
            .send(Class::Urgent, move |tx| restored(tx, taken_at))
    }
}

fn restored(tx: &Tx<'_>, taken_at: Timestamp) -> Result<Resumed, StoreError> {
    let why = format!("restored from the backup of {taken_at}; it may have run since");
    let given_up = give_up(tx, &why)?;
    // Some were ended since the backup, and nobody knows which.
    tx.connection.execute("DELETE FROM sessions", [])?;
    raise_fences(tx)?;
    let noted = tx
        .connection
        .prepare_cached("UPDATE jobs SET reason = ?1 WHERE state = 'pending'")?
        .execute([&why])?;
    let held: i64 = tx
        .connection
        .prepare_cached("SELECT count(*) FROM jobs WHERE state IN ('scheduling', 'running')")?
        .query_row([], |row| row.get(0))?;
    Ok(Resumed {
        go_on: noted as u64 + u64::try_from(held).unwrap_or(0),
        given_up,
    })
}

/// Ends what waits and may run only once: it may have been claimed after the backup.
/// Those that a worker holds end so by themselves, as after a crash.
fn give_up(tx: &Tx<'_>, why: &str) -> Result<u64, StoreError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM jobs WHERE state = 'pending' AND retry_on_lost = 0 AND seq > ?1 ORDER BY seq LIMIT 1"
    );
    let mut next = tx.connection.prepare_cached(SQL)?;
    let (mut after, mut ended) = (0, 0);
    loop {
        let found = next.query_row([after], rows::record);
        let mut record: Record = match found {
            Ok(record) => record,
            Err(rusqlite::Error::QueryReturnedNoRows) => return Ok(ended),
            Err(error) => return Err(error.into()),
        };
        after = record.seq;
        record.job.reason = Some(format!("worker lost ({why}); this job runs at most once"));
        record.losses += 1;
        record.job.attempt += 1;
        record.job.worker_id = Some(BY.to_owned());
        moves::apply(tx, &mut record, &Cause::Claimed, BY, Some(why))?;
        let lost = Cause::LeaseLost {
            attempts_left: 0,
            cancel_asked: false,
        };
        moves::apply(tx, &mut record, &lost, BY, Some(why))?;
        ended += 1;
    }
}

/// Gives the jobs that haven't ended fences that no claim after the backup gave: only
/// the same fence is heard, so none of those is. A second restore of the same backup
/// must differ from the first, too, so a clock and chance choose; a clock that was set
/// back still never lets a fence fall.
fn raise_fences(tx: &Tx<'_>) -> Result<(), StoreError> {
    let mut random = [0; 4];
    getrandom::fill(&mut random)
        .map_err(|error| StoreError::Internal(format!("random numbers: {error}")))?;
    let chance = u64::from(u32::from_be_bytes(random)) & ((1 << RANDOM_BITS) - 1);
    let seconds = u64::try_from(tx.now.as_millis() / 1_000).unwrap_or(0);
    let highest: i64 = tx
        .connection
        .prepare_cached("SELECT coalesce(max(fence), 0) FROM jobs")?
        .query_row([], |row| row.get(0))?;
    let beyond = (u64::try_from(highest).unwrap_or(0) >> RANDOM_BITS) + 1;
    let base = (seconds.max(beyond) << RANDOM_BITS) | chance;
    tx.connection
        .prepare_cached(
            "UPDATE jobs SET fence = ?1 WHERE state IN ('pending', 'scheduling', 'running')",
        )?
        .execute([to_integer(base)])?;
    Ok(())
}

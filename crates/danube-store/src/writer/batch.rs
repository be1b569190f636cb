//! One transaction for many requests, and what happens when it is lost.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use danube_model::Timestamp;
use rusqlite::Connection;

use super::company::Company;
use super::queue::Queue;
use super::{Request, Tx, Urgency};
use crate::counts::Change;
use crate::open::Shared;
use crate::{Meter, StoreError, open};

/// Pages of SQLite's log (4 KiB each) after which it is written back into the
/// database once nothing waits.
const CHECKPOINT_PAGES: u64 = 1_000;

/// Pages after which it is written back although something waits: the log costs
/// disk, and reads get slower with it.
const CHECKPOINT_PAGES_BUSY: u64 = 4_000;

/// Pages after which the readers are waited for as well, so that the log can
/// begin anew: 64 MiB.
const CHECKPOINT_PAGES_MAX: u64 = 16_384;

/// Bytes of a page: what SQLite takes when nothing else is said.
const PAGE_BYTES: u64 = 4_096;

/// What a turn takes when all is well: the transaction before it and the wait for company.
/// A busy writer on a disk that syncs quickly has always somebody who waits so long, and
/// nothing is wrong with it. What is beyond is told as waiting.
const TURN_NORMAL: Duration = Duration::from_millis(100);

/// The writer's thread.
pub(super) struct Writing {
    shared: Arc<Shared>,
    /// None after an I/O error, until it can be opened again.
    connection: Option<Connection>,
    company: Company,
    /// Pages at which the log is next written back.
    checkpoint_at: u64,
}

impl Writing {
    pub(super) fn new(shared: Arc<Shared>, connection: Connection) -> Self {
        Self {
            shared,
            connection: Some(connection),
            company: Company::default(),
            checkpoint_at: CHECKPOINT_PAGES,
        }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Queue) {
        let pulse = Arc::clone(&self.shared.pulse);
        while let Some(batch) = queue.take(self.company, &pulse) {
            pulse.beat();
            self.shared.options.meter.writer(true);
            let urgent = batch.iter().filter(|it| it.urgency == Urgency::Now);
            let came = urgent.clone().count();
            if let Some(oldest) = urgent.map(|it| it.since).min() {
                tell_wait(&*self.shared.options.meter, oldest.elapsed());
            }
            let began = Instant::now();
            self.write(batch);
            self.company = self.company.after(came, began.elapsed());
            self.checkpoint_when_due(queue.is_empty());
            pulse.rest();
            self.shared.options.meter.writer(false);
        }
        pulse.resign();
        if let Some(connection) = self.connection.take() {
            // Whatever can't be written back now is found at the next start.
            let _ = checkpoint(&connection, "TRUNCATE");
        }
    }

    /// Runs and answers every request of the batch.
    fn write(&mut self, mut batch: Vec<Request>) {
        let shared = Arc::clone(&self.shared);
        let in_io = shared.pulse.in_io();
        shared.reserve.restore();
        drop(in_io);
        if self.shared.reserve.is_spent() {
            batch = refuse_growth(batch);
        }
        let mut lost = self.transact(&mut batch).err();
        if lost == Some(StoreError::NoSpace) {
            // What only grows must not take the room of what ends jobs.
            let in_io = shared.pulse.in_io();
            shared.reserve.spend();
            drop(in_io);
            batch = refuse_growth(batch);
            lost = self.transact(&mut batch).err();
        }
        answer(batch, lost.as_ref());
    }

    /// One transaction, durable when this returns `Ok`. Otherwise nothing of it
    /// is there.
    fn transact(&mut self, batch: &mut [Request]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let _in_use = shared.using_connection();
        let in_io = shared.pulse.in_io();
        let done = self.connected().and_then(|connection| {
            attempt(connection, &shared, batch).inspect_err(|_| {
                if !connection.is_autocommit() {
                    // When even this is refused, the connection is given up.
                    let _ = connection.execute_batch("ROLLBACK");
                }
            })
        });
        drop(in_io);
        match done {
            Ok(Done { change, reopen }) => {
                let counts = shared.counts.apply(&change);
                if !change.moves().is_empty() {
                    let meter = &shared.options.meter;
                    change.moves().iter().for_each(|it| meter.moved(it));
                    meter.counts(counts.pending, counts.active);
                }
                if change.is_webhook_due() {
                    shared.options.meter.webhook_due();
                }
                if let Some(connection) = self.connection.take_if(|_| reopen) {
                    let _in_io = shared.pulse.in_io();
                    // As far as can be done; the next one goes on.
                    let _ = checkpoint(&connection, "PASSIVE");
                }
                Ok(())
            }
            Err(error) => {
                let _in_io = shared.pulse.in_io();
                let broken = matches!(error, StoreError::Io(_) | StoreError::Corrupt(_));
                if broken {
                    shared.is_refused.store(true, Ordering::Relaxed);
                }
                // What SQLite remembers of the file may be wrong now.
                self.connection
                    .take_if(|connection| broken || !connection.is_autocommit());
                Err(shared.explain(error))
            }
        }
    }

    /// The connection, opened again when it was given up.
    fn connected(&mut self) -> Result<&mut Connection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.shared.connect_writer()?;
                // A commit that was told as lost may be there after all.
                self.shared.count_anew(&connection)?;
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }

    fn checkpoint_when_due(&mut self, idle: bool) {
        let shared = Arc::clone(&self.shared);
        let _in_io = shared.pulse.in_io();
        let pages = shared.wal_pages.load(Ordering::Relaxed);
        let due = if idle {
            self.checkpoint_at
        } else {
            self.checkpoint_at + (CHECKPOINT_PAGES_BUSY - CHECKPOINT_PAGES)
        };
        if pages < due || !self.shared.reserve.may_grow(pages * PAGE_BYTES) {
            return;
        }
        let Some(connection) = &mut self.connection else {
            return;
        };
        let mode = if pages >= CHECKPOINT_PAGES_MAX {
            "RESTART"
        } else {
            "PASSIVE"
        };
        // Readers are not waited for: every claim and every end would wait too.
        let done = connection
            .busy_timeout(Duration::ZERO)
            .and_then(|()| checkpoint(connection, mode))
            .unwrap_or(false);
        let patient = open::be_patient(connection, &self.shared);
        // When it can't be done, the next one is tried after more pages.
        let step = if pages >= CHECKPOINT_PAGES_MAX {
            CHECKPOINT_PAGES_MAX / 4
        } else {
            CHECKPOINT_PAGES
        };
        self.checkpoint_at = if done { CHECKPOINT_PAGES } else { pages + step };
        if patient.is_err() {
            // Opened anew with the next batch, and patient again.
            self.connection = None;
        }
        if done {
            self.shared.wal_pages.store(0, Ordering::Relaxed);
        }
    }
}

/// Tells what one waited for its turn beyond [`TURN_NORMAL`].
fn tell_wait(meter: &dyn Meter, waited: Duration) {
    let beyond = waited.saturating_sub(TURN_NORMAL);
    if !beyond.is_zero() {
        meter.lock_waited(beyond);
    }
}

/// What a transaction changed.
struct Done {
    change: Change,
    reopen: bool,
}

/// How the requests of a transaction are kept apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Apart {
    /// Not at all: good as long as every refused one changed nothing.
    Hardly,
    /// Each in a savepoint, which costs a third more.
    Wholly,
}

/// Runs the requests and commits. Nearly every refusal comes before the first
/// change, so savepoints are only set when one turns out to be needed.
fn attempt(
    connection: &Connection,
    shared: &Shared,
    batch: &mut [Request],
) -> Result<Done, StoreError> {
    if let Some(done) = run(connection, shared, batch, Apart::Hardly)? {
        return Ok(done);
    }
    run(connection, shared, batch, Apart::Wholly)?
        .ok_or_else(|| StoreError::Internal("a savepoint that undoes nothing".into()))
}

/// None, and nothing done, when a refused request has to be undone and can't be.
fn run(
    connection: &Connection,
    shared: &Shared,
    batch: &mut [Request],
    apart: Apart,
) -> Result<Option<Done>, StoreError> {
    let execute = |sql: &str| -> Result<(), StoreError> {
        connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    };
    shared.begin_uninterrupted();
    execute("BEGIN IMMEDIATE")?;
    let tx = Tx {
        connection,
        shared,
        now: Timestamp::now(),
        change: Cell::default(),
        total: RefCell::default(),
        undo: Cell::new(false),
        reopen: Cell::new(false),
    };
    let mut kept = false;
    for request in batch {
        if apart == Apart::Wholly {
            execute("SAVEPOINT request")?;
        }
        let changes = connection.total_changes();
        tx.change.take();
        tx.undo.set(false);
        let answer = request.task.run(&tx);
        shared.check_interrupted()?;
        // Each is a sign of life: a long batch isn't one that hangs.
        shared.pulse.still();
        let changed = connection.total_changes() != changes;
        match (answer, apart) {
            // SQLite may have rolled back by itself: what follows would commit alone.
            (Err(error), _) if error.spoils_batch() || connection.is_autocommit() => {
                return Err(error);
            }
            (Ok(()), _) if !tx.undo.get() => {
                tx.total.borrow_mut().append(tx.change.take());
                kept |= changed;
            }
            (_, Apart::Wholly) => execute("ROLLBACK TO request")?,
            (_, Apart::Hardly) if changed => {
                execute("ROLLBACK")?;
                return Ok(None);
            }
            (_, Apart::Hardly) => {}
        }
        if apart == Apart::Wholly {
            execute("RELEASE request")?;
        }
    }
    // Pages that were changed and changed back would be written all the same.
    execute(if kept { "COMMIT" } else { "ROLLBACK" })?;
    if kept {
        shared.is_refused.store(false, Ordering::Relaxed);
    }
    Ok(Some(Done {
        change: tx.total.take(),
        reopen: tx.reopen.get(),
    }))
}

/// Answers what adds something with "no space"; returns the others.
fn refuse_growth(batch: Vec<Request>) -> Vec<Request> {
    let (growing, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(|it| it.grows);
    answer(growing, Some(&StoreError::NoSpace));
    rest
}

fn answer(batch: Vec<Request>, lost: Option<&StoreError>) {
    for request in batch {
        request.task.answer(lost.cloned());
    }
}

/// Writes SQLite's log back. Returns whether all of it was.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    connection.query_row(&sql, [], |row| {
        let (busy, pages, done): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(busy == 0 && pages == done)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<Duration>>);

    impl Meter for Told {
        fn lock_waited(&self, waited: Duration) {
            self.0.lock().unwrap().push(waited);
        }
    }

    #[test]
    fn a_turn_of_a_busy_writer_is_no_wait_and_a_longer_one_is_what_it_has_more() {
        let told = Told::default();
        for millis in [0, 2, 30, 100, 101, 1_100] {
            tell_wait(&told, Duration::from_millis(millis));
        }
        let beyond = [1, 1_000].map(Duration::from_millis);
        assert_eq!(*told.0.lock().unwrap(), beyond);
    }
}

//! Whether the database answers, and how it does.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::writer::Class;
use crate::{LockHolder, Pending, Store, StoreError, WriterSign};

impl Store {
    /// Reads one value.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn ping(&self) -> Result<(), StoreError> {
        self.inner.readers.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT 1")?
                .query_row([], |_| Ok(()))?)
        })
    }

    /// Writes one value and rolls it back: the lock and the writer work. Costs
    /// no fsync, and so says nothing of a full disk. Only where the disk refused the commit
    /// before, the value is committed: nothing less shows that it takes one again.
    pub fn write_probe(&self) -> Pending<()> {
        self.urgent(|tx| {
            tx.connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO meta (name, value) VALUES ('probe', x'00')",
                )?
                .execute([])?;
            if !tx.shared.is_refused.load(Ordering::Relaxed) {
                tx.undo();
            }
            Ok(())
        })
    }

    /// Rolls back the transaction that the writer is at, if that gave no sign of life for
    /// longer than `limit`: whoever waits behind it gets a turn, and what it held is answered
    /// with [`StoreError::Interrupted`]. Whether there was one.
    #[must_use]
    pub fn interrupt_writer(&self, limit: Duration) -> bool {
        let is_past = self.writer_silent_for() > limit;
        if is_past {
            self.inner.shared.interrupt_writer();
        }
        is_past
    }

    /// The other process that holds the database's write lock now, where the kernel tells.
    #[must_use]
    pub fn write_lock_holder(&self) -> Option<LockHolder> {
        crate::holder::of(&self.inner.shared.path)
    }

    /// Lets the writer write SQLite's log back after the next batch, close its
    /// connection and open a new one: the healing of a database that doesn't
    /// answer as it should.
    pub fn reopen(&self) -> Pending<()> {
        self.inner.writer.send(Class::Urgent, |tx| {
            tx.reopen();
            Ok(())
        })
    }

    /// How long the writer has been at its current batch without a sign of
    /// life; zero when it has nothing to do. Waiting for another process's lock
    /// is a sign of life.
    #[must_use]
    pub fn writer_silent_for(&self) -> Duration {
        self.inner.shared.pulse.silent_for()
    }

    /// What the writer says of itself, for a watchdog. A writer that neither beats nor is
    /// in I/O is parked.
    #[must_use]
    pub fn writer_sign(&self) -> WriterSign {
        self.inner.shared.pulse.sign()
    }

    /// Whether the disk was found full and only writes that end jobs are
    /// accepted.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        self.inner.shared.reserve.is_spent()
    }

    /// Commits that reached the disk since the store was opened: one fsync each.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.inner.shared.commits.load(Ordering::Relaxed)
    }

    /// SQLite's own check of the whole database: what is wrong, nothing when it
    /// is well. Reads every page, so it takes a second for each few hundred
    /// megabytes.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn check_integrity(&self) -> Result<Vec<String>, StoreError> {
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare("PRAGMA integrity_check")?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            let mut lines = rows.collect::<Result<Vec<_>, _>>()?;
            lines.retain(|line| line != "ok");
            Ok(lines)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    /// Counts for hours, if nobody ends it.
    const ENDLESS: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

    #[test]
    fn a_write_that_takes_too_long_is_rolled_back_and_those_behind_it_get_their_turn() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let endless = store.urgent(|tx| {
            tx.connection.execute(
                "INSERT OR REPLACE INTO meta (name, value) VALUES ('half', x'01')",
                [],
            )?;
            Ok(tx
                .connection
                .query_row(ENDLESS, [], |row| row.get::<_, i64>(0))?)
        });
        let behind = store.write_probe();
        // One that isn't late is left alone; this one is as soon as it is seen at work.
        while !store.interrupt_writer(Duration::from_millis(20)) {
            assert!(!store.interrupt_writer(Duration::from_secs(3_600)));
            std::thread::yield_now();
        }
        assert_eq!(endless.wait(), Err(StoreError::Interrupted));
        // It may have been in the same transaction, and is run with it once only.
        let _ = behind.wait();
        store.write_probe().wait().unwrap();
        store.reopen().wait().unwrap();
        store.write_probe().wait().unwrap();
        let half: i64 = store
            .inner
            .readers
            .read(|connection| {
                Ok(connection.query_row(
                    "SELECT count(*) FROM meta WHERE name = 'half'",
                    [],
                    |row| row.get(0),
                )?)
            })
            .unwrap();
        assert_eq!(half, 0, "the transaction was rolled back whole");
    }
}

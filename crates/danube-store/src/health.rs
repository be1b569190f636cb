//! Whether the database answers, and how it does.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::writer::Class;
use crate::{Pending, Store, StoreError};

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

//! A few connections that only read, each lent to one caller at a time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::Connection;

use crate::StoreError;
use crate::open::Shared;

/// Connections for reading. Reads take microseconds, so a few serve many;
/// each has a page cache and three open files.
const READERS_MAX: usize = 4;

/// How long a read waits for a connection before the caller is told to come
/// back: longer than any one read takes.
const READER_WAIT_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Readers {
    shared: Arc<Shared>,
    pool: Mutex<Pool>,
    freed: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    lent: usize,
    closed: bool,
}

impl Readers {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            pool: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Reads from one snapshot.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let lent = self.lend()?;
        let _in_use = self.shared.using_connection();
        let answer = lent.read(&self.shared, read);
        answer.map_err(|error| self.shared.explain(error))
    }

    pub(crate) fn close(&self) {
        let mut pool = self.lock();
        pool.closed = true;
        pool.idle.clear();
        self.freed.notify_all();
    }

    fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let (mut pool, waited) = self
            .freed
            .wait_timeout_while(self.lock(), READER_WAIT_MAX, |pool| {
                pool.lent >= READERS_MAX && !pool.closed
            })
            .expect("nothing panics while it holds this");
        if pool.closed {
            return Err(StoreError::Closed);
        }
        if waited.timed_out() {
            return Err(StoreError::Busy);
        }
        pool.lent += 1;
        Ok(Lent {
            readers: self,
            connection: pool.idle.pop(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool
            .lock()
            .expect("nothing panics while it holds this")
    }
}

/// A place in the pool, given back however the read ends.
struct Lent<'a> {
    readers: &'a Readers,
    /// None until it is opened, and after it failed: the next one who gets the
    /// place opens a new one.
    connection: Option<Connection>,
}

impl Lent<'_> {
    fn read<T>(
        mut self,
        shared: &Shared,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => shared.connect_reader()?,
        };
        let answer = {
            let snapshot = connection.unchecked_transaction()?;
            let answer = read(&snapshot)?;
            snapshot.commit()?;
            answer
        };
        self.connection = Some(connection);
        Ok(answer)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.lock();
        pool.lent -= 1;
        if !pool.closed {
            pool.idle.extend(self.connection.take());
        }
        drop(pool);
        self.readers.freed.notify_one();
    }
}

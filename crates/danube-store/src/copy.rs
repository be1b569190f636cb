//! A copy of the database while it is written, and a look at a copy.
//!
//! A read transaction holds a moment still, and SQLite copies that moment page by page.
//! In WAL mode neither keeps the writer waiting; SQLite's log grows meanwhile, so the
//! copy goes to a file at once and not to whoever wants it, who may be slow.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use danube_model::{JobId, State};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use zeroize::Zeroizing;

use crate::open::{self, Found, refused};
use crate::rows::{count, id, state};
use crate::seal::Sealer;
use crate::{OpenError, Options, Store, StoreError};

/// Pages that are copied at once, 1 MiB: between two the caller may say stop.
const PAGES_AT_ONCE: i32 = 256;

/// How often a moment is chosen anew because the sealing key was being replaced just
/// then. Once should do: a rotation writes the file twice in all.
const PIN_TRIES_MAX: usize = 8;

/// Mistakes that are listed of a damaged database: the first few say it.
const MISTAKES_MAX: u32 = 20;

/// Jobs with a log and without an end.
const BEGUN: &str = "SELECT id FROM jobs WHERE state IN ('pending', 'scheduling', 'running') \
    AND attempt > 0 ORDER BY seq LIMIT ?1";

const LOGS: &str = "SELECT seq, id, state, attempt, log_bytes, log_complete, \
    log_deleted_at IS NOT NULL FROM jobs WHERE seq > ?1 AND attempt > 0 ORDER BY seq LIMIT ?2";

const COUNTS: &str = "SELECT count(*), count(*) FILTER (WHERE state IN ('pending', 'scheduling', 'running')) FROM jobs";

/// A moment of the database, held still: what is written meanwhile isn't seen.
pub struct Pinned {
    connection: Connection,
    keys: Zeroizing<Vec<u8>>,
    bytes: u64,
}

impl Store {
    /// Holds this moment still.
    ///
    /// # Errors
    /// When the database or the file of the sealing keys can't be read.
    pub fn pin(&self) -> Result<Pinned, StoreError> {
        let shared = &self.inner.shared;
        let connect = || Ok(shared.connect_reader()?);
        let key = shared.dir.join("seal.key");
        Pinned::pin(connect, &key).map_err(|error| shared.explain(error))
    }
}

impl Pinned {
    /// The database of a directory in which no server works. Nothing in it is changed.
    ///
    /// # Errors
    /// Those of [`Store::open`]; a missing key is one of them.
    pub fn of_stopped(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("danube.db");
        fs::metadata(&path).map_err(|error| refused("look at", &path, &error))?;
        let key = dir.join("seal.key");
        Sealer::open(&key, false)?;
        let look = || -> Result<Result<Self, OpenError>, StoreError> {
            let connection = open::look_at(&path, &Options::default())?;
            if let Err(refused) = open::recognise(&connection, &path)? {
                return Ok(Err(refused));
            }
            let mut connection = Some(connection);
            let again = || match connection.take() {
                Some(connection) => Ok(connection),
                None => Ok(open::look_at(&path, &Options::default())?),
            };
            Self::pin(again, &key).map(Ok)
        };
        look().map_err(|error| open::explain(error, &path))?
    }

    /// The keys must open what stands in the moment. They are read before and after it
    /// was chosen: where nothing has changed in between, they do.
    fn pin(
        mut connect: impl FnMut() -> Result<Connection, StoreError>,
        key: &Path,
    ) -> Result<Self, StoreError> {
        for _ in 0..PIN_TRIES_MAX {
            let before = read_keys(key)?;
            let connection = connect()?;
            connection.execute_batch("BEGIN")?;
            // The first read is what chooses the moment.
            let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            if *read_keys(key)? == *before {
                return Ok(Self {
                    connection,
                    keys: before,
                    bytes: u64::try_from(pages.saturating_mul(page)).unwrap_or(0),
                });
            }
        }
        Err(StoreError::KeyFile(
            "it was replaced again and again while it was read".into(),
        ))
    }

    /// Bytes of the copy.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file of the sealing keys: they open what is sealed in the copy.
    #[must_use]
    pub fn seal_keys(&self) -> Zeroizing<Vec<u8>> {
        self.keys.clone()
    }

    /// Jobs that have begun and not ended, at most so many, oldest first: their logs may
    /// go on after this moment.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn begun(&self, limit: usize) -> Result<Vec<JobId>, StoreError> {
        let mut statement = self.connection.prepare(BEGUN)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map([limit], |row| id(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Copies the moment into a new file that only its owner can read, a mebibyte at a
    /// time; `go_on` is asked in between. The copy isn't synced: it is for whoever reads
    /// it next. None when `go_on` said no; the file stays then.
    ///
    /// # Errors
    /// When there is such a file, or one of both can't be read or written.
    pub fn copy_to(
        self,
        path: &Path,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<Option<Snapshot>, StoreError> {
        if path.exists() {
            return Err(StoreError::Io(format!("{} is there", path.display())));
        }
        open::make_file(path).map_err(|error| StoreError::Io(error.to_string()))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut target = Connection::open_with_flags(path, flags)?;
        // A copy that isn't whole is made anew, so nothing has to be undone.
        target.pragma_update(None, "journal_mode", "OFF")?;
        target.pragma_update(None, "synchronous", "OFF")?;
        {
            let copying = Backup::new(&self.connection, &mut target)?;
            loop {
                if !go_on() {
                    return Ok(None);
                }
                match copying.step(PAGES_AT_ONCE)? {
                    StepResult::Done => break,
                    StepResult::More => {}
                    // Nobody else has either of them; a moment that is held can't be locked.
                    _ => return Err(StoreError::Internal("the copy is locked".into())),
                }
            }
        }
        drop(target);
        drop(self);
        let snapshot = Snapshot::open(path);
        snapshot.map(Some).map_err(|error| match error {
            OpenError::Corrupt { detail, .. } => StoreError::Corrupt(detail),
            other => StoreError::Io(other.to_string()),
        })
    }
}

fn read_keys(path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let read = fs::read(path).map(Zeroizing::new);
    read.map_err(|error| StoreError::Io(format!("read {}: {error}", path.display())))
}

/// A copy of a database that nobody writes.
pub struct Snapshot {
    connection: Connection,
    path: PathBuf,
    schema: u32,
}

/// How many jobs a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotCounts {
    /// All of them.
    pub jobs: u64,
    /// Those that haven't ended.
    pub live: u64,
}

/// What a job that has begun says of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogClaim {
    /// Its place in the order of acceptance.
    pub seq: i64,
    /// Whose log.
    pub job: JobId,
    /// Where the job is.
    pub state: State,
    /// Bytes of its log, once it has ended.
    pub log_bytes: u64,
    /// Whether all of them are there, once it has ended.
    pub log_complete: Option<bool>,
    /// The log was deleted.
    pub is_deleted: bool,
}

impl LogClaim {
    /// Whether there must be a log.
    #[must_use]
    pub fn needs_log(&self) -> bool {
        self.state.is_terminal() && self.log_bytes > 0 && !self.is_deleted
    }
}

impl Snapshot {
    /// Opens a copy. It must not change while it is open.
    ///
    /// # Errors
    /// [`OpenError`]: it isn't ours, of a newer schema, or damaged.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let bytes = match fs::metadata(path) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(refused("look at", path, &error)),
        };
        let damaged = |detail: &str| OpenError::Corrupt {
            path: path.to_owned(),
            detail: detail.to_owned(),
        };
        if bytes == 0 {
            return Err(damaged("it is empty"));
        }
        let look = || -> rusqlite::Result<Result<Self, OpenError>> {
            let connection = open::look_at(path, &Options::default())?;
            Ok(open::recognise(&connection, path)?.map(|schema| Self {
                connection,
                path: path.to_owned(),
                schema,
            }))
        };
        let snapshot = look().map_err(|error| open::explain(error.into(), path))??;
        match snapshot.schema {
            0 => Err(damaged("it has no tables")),
            _ => Ok(snapshot),
        }
    }

    /// The schema of the copy.
    #[must_use]
    pub fn schema(&self) -> u32 {
        self.schema
    }

    /// SQLite's own check: what is wrong, nothing when it is well. `thorough` compares
    /// indexes with their tables too, which takes several times as long.
    ///
    /// # Errors
    /// When the copy can't be read.
    pub fn check(&self, thorough: bool) -> Result<Vec<String>, StoreError> {
        let how = if thorough { "integrity" } else { "quick" };
        let sql = format!("PRAGMA {how}_check({MISTAKES_MAX})");
        let mut statement = self.connection.prepare(&sql)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut lines = rows.collect::<Result<Vec<_>, _>>()?;
        lines.retain(|line| line != "ok");
        Ok(lines)
    }

    /// Whether the keys of a file with this content open what is sealed in the copy.
    ///
    /// # Errors
    /// [`OpenError::SealKeyWrong`], or when the copy can't be read.
    pub fn is_opened_by(&self, keys: &[u8]) -> Result<(), OpenError> {
        let name = Path::new("seal.key");
        let mut sealer = Sealer::of_bytes(keys, name)?;
        let found = Found::read(&self.connection);
        let found = found.map_err(|error| open::explain(error.into(), &self.path))?;
        found.is_opened_by(&mut sealer, name)
    }

    /// How many jobs there are.
    ///
    /// # Errors
    /// When the copy can't be read.
    pub fn counts(&self) -> Result<SnapshotCounts, StoreError> {
        let row = self.connection.query_row(COUNTS, [], |row| {
            Ok(SnapshotCounts {
                jobs: count(row, 0)?,
                live: count(row, 1)?,
            })
        });
        Ok(row?)
    }

    /// What the jobs that have begun say of their logs: at most so many, from the one
    /// behind `after` on (0 for the first).
    ///
    /// # Errors
    /// When the copy can't be read.
    pub fn logs(&self, after: i64, limit: usize) -> Result<Vec<LogClaim>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(LOGS)?;
        let rows = statement.query_map((after, limit), |row| {
            Ok(LogClaim {
                seq: row.get(0)?,
                job: id(row, 1)?,
                state: state(row, 2)?,
                log_bytes: count(row, 4)?,
                log_complete: row.get(5)?,
                is_deleted: row.get(6)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

//! Opens the database: looks without touching, refuses what it doesn't know,
//! and only then makes, migrates and connects.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, InterruptHandle, OpenFlags, OptionalExtension};

use crate::counts::Ledger;
use crate::pulse::Pulse;
use crate::reserve::Reserve;
use crate::seal::Sealer;
use crate::{Counts, Meter, NoMeter, OpenError, StoreError, meter, read, schema};

/// How long a write waits for another process to let go of the lock. Only a
/// backup or a person with the `sqlite3` shell takes it, for moments.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long an idempotency key is kept when nothing else is said.
const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Largest database that is checked page by page at every start: about a tenth
/// of a second. A larger one is left to the health checks, so that a restart
/// with 100,000 jobs stays quick.
pub(crate) const QUICK_CHECK_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Longest sleep between two tries for the lock.
const LOCK_RETRY_MAX: Duration = Duration::from_millis(10);

/// More than there are statements, so that none is prepared twice.
const STATEMENTS_CACHED: usize = 64;

/// Page cache of the writer. It touches the ends of a few trees; what it
/// evicts lies in the page cache of the kernel.
const WRITER_CACHE_KIB: i64 = 8 * 1024;

/// Page cache of each reader.
const READER_CACHE_KIB: i64 = 1024;

/// The purpose of the sealed word by which the right key is known.
pub(crate) const SEAL_CHECK: &str = "seal_check";

/// The purpose, and the name in `meta`, of the key of hashes. It is stored apart
/// from the sealing key, so that it outlives it.
pub(crate) const HASH_KEY: &str = "hash_key";

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// Hears what the store does.
    pub meter: Arc<dyn Meter>,
    /// How long an idempotency key is kept.
    pub idempotency_kept: Duration,
    /// How long a write waits for another process's lock.
    pub lock_wait_max: Duration,
    /// How many jobs may wait, all together.
    pub pending_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            meter: Arc::new(NoMeter),
            idempotency_kept: IDEMPOTENCY_KEPT,
            lock_wait_max: LOCK_WAIT_MAX,
            pending_max: u64::MAX,
        }
    }
}

/// What the writer and the readers share.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) options: Options,
    pub(crate) sealer: Sealer,
    pub(crate) counts: Ledger,
    pub(crate) reserve: Reserve,
    /// Commits that reached the disk. The writer's hook adds, anyone reads.
    pub(crate) commits: Arc<AtomicU64>,
    /// The disk refused the last commit that was to reach it. Only the writer changes it.
    pub(crate) is_refused: AtomicBool,
    pub(crate) pulse: Arc<Pulse>,
    /// Pages in SQLite's log. The writer's hook sets, the writer reads.
    pub(crate) wal_pages: Arc<AtomicU64>,
    /// Ends what the writer's connection does. Each new connection sets it, healing uses it.
    interrupt: Mutex<Option<InterruptHandle>>,
    /// The writer's transaction is to be rolled back. Healing sets it, the writer looks.
    interrupted: AtomicBool,
    in_use: AtomicI64,
}

impl Shared {
    /// Counts a connection as used until the guard goes.
    pub(crate) fn using_connection(&self) -> InUse<'_> {
        let in_use = self.in_use.fetch_add(1, Ordering::Relaxed) + 1;
        self.options.meter.connections(in_use);
        InUse(self)
    }

    /// Connects for writing.
    pub(crate) fn connect_writer(&self) -> Result<Connection, StoreError> {
        let mut connection = connect(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_WRITE,
            &self.options,
            Some(Arc::clone(&self.pulse)),
        )?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        let mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(StoreError::Internal(format!("journal mode {mode}")));
        }
        // 202 means durable: FULL syncs the log at every commit.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", false)?;
        // The writer decides when to write the log back, see `writer`; this
        // takes the place of SQLite's own hook that does it in the middle of a
        // commit.
        *self.interrupt() = Some(connection.get_interrupt_handle());
        let pages = Arc::clone(&self.wal_pages);
        let commits = Arc::clone(&self.commits);
        connection.wal_hook(Some(move |_: &mut Wal, count| {
            commits.fetch_add(1, Ordering::Relaxed);
            pages.store(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(connection)
    }

    /// Has the writer's transaction rolled back: SQLite ends a statement that goes on and on,
    /// and the writer looks between two, since one that hung on the disk ends by itself.
    pub(crate) fn interrupt_writer(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
        if let Some(handle) = &*self.interrupt() {
            handle.interrupt();
        }
    }

    /// A transaction begins: what was said before it isn't meant for it.
    pub(crate) fn begin_uninterrupted(&self) {
        self.interrupted.store(false, Ordering::Relaxed);
    }

    /// Whether the transaction outlived its limit.
    pub(crate) fn check_interrupted(&self) -> Result<(), StoreError> {
        match self.interrupted.load(Ordering::Relaxed) {
            true => Err(StoreError::Interrupted),
            false => Ok(()),
        }
    }

    fn interrupt(&self) -> MutexGuard<'_, Option<InterruptHandle>> {
        // Whole after every line that changes it.
        self.interrupt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects for reading.
    pub(crate) fn connect_reader(&self) -> rusqlite::Result<Connection> {
        let connection = connect(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY,
            &self.options,
            None,
        )?;
        connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    /// Counts what hasn't ended in the database itself, and tells it.
    pub(crate) fn count_anew(&self, connection: &Connection) -> Result<(), StoreError> {
        let live = read::live(connection)?;
        let counts = Counts {
            pending: live.pending.iter().map(|it| it.jobs).sum(),
            active: live.leased.len() as u64,
        };
        self.counts.set(counts, &live);
        self.options.meter.counted(&live);
        self.options.meter.counts(counts.pending, counts.active);
        Ok(())
    }

    /// What a database error means here.
    pub(crate) fn explain(&self, error: StoreError) -> StoreError {
        error.in_context(&self.dir, self.options.lock_wait_max)
    }
}

/// A connection in use, for the meter.
pub(crate) struct InUse<'a>(&'a Shared);

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        let in_use = self.0.in_use.fetch_sub(1, Ordering::Relaxed) - 1;
        self.0.options.meter.connections(in_use);
    }
}

/// Opens or makes the database in `dir`; answers with the writer's connection.
pub(crate) fn open(dir: &Path, options: Options) -> Result<(Shared, Connection), OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| refused("make", dir, &error))?;
    let path = dir.join("danube.db");
    let key_path = dir.join("seal.key");

    let found = inspect(&path, &options)?;
    let mut sealer = Sealer::open(&key_path, found.seal_check.is_none())?;
    found.is_opened_by(&mut sealer, &key_path)?;

    make_file(&path).map_err(|error| refused("make", &path, &error))?;
    let shared = Shared {
        dir: dir.to_owned(),
        reserve: Reserve::new(dir),
        sealer,
        counts: Ledger::default(),
        commits: Arc::default(),
        is_refused: AtomicBool::new(false),
        pulse: Arc::new(Pulse::new()),
        wal_pages: Arc::default(),
        interrupt: Mutex::default(),
        interrupted: AtomicBool::new(false),
        in_use: AtomicI64::new(0),
        path,
        options,
    };
    let connection = prepare(&shared).map_err(|error| explain(error, &shared.path))?;
    shared.reserve.restore();
    Ok((shared, connection))
}

/// An I/O error at the start.
pub(crate) fn refused(doing: &'static str, path: &Path, error: &std::io::Error) -> OpenError {
    OpenError::Io {
        doing,
        path: path.to_owned(),
        detail: error.to_string(),
    }
}

fn connect(
    path: &Path,
    access: OpenFlags,
    options: &Options,
    pulse: Option<Arc<Pulse>>,
) -> rusqlite::Result<Connection> {
    // No mutex: each connection belongs to one thread at a time.
    let mut connection =
        Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    meter::watch(&mut connection, Arc::clone(&options.meter))?;
    connection.busy_handler(Some(patience(options, pulse)))?;
    // A statement keeps its plan whatever is bound to it; without this, SQLite
    // prepares some of them anew at each use.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(connection)
}

/// Lets the writer's connection wait for locks again, after it was told not to.
pub(crate) fn be_patient(connection: &mut Connection, shared: &Shared) -> rusqlite::Result<()> {
    let pulse = Some(Arc::clone(&shared.pulse));
    connection.busy_handler(Some(patience(&shared.options, pulse)))
}

/// Sleeps until the lock is free or the deadline is over, and tells how long.
fn patience(
    options: &Options,
    pulse: Option<Arc<Pulse>>,
) -> impl FnMut(i32) -> bool + Send + 'static {
    let meter = Arc::clone(&options.meter);
    let wait_max = options.lock_wait_max;
    let mut since = Instant::now();
    move |tries| {
        if tries == 0 {
            since = Instant::now();
        }
        let Some(left) = wait_max.checked_sub(since.elapsed()) else {
            return false;
        };
        let pause = Duration::from_micros(100 << tries.clamp(0, 10)).min(LOCK_RETRY_MAX);
        let asleep = Instant::now();
        std::thread::sleep(pause.min(left));
        meter.lock_waited(asleep.elapsed());
        if let Some(pulse) = &pulse {
            pulse.still();
        }
        true
    }
}

/// What a database says of its key.
#[derive(Default)]
pub(crate) struct Found {
    /// The sealed word by which the key is known. It is the first thing that is
    /// ever sealed: where there is none, nothing needs the key.
    seal_check: Option<Vec<u8>>,
    /// The key of hashes, sealed; none in a database from before it was stored.
    hash_key: Option<Vec<u8>>,
}

impl Found {
    /// What stands in this database, which has a schema.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            seal_check: meta(connection, SEAL_CHECK)?,
            hash_key: meta(connection, HASH_KEY)?,
        })
    }

    /// Whether the keys, of the file at `path`, are those of the database; from now on
    /// they hash as it does.
    pub(crate) fn is_opened_by(&self, sealer: &mut Sealer, path: &Path) -> Result<(), OpenError> {
        let is_known = self
            .seal_check
            .as_ref()
            .is_none_or(|it| sealer.unseal(SEAL_CHECK, &[], it).is_some());
        let hashes = self.hash_key.as_ref();
        if is_known && hashes.is_none_or(|it| sealer.take_hash_key(HASH_KEY, it)) {
            return Ok(());
        }
        Err(OpenError::SealKeyWrong {
            path: path.to_owned(),
        })
    }
}

/// Looks at the database through a connection that can't change it.
pub(crate) fn inspect(path: &Path, options: &Options) -> Result<Found, OpenError> {
    let bytes = match fs::metadata(path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(refused("look at", path, &error)),
    };
    if bytes == 0 {
        // New, or made by a start that was killed before it wrote anything.
        return Ok(Found::default());
    }
    let look = || -> Result<Result<Found, OpenError>, rusqlite::Error> {
        let connection = look_at(path, options)?;
        let version = match recognise(&connection, path)? {
            Ok(version) => version,
            Err(refused) => return Ok(Err(refused)),
        };
        if bytes <= QUICK_CHECK_BYTES_MAX {
            let answer: String =
                connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if answer != "ok" {
                return Ok(Err(OpenError::Corrupt {
                    path: path.to_owned(),
                    detail: answer,
                }));
            }
        }
        if version == 0 {
            return Ok(Ok(Found::default()));
        }
        Found::read(&connection).map(Ok)
    };
    look().map_err(|error| explain(error.into(), path))?
}

/// The schema of a database of ours that this program knows.
pub(crate) fn recognise(
    connection: &Connection,
    path: &Path,
) -> rusqlite::Result<Result<u32, OpenError>> {
    let version = schema::version(connection)?;
    let owner: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let path = path.to_owned();
    if (version > 0 || tables > 0) && owner != schema::APPLICATION_ID {
        return Ok(Err(OpenError::Foreign { path }));
    }
    if version > schema::KNOWN {
        return Ok(Err(OpenError::NewerSchema {
            path,
            found: version,
            known: schema::KNOWN,
        }));
    }
    Ok(Ok(version))
}

/// A connection that leaves no file behind. With a log of SQLite beside it, the
/// database can only be read together with that; without one, SQLite is told
/// that nothing changes, or it would make one.
pub(crate) fn look_at(path: &Path, options: &Options) -> rusqlite::Result<Connection> {
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if fs::metadata(log).is_ok_and(|it| it.len() > 0) {
        return connect(path, read_only, options, None);
    }
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        uri.push_str(&format!("%{byte:02x}"));
    }
    uri.push_str("?immutable=1");
    let flags = read_only | OpenFlags::SQLITE_OPEN_URI;
    connect(Path::new(&uri), flags, options, None)
}

fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()
}

/// An empty file that only its owner can read, before SQLite makes one that
/// others can. SQLite gives its log the same mode. An older file is closed to
/// others as well.
pub(crate) fn make_file(path: &Path) -> std::io::Result<()> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(_) => {
            let dir = path.parent().expect("the database lies in a directory");
            File::open(dir)?.sync_all()
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::set_permissions(path, Permissions::from_mode(0o600))
        }
        Err(error) => Err(error),
    }
}

/// The writer's connection, to a database of the newest schema.
fn prepare(shared: &Shared) -> Result<Connection, StoreError> {
    let mut connection = shared.connect_writer()?;
    schema::migrate(&mut connection)?;
    let sealer = &shared.sealer;
    let insert = "INSERT INTO meta (name, value) VALUES (?1, ?2)";
    if meta(&connection, SEAL_CHECK)?.is_none() {
        let check = sealer.seal(SEAL_CHECK, &[], b"danube")?;
        connection.execute(insert, (SEAL_CHECK, check))?;
    }
    if meta(&connection, HASH_KEY)?.is_none() {
        connection.execute(insert, (HASH_KEY, sealer.sealed_hash_key(HASH_KEY)?))?;
    }
    shared.count_anew(&connection)?;
    Ok(connection)
}

pub(crate) fn explain(error: StoreError, path: &Path) -> OpenError {
    let path = path.to_owned();
    match error {
        StoreError::Locked(_) => OpenError::Locked { path },
        StoreError::Corrupt(detail) => OpenError::Corrupt { path, detail },
        other => OpenError::Io {
            doing: "open",
            path,
            detail: other.to_string(),
        },
    }
}

//! What can go wrong, for the caller (`StoreError`) and at the start (`OpenError`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use danube_model::{JobId, Refused, State};
use rusqlite::ErrorCode;

/// Bytes of free space under which an I/O error is told as "no space": SQLite
/// reports some writes that found the disk full as I/O errors, and a disk with
/// less than a few pages left can't hold a commit anyway.
const FULL_DISK_BYTES: u64 = 64 * 1024;

/// Why a request changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The queue in front of the writer is full; try again in a moment.
    #[error("too many writes are waiting")]
    Busy,
    /// The store is closed or its writer has ended.
    #[error("the store is closed")]
    Closed,
    /// Another process kept the database's write lock for too long.
    #[error("another process held the database's write lock for {} s", .0.as_secs_f64())]
    Locked(Duration),
    /// The transaction took longer than one may, and was rolled back.
    #[error("the write took longer than it may, and was rolled back")]
    Interrupted,
    /// The disk is full.
    #[error("no space left for the database")]
    NoSpace,
    /// The disk refused to read or write.
    #[error("the database's disk refused: {0}")]
    Io(String),
    /// What stands in the database can't be right.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    /// The attempt no longer holds its job; its results change nothing.
    #[error("the lease on job {job} with fence {fence} is no longer held; the job is {state}")]
    Fenced {
        /// The job.
        job: JobId,
        /// The fence that was shown.
        fence: u64,
        /// Where the job is.
        state: State,
    },
    /// The table of moves refuses.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// As many jobs wait as may.
    #[error("{}", full(.pipeline.as_deref(), *.max))]
    QueueFull {
        /// The pipeline whose jobs these are; none for those of all.
        pipeline: Option<String>,
        /// How many may.
        max: u64,
    },
    /// There is no such job.
    #[error("there is no job {0}")]
    NoJob(JobId),
    /// A job with this id exists.
    #[error("job {0} exists already")]
    JobExists(JobId),
    /// The job's order can't be unsealed: it was changed, or by another key.
    #[error("the order of job {0} can't be unsealed")]
    Unreadable(JobId),
    /// The idempotency key was used with another body.
    #[error("the idempotency key was used for another request, which made job {job}")]
    IdempotencyConflict {
        /// The job that the first request made.
        job: JobId,
    },
    /// A live API key has this name.
    #[error("an API key named {0:?} exists already")]
    NameTaken(String),
    /// A credential has this name.
    #[error("a credential named `{0}` exists already")]
    CredentialExists(String),
    /// There are no credentials with these names.
    #[error("there is no credential {}", quoted(.0))]
    NoCredentials(Vec<String>),
    /// The credential's values can't be unsealed: they were changed, or by another key.
    #[error("the credential `{0}` can't be unsealed; set it anew")]
    CredentialUnreadable(String),
    /// There are as many credentials as there may be, or a job asks for too many.
    #[error("these are more credentials than there may be")]
    TooManyCredentials,
    /// There are as many secrets as there may be.
    #[error("there are as many secrets as there may be")]
    TooManySecrets,
    /// The file of the sealing keys can't be written.
    #[error("write the file of the sealing keys: {0}")]
    KeyFile(String),
    /// The cursor isn't one that this store gave out.
    #[error("the cursor isn't one of this server's; start again without it")]
    BadCursor,
    /// A defect of the program.
    #[error("unexpected answer of the database: {0}")]
    Internal(String),
}

impl StoreError {
    /// Whether the whole transaction is lost, not only one request of it.
    pub(crate) fn spoils_batch(&self) -> bool {
        matches!(
            self,
            Self::NoSpace | Self::Io(_) | Self::Locked(_) | Self::Corrupt(_) | Self::Interrupted
        )
    }

    /// The same error, once the disk and the settings were asked what it means.
    pub(crate) fn in_context(self, dir: &Path, lock_wait_max: Duration) -> Self {
        match self {
            Self::Io(_) if is_full(dir) => Self::NoSpace,
            Self::Locked(_) => Self::Locked(lock_wait_max),
            other => other,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let Some(code) = error.sqlite_error_code() else {
            return match error {
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..) => {
                    // One row, not the whole batch that it came with.
                    Self::Internal(format!("a row that can't be read: {error}"))
                }
                other => Self::Internal(other.to_string()),
            };
        };
        match code {
            ErrorCode::DiskFull => Self::NoSpace,
            ErrorCode::OperationInterrupted => Self::Interrupted,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Locked(Duration::ZERO),
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly => {
                Self::Io(error.to_string())
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                Self::Corrupt(error.to_string())
            }
            _ => Self::Internal(error.to_string()),
        }
    }
}

fn full(pipeline: Option<&str>, max: u64) -> String {
    match pipeline {
        Some(name) => {
            format!("{max} jobs of the pipeline `{name}` wait, as many as its `max_pending` allows")
        }
        None => format!("{max} jobs wait, as many as `queue.max_pending` allows"),
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|it| format!("`{it}`")).collect();
    names.join(", ")
}

/// Bytes that an ordinary process may still write to the disk of `dir`.
pub(crate) fn free_bytes(dir: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn is_full(dir: &Path) -> bool {
    free_bytes(dir).is_ok_and(|free| free < FULL_DISK_BYTES)
}

/// Why the store didn't open. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer Danube wrote this database.
    #[error(
        "{} has schema {found}, and this version of danube knows {known}; start the newer version, or restore a backup made with this one",
        path.display()
    )]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema that this program knows.
        known: u32,
    },
    /// The database is damaged, or isn't one.
    #[error(
        "{} is damaged ({detail}); keep a copy of the directory, then restore a backup, or move the file away to start empty",
        path.display()
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A SQLite database of some other program.
    #[error("{} belongs to another program; choose another data directory", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// The sealing key is gone, but something is sealed with it.
    #[error(
        "{} is missing, and the database holds what is sealed with it; restore it from a backup",
        path.display()
    )]
    SealKeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The sealing key has the wrong length, or isn't the one that was used.
    #[error("{} isn't the key of this database; restore the right one from a backup", path.display())]
    SealKeyWrong {
        /// The key file.
        path: PathBuf,
    },
    /// Others can read the sealing key.
    #[error(
        "{} can be read by others (mode {mode:03o}); `chmod 600` it, and think of what it sealed as known",
        path.display()
    )]
    SealKeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process keeps the write lock.
    #[error("another process holds the write lock of {}; end it first", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// The disk or the kernel refused.
    #[error("{doing} {}: {detail}", path.display())]
    Io {
        /// A verb phrase: what was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The cause.
        detail: String,
    },
}

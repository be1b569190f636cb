//! Makes a data directory of an archive, or changes nothing.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use danube_model::JobId;
use danube_store::{LogDeletion, OpenError, Options, Pending, Resumed, Store, StoreError};

use crate::examine::Report;
use crate::target::{Target, TargetError};
use crate::unpack::{Unpacked, make_folders};

/// How long the database may take to write its log back.
const CLOSE_MAX: Duration = Duration::from_secs(600);

/// Logs that are noted as gone in one transaction.
const GONE_AT_ONCE: usize = 512;

/// What became of a restore.
#[derive(Debug)]
pub struct Restored {
    /// What was found out about the archive.
    pub report: Report,
    /// Jobs that hadn't ended when it was taken.
    pub jobs: Resumed,
}

/// Why nothing was restored. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory can't be restored into: it holds something.
    #[error("{0}")]
    Occupied(String),
    /// The archive isn't whole or right.
    #[error("the backup isn't well")]
    Unwell(Box<Report>),
    /// The archive has no keys, and none were given.
    #[error("the backup holds no keys, and without them nothing that is sealed can be read")]
    NoKeys,
    /// The database can't be made ready.
    #[error("open the restored database: {0}")]
    Open(#[from] OpenError),
    /// The database can't be made ready.
    #[error("prepare the restored database: {0}")]
    Store(#[from] StoreError),
    /// The system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<TargetError> for RestoreError {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::NotEmpty { .. } | TargetError::NoDirectory(_) => {
                Self::Occupied(error.to_string())
            }
            TargetError::Io { ref source, .. } => {
                Self::Io(io::Error::new(source.kind(), error.to_string()))
            }
        }
    }
}

/// Restores an archive into a directory that is empty or isn't there. `seal_keys` is the
/// file of the sealing keys for an archive that has none.
///
/// # Errors
/// [`RestoreError`]; nothing is there then that wasn't before.
pub fn restore(
    archive: impl Read,
    seal_keys: Option<&[u8]>,
    dir: &Path,
) -> Result<Restored, RestoreError> {
    let target = Target::prepare(dir)?;
    let place = target.staging();
    make_folders(place)?;
    let mut unpacked = Unpacked::new(place, true)?;
    let read = unpacked.read(archive);
    let (report, snapshot) = unpacked.report(read, seal_keys)?;
    if snapshot.is_none() {
        return Err(RestoreError::Unwell(Box::new(report)));
    }
    drop(snapshot);
    if unpacked.seal_keys.is_none() {
        let keys = seal_keys.ok_or(RestoreError::NoKeys)?;
        put_keys(&place.join("seal.key"), keys)?;
    }
    let taken_at = report.about.as_ref().map(|it| it.taken_at);
    let taken_at = taken_at.ok_or_else(|| io::Error::other("it doesn't say when it was taken"))?;
    let store = Store::open(place, Options::default())?;
    let jobs = store.restored(taken_at).wait()?;
    note_gone(&store, &unpacked.gone)?;
    if !store.close(CLOSE_MAX) {
        return Err(io::Error::other("the database isn't written in time").into());
    }
    drop(store);
    target.commit()?;
    Ok(Restored { report, jobs })
}

fn put_keys(path: &Path, keys: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(keys)
}

/// Whoever asks for these logs hears that they are gone.
fn note_gone(store: &Store, gone: &[JobId]) -> Result<(), StoreError> {
    for some in gone.chunks(GONE_AT_ONCE) {
        let told: Vec<Pending<LogDeletion>> =
            some.iter().map(|job| store.log_deleted(*job)).collect();
        for answer in told {
            answer.wait()?;
        }
    }
    Ok(())
}

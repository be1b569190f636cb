//! A look at a database from outside, whether a server works with it or not.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::copy::Snapshot;
use crate::open::{self, QUICK_CHECK_BYTES_MAX, refused};
use crate::seal::Sealer;
use crate::{OpenError, Options, schema};

/// What a look at a data directory's database found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Its schema.
    pub schema: u32,
    /// The newest one that this program knows; an older database is brought there.
    pub known: u32,
    /// Bytes of its file.
    pub bytes: u64,
    /// Every page was looked at; a large one takes too long for that.
    pub is_checked: bool,
}

/// Looks whether the database in `dir` could be opened, and opens nothing of it. None
/// where there is none.
///
/// # Errors
/// [`OpenError`], as [`Store::open`](crate::Store::open) would have it.
pub fn look(dir: &Path) -> Result<Option<Looked>, OpenError> {
    let path = dir.join("danube.db");
    let bytes = match fs::metadata(&path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused("look at", &path, &error)),
    };
    if bytes == 0 {
        return Ok(None);
    }
    let found = open::inspect(&path, &Options::default())?;
    let key = dir.join("seal.key");
    let mut sealer = Sealer::open(&key, false)?;
    found.is_opened_by(&mut sealer, &key)?;
    Ok(Some(Looked {
        schema: Snapshot::open(&path)?.schema(),
        known: schema::KNOWN,
        bytes,
        is_checked: bytes <= QUICK_CHECK_BYTES_MAX,
    }))
}

/// The version of SQLite that is part of this program.
#[must_use]
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

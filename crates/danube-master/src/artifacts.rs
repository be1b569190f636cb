//! The files that jobs leave, on the disk: `artifacts/<job_id>/<a name of ours>`.
//!
//! A file is written under a name that ends in `.part`, synced and renamed; then the store
//! remembers it. So what has no row in the store is nobody's, unless it is just being
//! written: which files are, is known here.

mod keep;

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use danube_model::{ARTIFACTS_MAX, JobId};
use danube_store::ArtifactLimits;
use sha2::{Digest, Sha256};

use crate::auth::random;
use crate::health::usage::room;
use crate::settings::ArtifactSettings;

/// Bytes that an artifact leaves free on the disk: the database and the logs need them to
/// bring what runs to its end.
const DISK_LEFT_BYTES: u64 = 64 * 1024 * 1024;

/// After so many bytes it is looked again how much is free.
const DISK_LOOK_BYTES: u64 = 16 * 1024 * 1024;

/// What a file is called while it is written.
const PART: &str = ".part";

/// Where they are. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Artifacts {
    dir: PathBuf,
    /// Names of files that the store may not know yet. Whoever writes one adds and removes
    /// it, the reaper looks.
    under_way: Arc<Mutex<HashSet<String>>>,
    /// What jobs may leave now: the blueprint may say so while the server runs.
    limits: Arc<ArcSwap<ArtifactSettings>>,
}

/// Why a file isn't written.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// It is longer than so many bytes.
    TooLarge(u64),
    /// The disk is full, or would be.
    NoSpace,
    /// The disk refuses.
    Io,
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io,
        }
    }
}

impl Artifacts {
    /// Those of the data directory.
    pub(crate) fn new(data_dir: &Path, limits: ArtifactSettings) -> Self {
        Self {
            limits: Arc::new(ArcSwap::from_pointee(limits)),
            dir: data_dir.join("artifacts"),
            under_way: Arc::default(),
        }
    }

    /// What jobs may leave now.
    pub(crate) fn limits(&self) -> ArtifactSettings {
        **self.limits.load()
    }

    /// From now on jobs may leave so much.
    pub(crate) fn limit_to(&self, limits: ArtifactSettings) {
        self.limits.store(Arc::new(limits));
    }

    /// What the store holds a job to.
    pub(crate) fn of_job(&self) -> ArtifactLimits {
        ArtifactLimits {
            count: ARTIFACTS_MAX,
            bytes: self.limits().job_bytes_max,
        }
    }

    /// Begins a file of at most so many bytes.
    pub(crate) fn draft(&self, job: JobId, bytes_max: u64) -> Result<Draft, Unwritten> {
        let dir = self.dir.join(job.to_string());
        let is_new = !dir.is_dir();
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        if is_new {
            sync(&self.dir)?;
        }
        let name = format!("{:032x}", u128::from_be_bytes(random::<16>()));
        self.lock().insert(name.clone());
        // From here on the draft clears away.
        let part = dir.join(format!("{name}{PART}"));
        let mut draft = Draft {
            file: None,
            path: part.clone(),
            dir,
            name,
            hash: Sha256::new(),
            bytes: 0,
            bytes_max,
            unlooked: DISK_LOOK_BYTES,
            is_kept: false,
            all: self.clone(),
        };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        draft.file = Some(options.open(part)?);
        Ok(draft)
    }

    /// Opens one for reading.
    pub(crate) fn open(&self, job: JobId, file: &str) -> io::Result<File> {
        File::open(self.dir.join(job.to_string()).join(file))
    }

    /// Deletes one; the bytes that are free again. One that isn't there is deleted.
    pub(crate) fn delete(&self, job: JobId, file: &str) -> io::Result<u64> {
        let path = self.dir.join(job.to_string()).join(file);
        let bytes = match fs::symlink_metadata(&path) {
            Ok(it) => it.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        fs::remove_file(&path)?;
        Ok(bytes)
    }

    /// The jobs that have a directory.
    pub(crate) fn jobs(&self) -> io::Result<Vec<JobId>> {
        let names = names(&self.dir)?;
        Ok(names.iter().filter_map(|it| it.parse().ok()).collect())
    }

    /// The files of a job, without those that are just being written. Whatever else is
    /// there, and isn't remembered by the store afterwards, is nobody's.
    pub(crate) fn files(&self, job: JobId) -> io::Result<Vec<String>> {
        let mut found = names(&self.dir.join(job.to_string()))?;
        let under_way = self.lock();
        found.retain(|it| !under_way.contains(it.strip_suffix(PART).unwrap_or(it)));
        Ok(found)
    }

    /// Whether the file is there.
    pub(crate) fn has(&self, job: JobId, file: &str) -> io::Result<bool> {
        self.dir.join(job.to_string()).join(file).try_exists()
    }

    /// Removes a job's directory if it is empty.
    pub(crate) fn tidy(&self, job: JobId) {
        // One that isn't empty stays.
        let _ = fs::remove_dir(self.dir.join(job.to_string()));
    }

    /// Bytes of all of them.
    pub(crate) fn usage_bytes(&self) -> io::Result<u64> {
        let mut sum = 0;
        for job in self.jobs()? {
            let dir = self.dir.join(job.to_string());
            let files = names(&dir)?.into_iter();
            let sizes = files.filter_map(|it| fs::symlink_metadata(dir.join(it)).ok());
            sum += sizes.map(|it| it.len()).sum::<u64>();
        }
        Ok(sum)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        // Whole after every line that changes it.
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names in a directory; none where there is no such.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A file that is being written. Dropped, it is deleted, unless it is kept. Its calls block.
pub(crate) struct Draft {
    file: Option<File>,
    path: PathBuf,
    dir: PathBuf,
    name: String,
    hash: Sha256,
    bytes: u64,
    bytes_max: u64,
    /// Bytes since the last look at the disk.
    unlooked: u64,
    is_kept: bool,
    all: Artifacts,
}

/// A file that is durable under its name.
pub(crate) struct Written {
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
}

impl Draft {
    /// Writes on.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<(), Unwritten> {
        let length = piece.len() as u64;
        if self.bytes.saturating_add(length) > self.bytes_max {
            return Err(Unwritten::TooLarge(self.bytes_max));
        }
        self.unlooked += length;
        if self.unlooked >= DISK_LOOK_BYTES {
            self.unlooked = 0;
            if room(&self.dir)?.free_bytes < DISK_LEFT_BYTES {
                return Err(Unwritten::NoSpace);
            }
        }
        if let Some(file) = &mut self.file {
            file.write_all(piece)?;
        }
        self.hash.update(piece);
        self.bytes += length;
        Ok(())
    }

    /// Has all of it on the disk under its name.
    pub(crate) fn finish(&mut self) -> Result<Written, Unwritten> {
        if let Some(file) = self.file.take() {
            file.sync_all()?;
        }
        let path = self.dir.join(&self.name);
        fs::rename(&self.path, &path)?;
        self.path = path;
        sync(&self.dir)?;
        Ok(Written {
            file: self.name.clone(),
            bytes: self.bytes,
            sha256: self.hash.clone().finalize().into(),
        })
    }

    /// The store remembers it, or may do so.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            // What can't be deleted now is found by the reaper.
            let _ = fs::remove_file(&self.path);
        }
        self.all.lock().remove(&self.name);
    }
}

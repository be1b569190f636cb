//! The folder of all job logs.

use std::collections::HashMap;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use danube_redact::Secrets;
use tokio::sync::watch;

use crate::files::Paths;
use crate::index::Index;
use crate::layout::TextFile;
use crate::reader::LogReader;
use crate::sync::Syncer;
use crate::types::{Limits, LogError, Progress};
use crate::writer::LogWriter;

/// The log folder. A cheap handle: clones share it.
#[derive(Clone)]
pub struct JobLogs {
    folder: Arc<Folder>,
}

pub(crate) struct Folder {
    pub(crate) dir: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) syncer: Syncer,
    /// The logs that are being written in this process, one entry a running job.
    live: Mutex<HashMap<String, watch::Sender<Progress>>>,
    /// Bytes that may still be written before the disk is "full".
    #[cfg(test)]
    pub(crate) room: Mutex<Option<usize>>,
    /// Writers leave things as `kill -9` would.
    #[cfg(test)]
    pub(crate) killed: std::sync::atomic::AtomicBool,
}

impl JobLogs {
    /// Opens the folder, makes it if need be (for its owner only), and starts
    /// the thread that syncs.
    ///
    /// # Errors
    /// `InvalidInput` for limits that cannot work; else what the system says.
    pub fn open(dir: &Path, limits: Limits) -> io::Result<Self> {
        limits.check()?;
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        let folder = Folder {
            dir: dir.to_path_buf(),
            limits,
            syncer: Syncer::start()?,
            live: Mutex::default(),
            #[cfg(test)]
            room: Mutex::default(),
            #[cfg(test)]
            killed: std::sync::atomic::AtomicBool::new(false),
        };
        Ok(Self {
            folder: Arc::new(folder),
        })
    }

    /// Opens a job's log for writing. One that exists (an earlier attempt) is
    /// recovered to what its files tell and continued at its logical end.
    ///
    /// # Errors
    /// `BadName`, `InUse`, or what the system says.
    pub fn writer(&self, job: &str, secrets: &Secrets) -> Result<LogWriter, LogError> {
        LogWriter::open(&self.folder, job, secrets)
    }

    /// Opens a job's log for reading: while it is written, after its end, and
    /// after a restart.
    ///
    /// # Errors
    /// `BadName`, `NotFound`, or what the system says.
    pub fn reader(&self, job: &str) -> Result<LogReader, LogError> {
        LogReader::open(&self.folder, job)
    }

    /// How far the log has come, if it is being written in this process. The
    /// last value has `closed` set; it comes once the writer is closed or dropped.
    #[must_use]
    pub fn progress(&self, job: &str) -> Option<watch::Receiver<Progress>> {
        self.folder.live().get(job).map(watch::Sender::subscribe)
    }

    /// Deletes a job's log and returns the bytes freed; 0 if there is none.
    ///
    /// # Errors
    /// `InvalidInput` for a bad id, `ResourceBusy` while the log is being written;
    /// else what the system says.
    pub fn delete(&self, job: &str) -> io::Result<u64> {
        let paths = Paths::new(&self.folder.dir, job)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let live = self.folder.live();
        if live.contains_key(job) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let mut files = vec![paths.text(TextFile::Head)];
        // Most logs fit in their head; only others are worth a look around.
        let index = Index::load(&paths)?;
        let mut tails = index.layout.tails.clone();
        if !tails.is_empty() || !index.layout.closed || index.torn {
            tails = paths.tails()?;
        }
        files.extend(tails.into_iter().map(|it| paths.text(TextFile::Tail(it))));
        // The index goes last: while it is there, the log can be found again.
        files.extend([paths.new_index(), paths.index()]);
        let mut freed = 0;
        for file in files {
            match std::fs::metadata(&file)
                .and_then(|it| std::fs::remove_file(&file).map(|()| it.len()))
            {
                Ok(len) => freed += len,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        drop(live);
        Ok(freed)
    }

    /// Bytes that all files in the folder take.
    ///
    /// # Errors
    /// What the system says.
    pub fn usage_bytes(&self) -> io::Result<u64> {
        let mut sum = 0;
        for entry in std::fs::read_dir(&self.folder.dir)? {
            match entry?.metadata() {
                Ok(it) => sum += it.len(),
                // Deleted meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sum)
    }

    #[cfg(test)]
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// `fdatasync` calls made so far, by the sync thread and by closing logs.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.folder.syncer.syncs()
    }
}

impl Folder {
    fn live(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Progress>>> {
        // Every change leaves the map whole, so a panic elsewhere harms nothing.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_live(&self, job: &str) -> bool {
        self.live().contains_key(job)
    }

    /// Notes that a log is being written. Only one may at a time.
    pub(crate) fn begin(&self, job: &str) -> Result<watch::Sender<Progress>, LogError> {
        let mut live = self.live();
        if live.contains_key(job) {
            return Err(LogError::InUse);
        }
        let start = Progress {
            end: 0,
            closed: false,
        };
        let sender = watch::Sender::new(start);
        live.insert(job.to_owned(), sender.clone());
        Ok(sender)
    }

    pub(crate) fn end(&self, job: &str) {
        self.live().remove(job);
    }
}

//! The folder of all job logs.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use danube_redact::Secrets;
use tokio::sync::watch;

use crate::files::{self, Paths};
use crate::index::Index;
use crate::journal;
use crate::layout::TextFile;
use crate::reader::LogReader;
use crate::state::LogState;
use crate::sync::{Syncer, Tracked};
use crate::types::{Limits, LogError, Progress};
use crate::writer::LogWriter;

/// The log folder. A cheap handle: clones share it.
#[derive(Clone)]
pub struct JobLogs {
    pub(crate) folder: Arc<Folder>,
}

pub(crate) struct Folder {
    pub(crate) dir: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) syncer: Syncer,
    /// The folder as a file: the names of new files are durable once it is synced.
    names: Arc<Tracked>,
    /// The logs that are being changed in this process, one entry a running job.
    busy: Mutex<HashMap<String, Busy>>,
    /// Bytes that may still be written before the disk is "full".
    #[cfg(test)]
    pub(crate) room: Mutex<Option<usize>>,
    /// Writers leave things as `kill -9` would.
    #[cfg(test)]
    pub(crate) killed: std::sync::atomic::AtomicBool,
}

/// Who changes a log.
enum Busy {
    /// Its writer, which can be reached as soon as it is open.
    Written {
        progress: watch::Sender<Progress>,
        state: Weak<Mutex<LogState>>,
    },
    /// Somebody blanks it after its end.
    Blanked,
}

impl JobLogs {
    /// Opens the folder, makes it if need be (for its owner only), completes what
    /// was being blanked when the process died, and starts the thread that syncs.
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
            names: Tracked::folder(File::open(dir)?),
            busy: Mutex::default(),
            #[cfg(test)]
            room: Mutex::default(),
            #[cfg(test)]
            killed: std::sync::atomic::AtomicBool::new(false),
        };
        for job in files::journals(dir)? {
            // Other names are not ours.
            if let Ok(paths) = Paths::new(dir, &job) {
                journal::redo(&folder, &paths)?;
            }
        }
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
        match self.folder.busy().get(job)? {
            Busy::Written { progress, .. } => Some(progress.subscribe()),
            Busy::Blanked => None,
        }
    }

    /// Deletes a job's log and returns the bytes freed; 0 if there is none.
    ///
    /// # Errors
    /// `InvalidInput` for a bad id, `ResourceBusy` while the log is being written;
    /// else what the system says.
    pub fn delete(&self, job: &str) -> io::Result<u64> {
        let paths = Paths::new(&self.folder.dir, job)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let busy = self.folder.busy();
        if busy.contains_key(job) {
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
        files.extend([paths.journal(), paths.new_index(), paths.index()]);
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
        drop(busy);
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

    /// Syncs of files and of the folder made so far, by the sync thread, by closing
    /// logs and by blanking.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.folder.syncer.syncs()
    }

    /// Has `heard` told when the thread that syncs begins a round (`true`) and when that is over, for
    /// whoever watches it. The first one stays.
    pub fn hear_syncs(&self, heard: impl Fn(bool) + Send + Sync + 'static) {
        self.folder.syncer.hear(Box::new(heard));
    }
}

impl Folder {
    fn busy(&self) -> MutexGuard<'_, HashMap<String, Busy>> {
        // Every change leaves the map whole, so a panic elsewhere harms nothing.
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_live(&self, job: &str) -> bool {
        matches!(self.busy().get(job), Some(Busy::Written { .. }))
    }

    /// Notes that a log is being written. Only one may at a time.
    pub(crate) fn begin(&self, job: &str) -> Result<watch::Sender<Progress>, LogError> {
        let start = Progress {
            end: 0,
            closed: false,
        };
        let progress = watch::Sender::new(start);
        let written = Busy::Written {
            progress: progress.clone(),
            state: Weak::new(),
        };
        self.enter(job, written)?;
        Ok(progress)
    }

    fn enter(&self, job: &str, by: Busy) -> Result<(), LogError> {
        let mut busy = self.busy();
        if busy.contains_key(job) {
            return Err(LogError::InUse);
        }
        busy.insert(job.to_owned(), by);
        Ok(())
    }

    /// The writer is open now.
    pub(crate) fn attach(&self, job: &str, open: &Arc<Mutex<LogState>>) {
        if let Some(Busy::Written { state, .. }) = self.busy().get_mut(job) {
            *state = Arc::downgrade(open);
        }
    }

    /// What the log's writer holds, if it is being written.
    pub(crate) fn state_of(&self, job: &str) -> Option<Arc<Mutex<LogState>>> {
        match self.busy().get(job)? {
            Busy::Written { state, .. } => state.upgrade(),
            Busy::Blanked => None,
        }
    }

    pub(crate) fn end(&self, job: &str) {
        self.busy().remove(job);
    }

    /// Keeps writers away until the answer is dropped.
    pub(crate) fn begin_blanking<'a>(&'a self, job: &'a str) -> Result<Blanking<'a>, LogError> {
        self.enter(job, Busy::Blanked)?;
        Ok(Blanking { folder: self, job })
    }

    /// A file was made; its name is synced within a second, with those of all
    /// others made meanwhile.
    ///
    /// Closing a log doesn't wait for that: it would cost a short job a third sync
    /// (4 ms beside 7), and where logs are kept the first two do it already. ext4,
    /// XFS and Btrfs make a new file's name durable with the file. Elsewhere a
    /// power cut in the second after the end can take the log away as a whole; who
    /// asks for it then hears that there is none, never that a part is all.
    pub(crate) fn made_file(&self) {
        self.syncer.wrote(&self.names);
    }

    /// Makes the names of all files made so far durable. Who comes while another
    /// does shares what that one's next sync brings.
    pub(crate) fn sync_dir(&self) -> io::Result<()> {
        self.names.sync_now(&self.syncer)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests make the disk full here")]
    pub(crate) fn write_all_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    #[cfg(test)]
    pub(crate) fn write_all_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut room = self.room.lock().unwrap();
        let fits = room.unwrap_or(usize::MAX).min(bytes.len());
        *room = room.map(|it| it - fits);
        file.write_all_at(&bytes[..fits], at)?;
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// A log that is being blanked after its end.
pub(crate) struct Blanking<'a> {
    folder: &'a Folder,
    job: &'a str,
}

impl Drop for Blanking<'_> {
    fn drop(&mut self) {
        self.folder.end(self.job);
    }
}

//! Takes a backup.
//!
//! The database comes first: every job that was accepted by then is in it, and whatever
//! comes later isn't. Logs follow. One of a job that had ended by then is whole and
//! stays so. One of a job that goes on is cut where it stood just after that moment, so
//! that it is a prefix of what the database says, and the attempt that is begun anew
//! after a restore follows the one that was cut. Traces can be made again, and are
//! copied as they are.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use danube_joblog::{FrozenLog, JobLogs, LogCut, LogError, freeze_stopped};
use danube_model::limits::FILE_BYTES_MAX;
use danube_model::{JobId, Timestamp};
use danube_store::{LogClaim, OpenError, Pinned, Snapshot, Store, StoreError};
use zeroize::Zeroizing;

use crate::manifest::{About, FORMAT, Manifest};
use crate::names::{Item, LogFile, PIPELINE_NAME_BYTES_MAX, is_pipeline_name, log_file};
use crate::write::{Archive, Shorter};

/// Logs that are cut. More than any server runs at once; what is above (jobs that went
/// back to the queue by the thousand) is copied as it is and may begin one attempt twice.
const CUTS_MAX: usize = 16 * 1024;

/// Jobs of which the logs are looked up at once.
const CLAIMS_AT_ONCE: usize = 1_000;

/// Files of the pipelines' directory, as many as a server reads.
const PIPELINES_MAX: usize = 10_000;

/// Names of files that are told as left out; the directory may be full of others.
const LEFT_OUT_MAX: usize = 100;

/// The copy of the database, until it is in the archive.
const COPY: &str = "danube.db.copy";

/// Where a backup comes from.
#[derive(Clone)]
pub struct Source {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Where the pipelines are; only those in the data directory are taken.
    pub pipelines_dir: PathBuf,
    /// Whether what opens secrets goes along: the sealing keys, the admin key, and the
    /// settings file if it lies in the data directory.
    pub with_keys: bool,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The database of a stopped server can't be used.
    #[error("read the database: {0}")]
    Open(#[from] OpenError),
    /// The database can't be read.
    #[error("read the database: {0}")]
    Store(#[from] StoreError),
    /// The copy isn't well, and so the database isn't.
    #[error("the database is damaged ({0}); no backup is made of it")]
    Damaged(String),
    /// A log can't be read.
    #[error("read the log of job {0}: {1}")]
    Log(JobId, #[source] LogError),
    /// A file can't be read, or the archive can't be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Nobody wants it any more.
    #[error("it was stopped")]
    Stopped,
}

/// A backup whose moment has been chosen. Write it soon: the database's log grows until
/// it is copied.
pub struct Backup {
    source: Source,
    pinned: Pinned,
    taken_at: Timestamp,
    logs: Logs,
}

/// Where logs come from.
enum Logs {
    /// They are written meanwhile.
    Serving {
        logs: JobLogs,
        cuts: HashMap<JobId, LogCut>,
    },
    Stopped,
}

impl Backup {
    /// Chooses this moment of a server that works.
    ///
    /// # Errors
    /// When the database or a log can't be read.
    pub fn of_serving(source: Source, store: &Store, logs: &JobLogs) -> Result<Self, TakeError> {
        remove_copy(&source.data_dir)?;
        let taken_at = Timestamp::now();
        let pinned = store.pin()?;
        let mut cuts = HashMap::new();
        for job in pinned.begun(CUTS_MAX)? {
            let cut = logs.cut(&job.to_string());
            let cut = cut.map_err(|error| TakeError::Log(job, error))?;
            cuts.extend(cut.map(|it| (job, it)));
        }
        let logs = logs.clone();
        Ok(Self {
            source,
            pinned,
            taken_at,
            logs: Logs::Serving { logs, cuts },
        })
    }

    /// The same of a directory in which no server works, and none may begin to. Only the
    /// copy of the database is made in it, and removed again.
    ///
    /// # Errors
    /// When there is no database, or it can't be read.
    pub fn of_stopped(source: Source) -> Result<Self, TakeError> {
        remove_copy(&source.data_dir)?;
        Ok(Self {
            pinned: Pinned::of_stopped(&source.data_dir)?,
            source,
            taken_at: Timestamp::now(),
            logs: Logs::Stopped,
        })
    }

    /// Bytes that the copy of the database needs in the data directory, for a moment.
    #[must_use]
    pub fn room_bytes(&self) -> u64 {
        self.pinned.bytes()
    }

    /// Writes the archive. `go_on` is asked while the database is copied.
    ///
    /// # Errors
    /// [`TakeError`]; what was written is no archive then.
    pub fn write(
        self,
        out: impl Write,
        go_on: impl FnMut() -> bool,
    ) -> Result<Manifest, TakeError> {
        let about = About {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at: self.taken_at,
            serving: matches!(self.logs, Logs::Serving { .. }),
            with_keys: self.source.with_keys,
        };
        let keys = self.pinned.seal_keys();
        let copy = Copied::make(self.pinned, &self.source.data_dir, go_on)?;
        copy.snapshot.is_opened_by(&keys)?;
        let mut taking = Taking {
            archive: Archive::new(out, &self.source.data_dir)?,
            source: self.source,
            logs: self.logs,
            found: Found::default(),
            gone: tempfile::tempfile_in(&copy.dir)?,
            gone_bytes: 0,
        };
        taking.archive.text(&Item::About, &json(&about)?)?;
        taking.database(&copy)?;
        taking.keys(&keys)?;
        taking.all_logs(&copy.snapshot)?;
        taking.pipelines()?;
        taking.finish(about, &copy.snapshot)
    }
}

/// A copy of the database in a file that goes with it.
struct Copied {
    snapshot: Snapshot,
    file: File,
    dir: PathBuf,
}

impl Copied {
    fn make(pinned: Pinned, dir: &Path, go_on: impl FnMut() -> bool) -> Result<Self, TakeError> {
        let path = dir.join(COPY);
        let made = pinned.copy_to(&path, go_on);
        let opened = File::open(&path);
        // Open, it lives on without its name; nothing is left behind by a crash later.
        let made = made.map_err(TakeError::from).and_then(|copy| {
            let snapshot = copy.ok_or(TakeError::Stopped)?;
            match snapshot.check(false)?.first() {
                Some(wrong) => Err(TakeError::Damaged(wrong.clone())),
                None => Ok(snapshot),
            }
        });
        let removed = fs::remove_file(&path);
        let snapshot = made?;
        removed?;
        Ok(Self {
            snapshot,
            file: opened?,
            dir: dir.to_owned(),
        })
    }
}

/// From a backup that was killed while it copied.
fn remove_copy(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(COPY)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What was found on the way.
#[derive(Default)]
struct Found {
    logs: u64,
    logs_gone: u64,
    traces: u64,
    pipelines: u64,
    left_out: Vec<String>,
}

struct Taking<W> {
    archive: Archive<W>,
    source: Source,
    logs: Logs,
    found: Found,
    /// Ids of jobs whose logs aren't there, one a line.
    gone: File,
    gone_bytes: u64,
}

impl<W: Write> Taking<W> {
    fn database(&mut self, copy: &Copied) -> Result<(), TakeError> {
        let bytes = copy.file.metadata()?.len();
        self.archive
            .file(&Item::Database, bytes, &copy.file, Shorter::Refuse)?;
        Ok(())
    }

    fn keys(&mut self, seal: &Zeroizing<Vec<u8>>) -> Result<(), TakeError> {
        if !self.source.with_keys {
            return Ok(());
        }
        self.archive.text(&Item::SealKey, seal)?;
        for (item, name) in [
            (Item::AdminKey, "admin.key"),
            (Item::Settings, "danube.toml"),
        ] {
            match small_file(&self.source.data_dir.join(name))? {
                Small::Text(text) => self.archive.text(&item, &Zeroizing::new(text))?,
                Small::TooLarge => self.leave_out(name, "it is too large"),
                Small::None => {}
            }
        }
        Ok(())
    }

    fn all_logs(&mut self, snapshot: &Snapshot) -> Result<(), TakeError> {
        let mut after = 0;
        loop {
            let claims = snapshot.logs(after, CLAIMS_AT_ONCE)?;
            let Some(last) = claims.last() else {
                return Ok(());
            };
            after = last.seq;
            for claim in claims.iter().filter(|it| !it.is_deleted) {
                self.log(claim)?;
                self.trace(claim.job)?;
            }
        }
    }

    fn log(&mut self, claim: &LogClaim) -> Result<(), TakeError> {
        let job = claim.job;
        let frozen = self.freeze(claim);
        let Some(mut frozen) = frozen.map_err(|error| TakeError::Log(job, error))? else {
            if claim.needs_log() {
                let line = format!("{job}\n");
                self.gone.write_all(line.as_bytes())?;
                self.gone_bytes += line.len() as u64;
                self.found.logs_gone += 1;
            }
            return Ok(());
        };
        for file in &mut frozen.files {
            let item = log_file(&file.name).ok_or_else(|| unknown(&file.name))?;
            let shorter = match file.is_index {
                true => Shorter::Fill(0),
                false => Shorter::Refuse,
            };
            self.archive.file(&item, file.bytes, &file.file, shorter)?;
        }
        if let Some((_, places)) = frozen.finish()? {
            let item = Item::Log(job, LogFile::Journal);
            self.archive.text(&item, &places)?;
        }
        self.found.logs += 1;
        Ok(())
    }

    fn freeze(&self, claim: &LogClaim) -> Result<Option<FrozenLog>, LogError> {
        let name = claim.job.to_string();
        match &self.logs {
            Logs::Stopped => freeze_stopped(&self.source.data_dir.join("logs"), &name),
            Logs::Serving { logs, .. } if claim.state.is_terminal() => logs.freeze(&name, None),
            Logs::Serving { logs, cuts } => match cuts.get(&claim.job) {
                Some(cut) => logs.freeze(&name, Some(cut)),
                // It had no log yet.
                None if cuts.len() < CUTS_MAX => Ok(None),
                None => logs.freeze(&name, None),
            },
        }
    }

    fn trace(&mut self, job: JobId) -> Result<(), TakeError> {
        let item = Item::Trace(job);
        let path = self.source.data_dir.join(item.path().unwrap_or_default());
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let bytes = file.metadata()?.len();
        self.archive
            .file(&item, bytes, file, Shorter::Fill(b'\n'))?;
        self.found.traces += 1;
        Ok(())
    }

    /// Pipelines that lie where a restored server looks for them.
    fn pipelines(&mut self) -> Result<(), TakeError> {
        let dir = self.source.data_dir.join("pipelines");
        let same = |path: &Path| path.canonicalize().ok();
        if same(&dir).is_none() || same(&dir) != same(&self.source.pipelines_dir) {
            return Ok(());
        }
        let entries = fs::read_dir(&dir)?.take(PIPELINES_MAX);
        let mut names: Vec<_> = entries
            .map(|it| it.map(|it| it.file_name()))
            .collect::<Result<_, _>>()?;
        names.sort();
        for name in names {
            let path = dir.join(&name);
            let shown = format!("pipelines/{}", name.to_string_lossy());
            match name.to_str() {
                Some(name) if is_pipeline_name(name) => match small_file(&path)? {
                    Small::Text(text) => {
                        self.archive.text(&Item::Pipeline(name.to_owned()), &text)?;
                        self.found.pipelines += 1;
                    }
                    Small::TooLarge => self.leave_out(&shown, "it is too large"),
                    Small::None => {}
                },
                Some(name) if name.len() <= PIPELINE_NAME_BYTES_MAX => {
                    self.leave_out(&shown, "a server reads no such file");
                }
                _ => self.leave_out(&shown, "its name is too long"),
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, name: &str, why: &str) {
        if self.found.left_out.len() < LEFT_OUT_MAX {
            self.found.left_out.push(format!("{name}: {why}"));
        }
    }

    fn finish(mut self, about: About, snapshot: &Snapshot) -> Result<Manifest, TakeError> {
        io::Seek::rewind(&mut self.gone)?;
        self.archive
            .file(&Item::Gone, self.gone_bytes, &self.gone, Shorter::Refuse)?;
        let counts = snapshot.counts()?;
        let (files, bytes) = self.archive.counts();
        let sums_sha256 = self.archive.list()?;
        let manifest = Manifest {
            about,
            schema: snapshot.schema(),
            finished_at: Timestamp::now(),
            jobs: counts.jobs,
            live_jobs: counts.live,
            logs: self.found.logs,
            logs_gone: self.found.logs_gone,
            traces: self.found.traces,
            pipelines: self.found.pipelines,
            files,
            bytes,
            sums_sha256,
            left_out: self.found.left_out,
        };
        self.archive.finish(&json(&manifest)?)?;
        Ok(manifest)
    }
}

/// A file that is read into memory.
enum Small {
    Text(Vec<u8>),
    TooLarge,
    /// There is none, or what is there is no file.
    None,
}

fn small_file(path: &Path) -> io::Result<Small> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Small::None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(Small::None);
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut text)?;
    Ok(match text.len() <= FILE_BYTES_MAX {
        true => Small::Text(text),
        false => Small::TooLarge,
    })
}

fn json(value: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

fn unknown(name: &str) -> io::Error {
    io::Error::other(format!("{name} is no file of a log"))
}

//! Names of a log's files, and reading and writing them at a place.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::layout::TextFile;
use crate::types::LogError;

/// Longest job id: a UUID takes 36.
const JOB_BYTES_MAX: usize = 64;

/// How the name of a log's blanking journal ends.
const JOURNAL_SUFFIX: &str = ".blank";

/// The files of one job's log.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    dir: PathBuf,
    job: String,
}

impl Paths {
    pub(crate) fn new(dir: &Path, job: &str) -> Result<Self, LogError> {
        if !is_job(job) {
            return Err(LogError::BadName);
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            job: job.to_owned(),
        })
    }

    pub(crate) fn job(&self) -> &str {
        &self.job
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.dir.join(format!("{}.idx", self.job))
    }

    /// Where an index is made that takes the place of the old one.
    pub(crate) fn new_index(&self) -> PathBuf {
        self.dir.join(format!("{}.idx.new", self.job))
    }

    /// What is being blanked.
    pub(crate) fn journal(&self) -> PathBuf {
        self.dir.join(format!("{}{JOURNAL_SUFFIX}", self.job))
    }

    pub(crate) fn text(&self, file: TextFile) -> PathBuf {
        match file {
            TextFile::Head => self.dir.join(format!("{}.log", self.job)),
            TextFile::Tail(base) => self.dir.join(format!("{}.tail.{base:020}.log", self.job)),
        }
    }

    /// Logical offsets of the tail files that are there, in order.
    pub(crate) fn tails(&self) -> io::Result<Vec<u64>> {
        let prefix = format!("{}.tail.", self.job);
        let mut tails = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let base: Option<u64> = name
                .to_str()
                .and_then(|it| it.strip_prefix(&prefix)?.strip_suffix(".log")?.parse().ok());
            tails.extend(base);
        }
        tails.sort_unstable();
        Ok(tails)
    }
}

/// Whose log a file with this name belongs to; `None` for a name that is not ours.
pub(crate) fn job_of(name: &str) -> Option<&str> {
    let stem = [".idx.new", ".idx", JOURNAL_SUFFIX, ".log"]
        .iter()
        .find_map(|it| name.strip_suffix(it))?;
    let (job, tail) = match stem.split_once(".tail.") {
        Some((job, base)) => (job, base.parse::<u64>().is_ok() && name.ends_with(".log")),
        None => (stem, true),
    };
    (tail && is_job(job)).then_some(job)
}

fn is_job(job: &str) -> bool {
    let fits = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase() || b == b'-';
    !job.is_empty() && job.len() <= JOB_BYTES_MAX && job.bytes().all(fits)
}

/// The jobs in `dir` whose logs were being blanked when the process died.
pub(crate) fn journals(dir: &Path) -> io::Result<Vec<String>> {
    let mut jobs = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let job = name.to_str().and_then(|it| it.strip_suffix(JOURNAL_SUFFIX));
        jobs.extend(job.map(str::to_owned));
    }
    Ok(jobs)
}

/// Opens for reading and writing, for the owner only; makes it if need be.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Reads up to `len` bytes from `at`; fewer only at the end of the file.
pub(crate) fn read_at(file: &File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let have = read_into(file, at, &mut bytes)?;
    bytes.truncate(have);
    Ok(bytes)
}

/// Fills `buf` from `at` and says how much that was; less only at the end of the
/// file.
pub(crate) fn read_into(file: &File, at: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < buf.len() {
        match file.read_at(&mut buf[have..], at + have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

/// `None` when the file is not there.
pub(crate) fn open_existing(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

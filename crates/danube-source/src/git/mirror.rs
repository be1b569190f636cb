//! A bare repository that jobs share, its locks, and the end of its life.
//!
//! Two locks, held by the file that they are on, so a killed worker holds none:
//! whoever fetches has the first alone; whoever reads a tree has the second
//! beside others; whoever removes the mirror has both alone.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::access::Access;
use super::run::git;
use super::{ATTRIBUTES, Wanted};
use crate::download::hex;
use crate::error::SourceError;
use crate::fetch::Watch;
use crate::limits::{LOOK_EVERY, MIRROR_AGE_MAX, PACKS_MAX};

/// Digits of a mirror's name: nobody finds two addresses with the same.
const NAME_DIGITS: usize = 40;

const LOOK: &str = "look at the cached mirror";

/// The mirror of one address and one credential.
pub(super) struct Mirror {
    directory: PathBuf,
    repository: PathBuf,
}

impl Mirror {
    pub(super) fn of(cache: &Path, wanted: &Wanted<'_>) -> Self {
        let whose = wanted.credential.map_or("", |it| it.id());
        let url = normal(wanted.repo);
        let mut name = digest(&format!("{whose}\0{url}"));
        name.truncate(NAME_DIGITS);
        Self::at(cache.join(name))
    }

    fn at(directory: PathBuf) -> Self {
        Self {
            repository: directory.join("mirror.git"),
            directory,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.repository
    }

    /// The ref that keeps what was fetched for a ref of the server.
    pub(super) fn own_ref(&self, git_ref: &str) -> String {
        format!("refs/danube/{}", digest(git_ref))
    }

    pub(super) fn lock_to_fetch(&self, watch: &Watch<'_>) -> Result<File, SourceError> {
        self.lock(
            "fetch.lock",
            FlockOperation::NonBlockingLockExclusive,
            watch,
        )
    }

    /// Also notes that the mirror is used now.
    pub(super) fn lock_to_use(&self, watch: &Watch<'_>) -> Result<File, SourceError> {
        let file = self.lock("use.lock", FlockOperation::NonBlockingLockShared, watch)?;
        // Only the order in which mirrors are removed depends on it.
        let _ = file.set_modified(SystemTime::now());
        Ok(file)
    }

    fn lock(
        &self,
        name: &str,
        how: FlockOperation,
        watch: &Watch<'_>,
    ) -> Result<File, SourceError> {
        loop {
            let locked = self.try_lock(name, how);
            if let Some(file) = locked.map_err(SourceError::io("lock the cached mirror"))? {
                return Ok(file);
            }
            watch.check("another job that fetches from the same repository")?;
            thread::sleep(LOOK_EVERY);
        }
    }

    fn try_lock(&self, name: &str, how: FlockOperation) -> io::Result<Option<File>> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        let path = self.directory.join(name);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = match options.open(&path) {
            Ok(file) => file,
            // The whole mirror was removed between the two calls.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match flock(&file, how) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // A file that was removed meanwhile locks nothing.
        let same = fs::metadata(&path)
            .is_ok_and(|it| it.ino() == file.metadata().map_or(0, |it| it.ino()));
        Ok(same.then_some(file))
    }

    /// Makes the mirror when it isn't there, and ready for a fetch when it is.
    /// The lock to fetch is held.
    pub(super) fn prepare(&self, access: &Access, watch: &Watch<'_>) -> Result<(), SourceError> {
        if self.packs() > PACKS_MAX {
            // Whoever reads from it goes first; the next job will find it idle.
            let how = FlockOperation::NonBlockingLockExclusive;
            let idle = self.try_lock("use.lock", how);
            if let Ok(Some(_idle)) = idle {
                self.delete()?;
            }
        }
        if self.repository.join("HEAD").is_file() {
            // Nobody else fetches here now: locks are those of a git that was killed.
            remove_locks(&self.repository).map_err(SourceError::io(LOOK))?;
            return Ok(());
        }
        self.delete()?;
        let path = self.repository.to_string_lossy();
        let args = ["init", "--quiet", "--bare", "--template=", "--", &path];
        let output = git(&args, access, None, watch)?;
        let made = output.success && self.repository.join("objects").is_dir();
        if !made {
            let error = io::Error::other(output.said);
            return Err(SourceError::io("make a mirror")(error));
        }
        let info = self.repository.join("info");
        fs::create_dir_all(&info)
            .and_then(|()| fs::write(info.join("attributes"), ATTRIBUTES))
            .map_err(SourceError::io("make a mirror"))
    }

    /// Whether all that the mirror's refs need is there.
    pub(super) fn is_sound(&self, access: &Access, watch: &Watch<'_>) -> Result<bool, SourceError> {
        let args = [
            "fsck",
            "--connectivity-only",
            "--no-dangling",
            "--no-progress",
        ];
        Ok(git(&args, access, Some(self), watch)?.success)
    }

    /// Removes the mirror once nobody reads from it. The lock to fetch is held.
    pub(super) fn remove(&self, watch: &Watch<'_>) -> Result<(), SourceError> {
        let alone = FlockOperation::NonBlockingLockExclusive;
        let _using = self.lock("use.lock", alone, watch)?;
        self.delete()
    }

    fn delete(&self) -> Result<(), SourceError> {
        match fs::remove_dir_all(&self.repository) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SourceError::io("remove a mirror")(error))
            }
            _ => Ok(()),
        }
    }

    fn packs(&self) -> usize {
        self.pack_files()
            .filter(|it| it.path().extension().is_some_and(|it| it == "pack"))
            .count()
    }

    /// Bytes of its objects: all of them lie in packs.
    pub(super) fn bytes(&self) -> u64 {
        self.pack_files()
            .filter_map(|it| Some(it.metadata().ok()?.len()))
            .sum()
    }

    fn pack_files(&self) -> impl Iterator<Item = fs::DirEntry> {
        let files = fs::read_dir(self.repository.join("objects/pack"));
        files.into_iter().flatten().filter_map(Result::ok)
    }
}

fn remove_locks(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|it| it == "lock") {
            fs::remove_file(&path)?;
        } else if entry.file_type()?.is_dir() && entry.file_name() != "objects" {
            remove_locks(&path)?;
        } else if path.file_name().is_some_and(|it| it == "objects") {
            // Packs that were never finished would only take room.
            for pack in fs::read_dir(path.join("pack")).into_iter().flatten() {
                let pack = pack?;
                if pack.file_name().to_string_lossy().starts_with("tmp_") {
                    fs::remove_file(pack.path())?;
                }
            }
        }
    }
    Ok(())
}

/// Removes mirrors that nobody used for long, and those that were used longest
/// ago while all together are too large. One that is in use stays.
pub(super) fn tidy(cache: &Path, bytes_max: u64) {
    let now = SystemTime::now();
    let entries = fs::read_dir(cache).into_iter().flatten();
    let mut mirrors: Vec<(SystemTime, u64, Mirror)> = entries
        .filter_map(|entry| {
            let mirror = Mirror::at(entry.ok()?.path());
            let used = fs::metadata(mirror.directory.join("use.lock"));
            let used = used.and_then(|it| it.modified()).unwrap_or(now);
            Some((used, mirror.bytes(), mirror))
        })
        .collect();
    mirrors.sort_by_key(|(used, ..)| *used);
    let mut all: u64 = mirrors.iter().map(|(_, bytes, _)| bytes).sum();
    for (used, bytes, mirror) in mirrors {
        let old = now.duration_since(used).is_ok_and(|it| it > MIRROR_AGE_MAX);
        if (old || all > bytes_max) && forget(&mirror) {
            all -= bytes;
        }
    }
}

/// Removes a mirror with its locks, unless somebody holds one.
fn forget(mirror: &Mirror) -> bool {
    let alone = FlockOperation::NonBlockingLockExclusive;
    let Ok(Some(_fetching)) = mirror.try_lock("fetch.lock", alone) else {
        return false;
    };
    let Ok(Some(_using)) = mirror.try_lock("use.lock", alone) else {
        return false;
    };
    // The repository first: without its locks it would be anybody's.
    mirror.delete().is_ok() && fs::remove_dir_all(&mirror.directory).is_ok()
}

/// One address for those that mean the same repository.
fn normal(repo: &str) -> String {
    let repo = repo.trim_end_matches('/');
    let Some((scheme, rest)) = repo.split_once("://") else {
        return repo.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // Hosts are the same in any case; users aren't.
    let (user, host) = authority.split_at(authority.rfind('@').map_or(0, |it| it + 1));
    let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    format!("{scheme}://{user}{host}{path}")
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

//! The directory that a restore makes: nothing of it can be seen under its name before
//! all of it is there and durable.
//!
//! It is made beside, and renamed. Where that can't be done (the directory is a mount
//! point, or only it belongs to whoever restores), it is made inside, and its files are
//! moved up at the end: first the database, last the key. A server that is started on
//! anything between refuses, because the key is missing.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// What is moved up first, so that no server takes what is there for a new directory.
const FIRST: &str = "danube.db";

/// What is moved up last: without it no server begins.
const LAST: &str = "seal.key";

/// Why a directory can't be restored into.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// Something is there.
    #[error("{} isn't empty: it holds {name}", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// One of the things in it.
        name: String,
    },
    /// It is no directory.
    #[error("{} is no directory", .0.display())]
    NoDirectory(PathBuf),
    /// The system refused.
    #[error("{doing}: {source}")]
    Io {
        /// A verb phrase.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A directory under way to its name.
pub(crate) struct Target {
    /// Its name in the end.
    dir: PathBuf,
    /// Where it is made. Removed with this, unless all went well.
    staging: TempDir,
    is_inside: bool,
    /// Who is to own it, when that isn't us.
    owner: Option<(u32, u32)>,
}

impl Target {
    /// Looks at the name, and makes a place beside it. Changes nothing that is there.
    pub(crate) fn prepare(dir: &Path) -> Result<Self, TargetError> {
        let io = |doing: &str, path: &Path| {
            let doing = format!("{doing} {}", path.display());
            move |source| TargetError::Io { doing, source }
        };
        let existing = match fs::metadata(dir) {
            Ok(meta) if meta.is_dir() => Some(meta),
            Ok(_) => return Err(TargetError::NoDirectory(dir.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io("look at", dir)(error)),
        };
        // Through links, to where it lies.
        let dir = match &existing {
            Some(_) => dir.canonicalize().map_err(io("look at", dir))?,
            None => std::path::absolute(dir).map_err(io("look at", dir))?,
        };
        if existing.is_some() {
            let mut entries = fs::read_dir(&dir).map_err(io("look into", &dir))?;
            if let Some(entry) = entries.next() {
                let entry = entry.map_err(io("look into", &dir))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                return Err(TargetError::NotEmpty { dir, name });
            }
        }
        let parent = dir.parent().unwrap_or(Path::new("/")).to_owned();
        let is_mount = existing
            .as_ref()
            .is_some_and(|meta| fs::metadata(&parent).is_ok_and(|above| above.dev() != meta.dev()));
        let owner = existing.as_ref().map(|it| (it.uid(), it.gid()));
        let owner = owner.filter(|it| is_root() && it.0 != 0);
        let inside = || make(&dir, &dir).map_err(io("make a directory in", &dir));
        let (staging, is_inside) = if is_mount {
            (inside()?, true)
        } else {
            match make(&parent, &dir) {
                Ok(staging) => (staging, false),
                Err(_) if existing.is_some() => (inside()?, true),
                Err(error) => return Err(io("make a directory in", &parent)(error)),
            }
        };
        Ok(Self {
            dir,
            staging,
            is_inside,
            owner,
        })
    }

    /// Where to put the files meanwhile.
    pub(crate) fn staging(&self) -> &Path {
        self.staging.path()
    }

    /// Makes everything durable and gives it its name.
    pub(crate) fn commit(self) -> Result<(), TargetError> {
        let fail = |doing: &'static str| {
            move |source| TargetError::Io {
                doing: doing.to_owned(),
                source,
            }
        };
        let made = self.staging.path();
        // As a server makes its own: as root, jobs walk through it to their workspaces.
        let mode = if is_root() { 0o711 } else { 0o700 };
        fs::set_permissions(made, fs::Permissions::from_mode(mode))
            .map_err(fail("set the mode of the directory"))?;
        if let Some(owner) = self.owner {
            give(made, owner).map_err(fail("give the files to the directory's owner"))?;
        }
        let file = File::open(made).map_err(fail("open the directory"))?;
        rustix::fs::syncfs(&file)
            .map_err(io::Error::from)
            .map_err(fail("write the files to the disk"))?;
        if self.is_inside {
            move_up(made, &self.dir).map_err(fail("move the files to their place"))?;
        } else {
            let renamed = fs::rename(made, &self.dir);
            renamed.map_err(fail("rename the directory (is something in it now?)"))?;
            // It has its name; nothing is to be removed.
            let _ = self.staging.keep();
        }
        let parent = self.dir.parent().unwrap_or(Path::new("/"));
        for dir in [&*self.dir, parent] {
            let synced = File::open(dir).and_then(|it| it.sync_all());
            synced.map_err(fail("write the directory's name to the disk"))?;
        }
        Ok(())
    }
}

fn make(place: &Path, dir: &Path) -> io::Result<TempDir> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    tempfile::Builder::new()
        .prefix(&format!(".{name}.restore-"))
        .tempdir_in(place)
}

/// Gives all of a tree to somebody.
fn give(path: &Path, owner: (u32, u32)) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(owner.0), Some(owner.1))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), owner)?;
        }
    }
    Ok(())
}

fn move_up(from: &Path, to: &Path) -> io::Result<()> {
    let mut names: Vec<_> = fs::read_dir(from)?
        .map(|it| it.map(|it| it.file_name()))
        .collect::<Result<_, _>>()?;
    names.sort_by_key(|it| match it.to_str() {
        Some(FIRST) => 0,
        Some(LAST) => 2,
        _ => 1,
    });
    for name in names {
        if to.join(&name).exists() {
            return Err(io::Error::other(format!("{} is there", name.display())));
        }
        fs::rename(from.join(&name), to.join(&name))?;
        // Each in turn: the order must hold after a power cut, too.
        File::open(to)?.sync_all()?;
    }
    Ok(())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

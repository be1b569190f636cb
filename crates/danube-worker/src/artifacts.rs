//! The files of a step that are kept: found in the job's source by the step's patterns, and
//! opened so that nothing outside of it is ever read.
//!
//! The worker may read what the job may not, so every open asks the kernel to stay below
//! the source and to follow no link (`openat2`), and a file that isn't the job's own, such as
//! another name of one elsewhere, is passed over.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use danube_model::{ARTIFACT_NAME_BYTES_MAX, ARTIFACTS_MAX, Globs, wrong_artifact_name};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, statat};
use rustix::io::Errno;

/// Names that are looked at for one step.
const NAMES_MAX: usize = 200_000;

/// Files that are passed over and named; of more it is only known that there were more.
const PASSED_OVER_MAX: usize = 10;

/// A file is one of several names of something that isn't the job's.
const NOT_OWN: &str = "it isn't the job's own file";

/// What the patterns of a step found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Paths below the source, in order.
    pub(crate) files: BTreeSet<String>,
    /// What fits and isn't kept, with the reason: the first few.
    pub(crate) passed_over: Vec<(String, &'static str)>,
    /// How many there are of these.
    pub(crate) passed_over_count: usize,
    /// The places of the patterns that nothing fits.
    pub(crate) without: Vec<usize>,
}

/// Why there is nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfound {
    /// Whoever waits for it doesn't any more.
    #[error("the step was stopped")]
    Stopped,
    /// There is too much to look at.
    #[error(
        "there are more than {NAMES_MAX} names to look at; say more closely where the files are"
    )]
    TooManyNames,
    /// More fit than a job may leave.
    #[error("more than {ARTIFACTS_MAX} files fit, and a job keeps {ARTIFACTS_MAX}")]
    TooMany,
    /// A directory can't be read.
    #[error("read the directory {0}: {1}")]
    Io(String, io::Error),
}

/// The source of a job, to find files in and to open them.
pub(crate) struct Source {
    root: OwnedFd,
    /// Whose its files are.
    owner: u32,
}

impl Source {
    /// Opens it. What a job put in its place isn't followed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty())?;
        let owner = fstat(&root)?.st_uid;
        Ok(Self { root, owner })
    }

    /// Opens a file in it for reading; why not, for people, where it may not be read.
    pub(crate) fn file(&self, path: &str) -> Result<File, String> {
        // A pipe would be waited for, a device may act on it.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.beneath(path, flags).map(File::from);
        let file = file.map_err(|error| io::Error::from(error).to_string())?;
        let found = file.metadata().map_err(|error| error.to_string())?;
        if !found.is_file() || found.uid() != self.owner {
            return Err(NOT_OWN.to_owned());
        }
        Ok(file)
    }

    /// Looks for what the patterns name, as long as `is_over` doesn't say that it's enough.
    pub(crate) fn find(&self, globs: &Globs, is_over: &dyn Fn() -> bool) -> Result<Found, Unfound> {
        let mut look = Look {
            source: self,
            globs,
            found: Found::default(),
            fitted: BTreeSet::new(),
            names: 0,
            waiting: vec![String::new()],
        };
        while let Some(directory) = look.waiting.pop() {
            look.look_into(&directory, is_over)?;
        }
        let Look {
            mut found, fitted, ..
        } = look;
        found.without = (0..globs.count())
            .filter(|it| !fitted.contains(it))
            .collect();
        Ok(found)
    }

    fn beneath(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let path = if path.is_empty() { "." } else { path };
        let flags = flags | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), how)
    }
}

/// One walk.
struct Look<'a> {
    source: &'a Source,
    globs: &'a Globs,
    found: Found,
    fitted: BTreeSet<usize>,
    names: usize,
    /// Directories to look into.
    waiting: Vec<String>,
}

impl Look<'_> {
    fn look_into(&mut self, directory: &str, is_over: &dyn Fn() -> bool) -> Result<(), Unfound> {
        let failed = |error: Errno| Unfound::Io(directory.to_owned(), error.into());
        let opened = match self
            .source
            .beneath(directory, OFlags::RDONLY | OFlags::DIRECTORY)
        {
            // Gone since, or a link in its place: then nothing is there.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !directory.is_empty() => {
                return Ok(());
            }
            opened => opened.map_err(failed)?,
        };
        for entry in Dir::read_from(&opened).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.names += 1;
            if self.names > NAMES_MAX {
                return Err(Unfound::TooManyNames);
            }
            if is_over() {
                return Err(Unfound::Stopped);
            }
            let kind = match entry.file_type() {
                FileType::Unknown => kind(&opened, name).unwrap_or(FileType::Unknown),
                kind => kind,
            };
            let name = name.to_string_lossy();
            let path = match directory {
                "" => name.into_owned(),
                above => format!("{above}/{name}"),
            };
            if kind == FileType::Directory {
                self.directory(path);
            } else {
                self.file(path, kind)?;
            }
        }
        Ok(())
    }

    fn directory(&mut self, path: String) {
        // What lies below one with such a path has no name that an artifact may have.
        if path.len() < ARTIFACT_NAME_BYTES_MAX && self.globs.reach(&path) {
            self.waiting.push(path);
        }
    }

    fn file(&mut self, path: String, kind: FileType) -> Result<(), Unfound> {
        let fitting: Vec<usize> = self.globs.of(&path).collect();
        if fitting.is_empty() {
            return Ok(());
        }
        self.fitted.extend(fitting);
        let why = match kind {
            FileType::RegularFile => wrong_artifact_name(&path)
                .map(|_| "no artifact can be called that")
                .or_else(|| path.contains('\u{fffd}').then_some("its name isn't UTF-8")),
            FileType::Symlink => Some("it is a link"),
            _ => Some("it is no regular file"),
        };
        let why = why.or_else(|| self.is_others(&path).then_some(NOT_OWN));
        if let Some(why) = why {
            self.found.passed_over_count += 1;
            if self.found.passed_over.len() < PASSED_OVER_MAX {
                self.found.passed_over.push((path, why));
            }
            return Ok(());
        }
        self.found.files.insert(path);
        if self.found.files.len() as u64 > ARTIFACTS_MAX {
            return Err(Unfound::TooMany);
        }
        Ok(())
    }

    /// Whether a regular file belongs to somebody else.
    fn is_others(&self, path: &str) -> bool {
        let opened = self.source.beneath(path, OFlags::PATH | OFlags::NOFOLLOW);
        let found = opened.and_then(|it| fstat(it.as_fd()));
        found.is_ok_and(|it| it.st_uid != self.source.owner)
    }
}

fn kind(directory: &OwnedFd, name: &std::ffi::CStr) -> rustix::io::Result<FileType> {
    let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(found.st_mode))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn globs(texts: &[&str]) -> Globs {
        let texts: Vec<String> = texts.iter().map(|it| (*it).to_owned()).collect();
        Globs::new(&texts).unwrap()
    }

    #[test]
    fn what_fits_is_found_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (source, outside) = (dir.path().join("source"), dir.path().join("outside"));
        for it in [&source.join("a/b"), &outside] {
            fs::create_dir_all(it).unwrap();
        }
        fs::write(outside.join("secret.txt"), "secret").unwrap();
        for it in ["a/1.txt", "a/b/2.txt", "a/b/3.md", "back\\slash.txt"] {
            fs::write(source.join(it), it).unwrap();
        }
        symlink(&outside, source.join("a/out")).unwrap();
        symlink(outside.join("secret.txt"), source.join("a/4.txt")).unwrap();
        let opened = Source::open(&source).unwrap();
        let all = globs(&["**/*.txt", "a/**", "a/out/*", "none"]);
        let found = opened.find(&all, &|| false).unwrap();
        let files: Vec<&str> = found.files.iter().map(String::as_str).collect();
        assert_eq!(files, ["a/1.txt", "a/b/2.txt", "a/b/3.md"]);
        let mut passed = found.passed_over.clone();
        passed.sort();
        let link = "it is a link";
        let expected = [
            ("a/4.txt", link),
            ("a/out", link),
            ("back\\slash.txt", "no artifact can be called that"),
        ];
        assert_eq!(passed, expected.map(|(path, why)| (path.to_owned(), why)));
        assert_eq!((found.passed_over_count, found.without), (3, vec![2, 3]));
        let mut text = String::new();
        opened
            .file("a/b/2.txt")
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "a/b/2.txt");
        for path in ["a/4.txt", "a/out/secret.txt", "../outside/secret.txt", "a"] {
            assert!(opened.file(path).is_err(), "{path}");
        }
        // Only root can give a file away.
        if std::os::unix::fs::chown(source.join("a/1.txt"), Some(12_345), None).is_ok() {
            let found = opened.find(&globs(&["a/1.txt"]), &|| false).unwrap();
            assert_eq!(found.passed_over, [("a/1.txt".to_owned(), NOT_OWN)]);
            assert_eq!(opened.file("a/1.txt").unwrap_err(), NOT_OWN);
        }
        symlink(&outside, dir.path().join("instead")).unwrap();
        assert!(Source::open(&dir.path().join("instead")).is_err());
    }

    #[test]
    fn a_look_ends_when_nobody_waits_and_where_it_is_too_much() {
        let dir = tempfile::tempdir().unwrap();
        for it in 0..=ARTIFACTS_MAX {
            fs::write(dir.path().join(it.to_string()), "").unwrap();
        }
        let source = Source::open(dir.path()).unwrap();
        let stopped = source.find(&globs(&["*"]), &|| true);
        assert!(matches!(stopped, Err(Unfound::Stopped)));
        let many = source.find(&globs(&["*"]), &|| false);
        assert!(matches!(many, Err(Unfound::TooMany)));
        let some = source.find(&globs(&["1*"]), &|| false).unwrap();
        assert_eq!(some.files.len(), 112);
    }
}

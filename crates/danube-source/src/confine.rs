//! Writes the files of a source below one directory, whatever they are called.
//!
//! Three walls stand behind each other. Names are checked as text. Every open
//! asks the kernel to stay below the directory and to follow no link
//! (`openat2`). Links are made last, so that while files are written there is
//! none that could lead anywhere, and each is then resolved once to see that it
//! stays inside.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use danube_model::playbook::source::PATH_BYTES_MAX;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::SourceError;
use crate::fetch::Watch;
use crate::limits::{DEPTH_MAX, ENTRIES_MAX, UNPACKED_BYTES_MAX};

/// Bytes of one file name: what Linux takes.
const NAME_BYTES_MAX: usize = 255;

/// Bytes that are copied at once.
const PIECE_BYTES: usize = 64 * 1024;

const NOT_INSIDE: &str = "whose name leads out of the archive or can't be a file's";
const TWICE: &str = "whose name stands there twice";
const LINK_OUT: &str = "a link that leads out of the source";

/// The one directory that is written to.
pub(crate) struct Confined<'w> {
    path: PathBuf,
    root: OwnedFd,
    watch: &'w Watch<'w>,
    strip: usize,
    names: HashSet<PathBuf>,
    /// Which of the names are directories: those may be named again.
    directories: HashSet<PathBuf>,
    links: Vec<(PathBuf, Vec<u8>)>,
    bytes: u64,
    most: Most,
}

/// How much is written at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    /// Files, directories and links.
    pub(crate) entries: usize,
    /// Bytes of all files together.
    pub(crate) bytes: u64,
}

impl Default for Most {
    fn default() -> Self {
        Self {
            entries: ENTRIES_MAX,
            bytes: UNPACKED_BYTES_MAX,
        }
    }
}

impl<'w> Confined<'w> {
    /// Writes below `path`, which must be there; `strip` leading directories
    /// are taken off every name.
    pub(crate) fn open(
        path: &Path,
        strip: usize,
        watch: &'w Watch<'w>,
    ) -> Result<Self, SourceError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(io::Error::from)
            .map_err(SourceError::io("open the job's directory"))?;
        Ok(Self {
            path: path.to_owned(),
            root,
            watch,
            strip,
            names: HashSet::new(),
            directories: HashSet::new(),
            links: Vec::new(),
            bytes: 0,
            most: Most::default(),
        })
    }

    /// The same with other bounds.
    pub(crate) fn at_most(self, most: Most) -> Self {
        Self { most, ..self }
    }

    /// Removes all that was written, to begin anew.
    pub(crate) fn restart(&mut self) -> Result<(), SourceError> {
        clear(&self.path).map_err(SourceError::io("remove what was fetched"))?;
        self.names.clear();
        self.directories.clear();
        self.links.clear();
        self.bytes = 0;
        Ok(())
    }

    /// Bytes of all files so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes a directory. One that is there is left as it is.
    pub(crate) fn directory(&mut self, name: &[u8]) -> Result<(), SourceError> {
        match self.inside(name)? {
            Some(path) => self.make_directories(&path, name),
            None => Ok(()),
        }
    }

    /// Writes a file. Of its mode only whether its owner may execute it is kept.
    pub(crate) fn file(
        &mut self,
        name: &[u8],
        executable: bool,
        content: &mut dyn Read,
    ) -> Result<(), SourceError> {
        let Some(path) = self.inside(name)? else {
            return Ok(());
        };
        self.claim(&path, name)?;
        let parent = self.parent(&path, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = if executable { 0o755 } else { 0o644 };
        let mode = Mode::from_raw_mode(mode);
        let file = beneath(&parent, last(&path), flags | OFlags::NOFOLLOW, mode)
            .map_err(|error| refused(name, error))?;
        let mut file = File::from(file);
        self.copy(content, &mut file)?;
        // The process's umask isn't the source's business.
        rustix::fs::fchmod(&file, mode)
            .map_err(io::Error::from)
            .map_err(SourceError::io("set the mode of a file"))
    }

    /// Notes a symbolic link; [`Confined::finish`] makes it.
    pub(crate) fn link(&mut self, name: &[u8], target: &[u8]) -> Result<(), SourceError> {
        let Some(path) = self.inside(name)? else {
            return Ok(());
        };
        self.claim(&path, name)?;
        if !stays_inside(&path, target) {
            return Err(SourceError::entry(name, LINK_OUT));
        }
        self.links.push((path, target.to_vec()));
        Ok(())
    }

    /// Makes a file that is the same as one that came before: what a hard link
    /// means. It is a copy, so that no two names share what a job changes.
    pub(crate) fn same(&mut self, name: &[u8], other: &[u8]) -> Result<(), SourceError> {
        const NOTHING: &str = "a hard link to no file before it";
        let Some(other) = self.inside(other)? else {
            return Err(SourceError::entry(name, NOTHING));
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = beneath(&self.root, &other, flags, Mode::empty())
            .map(File::from)
            .map_err(|_| SourceError::entry(name, NOTHING))?;
        let metadata = file.metadata().map_err(SourceError::io("look at a file"))?;
        if !metadata.is_file() {
            return Err(SourceError::entry(name, NOTHING));
        }
        let executable = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o100 != 0;
        self.file(name, executable, &mut &file)
    }

    /// Makes the links, and sees that each of them stays inside.
    pub(crate) fn finish(&mut self) -> Result<(), SourceError> {
        for (path, target) in &std::mem::take(&mut self.links) {
            let name = path.as_os_str().as_bytes();
            let parent = self.parent(path, name)?;
            let target = Path::new(std::ffi::OsStr::from_bytes(target));
            rustix::fs::symlinkat(target, &parent, last(path))
                .map_err(|error| refused(name, error))?;
            // Kept for the second look: only all of them together lead somewhere.
            self.links.push((path.clone(), Vec::new()));
        }
        for (path, _) in &self.links {
            match resolve(&self.root, path, OFlags::PATH | OFlags::CLOEXEC) {
                // A link to what isn't there leads nowhere, and so not out.
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(Errno::XDEV | Errno::LOOP) => {
                    return Err(SourceError::entry(path.as_os_str().as_bytes(), LINK_OUT));
                }
                Err(error) => return Err(refused(path.as_os_str().as_bytes(), error)),
            }
        }
        Ok(())
    }

    /// The path below the directory that `name` means; none when all of it is
    /// taken off.
    fn inside(&mut self, name: &[u8]) -> Result<Option<PathBuf>, SourceError> {
        self.watch.check("unpacking the source")?;
        let text = std::str::from_utf8(name)
            .map_err(|_| SourceError::entry(name, "whose name isn't UTF-8"))?;
        let fits = text.len() <= PATH_BYTES_MAX
            && !text.starts_with('/')
            && !text.contains('\\')
            && !text.chars().any(char::is_control);
        if !fits {
            return Err(SourceError::entry(name, NOT_INSIDE));
        }
        // `./a//b/` is how tar writes `a/b`.
        let parts: Vec<&str> = text
            .split('/')
            .filter(|it| !matches!(*it, "" | "."))
            .collect();
        if parts
            .iter()
            .any(|it| *it == ".." || it.len() > NAME_BYTES_MAX)
        {
            return Err(SourceError::entry(name, NOT_INSIDE));
        }
        if parts.len() > DEPTH_MAX {
            return Err(SourceError::entry(name, "which lies too deep"));
        }
        let path: PathBuf = parts.iter().skip(self.strip).collect();
        Ok((!path.as_os_str().is_empty()).then_some(path))
    }

    /// Notes a name, and refuses one that was there: whoever looks at an archive
    /// with another tool may see the other one.
    fn claim(&mut self, path: &Path, name: &[u8]) -> Result<(), SourceError> {
        if !self.names.insert(path.to_owned()) {
            return Err(SourceError::entry(name, TWICE));
        }
        self.count()
    }

    fn count(&self) -> Result<(), SourceError> {
        if self.names.len() > self.most.entries {
            return Err(SourceError::too_many(self.most.entries));
        }
        Ok(())
    }

    fn make_directories(&mut self, path: &Path, name: &[u8]) -> Result<(), SourceError> {
        if self.directories.contains(path) || path.as_os_str().is_empty() {
            return Ok(());
        }
        let above = path.parent().unwrap_or(Path::new("")).to_owned();
        self.make_directories(&above, name)?;
        self.claim(path, name)?;
        let parent = self.open_directory(&above, name)?;
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(&parent, last(path), mode).map_err(|error| refused(name, error))?;
        rustix::fs::chmodat(&parent, last(path), mode, AtFlags::empty())
            .map_err(|error| refused(name, error))?;
        self.directories.insert(path.to_owned());
        Ok(())
    }

    fn parent(&mut self, path: &Path, name: &[u8]) -> Result<OwnedFd, SourceError> {
        let above = path.parent().unwrap_or(Path::new("")).to_owned();
        self.make_directories(&above, name)?;
        self.open_directory(&above, name)
    }

    fn open_directory(&self, path: &Path, name: &[u8]) -> Result<OwnedFd, SourceError> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        beneath(&self.root, path, flags, Mode::empty()).map_err(|error| refused(name, error))
    }

    fn copy(&mut self, from: &mut dyn Read, to: &mut File) -> Result<(), SourceError> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            self.watch.check("unpacking the source")?;
            let count = match from.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(SourceError::Archive(error.to_string())),
            };
            self.bytes += count as u64;
            let most = self.most.bytes;
            if self.bytes > most {
                let what = format!("more than {most} bytes when unpacked");
                return Err(SourceError::TooLarge(what));
            }
            to.write_all(&piece[..count])
                .map_err(SourceError::io("write a file of the source"))?;
        }
    }
}

/// Removes everything below the directory, which itself stays.
pub(crate) fn clear(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Opens a file of a source for reading. Links are followed as long as they stay
/// inside; what isn't a plain file isn't opened.
pub(crate) fn open_file(root: &Path, path: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, root, flags, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(resolve(&root, Path::new(path), flags)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no plain file"));
    }
    Ok(file)
}

/// Tries to resolve a path with `..` in it while anything is renamed on the
/// machine: the kernel can't tell then whether it stays below, and says so. Each
/// try takes microseconds.
const TRIES_MAX: usize = 10_000;

/// Opens what a path means, links followed as long as they stay below.
fn resolve(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES_MAX {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN) => std::thread::yield_now(),
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

fn beneath(
    root: &OwnedFd,
    path: impl rustix::path::Arg,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags, mode, how)
}

fn last(path: &Path) -> &std::ffi::OsStr {
    path.file_name().unwrap_or_default()
}

/// What the kernel's refusal means for whoever wrote the archive.
fn refused(name: &[u8], error: Errno) -> SourceError {
    match error {
        Errno::EXIST | Errno::NOTDIR | Errno::ISDIR => SourceError::entry(name, TWICE),
        Errno::XDEV | Errno::LOOP => SourceError::entry(name, NOT_INSIDE),
        Errno::NOSYS => SourceError::Io {
            what: "confine the source (Linux 5.6 or newer is needed)",
            error: error.into(),
        },
        error => SourceError::Io {
            what: "write the source",
            error: error.into(),
        },
    }
}

/// Whether a link's target, taken as text, stays inside.
fn stays_inside(link: &Path, target: &[u8]) -> bool {
    let Ok(target) = std::str::from_utf8(target) else {
        return false;
    };
    let fits = !target.is_empty()
        && target.len() <= PATH_BYTES_MAX
        && !target.starts_with('/')
        && !target.chars().any(char::is_control);
    let mut depth = link.components().count().saturating_sub(1);
    fits && target.split('/').all(|part| match part {
        "" | "." => true,
        ".." => match depth.checked_sub(1) {
            Some(less) => {
                depth = less;
                true
            }
            None => false,
        },
        _ => {
            depth += 1;
            true
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_also_while_others_rename() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let root = at("root");
        fs::create_dir(&root).unwrap();
        fs::write(at("a"), "").unwrap();
        let watch = Watch {
            deadline: std::time::Instant::now() + std::time::Duration::from_secs(60),
            cancelled: &|| false,
            say: &|_| {},
        };
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    fs::rename(at("a"), at("b")).unwrap();
                    fs::rename(at("b"), at("a")).unwrap();
                }
            });
            let mut into = Confined::open(&root, 0, &watch).unwrap();
            into.file(b"file", false, &mut &b"x"[..]).unwrap();
            for number in 0..2_000 {
                let name = format!("d/{number}");
                into.link(name.as_bytes(), b"../d/../d/../file").unwrap();
            }
            let finished = into.finish();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            finished.unwrap();
        });
    }

    #[test]
    fn links_are_followed_as_text_first() {
        for (link, target, inside) in [
            ("a/b", "../c", true),
            ("a/b", "../../c", false),
            ("b", "..", false),
            ("b", "c/../d", true),
            ("b", "c/../../d", false),
            ("b", "/etc/passwd", false),
            ("b", "", false),
            ("a/b/c", "./../..//x", true),
            ("b", "a\nb", false),
        ] {
            assert_eq!(
                stays_inside(Path::new(link), target.as_bytes()),
                inside,
                "{link} -> {target}"
            );
        }
    }
}

//! A job's own directory, and removing it whatever the job did to it.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fstat, mkdirat, openat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;

use crate::sys;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Where a directory that lies too deep is moved before it is emptied; a job's
/// own files may have such names, which is why the number goes on until one is free.
const LIFTED_PREFIX: &str = ".lifted-";

/// Names read before they are acted on: enough to keep system calls few.
const NAMES_AT_ONCE: usize = 4096;

/// A directory of one job, with `work` for its files and `tmp` for its `/tmp`.
/// Removed on drop, as far as that goes; [`Workspace::remove`] says how it went.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    work: PathBuf,
    tmp: PathBuf,
    /// The directory is ours to remove: never before we made it.
    ours: bool,
}

impl Workspace {
    /// Makes `parent/name`, where `name` is a plain file name nobody uses yet.
    /// `work` and `tmp` below it belong to `owner` alone.
    pub fn create(parent: &Path, name: &str, owner: Option<(u32, u32)>) -> io::Result<Self> {
        let mut workspace = Self::at(parent, name)?;
        // Others may pass through but not look: the job's user is another one.
        fs::DirBuilder::new().mode(0o711).create(&workspace.root)?;
        workspace.ours = true;
        for path in [&workspace.work, &workspace.tmp] {
            fs::DirBuilder::new().mode(0o700).create(path)?;
            if let Some((uid, gid)) = owner {
                std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
            }
        }
        // The umask may have taken bits away.
        fs::set_permissions(
            &workspace.root,
            std::os::unix::fs::PermissionsExt::from_mode(0o711),
        )?;
        Ok(workspace)
    }

    /// Takes over what an earlier process left at `parent/name`, to remove it.
    pub fn adopt(parent: &Path, name: &str) -> io::Result<Self> {
        let mut workspace = Self::at(parent, name)?;
        if !fs::symlink_metadata(&workspace.root)?.is_dir() {
            return Err(Errno::NOTDIR.into());
        }
        workspace.ours = true;
        Ok(workspace)
    }

    fn at(parent: &Path, name: &str) -> io::Result<Self> {
        let mut parts = Path::new(name).components();
        let (Some(Component::Normal(_)), None) = (parts.next(), parts.next()) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a plain file name",
            ));
        };
        let root = std::path::absolute(parent)?.join(name);
        Ok(Self {
            work: root.join("work"),
            tmp: root.join("tmp"),
            root,
            ours: false,
        })
    }

    /// Where the job's steps run; absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.work
    }

    /// What [`crate::Sandbox::private_tmp`] should be.
    #[must_use]
    pub fn tmp(&self) -> &Path {
        &self.tmp
    }

    /// Gives all files in [`Workspace::path`] to `owner`, after a checkout by
    /// root. Follows no link. A file with several names keeps its owner: the
    /// other name may be one outside, as in a local clone of git.
    pub fn chown_tree(&self, (uid, gid): (u32, u32)) -> io::Result<()> {
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let top = openat(CWD, &self.work, DIRECTORY, Mode::empty())?;
        chownat(&top, "", owner.0, owner.1, AtFlags::EMPTY_PATH)?;
        // Paths and not descriptors, of which a deep tree would need too many.
        let mut waiting: Vec<Vec<CString>> = vec![Vec::new()];
        while let Some(path) = waiting.pop() {
            let directory = descend(&top, &path)?;
            for entry in Dir::read_from(&directory)? {
                let entry = entry?;
                if is_dots(entry.file_name()) {
                    continue;
                }
                let name = entry.file_name().to_owned();
                let found = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                let kind = FileType::from_raw_mode(found.st_mode);
                if kind != FileType::Directory && found.st_nlink > 1 {
                    continue;
                }
                chownat(
                    &directory,
                    &name,
                    owner.0,
                    owner.1,
                    AtFlags::SYMLINK_NOFOLLOW,
                )?;
                if kind == FileType::Directory {
                    waiting.push(path.iter().cloned().chain([name]).collect());
                }
            }
        }
        Ok(())
    }

    /// Removes everything. Call when none of the job's processes lives.
    pub fn remove(mut self) -> io::Result<()> {
        self.ours = false;
        remove_tree(&self.root)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if self.ours {
            // Somebody who needs to know calls `remove`.
            let _ = remove_tree(&self.root);
        }
    }
}

fn descend(top: &OwnedFd, path: &[CString]) -> io::Result<OwnedFd> {
    let mut at = top.try_clone()?;
    for name in path {
        at = openat(&at, name, DIRECTORY, Mode::empty())?;
    }
    Ok(at)
}

fn is_dots(name: &CStr) -> bool {
    name == c"." || name == c".."
}

/// The next names in a directory, of which there may be more than fit in memory.
fn some_names(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let names = Dir::read_from(directory)?.map(|it| it.map(|it| it.file_name().to_owned()));
    let names = names.filter(|it| it.as_ref().map_or(true, |name| !is_dots(name)));
    names.take(NAMES_AT_ONCE).collect()
}

/// Removes a directory with two descriptors and no recursion, however deep it
/// is: a directory found inside another is first lifted to the top.
fn remove_tree(root: &Path) -> io::Result<()> {
    let top = match open_to_empty(
        CWD.as_fd(),
        &CString::new(root.as_os_str().as_encoded_bytes())?,
    ) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut lifted = 0;
    empty(&top, |name| {
        let directory = open_to_empty(top.as_fd(), name)?;
        empty(&directory, |inner| {
            lift(&directory, inner, &top, &mut lifted)
        })?;
        forced(&top, name, || unlinkat(&top, name, AtFlags::REMOVEDIR))
    })?;
    fs::remove_dir(root)
}

/// Unlinks what is in a directory, leaving full directories to `on_full`.
fn empty(
    directory: &OwnedFd,
    mut on_full: impl FnMut(&CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    loop {
        let names = some_names(directory)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            if !unlink(directory, &name)? {
                on_full(&name)?;
            }
        }
    }
}

/// Unlinks a file or an empty directory; says `false` for a full one.
fn unlink(at: &OwnedFd, name: &CStr) -> Result<bool, Errno> {
    match forced(at, name, || unlinkat(at, name, AtFlags::empty())) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        // What unlinking a directory is called: EISDIR here, EPERM in POSIX.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    match forced(at, name, || unlinkat(at, name, AtFlags::REMOVEDIR)) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

fn lift(from: &OwnedFd, name: &CStr, top: &OwnedFd, count: &mut u64) -> Result<(), Errno> {
    loop {
        *count += 1;
        let target = format!("{LIFTED_PREFIX}{count}");
        match mkdirat(top, &*target, Mode::RWXU) {
            // Replaces the empty directory just made, so nothing else.
            Ok(()) => {}
            Err(Errno::EXIST) => continue,
            Err(error) => return Err(error),
        }
        let moved = forced(from, name, || renameat(from, name, top, &*target));
        if moved == Err(Errno::ACCESS) {
            // Only a directory its owner may write can get another parent.
            drop(open_to_empty(from.as_fd(), name)?);
            return renameat(from, name, top, &*target);
        }
        return moved;
    }
}

/// Opens a directory that we are about to empty, taking the rights to it first
/// where the job took them from us.
fn open_to_empty(at: std::os::fd::BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let opened = match openat(at, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // A link in its place is refused here, and the descriptor cannot
            // become one: `chmod` by name would follow it.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let closed = openat(at, name, flags, Mode::empty())?;
            let path = format!("/proc/self/fd/{}", closed.as_raw_fd());
            rustix::fs::chmod(&*path, Mode::RWXU)?;
            openat(at, name, DIRECTORY, Mode::empty())?
        }
        opened => opened?,
    };
    if fstat(&opened)?.st_mode & 0o700 != 0o700 {
        fchmod(&opened, Mode::RWXU)?;
    }
    Ok(opened)
}

/// Tries again without the "immutable" and "append-only" marks, which only root sets.
fn forced(at: &OwnedFd, name: &CStr, action: impl Fn() -> Result<(), Errno>) -> Result<(), Errno> {
    match action() {
        Err(Errno::PERM) => {}
        done => return done,
    }
    // Not to be opened: devices and pipes, which may act on it.
    let kind = FileType::from_raw_mode(statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
    if matches!(kind, FileType::RegularFile | FileType::Directory) {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        // If this does not help, the second try says what the matter is.
        let _ = sys::clear_immutable(openat(at, name, flags, Mode::empty())?.as_fd());
    }
    let _ = sys::clear_immutable(at.as_fd());
    action()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn workspace() -> (tempfile::TempDir, Workspace) {
        let parent = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(parent.path(), "job", None).unwrap();
        (parent, workspace)
    }

    #[test]
    fn only_a_plain_new_name_makes_a_workspace() {
        let (parent, workspace) = workspace();
        for name in ["", ".", "..", "a/b", "/tmp"] {
            assert!(
                Workspace::create(parent.path(), name, None).is_err(),
                "{name:?}"
            );
        }
        let again = Workspace::create(parent.path(), "job", None);
        assert_eq!(
            again.err().map(|it| it.kind()),
            Some(io::ErrorKind::AlreadyExists)
        );
        assert!(workspace.path().is_dir() && workspace.tmp().is_dir());
        drop(workspace);
        assert!(!parent.path().join("job").exists());
    }

    #[test]
    fn a_left_over_workspace_can_be_adopted_and_a_link_cannot() {
        let (parent, workspace) = workspace();
        std::mem::forget(workspace);
        Workspace::adopt(parent.path(), "job")
            .unwrap()
            .remove()
            .unwrap();
        assert!(!parent.path().join("job").exists());
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), parent.path().join("job")).unwrap();
        assert!(Workspace::adopt(parent.path(), "job").is_err());
        assert!(outside.path().exists());
    }

    #[test]
    fn removal_follows_no_link_and_needs_no_rights() {
        let (parent, workspace) = workspace();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("keep"), "").unwrap();
        let work = workspace.path().to_owned();
        symlink(outside.path(), work.join("link")).unwrap();
        symlink("/nowhere", work.join("broken")).unwrap();
        fs::create_dir_all(work.join("locked/inner")).unwrap();
        fs::write(work.join("locked/inner/file"), "").unwrap();
        fs::write(work.join(".lifted-1"), "").unwrap();
        fs::write(work.join("\n -rf *"), "").unwrap();
        for path in ["locked/inner/file", "locked/inner", "locked"] {
            fs::set_permissions(work.join(path), fs::Permissions::from_mode(0o000)).unwrap();
        }
        workspace.remove().unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        assert!(outside.path().join("keep").exists());
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_removed() {
        let (parent, workspace) = workspace();
        let mut at = openat(CWD, workspace.path(), DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..5_000 {
            mkdirat(&at, c"d", Mode::RWXU).unwrap();
            at = openat(&at, c"d", DIRECTORY, Mode::empty()).unwrap();
        }
        drop(at);
        workspace.remove().unwrap();
        assert!(!parent.path().join("job").exists());
    }

    #[test]
    fn ownership_changes_but_not_through_links() {
        if sys::user_and_group().0 != 0 {
            eprintln!("skipped: only root may give files away");
            return;
        }
        let (parent, workspace) = workspace();
        let (work, outside) = (workspace.path(), parent.path().join("outside"));
        fs::create_dir_all(work.join("a/b")).unwrap();
        fs::write(work.join("a/b/file"), "").unwrap();
        fs::write(&outside, "").unwrap();
        symlink(&outside, work.join("link")).unwrap();
        fs::hard_link(&outside, work.join("hard")).unwrap();
        workspace.chown_tree((12_345, 12_346)).unwrap();
        for path in ["", "a", "a/b", "a/b/file", "link"] {
            let found = fs::symlink_metadata(work.join(path)).unwrap();
            assert_eq!((found.uid(), found.gid()), (12_345, 12_346), "{path}");
        }
        assert_eq!(fs::metadata(&outside).unwrap().uid(), 0);
    }
}

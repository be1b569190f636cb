//! The text files of the repository.

use std::path::Path;
use std::process::Command;

use crate::Result;

/// Folders that are left out where git can't be asked.
const NOT_OURS: [&str; 3] = [".git", "target", "node_modules"];

pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The folder under `crates/` that the file is in.
    pub(crate) fn package(&self) -> Option<&str> {
        self.path
            .strip_prefix("crates/")?
            .split_once('/')
            .map(|(package, _)| package)
    }

    #[cfg(test)]
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }
}

/// Tracked files, and new ones that git doesn't ignore: a finding is wanted
/// before the commit. A source archive without git's folder is walked.
pub(crate) fn files(root: &Path) -> Result<Vec<File>> {
    let mut paths = match from_git(root) {
        Some(paths) => paths,
        None => walk(root)?,
    };
    paths.sort();
    paths.dedup();
    // Deleted but not committed yet, a link to a folder, or not text.
    let read = |path: String| {
        let text = std::fs::read_to_string(root.join(&path)).ok()?;
        Some(File { path, text })
    };
    Ok(paths.into_iter().filter_map(read).collect())
}

fn from_git(root: &Path) -> Option<Vec<String>> {
    if !root.join(".git").exists() {
        return None;
    }
    let output = Command::new("git")
        // CI may check out as another user; listing names is harmless.
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .args(["--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()
        .filter(|it| it.status.success())?;
    let names = String::from_utf8(output.stdout).ok()?;
    Some(names.split_terminator('\0').map(str::to_owned).collect())
}

fn walk(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        let broken = |why| format!("read {}: {why}", folder.display());
        for entry in std::fs::read_dir(&folder).map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let path = entry.path();
            if entry.file_type().map_err(broken)?.is_dir() {
                if !NOT_OURS.iter().any(|it| entry.file_name() == *it) {
                    open.push(path);
                }
            } else if let Some(path) = path.strip_prefix(root).ok().and_then(Path::to_str) {
                found.push(path.replace('\\', "/"));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_finds_what_git_lists_and_leaves_build_output_out() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = walk(here).unwrap();
        assert!(found.iter().any(|it| it == "src/tidy/repo.rs"), "{found:?}");

        let above = walk(here.parent().unwrap()).unwrap();
        assert!(above.iter().any(|it| it == "xtask/Cargo.toml"));
        assert!(
            !above
                .iter()
                .any(|it| it.starts_with("target/") || it.starts_with(".git/"))
        );
    }

    #[test]
    fn a_file_knows_its_crate_and_its_name() {
        let file = File::new("crates/danube-store/src/lease.rs", "");
        assert_eq!(
            (file.package(), file.name()),
            (Some("danube-store"), "lease.rs")
        );
        assert_eq!(File::new("README.md", "").package(), None);
    }
}

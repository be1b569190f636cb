//! What a coordinator finds beside its source: this program as `danube`, and the Python
//! package of that name, so that nothing has to be installed where jobs run.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use danube_executor::{Sandbox, TMP_DIRECTORIES};

/// The directory for it in the job's home.
const DIRECTORY: &str = ".danube";

/// The modules of the package, as they are built into the program.
const PACKAGE: &[(&str, &str)] = &[
    (
        "__init__.py",
        include_str!("../../../python/danube/__init__.py"),
    ),
    (
        "__main__.py",
        include_str!("../../../python/danube/__main__.py"),
    ),
    (
        "_calls.py",
        include_str!("../../../python/danube/_calls.py"),
    ),
    (
        "artifacts.py",
        include_str!("../../../python/danube/artifacts.py"),
    ),
    (
        "pipeline.py",
        include_str!("../../../python/danube/pipeline.py"),
    ),
    (
        "secrets.py",
        include_str!("../../../python/danube/secrets.py"),
    ),
    ("step.py", include_str!("../../../python/danube/step.py")),
    ("py.typed", ""),
];

/// Where a job's coordinator and its steps find what helps them to call.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    /// For `PATH`.
    pub(crate) bin: PathBuf,
    /// For `PYTHONPATH`.
    pub(crate) python: PathBuf,
}

impl Tools {
    /// Puts them into the job's home. They are the worker's: the job reads them.
    pub(crate) fn make(home: &Path) -> io::Result<Self> {
        let directory = home.join(DIRECTORY);
        let (bin, python) = (directory.join("bin"), directory.join("python"));
        let package = python.join("danube");
        for it in [&directory, &bin, &python, &package] {
            fs::create_dir(it)?;
            fs::set_permissions(it, fs::Permissions::from_mode(0o755))?;
        }
        for (name, text) in PACKAGE {
            let path = package.join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        }
        if let Some(program) = program() {
            symlink(program, bin.join("danube"))?;
        }
        Ok(Self { bin, python })
    }
}

/// Lets a step see this program where its own view covers it: in the worker's home, or in
/// the place of the job's `/tmp`.
pub(crate) fn show(sandbox: &mut Sandbox) {
    let tmp = sandbox.private_tmp.is_some().then_some(TMP_DIRECTORIES);
    let tmp = tmp.into_iter().flatten().map(Path::new);
    let covers: Vec<&Path> = sandbox
        .hide
        .iter()
        .map(PathBuf::as_path)
        .chain(tmp)
        .collect();
    let is_covered = |it: &PathBuf| covers.iter().any(|cover| it.starts_with(cover));
    sandbox.expose.extend(program().filter(is_covered));
}

/// This program's file; none once another version lies in its place.
fn program() -> Option<PathBuf> {
    std::env::current_exe().ok().filter(|it| it.is_file())
}

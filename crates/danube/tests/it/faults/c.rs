//! Compiles the few lines that need the system's own language: an `ioctl` that no safe
//! function makes, and a clock that a program is given in place of the system's.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where test programs may put what they make.
const MADE: &str = env!("CARGO_TARGET_TMPDIR");

/// Compiles a file beside this one with the compiler that SQLite was built with; where the
/// result is.
pub(crate) fn compiled(source: &str, flags: &[&str]) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/faults")
        .join(source);
    // Tests run beside each other, and each renames a whole file over that of the others.
    let made = Path::new(MADE).join(source).with_extension("made");
    let own = tempfile::tempdir_in(MADE).expect("make a directory");
    let new = own.path().join("new");
    let output = Command::new("cc")
        .args(["-O1", "-Wall", "-Werror"])
        .args(flags)
        .arg("-o")
        .arg(&new)
        .arg(&from)
        .output()
        .expect("cc is here: ci/deps.sh installs it");
    assert!(output.status.success(), "{output:?}");
    std::fs::rename(&new, &made).expect("rename what was made");
    made
}

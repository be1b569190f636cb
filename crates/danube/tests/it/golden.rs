//! Compares what a stranger sees with a file in the repository.
//!
//! `UPDATE_GOLDEN=1 cargo test` writes the files anew; look at the diff.

use std::fs;
use std::path::Path;

/// Fails when `seen` isn't what the file at `path` holds. The path is relative
/// to this crate.
#[track_caller]
pub(crate) fn check(path: &str, seen: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|it| it == "1") {
        let dir = path.parent().expect("a golden file is in a directory");
        fs::create_dir_all(dir).expect("make the directory of golden files");
        fs::write(&path, seen).expect("write a golden file");
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let line = kept.lines().zip(seen.lines()).position(|(a, b)| a != b);
    let line = line.unwrap_or_else(|| kept.lines().count().min(seen.lines().count()));
    assert!(
        kept == seen,
        "{} differs from line {} on; UPDATE_GOLDEN=1 writes it anew\n kept: {:?}\n seen: {:?}",
        path.display(),
        line + 1,
        kept.lines().nth(line),
        seen.lines().nth(line),
    );
}

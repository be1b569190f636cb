//! Any index over any text files: a reader ends, and says nothing absurd.
#![no_main]

#[path = "../../crates/danube-joblog/tests/it/damaged.rs"]
mod damaged;

use std::cell::OnceCell;

use danube_joblog::JobLogs;
use tempfile::TempDir;

thread_local! {
    static FOLDER: OnceCell<(TempDir, JobLogs)> = const { OnceCell::new() };
}

/// In memory where there is such a place: each input makes files.
fn folder() -> (TempDir, JobLogs) {
    let dir = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("make a folder");
    let logs = JobLogs::open(&dir.path().join("logs"), damaged::limits()).expect("open it");
    (dir, logs)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    FOLDER.with(|it| {
        let (dir, logs) = it.get_or_init(folder);
        damaged::check_index(&dir.path().join("logs"), logs, data);
    });
});

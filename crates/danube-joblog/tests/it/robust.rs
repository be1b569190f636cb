//! Whatever the files of a log hold, its reader ends, and says nothing absurd.

use std::cell::OnceCell;

use danube_joblog::JobLogs;
use tempfile::TempDir;

use crate::damaged::{check_index, limits};
use crate::seeds;

/// Cases when nothing else is said; `make fuzz` says more.
const CASES_DEFAULT: u64 = 5_000;

thread_local! {
    /// Each thread damages a folder of its own.
    static FOLDER: OnceCell<(TempDir, JobLogs)> = const { OnceCell::new() };
}

fn check(data: &[u8]) {
    FOLDER.with(|it| {
        let (dir, logs) = it.get_or_init(|| crate::logs(limits()));
        check_index(&dir.path().join("logs"), logs, data);
    });
}

#[test]
fn any_index_over_any_files_is_read_to_an_end() {
    seeds::each(CASES_DEFAULT, 200, check);
}

#[test]
fn every_kept_index_is_read_to_an_end() {
    seeds::each_kept("joblog_index", check);
}

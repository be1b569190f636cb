//! How much a second.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::{CLIENTS, Size, floor, row};
use danube_bench::jobs::{drained, submit};
use danube_bench::server::{Server, settle};

/// Submits a second with nothing that runs them.
pub(crate) fn enqueue(program: &Path, size: Size) {
    let floor = floor::sqlite_inserts(size.submits, 100);
    let server = Server::start(program, &["--jobs-at-once", "0"], &[]);
    let value = submits_a_second(&server, size);
    row(
        "submits/s, 64 clients | raw inserts, 100 a transaction",
        value,
        "/s",
        Some(floor),
    );
    let single = floor::sqlite_inserts(size.submits / 10, 1);
    let began = Instant::now();
    submit(&server, size.submits / 10, 1);
    let value = floor::per_second(size.submits / 10, began);
    row(
        "submits/s, 1 client | raw inserts, 1 a transaction",
        value,
        "/s",
        Some(single),
    );
}

/// Submits a second from [`CLIENTS`] at once.
pub(crate) fn submits_a_second(server: &Server, size: Size) -> f64 {
    let began = Instant::now();
    submit(server, size.submits, CLIENTS);
    floor::per_second(size.submits, began)
}

/// Jobs a second, from submit to done.
pub(crate) fn jobs(program: &Path, size: Size) {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let floor = floor::spawns(size.jobs, threads);
    for clients in [1, CLIENTS] {
        settle();
        let server = Server::start(program, &[], &[]);
        let began = Instant::now();
        submit(&server, size.jobs, clients);
        drained(&server);
        let value = floor::per_second(size.jobs, began);
        row(
            &format!("no-op jobs/s, submit to done, {clients} clients | bare spawns"),
            value,
            "/s",
            Some(floor),
        );
        let sql = floor::sqlite_inserts(size.jobs * 4, 100);
        row(
            "  the same | raw inserts, 100 a transaction",
            value,
            "/s",
            Some(sql),
        );
    }
}

/// Database fsyncs a job, counted by the kernel. SQLite calls `fsync` and the
/// job logs `fdatasync`, so the two are told apart.
pub(crate) fn fsyncs(program: &Path, size: Size) {
    let jobs = size.jobs;
    for (clients, worker) in [(1, false), (CLIENTS, false), (1, true), (CLIENTS, true)] {
        let arguments: &[&str] = if worker {
            &[]
        } else {
            &["--jobs-at-once", "0"]
        };
        let counts = [0, jobs].map(|jobs| {
            let load = Load {
                jobs,
                clients,
                worker,
            };
            counted_fsyncs(program, arguments, &load)
        });
        let [Some(idle), Some(loaded)] = counts else {
            println!("database fsyncs a job: not counted, `perf stat` can't count here");
            return;
        };
        let what = if worker {
            "a job, submit to done"
        } else {
            "an acknowledged submit"
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of a benchmark are small"
        )]
        let value = loaded.saturating_sub(idle) as f64 / jobs as f64;
        row(
            &format!("database fsyncs {what}, {clients} clients"),
            value,
            "",
            None,
        );
    }
}

struct Load {
    jobs: usize,
    clients: usize,
    worker: bool,
}

/// Every fsync of a master's life under this load, its start and end included.
fn counted_fsyncs(program: &Path, arguments: &[&str], load: &Load) -> Option<usize> {
    let counts = tempfile::NamedTempFile::new().expect("make a file");
    let path = counts.path().to_str().expect("a plain path");
    let wrapper = [
        "perf",
        "stat",
        "-x",
        ",",
        "-o",
        path,
        "-e",
        "syscalls:sys_enter_fsync",
        "--",
    ];
    let can_count = std::process::Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg("true")
        .output();
    if !can_count.is_ok_and(|it| it.status.success()) {
        return None;
    }
    let server = Server::start(program, arguments, &wrapper);
    submit(&server, load.jobs, load.clients);
    if load.worker {
        drained(&server);
    }
    assert!(server.stop(), "the master ended badly");
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|it| it.contains("sys_enter_fsync"))?;
    line.split(',').next()?.parse().ok()
}

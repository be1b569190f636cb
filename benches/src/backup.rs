//! What a backup costs those who submit meanwhile, and how long one takes.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::load::submits_a_second;
use crate::{CLIENTS, Size, median, row};
use danube_bench::client::Client;
use danube_bench::jobs::{drained, submit};
use danube_bench::server::{Server, settle};

/// Rounds with and without, one after the other, of which the medians count.
const ROUNDS: usize = 5;

/// Submits while backups are taken, one after the other, beside the same without them.
pub(crate) fn beside_submits(program: &Path, size: Size) {
    let server = Server::start(program, &["--jobs-at-once", "0"], &[]);
    submit(&server, size.submits, CLIENTS);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut taken = 0;
    for _ in 0..ROUNDS {
        alone.push(submits_a_second(&server, size));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let backups = scope.spawn(|| {
                let mut taken = 0;
                while !stop.load(Ordering::Relaxed) {
                    take(&server);
                    taken += 1;
                }
                taken
            });
            beside.push(submits_a_second(&server, size));
            stop.store(true, Ordering::Relaxed);
            taken += backups.join().expect("backups are taken");
        });
    }
    row(
        &format!("submits/s beside backups ({taken} in {ROUNDS} rounds) | without them"),
        median(beside),
        "/s",
        Some(median(alone)),
    );
}

/// A backup of many jobs that wait and of some that left logs, beside a copy of its bytes; and the
/// look at whether it is whole, beside their hash.
pub(crate) fn whole(program: &Path, size: Size) {
    let own = tempfile::tempdir_in("target").expect("run this where `target` is");
    let data = own.path().join("data");
    let server = Server::start_in(program, &data, &[], &[]);
    submit(&server, size.jobs, CLIENTS);
    drained(&server);
    assert!(server.stop(), "the master ends well");
    let server = Server::start_in(program, &data, &["--jobs-at-once", "0"], &[]);
    submit(&server, size.backlog, CLIENTS);
    settle();

    let (mut times, mut copies) = (Vec::new(), Vec::new());
    let (mut looks, mut hashes) = (Vec::new(), Vec::new());
    let (file, copy) = (own.path().join("backup.tar"), own.path().join("copy.tar"));
    for _ in 0..ROUNDS {
        times.push(seconds(|| written(&take(&server), &file)));
        let bytes = fs::read(&file).expect("read the backup");
        copies.push(seconds(|| written(&bytes, &copy)));
        let verify = Command::new(program);
        looks.push(seconds(|| {
            end_well(verify, &["restore", "--verify"], &file);
        }));
        hashes.push(seconds(|| {
            end_well(Command::new("sha256sum"), &[], &file);
        }));
    }
    let mib = fs::metadata(&file).map_or(0, |it| it.len()) >> 20;
    row(
        &format!(
            "a backup of {} jobs and {} logs, {mib} MiB | a copy of it",
            size.backlog + size.jobs,
            size.jobs
        ),
        median(times),
        "s",
        Some(median(copies)),
    );
    row(
        "  danube restore --verify of it | sha256sum",
        median(looks),
        "s",
        Some(median(hashes)),
    );
}

fn take(server: &Server) -> Vec<u8> {
    let (status, archive) = Client::new(server).get_bytes("/api/v1/admin/backup", "");
    assert_eq!(status, 200);
    archive
}

/// The file on the disk.
fn written(bytes: &[u8], path: &Path) {
    let mut file = File::create(path).expect("create a file");
    file.write_all(bytes).expect("write it");
    file.sync_all().expect("sync it");
}

fn end_well(mut command: Command, arguments: &[&str], file: &Path) {
    let status = command
        .args(arguments)
        .arg(file)
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("start a program").success());
}

fn seconds(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

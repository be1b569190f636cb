//! A disk that takes its time: the job waits, and nothing is dropped or piled up.

use std::thread;
use std::time::Instant;

use super::load::Client;
use super::row::row;
use super::strace::{Inject, calls};
use crate::master::{Master, one_step};
use crate::processes::{forget_highest_memory, memory, root_or_skip};

/// What each write of the server waits for before it begins.
const DELAY_MICROS: u64 = 2_000;

/// What the job prints: at that delay the disk takes seconds for it, and the job
/// would be done in a fraction of one.
const PRINTED_BYTES: usize = 24 * 1024 * 1024;

/// A server that holds the job back needs no more; one that keeps what the disk
/// has not taken needs almost all of [`PRINTED_BYTES`].
const MEMORY_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The biggest batch of a log: each of them has waited.
const BATCH_BYTES: usize = 256 * 1024;

#[test]
fn a_slow_disk_holds_the_job_back_and_loses_nothing() {
    let row = row!("a slow disk");
    if !root_or_skip("slowing down the writes of another process") {
        return row.left_out("needs root");
    }
    let master = Master::start();
    master.ended(&master.run("echo warm"));
    let blocked = "danube_log_ingest_blocked_seconds_total";
    let before = master.metric(blocked);
    let delay = format!("delay_enter={DELAY_MICROS}");
    let disk = slow("pwrite64,fdatasync", &delay).into(&master);
    let highest = forget_highest_memory(master.pid());
    let line = "a line that waits for the disk";
    let script = format!("yes '{line}' | head -c {PRINTED_BYTES}");
    let job = master.ended(&master.run(&script));
    let grown = memory(master.pid(), "VmHWM").saturating_sub(highest);
    drop(disk);
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(job["log_complete"], true, "{job}");
    assert_eq!(job["log_bytes"], PRINTED_BYTES, "{job}");
    let log = master.log(job["id"].as_str().unwrap());
    let expected = format!("{line}\n").repeat(PRINTED_BYTES / line.len());
    assert!(log == expected.as_bytes()[..PRINTED_BYTES], "another log");
    assert!(grown <= MEMORY_BYTES_MAX, "{grown} bytes of memory");
    // Each batch waited for its write; the counter says so.
    let waited = master.metric(blocked) - before;
    let batches = u32::try_from(PRINTED_BYTES / BATCH_BYTES).unwrap();
    let least = f64::from(batches) * 1e-6 * f64::from(u32::try_from(DELAY_MICROS).unwrap());
    assert!(waited >= least, "{waited} s, at least {least} s");
    let kib = grown / 1024;
    row.held(
        1,
        format!("the job waited {waited:.1} s for its disk, {kib} KiB of memory more"),
    );
}

fn slow<'a>(calls: &'a str, what: &'a str) -> Inject<'a> {
    Inject {
        calls,
        what,
        files: &[],
        noted: None,
    }
}

/// What each fsync of the database takes: a disk that is busy, and long enough for all clients to
/// come meanwhile, also on a machine with other work.
const FSYNC_MICROS: u64 = 100_000;

/// Clients that submit at once, and what each of them submits.
const CLIENTS: usize = 32;
const SUBMITS_EACH: usize = 8;

/// Each fsync has to bring as many submits on average: without a group, it is one, and with
/// all clients in one it is [`CLIENTS`].
const SUBMITS_A_COMMIT_MIN: usize = 6;

#[test]
fn a_database_on_a_slow_disk_keeps_its_rate_because_many_share_a_commit() {
    let row = row!("a slow disk");
    if !root_or_skip("slowing down the writes of another process") {
        return row.left_out("needs root");
    }
    let master = Master::with(&["--jobs-at-once", "0"]);
    let noted = tempfile::NamedTempFile::new().unwrap();
    let wal = [master.dir.join("danube.db-wal")];
    let inject = Inject {
        calls: "fsync",
        what: &format!("delay_enter={FSYNC_MICROS}"),
        files: &wal,
        noted: Some(noted.path()),
    };
    let disk = inject.into(&master);
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let client = Client::of(&master);
                for _ in 0..SUBMITS_EACH {
                    let answer = client.submit(None, &one_step("true"));
                    assert_eq!(answer.expect("an answer").0, 202);
                }
            });
        }
    });
    let took = began.elapsed();
    drop(disk);
    let (submits, commits) = (CLIENTS * SUBMITS_EACH, calls(noted.path(), "fsync"));
    assert!(commits > 0, "nothing was slowed down");
    assert!(
        submits >= commits * SUBMITS_A_COMMIT_MIN,
        "{submits} submits took {commits} commits"
    );
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let each = submits as f64 / commits as f64;
    row.held(
        1,
        format!(
            "{submits} submits in {commits} commits of 100 ms: {each:.0} each, {took:.1?} in all"
        ),
    );
}

//! A disk that takes its time: the job waits, and nothing is dropped or piled up.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::master::Master;
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

/// Slows down a process's writes for as long as it lives.
struct SlowDisk {
    strace: Child,
}

impl SlowDisk {
    fn under(master: &Master) -> Self {
        let delay = format!("inject=pwrite64,fdatasync:delay_enter={DELAY_MICROS}");
        let mut strace = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-p", &master.pid().to_string()])
            .args(["-e", "trace=pwrite64,fdatasync", "-e"])
            .arg(delay)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is here: ci/deps.sh installs it");
        let said = BufReader::new(strace.stderr.take().expect("piped"));
        let mut lines = said.lines().map_while(Result::ok);
        let attached = lines.find(|it| it.contains("attached"));
        assert!(attached.is_some(), "strace could not attach");
        // It tells of each new thread, and would end if nobody listened.
        thread::spawn(move || lines.for_each(drop));
        Self { strace }
    }
}

impl Drop for SlowDisk {
    /// Lets the process go on without it: a killed tracer might not.
    fn drop(&mut self) {
        let pid = self.strace.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let _ = self.strace.wait();
    }
}

#[test]
fn a_slow_disk_holds_the_job_back_and_loses_nothing() {
    if !root_or_skip("slowing down the writes of another process") {
        return;
    }
    let master = Master::start();
    master.ended(&master.run("echo warm"));
    let blocked = "danube_log_ingest_blocked_seconds_total";
    let before = master.metric(blocked);
    let disk = SlowDisk::under(&master);
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
    eprintln!("waited {waited} s for the disk; {grown} bytes of memory");
}

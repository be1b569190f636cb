//! The processes of jobs, seen from outside through `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::master::DEADLINE;

/// How often something is looked at that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long a process may take to be gone.
pub(crate) const DIES_WITHIN: Duration = Duration::from_secs(10);

/// A script that says `begin` and goes on until [`release`].
pub(crate) const HELD: &str = "trap 'released=1' USR1; echo begin; until [ -n \"${released:-}\" ]; do sleep 0.05; done; echo end";

/// Children that leave their session, lose their parents and hear no TERM.
pub(crate) const HIDERS: &str = "trap '' TERM
for n in 1 2 3; do
    setsid sh -c 'trap \"\" TERM; (setsid sh -c \"sleep 600 & exec sleep 600\" &) ; exec sleep 600' &
done
echo begin
while :; do sleep 600; done";

/// Looks until there is something to see; panics when nothing came `within`.
#[track_caller]
pub(crate) fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(
            Instant::now() < end,
            "not within {} s: {what}",
            within.as_secs()
        );
        // tidy: allow(sleep): nobody announces what is looked for in `/proc`
        thread::sleep(LOOK_EVERY);
    }
}

/// The next connection that a job makes here.
#[track_caller]
pub(crate) fn arrival(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let (stream, _) = until("a connection", DEADLINE, || listener.accept().ok());
    stream.set_nonblocking(false).unwrap();
    stream
}

/// Every process that works for this job, by the mark in its environment.
pub(crate) fn of_job(id: &str) -> Vec<u32> {
    marked(&format!("DANUBE_JOB_ID={id}"))
}

/// Every process with exactly this entry in its environment.
pub(crate) fn marked(entry: &str) -> Vec<u32> {
    with(|it| it == entry.as_bytes())
}

/// Every process with an entry in its environment for which this holds.
fn with(wanted: impl Fn(&[u8]) -> bool) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    let pids = entries.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    let is_marked = |pid: &u32| {
        let environment = fs::read(PathBuf::from(format!("/proc/{pid}/environ")));
        // A process that has ended meanwhile has none.
        environment.is_ok_and(|it| it.split(|byte| *byte == 0).any(&wanted))
    };
    pids.filter(is_marked).collect()
}

/// Waits until no process of the job lives: ten seconds are what is promised.
#[track_caller]
pub(crate) fn all_gone(id: &str) {
    until("the job's last process ends", DIES_WITHIN, || {
        of_job(id).is_empty().then_some(())
    });
}

/// The same for many jobs, with one look at all processes for all of them.
#[track_caller]
pub(crate) fn all_gone_of(ids: &[String]) {
    let entries: BTreeSet<String> = ids.iter().map(|it| format!("DANUBE_JOB_ID={it}")).collect();
    until("the jobs' last process ends", DIES_WITHIN, || {
        let is_left = |entry: &[u8]| {
            let entry = std::str::from_utf8(entry);
            entry.is_ok_and(|it| entries.contains(it))
        };
        with(is_left).is_empty().then_some(())
    });
}

/// Lets a job with the script [`HELD`] go on. Call once it has said `begin`.
#[track_caller]
pub(crate) fn release(id: &str) {
    let shell = until("the job's shell is there", DEADLINE, || {
        of_job(id).into_iter().find(|pid| is_shell(*pid))
    });
    let sent = Command::new("kill")
        .args(["-s", "USR1", &shell.to_string()])
        .status();
    assert!(sent.expect("run kill").success());
}

fn is_shell(pid: u32) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.starts_with(b"/bin/sh\0")
}

/// Whether this test runs as root; says what is left out otherwise.
pub(crate) fn root_or_skip(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: {what} needs root");
    }
    is_root
}

/// A size from `/proc/PID/status` (`VmRSS`, `VmHWM`), in bytes.
#[track_caller]
pub(crate) fn memory(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|it| it.strip_prefix(name));
    let size = line.and_then(|it| it.trim_start_matches(':').trim().strip_suffix(" kB"));
    size.and_then(|it| it.parse::<u64>().ok()).expect("a size") * 1024
}

/// Forgets the highest memory so far: `VmHWM` begins again at what is used now.
pub(crate) fn forget_highest_memory(pid: u32) -> u64 {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("a process of our own");
    memory(pid, "VmHWM")
}

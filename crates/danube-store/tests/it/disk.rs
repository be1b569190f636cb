//! Full disks, and locks that others hold.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use danube_model::{Cause, State};
use danube_store::{CancelOutcome, Pending, Store, StoreError};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{
    child, child_after, child_dir, ended, new_job, open, recorded, recorded_waiting, running,
    submit,
};

/// A disk of its own, gone when the test is.
struct SmallDisk {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    /// None where this process may not mount.
    fn new(mebibytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        fs::create_dir(&path).unwrap();
        let size = std::ffi::CString::new(format!("size={mebibytes}m")).unwrap();
        match mount(
            "tmpfs",
            &path,
            "tmpfs",
            MountFlags::empty(),
            size.as_c_str(),
        ) {
            Ok(()) => Some(Self { path, _dir: dir }),
            Err(rustix::io::Errno::PERM) if !rustix::process::geteuid().is_root() => None,
            Err(error) => panic!("mount a tmpfs: {error}"),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

/// Submits until the disk is full; returns how many were accepted.
fn fill(store: &Store) -> u64 {
    let mut accepted = 0;
    loop {
        let mut job = new_job("build");
        job.order.masks = vec!["x".repeat(100_000)];
        match store.submit(job).wait() {
            Ok(_) => accepted += 1,
            Err(StoreError::NoSpace) => return accepted,
            Err(other) => panic!("expected a full disk, not {other}"),
        }
        assert!(accepted < 10_000, "the disk is never full");
    }
}

#[test]
fn a_full_disk_refuses_new_jobs_and_still_ends_those_it_has() {
    let Some(disk) = SmallDisk::new(24) else {
        eprintln!("skipped: needs the right to mount");
        return;
    };
    let data = disk.path.join("data");
    let filler = disk.path.join("filler");
    let store = open(&data);
    let attempts: Vec<_> = (0..3).map(|_| running(&store)).collect();
    let waiting = submit(&store).id;
    fs::write(&filler, vec![0; 8 << 20]).unwrap();
    assert!(!store.is_out_of_space());

    let accepted = fill(&store);
    assert!(store.is_out_of_space());
    assert_eq!(store.submit(new_job("a")).wait(), Err(StoreError::NoSpace));
    // Nothing of what was refused is there, all of what was accepted is.
    assert_eq!(store.counts().pending, accepted + 1);
    store.ping().unwrap();

    let cancelled = store.cancel(waiting, "anna").wait().unwrap();
    assert!(matches!(cancelled, CancelOutcome::Cancelled(_)));
    for attempt in attempts {
        let job = store.finish(attempt, ended(Cause::Succeeded)).wait();
        assert_eq!(job.unwrap().state, State::Success);
    }
    assert_eq!(store.check_integrity().unwrap(), Vec::<String>::new());

    fs::remove_file(&filler).unwrap();
    submit(&store);
    assert!(!store.is_out_of_space());
    let store = crate::support::reopened(store, &data);
    assert_eq!(store.counts().pending, accepted + 1);
    assert_eq!(store.check_integrity().unwrap(), Vec::<String>::new());
    drop(store);
}

/// A process that may write no more than so many bytes to a file for a while:
/// the kernel refuses its writes as a broken disk does.
#[test]
fn child_whose_disk_refuses_for_a_while() {
    let Some(dir) = child_dir() else {
        return;
    };
    let store = open(&dir);
    let id = submit(&store).id;
    let limit = |current: Option<u64>| {
        let maximum = getrlimit(Resource::Fsize).maximum;
        setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
    };
    let commits = store.commits();
    limit(Some(4096));
    for _ in 0..3 {
        let refused = store.submit(new_job("build")).wait();
        assert!(matches!(refused, Err(StoreError::Io(_))), "{refused:?}");
        assert!(store.cancel(id, "anna").wait().is_err());
    }
    // Nobody writes meanwhile: it is asked all the same whether the disk takes something.
    let probed = store.write_probe().wait();
    assert!(matches!(probed, Err(StoreError::Io(_))), "{probed:?}");
    assert_eq!(store.commits(), commits);
    assert_eq!(store.counts().pending, 1);
    limit(getrlimit(Resource::Fsize).maximum);
    store.write_probe().wait().unwrap();
    assert_eq!(store.commits(), commits + 1);
    store.write_probe().wait().unwrap();
    assert_eq!(store.commits(), commits + 1, "one commit shows it");
    submit(&store);
    assert_eq!(store.counts().pending, 2);
    assert_eq!(store.check_integrity().unwrap(), Vec::<String>::new());
    println!("\ndanube went on");
}

#[test]
fn a_writer_whose_disk_refused_goes_on_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    // The shell ignores the signal of a file that got too long, and so does
    // what it becomes: only the error is left.
    let mut process = child_after(
        "trap '' XFSZ",
        "disk::child_whose_disk_refuses_for_a_while",
        dir.path(),
    );
    let mut told = String::new();
    let mut output = process.stdout.take().unwrap();
    output.read_to_string(&mut told).unwrap();
    assert!(told.contains("danube went on"), "{told}");
    assert!(process.wait().unwrap().success());
    let store = open(dir.path());
    assert_eq!(store.counts().pending, 2);
}

/// The process that keeps the lock until its input ends.
#[test]
fn child_that_holds_the_lock() {
    let Some(dir) = child_dir() else {
        return;
    };
    let connection = rusqlite::Connection::open(dir.join("danube.db")).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    println!("\ndanube locked");
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn wait_for_line(reader: impl Read, wanted: &str) {
    let mut lines = BufReader::new(reader).lines();
    assert!(lines.any(|line| line.unwrap() == wanted), "no {wanted:?}");
}

fn lock_held_by_another(dir: &Path, meanwhile: impl FnOnce()) {
    let mut process = child("disk::child_that_holds_the_lock", dir);
    wait_for_line(process.stdout.take().unwrap(), "danube locked");
    meanwhile();
    drop(process.stdin.take());
    process.wait().unwrap();
}

#[test]
fn a_lock_held_by_another_process_is_told_after_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let (store, heard) = recorded(dir.path());
    let id = submit(&store).id;
    lock_held_by_another(dir.path(), || {
        let waited = heard.waited_micros.load(Ordering::Relaxed);
        let answer = store.submit(new_job("build")).wait();
        assert!(matches!(answer, Err(StoreError::Locked(_))), "{answer:?}");
        let waited = heard.waited_micros.load(Ordering::Relaxed) - waited;
        assert!(waited >= 150_000, "{waited} µs of 200 ms were measured");
        assert!(store.job(id).unwrap().is_some(), "reads go on");
    });
    submit(&store);
    assert_eq!(store.counts().pending, 2);
}

/// Longer than any of these tests holds a lock.
const PATIENT: Duration = Duration::from_secs(60);

#[test]
fn a_writer_that_waits_for_a_lock_still_gives_signs_of_life() {
    let dir = tempfile::tempdir().unwrap();
    let (store, heard) = recorded_waiting(dir.path(), PATIENT);
    submit(&store);
    lock_held_by_another(dir.path(), || {
        let pending = store.submit(new_job("build"));
        while heard.waited_micros.load(Ordering::Relaxed) < 200_000 {
            let silent = store.writer_silent_for();
            assert!(silent < Duration::from_secs(5), "silent for {silent:?}");
            thread::yield_now();
        }
        drop(pending);
    });
    submit(&store);
    assert_eq!(
        store.counts().pending,
        3,
        "nobody heard, but it was written"
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while !store.writer_silent_for().is_zero() {
        assert!(Instant::now() < deadline, "a writer without work rests");
    }
}

#[test]
fn a_writer_that_rests_gives_signs_of_life_and_one_that_has_ended_is_expected_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let deadline = Instant::now() + Duration::from_secs(10);
    let before = store.writer_sign();
    while store.writer_sign().beats == before.beats {
        assert!(Instant::now() < deadline, "a writer without work is silent");
        thread::yield_now();
    }
    assert!(!store.writer_sign().is_in_io, "it rests");
    assert!(store.close(Duration::from_secs(10)));
    assert!(store.writer_sign().is_in_io, "it left");
}

#[test]
fn whoever_waits_for_a_writer_that_waits_for_a_lock_gives_signs_of_life_too() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _heard) = recorded_waiting(dir.path(), PATIENT);
    let other = rusqlite::Connection::open(dir.path().join("danube.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let signs = std::sync::atomic::AtomicU64::new(0);
    let answer = store.submit(new_job("build")).wait_alive(|| {
        // The writer is where nobody can tell it from one that waits for a disk.
        if signs.fetch_add(1, Ordering::Relaxed) == 2 {
            assert!(store.writer_sign().is_in_io);
            other.execute_batch("ROLLBACK").unwrap();
        }
    });
    answer.unwrap();
    assert!(signs.load(Ordering::Relaxed) >= 3);
}

#[test]
fn a_full_queue_refuses_submits_and_still_takes_results() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _heard) = recorded_waiting(dir.path(), PATIENT);
    let attempt = running(&store);
    let other = rusqlite::Connection::open(dir.path().join("danube.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let submits: Vec<_> = (0..6_000).map(|_| store.submit(new_job("build"))).collect();
    let finish = store.finish(attempt, ended(Cause::Succeeded));
    other.execute_batch("ROLLBACK").unwrap();

    let answers: Vec<_> = submits.into_iter().map(Pending::wait).collect();
    let refused = answers.iter().filter(|it| it.is_err()).count();
    assert!(refused > 0 && refused < answers.len(), "{refused} refused");
    for answer in answers.iter().filter(|it| it.is_err()) {
        assert_eq!(answer, &Err(StoreError::Busy));
    }
    assert_eq!(finish.wait().unwrap().state, State::Success);
    assert_eq!(store.counts().pending, (answers.len() - refused) as u64);
}

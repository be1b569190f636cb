//! A full disk: nothing is acknowledged that isn't durable, what runs can be
//! stopped, and room brings everything back without a restart.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::history::check_database;
use super::row::row;
use crate::master::{DEADLINE, Master, one_step};
use crate::processes::{HELD, all_gone, release, root_or_skip, until};

/// How soon readiness tells the truth.
pub(super) const READINESS: Duration = Duration::from_secs(5);

/// A small file system of its own. Unmounted when dropped.
pub(crate) struct SmallDisk {
    pub(crate) dir: PathBuf,
    _own: TempDir,
}

impl SmallDisk {
    pub(crate) fn mount(size: &str) -> Self {
        let own = tempfile::tempdir().unwrap();
        let dir = own.path().join("disk");
        fs::create_dir(&dir).unwrap();
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size},mode=0755"),
                "tmpfs",
            ])
            .arg(&dir)
            .status();
        assert!(mounted.unwrap().success());
        Self { dir, _own: own }
    }

    /// Takes every byte that is left.
    pub(crate) fn fill(&self) {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(self.filler())
            .unwrap();
        for size in [1 << 20, 4096, 1] {
            let piece = vec![0; size];
            while file.write_all(&piece).is_ok() {}
        }
    }

    /// Takes all but so many bytes.
    pub(super) fn leave(&self, bytes: u64) {
        let stat = rustix::fs::statvfs(&self.dir).unwrap();
        let taken = (stat.f_bavail * stat.f_frsize).saturating_sub(bytes);
        // In full: a file with holes would take nothing.
        let zeroes = vec![0; usize::try_from(taken).unwrap()];
        fs::write(self.filler(), zeroes).unwrap();
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.dir.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.dir).status();
        if !unmounted.is_ok_and(|it| it.success()) {
            eprintln!("{} is still mounted", self.dir.display());
        }
    }
}

fn ready(master: &Master) -> (u16, Value) {
    let answer = master.get("/health/ready");
    (answer.status, answer.json())
}

#[track_caller]
pub(super) fn until_ready(master: &Master, status: u16) -> Value {
    until("readiness tells the truth", READINESS, || {
        let (now, body) = ready(master);
        (now == status).then_some(body)
    })
}

fn job_count(master: &Master) -> usize {
    master.get("/api/v1/jobs?limit=1000").json()["jobs"]
        .as_array()
        .unwrap()
        .len()
}

/// Takes all room and submits until one is refused: what still fits is durable
/// all the same. Returns how many were accepted before.
fn fill_until_refused(master: &Master, disk: &SmallDisk) -> usize {
    for accepted in 0..1_000 {
        disk.fill();
        if is_refused(master) {
            return accepted;
        }
    }
    panic!("a full disk never refused");
}

fn is_refused(master: &Master) -> bool {
    let answer = master.call("POST", "/api/v1/jobs", Some(&one_step("echo no")));
    if answer.status == 202 {
        return false;
    }
    assert_eq!(answer.status, 507, "{}", answer.text());
    assert_eq!(answer.json()["code"], "no_space");
    true
}

/// What a log says of itself where bytes are missing: the text without that,
/// cut there, and how many bytes.
fn gaps(text: &str) -> (Vec<&str>, u64) {
    let (mut pieces, mut missing, mut rest) = (Vec::new(), 0, text);
    while let Some((before, after)) = rest.split_once("\n[danube: ") {
        pieces.push(before);
        let (count, after) = after
            .split_once(" bytes are missing here")
            .expect("a count");
        missing += count.parse::<u64>().expect("a number");
        rest = after.split_once("]\n").expect("an end").1;
    }
    pieces.push(rest);
    (pieces, missing)
}

#[test]
fn a_full_disk_refuses_work_lets_jobs_be_stopped_and_recovers_without_a_restart() {
    let row = row!("a disk that is full or refuses");
    if !root_or_skip("mounting a small disk") {
        return row.left_out("needs root");
    }
    let disk = SmallDisk::mount("48m");
    let master = Master::start_in(&disk.dir.join("data"), &["--jobs-at-once", "1"]);
    let done = master.run("head -c 2000000 /dev/zero | tr '\\0' x");
    assert_eq!(master.ended(&done)["log_bytes"], 2_000_000);
    let running = master.run("echo begin; exec sleep 600");
    master.until_log(&running, "begin\n");

    let accepted = fill_until_refused(&master, &disk);
    let body = until_ready(&master, 503);
    let failed = |name: &str| body["checks"][name] == "failed";
    assert!(failed("database") || failed("disk"), "no reason: {body}");
    let told = master.event(|it| it["event"] == "health_check_failed");
    assert!(
        told.to_string().contains("space") || told.to_string().contains("bytes are free"),
        "{told}"
    );
    assert_eq!(
        master.get("/health").status,
        200,
        "liveness doesn't depend on a disk"
    );
    assert_eq!(
        job_count(&master),
        2 + accepted,
        "a refused submit left something"
    );
    assert!(
        is_refused(&master),
        "the room that is kept for stopping was given away"
    );

    let answer = master.call("DELETE", &format!("/api/v1/jobs/{running}"), None);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let job = until("the cancelled job ends", DEADLINE, || {
        let job = master.job(&running);
        crate::master::is_terminal(&job).then_some(job)
    });
    assert_eq!(job["status"], "cancelled", "{job}");
    let log = format!("/api/v1/jobs/{done}/logs");
    let deleted = master.call("DELETE", &log, None);
    assert!(deleted.status < 300, "{}", deleted.text());
    assert_eq!(master.get(&log).status, 410);
    assert!(!disk.dir.join(format!("data/logs/{done}.log")).exists());

    disk.free();
    until_ready(&master, 200);
    let job = master.ended(&master.run("echo again"));
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(master.log(job["id"].as_str().unwrap()), b"again\n");
    row.held(1, format!("{accepted} more submits fitted"));
}

#[test]
fn a_job_that_wrote_to_a_full_disk_says_that_its_log_is_incomplete() {
    let row = row!("a disk that is full or refuses");
    if !root_or_skip("mounting a small disk") {
        return row.left_out("needs root");
    }
    let disk = SmallDisk::mount("48m");
    let master = Master::start_in(
        &disk.dir.join("data"),
        &["--jobs-at-once", "1", "--grace", "1"],
    );
    let script = "echo begin; while :; do echo 'a line that is there to fill the disk'; done";
    let id = master.run(script);
    master.until_log(&id, "begin\n");
    // It fills the disk itself.
    until_ready_fails(&master, &disk.dir);
    // Only a job that waited in vain has a gap: what a cancel frees may be enough
    // for the bytes of one that has just begun to wait.
    master.event(|it| {
        let error = it["error"].as_str().unwrap_or_default();
        it["event"] == "log_write_failed" && error.starts_with("gave up its bytes")
    });
    let answer = master.call("DELETE", &format!("/api/v1/jobs/{id}"), None);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let job = until("the cancelled job ends", DEADLINE, || {
        let job = master.job(&id);
        crate::master::is_terminal(&job).then_some(job)
    });
    assert_eq!(job["status"], "cancelled", "{job}");
    assert_eq!(job["log_complete"], false, "{job}");
    assert!(job["log_missing_bytes"].as_u64() > Some(0), "{job}");
    let text = String::from_utf8(master.log(&id)).unwrap();
    let (pieces, missing) = gaps(&text);
    assert_eq!(job["log_missing_bytes"], missing, "{job}");
    let present: usize = pieces.iter().map(|it| it.len()).sum();
    assert_eq!(job["log_bytes"], present as u64 + missing, "{job}");
    let line = "a line that is there to fill the disk\n";
    let first = pieces[0].strip_prefix("begin\n").unwrap();
    let all_of_it = line.repeat(first.len() / line.len() + 1);
    assert!(all_of_it.starts_with(first), "a gap that isn't said");
    let shown = master.danube(&["job", &id]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("incomplete") || shown.contains("missing"),
        "{shown}"
    );
    row.held(1, format!("{missing} bytes are missing, and said to be"));
}

#[test]
fn a_master_that_is_killed_on_a_full_disk_serves_there_again() {
    let row = row!("a disk that is full or refuses");
    if !root_or_skip("mounting a small disk") {
        return row.left_out("needs root");
    }
    let disk = SmallDisk::mount("48m");
    let dir = disk.dir.join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "1"]);
    let running = master.run(HELD);
    master.until_log(&running, "begin\n");
    let waiting: Vec<String> = (0..5).map(|_| master.run("echo later")).collect();
    let accepted = fill_until_refused(&master, &disk);
    master.kill();
    check_database(&dir);
    all_gone(&running);

    let master = Master::start_in(&dir, &["--jobs-at-once", "1"]);
    until_ready(&master, 503);
    assert_eq!(job_count(&master), 1 + waiting.len() + accepted);
    let answer = master.call("DELETE", &format!("/api/v1/jobs/{}", waiting[0]), None);
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(master.job(&waiting[0])["status"], "cancelled");
    assert!(is_refused(&master), "a full disk accepts nothing");

    disk.free();
    until_ready(&master, 200);
    master.until_log(&running, "begin\nbegin\n");
    release(&running);
    assert_eq!(master.ended(&running)["status"], "success");
    for id in &waiting[1..] {
        assert_eq!(master.ended(id)["status"], "success");
    }
    row.held(1, "");
}

/// Waits until a job has filled the disk and the master says so.
pub(super) fn until_ready_fails(master: &Master, disk: &Path) {
    until("the disk is full", DEADLINE, || {
        let stat = rustix::fs::statvfs(disk).unwrap();
        (stat.f_bavail * stat.f_frsize < 64 * 1024).then_some(())
    });
    until_ready(master, 503);
}

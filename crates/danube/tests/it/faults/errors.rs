//! A disk that refuses: no room at any write, an error at any sync, read-only. What is
//! acknowledged is durable, readiness says what is wrong, and all goes on without a restart.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::disk::{READINESS, until_ready};
use super::history::check_database;
use super::load::{Client, Load, Random};
use super::power::{Ext4, loop_devices_or_skip};
use super::row::row;
use super::setting;
use super::strace::{Inject, Strace};
use crate::master::{DEADLINE, Master, id, is_terminal, one_step};
use crate::processes::{self, HELD, release, root_or_skip, until};

/// Times that the disk goes bad when `DANUBE_FAULT_ROUNDS` says nothing else.
const ROUNDS_DEFAULT: u64 = 4;

/// Longest time that it stays so.
const BAD_MS_MAX: u64 = 800;

/// The call of each thread at which it may begin: a job writes its log some dozens of times.
const CALLS_MAX: u64 = 24;

/// What a disk may say, and to which calls.
const REFUSALS: [(&str, &str); 5] = [
    ("pwrite64", "ENOSPC"),
    ("fsync,fdatasync", "EIO"),
    ("pwrite64,ftruncate", "EROFS"),
    ("pwrite64", "EIO"),
    ("pwrite64,rename,ftruncate,fallocate", "ENOSPC"),
];

fn refusing(master: &Master, calls: &str, what: &str, files: &[PathBuf]) -> Strace {
    let inject = Inject {
        calls,
        what,
        files,
        noted: None,
    };
    inject.into(master)
}

#[test]
fn a_disk_that_refuses_any_write_or_sync_costs_no_accepted_job_and_no_restart() {
    let row = row!("a disk that is full or refuses");
    if !root_or_skip("injecting errors into another process") {
        return row.left_out("needs root");
    }
    let rounds = setting("DANUBE_FAULT_ROUNDS").unwrap_or(ROUNDS_DEFAULT);
    let seed = setting("DANUBE_FAULT_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("{rounds} faults; DANUBE_FAULT_SEED={seed} chooses the same ones again");
    let mut random = Random::new(seed);
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--lease", "3"]);
    let mut load = Load::on_a_bad_disk(seed);
    let mut refused = 0;
    for _ in 0..rounds {
        let (calls, error) = REFUSALS[usize::try_from(random.below(5)).unwrap()];
        let first = 1 + random.below(CALLS_MAX);
        // Once, or from there on.
        let on = if random.one_in(3) { "" } else { "+" };
        let what = format!("error={error}:when={first}{on}");
        let noted = tempfile::NamedTempFile::new().unwrap();
        let inject = Inject {
            calls,
            what: &what,
            files: &[],
            noted: Some(noted.path()),
        };
        let bad = inject.into(&master);
        load.serve(&master, false);
        // tidy: allow(sleep): nothing is waited for; the random time is the fault itself
        thread::sleep(Duration::from_millis(random.below(BAD_MS_MAX)));
        drop(bad);
        let told = fs::read_to_string(noted.path()).unwrap();
        refused += told.matches("(INJECTED)").count();
        until_ready(&master, 200);
        load.history().check_running(&master);
    }
    load.serve(&master, true);
    load.join();
    let jobs = load.history().check_ended(&master);
    assert!(refused > 0, "nothing was refused");
    let incomplete = jobs.iter().filter(|it| it["log_complete"] == false).count();
    master.kill();
    check_database(&dir);
    // What it said is what it wrote.
    let master = Master::start_in(&dir, &[]);
    load.history().check_ended(&master);
    row.held(
        rounds,
        format!(
            "{refused} calls refused; {} jobs, {incomplete} logs said to be incomplete: {:?}",
            jobs.len(),
            super::counts(&jobs)
        ),
    );
}

#[test]
fn a_sync_that_fails_acknowledges_nothing_and_readiness_says_so_until_it_works_again() {
    let row = row!("a disk that is full or refuses");
    if !root_or_skip("injecting errors into another process") {
        return row.left_out("needs root");
    }
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "1"]);
    let running = master.run(HELD);
    master.until_log(&running, "begin\n");
    crate::elsewhere::running(&master, &running);
    let database = ["danube.db", "danube.db-wal"].map(|it| dir.join(it));
    let bad = refusing(&master, "fsync,fdatasync", "error=EIO", &database);
    let client = Client::of(&master);
    let order = one_step("echo after all");
    let refused = || {
        let (status, said) = client.submit(Some("again"), &order).expect("an answer");
        assert_eq!(
            (status, &said["code"]),
            (503, &json!("unavailable")),
            "{said}"
        );
    };
    refused();
    let shown = until("readiness tells the truth", READINESS, || {
        refused();
        let ready = master.get("/health/ready");
        (ready.status == 503).then(|| ready.json())
    });
    assert_eq!(shown["checks"]["database"], "failed", "{shown}");
    assert_eq!(master.get("/health").status, 200);
    assert_eq!(
        master.log(&running),
        b"begin\n",
        "what is there can be read"
    );
    assert_eq!(
        job_ids(&master),
        [running.as_str()],
        "a refused submit is no job"
    );
    stays_unready(&master);
    drop(bad);

    until_ready(&master, 200);
    let (status, job) = client.submit(Some("again"), &order).expect("an answer");
    assert_eq!(status, 202, "{job}");
    release(&running);
    for id in [&running, &id(&job)] {
        let job = master.ended(id);
        assert_eq!(
            (&job["status"], &job["attempt"], &job["log_complete"]),
            (&json!("success"), &json!(1), &json!(true)),
            "{job}"
        );
        processes::all_gone(id);
    }
    master.kill();
    check_database(&dir);
    let master = Master::start_in(&dir, &[]);
    assert_eq!(job_ids(&master).len(), 2);
    row.held(1, "refused while it fails, ready again within 5 s");
}

/// Nobody asks for a write meanwhile, and it is unready all the same.
#[track_caller]
fn stays_unready(master: &Master) {
    let since = Instant::now();
    until("some rounds of checks are over", DEADLINE, || {
        let ready = master.get("/health/ready");
        assert_eq!(ready.status, 503, "I8: {}", ready.text());
        (since.elapsed() > READINESS).then_some(())
    });
}

fn job_ids(master: &Master) -> Vec<String> {
    let jobs = master.get("/api/v1/jobs?limit=1000").json();
    jobs["jobs"].as_array().unwrap().iter().map(id).collect()
}

#[test]
fn a_job_can_be_cancelled_although_no_room_is_left_at_any_write() {
    let row = row!("a disk that is full or refuses");
    if !root_or_skip("injecting errors into another process") {
        return row.left_out("needs root");
    }
    let master = Master::with(&["--grace", "1"]);
    let running = master.run(HELD);
    master.until_log(&running, "begin\n");
    crate::elsewhere::running(&master, &running);
    let mut rounds = 0;
    // The next commit, and whichever of its writes: the reserve is given up for it.
    for write in [1, 2, 3, 5, 8] {
        let job = master.run(HELD);
        master.until_log(&job, "begin\n");
        crate::elsewhere::running(&master, &job);
        let wal = [master.dir.join("danube.db-wal")];
        let what = format!("error=ENOSPC:when={write}");
        let bad = refusing(&master, "pwrite64", &what, &wal);
        let answer = master.call("DELETE", &format!("/api/v1/jobs/{job}"), None);
        assert_eq!(answer.status, 202, "{}", answer.text());
        let ended = until("the cancelled job ends", DEADLINE, || {
            let job = master.job(&job);
            is_terminal(&job).then_some(job)
        });
        assert_eq!(ended["status"], "cancelled", "{ended}");
        drop(bad);
        processes::all_gone(&job);
        until_ready(&master, 200);
        rounds += 1;
    }
    release(&running);
    assert_eq!(master.ended(&running)["status"], "success");
    check_database(&master.dir);
    row.held(rounds, "");
}

#[test]
fn a_disk_that_became_read_only_is_told_and_all_is_there_once_it_is_repaired() {
    let row = row!("a disk that is full or refuses");
    if !loop_devices_or_skip("a file system with an error") {
        return row.left_out("needs root and loop devices");
    }
    let mut disk = Ext4::new(",errors=remount-ro");
    let dir = disk.path().join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "1"]);
    let done = master.run("echo done");
    assert_eq!(master.ended(&done)["status"], "success");
    let running = master.run(HELD);
    master.until_log(&running, "begin\n");
    let waiting: Vec<String> = (0..5).map(|_| master.run("echo later")).collect();

    // What the kernel does when it finds something on the disk that can't be.
    let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", disk.device());
    fs::write(trigger, "a test").unwrap();
    let client = Client::of(&master);
    let (status, said) = client
        .submit(Some("again"), &one_step("echo no"))
        .expect("an answer");
    assert_eq!(
        (status, &said["code"]),
        (503, &json!("unavailable")),
        "{said}"
    );
    let shown = until_ready(&master, 503);
    assert_eq!(shown["checks"]["database"], "failed", "{shown}");
    assert_eq!(master.get("/health").status, 200);
    assert_eq!(master.log(&done), b"done\n", "what is there can be read");
    assert_eq!(job_ids(&master).len(), 2 + waiting.len());
    stays_unready(&master);

    // The kernel takes no such disk back before it was repaired.
    master.kill();
    processes::all_gone(&running);
    disk.unplug();
    disk.repair();
    disk.mount();
    check_database(&dir);
    let master = Master::start_in(&dir, &[]);
    assert_eq!(master.get("/health/ready").status, 200);
    // What its first attempt said may have been on no disk yet.
    until("it runs again", DEADLINE, || {
        let job = master.job(&running);
        (job["attempt"] == 2 && !processes::of_job(&running).is_empty()).then_some(())
    });
    let begun = master.log(&running).len();
    until("it listens", DEADLINE, || {
        let log = master.log(&running);
        (log.len() > begun || log == b"begin\n" || log == b"begin\nbegin\n").then_some(())
    });
    release(&running);
    for id in waiting.iter().chain([&running, &done]) {
        let job = master.ended(id);
        assert_eq!(job["status"], "success", "{job}");
    }
    assert_eq!(job_ids(&master).len(), 2 + waiting.len());
    row.held(
        1,
        format!("{} jobs acknowledged, 0 lost", 2 + waiting.len()),
    );
}

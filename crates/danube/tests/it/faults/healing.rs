//! Each row of the health table broken for real and healed for real: what readiness, the
//! metrics, the server log and a real Alertmanager say of it, and of its end.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::disk::SmallDisk;
use super::history::check_database;
use super::row::row;
use crate::collector::Collector;
use crate::elsewhere::{Elsewhere, running};
use crate::master::{DEADLINE, Master, one_step};
use crate::otlp;
use crate::peers::Alertmanager;
use crate::processes::{HELD, release, root_or_skip, until};
use crate::redis::Redis;
use crate::watch::LockedDatabase;

/// How soon readiness tells the truth, both ways.
const READINESS: Duration = Duration::from_secs(5);

/// A master whose Alertmanager is a real one.
struct Watched {
    master: Master,
    alertmanager: Alertmanager,
    /// When what was waited for was seen, since it was waited for; in seconds.
    waits: RefCell<Vec<String>>,
}

impl Watched {
    fn with(arguments: &[&str]) -> Self {
        let alertmanager = Alertmanager::start();
        let own = ["--alertmanager-url", &alertmanager.url];
        let master = Master::with(&[&own, arguments].concat());
        Self {
            master,
            alertmanager,
            waits: RefCell::default(),
        }
    }

    fn in_dir(dir: &std::path::Path, arguments: &[&str]) -> Self {
        let alertmanager = Alertmanager::start();
        let own = ["--alertmanager-url", &alertmanager.url];
        let master = Master::start_in(dir, &[&own, arguments].concat());
        Self {
            master,
            alertmanager,
            waits: RefCell::default(),
        }
    }

    /// What was seen, for the table of results.
    fn figure(&self) -> String {
        self.waits.borrow().join(", ")
    }

    fn waited(&self, what: &str, since: Instant) {
        let wait = format!("{what} after {:.1} s", since.elapsed().as_secs_f64());
        self.waits.borrow_mut().push(wait);
    }

    /// The check is so, and the server ready or not, as soon as is promised.
    #[track_caller]
    fn is(&self, check: &str, status: &str, ready: u16) {
        let asked = Instant::now();
        until("readiness tells the truth", READINESS, || {
            let answer = self.master.get("/health/ready");
            let said = answer.json();
            (said["checks"][check] == status && answer.status == ready).then_some(())
        });
        self.waited(status, asked);
        let value = match status {
            "ok" => 1.0,
            "degraded" => 0.5,
            _ => 0.0,
        };
        let metric = format!("danube_health_check_status{{check=\"{check}\"}}");
        until("the metric says the same", READINESS, || {
            (self.master.metric(&metric) == value).then_some(())
        });
        assert_eq!(self.master.get("/health").status, 200);
    }

    /// From the third failure in a row it is an error, and people are told.
    #[track_caller]
    fn is_alarmed(&self, check: &str) -> Value {
        let asked = Instant::now();
        let told = self.master.event(|it| {
            it["event"] == "health_check_failed" && it["check"] == check && it["level"] == "error"
        });
        assert_eq!(told["consecutive_failures"], 3, "{told}");
        until("Alertmanager has the alert", DEADLINE, || self.alert(check));
        self.waited("in Alertmanager", asked);
        told
    }

    /// It is over, and so is the alert.
    #[track_caller]
    fn is_over(&self, check: &str) {
        self.is(check, "ok", 200);
        self.master
            .event(|it| it["event"] == "health_check_recovered" && it["check"] == check);
        until("Alertmanager hears of its end", DEADLINE, || {
            self.alert(check).is_none().then_some(())
        });
    }

    fn alert(&self, check: &str) -> Option<Value> {
        let mut all = self.alertmanager.alerts().into_iter();
        all.find(|it| {
            it["labels"]["alertname"] == "DanubeHealthCheckFailing"
                && it["labels"]["check"] == check
        })
    }

    /// An attempt to heal, as the log, the metric and the API have it.
    #[track_caller]
    fn healed(&self, check: &str, action: &str, result: &str) -> Value {
        let told = self.master.event(|it| {
            it["event"] == "self_heal_attempted"
                && it["check"] == check
                && it["action"] == action
                && it["result"] == result
        });
        let metric = format!("danube_self_heal_total{{check=\"{check}\",result=\"{result}\"}}");
        until("it is counted", DEADLINE, || {
            (self.master.metric(&metric) >= 1.0).then_some(())
        });
        told
    }
}

#[test]
fn a_process_that_holds_the_write_lock_is_named_and_once_it_lets_go_all_is_healed() {
    let row = row!("a database that is locked or hangs");
    let it = Watched::with(&[]);
    let locked = LockedDatabase::of(&it.master);
    it.is("database", "failed", 503);
    it.is_alarmed("database");
    // The test holds it: whoever looks is told whom to end.
    let holder = format!("process {} (", std::process::id());
    until("the holder is named", DEADLINE, || {
        let report = it.master.get("/api/v1/health").json();
        let checks = report["checks"].as_array().unwrap();
        let database = checks.iter().find(|it| it["name"] == "database").unwrap();
        let message = database["message"].as_str().unwrap();
        (message.contains(&holder) && message.contains("end that process")).then_some(())
    });
    locked.release();
    it.is_over("database");
    // What was tried depends on when it let go.
    it.master
        .event(|it| it["event"] == "self_heal_attempted" && it["check"] == "database");
    assert_eq!(it.master.ended(&it.master.run("true"))["status"], "success");
    row.held(1, it.figure());
}

#[test]
fn locks_that_stay_are_tried_at_most_so_often_and_what_failed_says_why() {
    let row = row!("a database that is locked or hangs");
    let master = Master::start();
    let locked = LockedDatabase::of(&master);
    let tried =
        master.event(|it| it["event"] == "self_heal_attempted" && it["check"] == "database");
    assert_eq!(tried["result"], "error", "{tried}");
    let detail = tried["detail"].as_str().unwrap();
    assert!(detail.contains("holds it: end that process"), "{detail}");
    // Many more failures than attempts.
    until("it goes on failing", DEADLINE, || {
        let failures = "danube_health_check_consecutive_failures{check=\"database\"}";
        (master.metric(failures) >= 6.0).then_some(())
    });
    let attempts = "danube_self_heal_total{check=\"database\",result=\"error\"}";
    assert_eq!(master.metric(attempts), 1.0);
    locked.release();
    row.held(1, "told");
}

#[test]
fn a_redis_that_is_away_is_healed_by_its_return_and_a_lost_group_is_made_again() {
    let row = row!("Redis killed, flushed, full, stalled");
    let mut redis = Redis::start();
    let it = Watched::with(&["--queue-url", &redis.url(), "--jobs-at-once", "0"]);
    it.master.event(|it| it["event"] == "queue_refilled");
    redis.kill();
    // Work goes on without it: it gates nothing.
    it.is("queue", "degraded", 200);
    it.is_alarmed("queue");
    it.healed("queue", "reconnect", "error");
    redis.start_again();
    it.is_over("queue");
    let stream = redis.key(":default");
    let destroyed = redis.ask(&["XGROUP", "DESTROY", &stream, "workers"]);
    assert_eq!(destroyed.trim(), "1");
    it.healed("queue", "refill", "success");
    let groups = redis.ask(&["XINFO", "GROUPS", &stream]);
    assert!(groups.contains("workers"), "{groups}");
    row.held(1, it.figure());
}

#[test]
fn a_redis_that_comes_back_at_once_is_what_the_attempt_finds() {
    let row = row!("Redis killed, flushed, full, stalled");
    let mut redis = Redis::start();
    let master = Master::with(&["--queue-url", &redis.url(), "--jobs-at-once", "0"]);
    master.event(|it| it["event"] == "queue_refilled");
    redis.kill();
    master.event(|it| it["event"] == "queue_disconnected");
    redis.start_again();
    let healed = master.event(|it| it["event"] == "self_heal_attempted" && it["check"] == "queue");
    assert_eq!(healed["action"], "reconnect", "{healed}");
    assert_eq!(healed["result"], "success", "{healed}");
    row.held(1, "told and healed");
}

/// A job that leaves so many MiB in its log.
fn large_log(master: &Master, mib: u32) -> String {
    let id = master.run(&format!(
        "head -c {mib}M /dev/zero | tr '\\0' x | fold -w 99"
    ));
    assert_eq!(master.ended(&id)["status"], "success");
    id
}

#[test]
fn a_disk_that_fills_sends_the_reaper_early_and_is_well_again() {
    let row = row!("a disk that is full or refuses");
    if !root_or_skip("a small file system of its own") {
        return row.left_out("needs root");
    }
    let disk = SmallDisk::mount("64M");
    let data = disk.dir.join("data");
    let kept = [
        "--disk-free-percent",
        "40",
        "--health-disk-free-percent",
        "10",
    ];
    let it = Watched::in_dir(&data, &kept);
    let old = large_log(&it.master, 12);
    let new = large_log(&it.master, 2);
    // Nine tenths and more are taken, and the server still serves.
    let filler = fs::File::create(disk.dir.join("filler")).unwrap();
    let room = rustix::fs::statvfs(&disk.dir).unwrap();
    let leave = room.f_blocks * room.f_frsize / 20;
    let take = room.f_bavail * room.f_frsize - leave;
    rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), 0, take).unwrap();
    let healed = it.healed("disk", "reap", "success");
    let detail = healed["detail"].as_str().unwrap();
    assert!(detail.contains("logs"), "{detail}");
    let reaped = it
        .master
        .event(|it| it["event"] == "reaper_completed" && it["reason"] == "disk");
    assert!(
        reaped["bytes_freed"].as_u64().unwrap() >= 12 << 20,
        "{reaped}"
    );
    it.is_over("disk");
    let gone = |id: &str| it.master.get(&format!("/api/v1/jobs/{id}/logs")).status;
    assert_eq!(gone(&old), 410);
    // All that had ended had to go: not even then are two fifths free.
    assert_eq!(gone(&new), 410);
    assert_eq!(it.master.job(&old)["status"], "success");
    row.held(1, it.figure());
}

#[test]
fn a_full_disk_on_which_nothing_has_expired_says_so_and_is_left_alone() {
    let row = row!("a disk that is full or refuses");
    if !root_or_skip("a small file system of its own") {
        return row.left_out("needs root");
    }
    let disk = SmallDisk::mount("32M");
    let data = disk.dir.join("data");
    let it = Watched::in_dir(&data, &["--health-interval", "1"]);
    let id = large_log(&it.master, 1);
    disk.fill();
    it.is("disk", "failed", 503);
    it.is_alarmed("disk");
    let tried = it.healed("disk", "reap", "error");
    let detail = tried["detail"].as_str().unwrap();
    assert!(detail.contains("nothing has expired"), "{detail}");
    // The probe of the logs finds no room either.
    it.is("log_pipeline", "failed", 503);
    assert_eq!(
        it.master.get(&format!("/api/v1/jobs/{id}/logs")).status,
        200
    );
    disk.free();
    it.is_over("disk");
    it.is("log_pipeline", "ok", 200);
    row.held(1, it.figure());
}

#[test]
fn a_frozen_worker_is_missed_its_jobs_are_rescued_and_its_return_is_noticed() {
    let row = row!("worker killed, frozen or cut off");
    let it = Watched::with(&["--jobs-at-once", "0", "--lease", "3"]);
    let frozen = Elsewhere::start(&it.master, "far", &[]);
    let id = it.master.run(HELD);
    it.master.until_log(&id, "begin\n");
    it.is("workers", "ok", 200);
    frozen.signal("STOP");
    let told = it
        .master
        .event(|it| it["event"] == "health_check_failed" && it["check"] == "workers");
    assert_eq!(told["status"], "degraded");
    assert!(told["error"].as_str().unwrap().contains("`far`"), "{told}");
    // One silent worker doesn't make the server unready.
    it.is("workers", "degraded", 200);
    it.healed("workers", "rescue_jobs", "success");
    it.is_alarmed("workers");
    let job = it.master.job(&id);
    assert_eq!(job["status"], "pending", "{job}");
    frozen.signal("CONT");
    it.is_over("workers");
    running(&it.master, &id);
    release(&id);
    assert_eq!(it.master.ended(&id)["status"], "success");
    row.held(1, it.figure());
}

#[test]
fn a_worker_that_says_goodbye_is_not_missed() {
    let row = row!("worker killed, frozen or cut off");
    let master = Master::with(&["--jobs-at-once", "0", "--lease", "3"]);
    let mut leaves = Elsewhere::start(&master, "leaves", &[]);
    let _stays = Elsewhere::start(&master, "stays", &[]);
    leaves.signal("TERM");
    assert!(leaves.wait().success());
    let mut killed = Elsewhere::start(&master, "killed", &[]);
    killed.kill();
    // When the one is missed that left later, the other would have been.
    let told = master.event(|it| it["event"] == "health_check_failed" && it["check"] == "workers");
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("`killed`"), "{error}");
    assert!(!error.contains("`leaves`"), "{error}");
    row.held(1, "told");
}

#[test]
fn webhooks_that_nobody_takes_for_long_are_told() {
    let row = row!("a collector or receiver gone bad");
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let arguments = [
        "--webhooks-allow-private",
        "127.0.0.1",
        "--webhooks-allow-http",
    ];
    let mut master = Master::start_in(&dir, &arguments);
    let mut body = one_step("true");
    // Nobody listens there.
    body["callback_url"] = json!("http://127.0.0.1:9/");
    let id = crate::master::id(&master.submit(&body));
    master.ended(&id);
    master.event(|it| it["event"] == "webhook_failed");
    master.kill();
    // Half an hour passes.
    let connection = Connection::open(dir.join("danube.db")).unwrap();
    connection
        .execute_batch(
            "UPDATE webhooks SET ended_at = ended_at - 1800000, due_at = due_at + 600000",
        )
        .unwrap();
    drop(connection);
    let master = Master::start_in(&dir, &arguments);
    let told = master.event(|it| it["event"] == "health_check_failed" && it["check"] == "webhooks");
    assert_eq!(told["status"], "degraded");
    assert!(
        told["error"]
            .as_str()
            .unwrap()
            .contains("1 webhooks aren't delivered, the oldest for 30 min"),
        "{told}"
    );
    assert_eq!(master.get("/health/ready").status, 200);
    row.held(1, "told");
}

#[test]
fn a_machine_without_git_is_told_of() {
    let row = row!("a program that is missing");
    let nothing = tempfile::tempdir().unwrap();
    let path = nothing.path().display().to_string();
    let master = Master::in_environment(&[("PATH", &path)], &[]);
    let told = master.event(|it| it["event"] == "health_check_failed" && it["check"] == "git");
    assert_eq!(told["status"], "degraded", "{told}");
    assert!(
        told["error"].as_str().unwrap().contains("install it"),
        "{told}"
    );
    assert_eq!(
        master.get("/health/ready").json()["checks"]["git"],
        "degraded"
    );
    assert_eq!(master.get("/health/ready").status, 200);
    row.held(1, "told");
}

/// Delays what one thread of a process reads from files, for as long as it lives.
struct SlowReads(Child);

impl SlowReads {
    /// By so much, each read of the thread with this name.
    fn of(master: &Master, thread: &str, delay: Duration) -> Self {
        let delay = format!("inject=read,pread64:delay_enter={}", delay.as_micros());
        let mut strace = Command::new("strace")
            .args(["-o", "/dev/null", "-p", &tid(master, thread).to_string()])
            .args(["-e", "trace=read,pread64", "-e", &delay])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is here: ci/deps.sh installs it");
        let said = BufReader::new(strace.stderr.take().expect("piped"));
        let attached = said
            .lines()
            .map_while(Result::ok)
            .any(|it| it.contains("attached"));
        assert!(attached, "strace could not attach");
        Self(strace)
    }
}

impl Drop for SlowReads {
    /// Lets the thread go on without it: a killed tracer might not.
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let _ = self.0.wait();
    }
}

/// The thread of a master with this name.
fn tid(master: &Master, name: &str) -> u32 {
    let tasks = format!("/proc/{}/task", master.pid());
    let mut all = fs::read_dir(tasks).unwrap().map(|it| it.unwrap());
    let found = all.find(|it| {
        let comm = fs::read_to_string(it.path().join("comm")).unwrap_or_default();
        comm.trim() == name
    });
    let name = found.expect("the thread is there").file_name();
    name.to_str().unwrap().parse().unwrap()
}

/// Enough that a submit reads a page of each of several trees.
const JOBS: u16 = 300;

/// A write of ours that hangs where nothing wakes it: on a page of a disk that takes its time
/// for each.
#[test]
fn a_write_that_outlives_its_limit_is_rolled_back_and_those_behind_it_go_on() {
    let row = row!("a database that is locked or hangs");
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    for _ in 0..JOBS {
        master.submit(&one_step("true"));
    }
    master.kill();
    // Nothing of the database is in its memory now.
    let it = Watched::in_dir(&dir, &["--jobs-at-once", "0"]);
    let slow = SlowReads::of(&it.master, "danube-store", Duration::from_millis(2_500));
    let answer = it
        .master
        .call("POST", "/api/v1/jobs", Some(&one_step("echo no")));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(it.master.get("/health/ready").status, 503);
    drop(slow);
    let healed = it.healed("database", "clear_locks", "success");
    let detail = healed["detail"].as_str().unwrap();
    assert!(detail.contains("rolled back"), "{detail}");
    it.is_over("database");
    // What was refused isn't there, and what comes next is.
    assert_eq!(it.master.metric("danube_job_queue_size"), f64::from(JOBS));
    it.master.submit(&one_step("true"));
    check_database(&dir);
    row.held(1, it.figure());
}

#[test]
fn a_collector_that_is_away_is_told_and_what_was_tried_is_a_span_once_it_is_back() {
    let row = row!("a collector or receiver gone bad");
    let address = Collector::grpc().address();
    let master = otlp::master(&format!("http://{address}"), "grpc", &[]);
    let told =
        master.event(|it| it["event"] == "health_check_failed" && it["check"] == "otlp_export");
    assert_eq!(told["status"], "degraded", "{told}");
    assert_eq!(master.get("/health/ready").status, 200);
    let collector = Collector::grpc_at(address);
    master.event(|it| it["event"] == "health_check_recovered" && it["check"] == "otlp_export");
    let locked = LockedDatabase::of(&master);
    let is_of_database =
        |it: &Value| it["event"] == "self_heal_attempted" && it["check"] == "database";
    master.event(is_of_database);
    locked.release();
    let span = collector.wait_for("the attempt's span", |sent| {
        let mut spans = sent.spans().into_iter();
        spans.find(|it| it.name == "self_heal clear_locks")
    });
    assert!(span.parent_span_id.is_empty());
    let line = master.event(is_of_database);
    let trace: String = span.trace_id.iter().map(|it| format!("{it:02x}")).collect();
    assert_eq!(line["trace_id"], trace.as_str());
    row.held(1, "told and healed");
}

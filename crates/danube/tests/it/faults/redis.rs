//! Redis and its workers, each of the three sides killed, frozen, emptied: it carries what
//! waits and may lose everything.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use danube_queue::{Address, Source};
use danube_signals::{BuildInfo, Limits, Signals};
use serde_json::{Value, json};

use super::load::{Load, Random};
use super::row::row;
use super::{history, setting};
use crate::elsewhere::{Elsewhere, Wire, token};
use crate::master::{DEADLINE, Master};
use crate::processes::{HELD, release, until};
use crate::redis::Redis;

/// Rounds in which one of the sides breaks, when `DANUBE_FAULT_ROUNDS` says nothing else.
const ROUNDS_DEFAULT: u64 = 8;

/// Longest time between the first accepted job and the fault.
const BREAK_AFTER_MS_MAX: u64 = 500;

/// How soon everything is in Redis again.
const REFILLED_WITHIN: Duration = Duration::from_secs(10);

/// A master without a worker of its own that fills this Redis; the shortest lease there is.
fn arguments(url: &str) -> [&str; 6] {
    ["--jobs-at-once", "0", "--lease", "3", "--queue-url", url]
}

fn master(redis: &Redis) -> Master {
    let master = Master::with(&arguments(&redis.url()));
    refilled(&master, "start");
    master
}

/// Waits until the streams were brought in line for this reason.
#[track_caller]
fn refilled(master: &Master, reason: &str) -> Value {
    master.event(|it| it["event"] == "queue_refilled" && it["reason"] == reason)
}

fn worker(master: &Master, redis: &Redis, name: &str) -> Elsewhere {
    let token = token(master, name);
    let worker = Elsewhere::on_redis((&master.address, &token), &redis.url(), &[], &[]);
    worker.event("queue_connected");
    worker
}

#[track_caller]
fn succeeds_at_once(master: &Master, id: &str) {
    let job = master.ended(id);
    assert_eq!(
        (&job["status"], &job["attempt"]),
        (&json!("success"), &json!(1)),
        "{job}"
    );
}

/// What the check of the queue says, once it says this. The master serves on.
#[track_caller]
fn queue_is(master: &Master, status: &str) {
    until(&format!("the queue is {status}"), DEADLINE, || {
        let ready = master.get("/health/ready");
        assert_eq!(ready.status, 200, "{}", ready.text());
        (ready.json()["checks"]["queue"] == status).then_some(())
    });
}

#[test]
fn a_redis_that_loses_everything_is_filled_again() {
    let row = row!("Redis killed, flushed, full, stalled");
    let mut redis = Redis::start();
    let master = master(&redis);
    let waiting: Vec<String> = (0..20).map(|_| master.run("true")).collect();
    until("all are in Redis", DEADLINE, || {
        (redis.entries("default") == 20).then_some(())
    });
    redis.ask(&["FLUSHALL"]);
    let since = Instant::now();
    let lost = refilled(&master, "lost");
    let took = since.elapsed();
    assert!(took <= REFILLED_WITHIN, "filled again after {took:?}");
    assert_eq!(
        (&lost["found"], &lost["added"]),
        (&json!(0), &json!(20)),
        "{lost}"
    );
    assert_eq!(redis.entries("default"), 20);
    // A single entry, a group, a whole stream: by somebody's hand.
    let stream = redis.key(":queue:default");
    redis.ask(&["XTRIM", &stream, "MAXLEN", "=", "19"]);
    until("the entry is back", DEADLINE, || {
        (redis.entries("default") == 20).then_some(())
    });
    redis.ask(&["XGROUP", "DESTROY", &stream, "workers"]);
    until("the group is back", DEADLINE, || {
        let groups = redis.ask(&["XINFO", "GROUPS", &stream]);
        groups.contains("workers").then_some(())
    });
    redis.kill();
    queue_is(&master, "degraded");
    // Accepted although nobody carries it.
    let one_more = master.run("true");
    redis.start_again();
    refilled(&master, "reconnected");
    queue_is(&master, "ok");
    assert_eq!(redis.entries("default"), 21);
    let _worker = worker(&master, &redis, "far");
    for id in waiting.iter().chain([&one_more]) {
        succeeds_at_once(&master, id);
    }
    row.held(4, format!("filled again within {took:.1?}"));
}

#[test]
fn what_redis_brings_back_or_repeats_is_run_once() {
    let row = row!("Redis killed, flushed, full, stalled");
    let redis = Redis::start();
    let master = master(&redis);
    let id = master.run("echo once");
    until("it is in Redis", DEADLINE, || {
        (redis.entries("default") == 1).then_some(())
    });
    let stream = redis.key(":queue:default");
    for entry in [id.as_str(), &id, "not-a-job", &new_id()] {
        redis.ask(&["XADD", &stream, "*", "job", entry]);
    }
    redis.ask(&["XADD", &stream, "*", "other", "thing"]);
    let _worker = worker(&master, &redis, "far");
    succeeds_at_once(&master, &id);
    assert_eq!(master.log(&id), b"once\n");
    // It was long done.
    redis.ask(&["XADD", &stream, "*", "job", &id]);
    let next = master.run("echo more");
    succeeds_at_once(&master, &next);
    until("nothing is left", DEADLINE, || {
        (redis.entries("default") == 0).then_some(())
    });
    succeeds_at_once(&master, &id);
    row.held(1, "");
}

/// The id of a job that this master never had.
fn new_id() -> String {
    danube_model::JobId::new().to_string()
}

#[test]
fn without_redis_its_workers_ask_the_master_and_go_back_to_it_later() {
    let row = row!("Redis killed, flushed, full, stalled");
    let mut redis = Redis::start();
    let master = master(&redis);
    let far = worker(&master, &redis, "far");
    // Nothing answers any more, and nothing is refused either.
    redis.signal("STOP");
    let stalled = master.run("echo stalled");
    succeeds_at_once(&master, &stalled);
    queue_is(&master, "degraded");
    far.event("queue_disconnected");
    redis.signal("CONT");
    queue_is(&master, "ok");
    redis.kill();
    let dead = master.run("echo dead");
    succeeds_at_once(&master, &dead);
    redis.start_again();
    queue_is(&master, "ok");
    let back = master.run("echo back");
    succeeds_at_once(&master, &back);
    // Full: what is there can be read, nothing can be added.
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = master.run("echo full");
    succeeds_at_once(&master, &full);
    queue_is(&master, "degraded");
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    queue_is(&master, "ok");
    row.held(3, "");
}

#[test]
fn what_a_dead_worker_has_taken_goes_to_another_and_what_a_living_one_holds_does_not() {
    let row = row!("Redis killed, flushed, full, stalled");
    let redis = Redis::start();
    let master = master(&redis);
    let id = master.run("echo hi");
    until("it is in Redis", DEADLINE, || {
        (redis.entries("default") == 1).then_some(())
    });
    let stream = redis.key(":queue:default");
    // A worker that dies with the entry in its hand.
    let taken = redis.ask(&[
        "XREADGROUP",
        "GROUP",
        "workers",
        "ghost",
        "STREAMS",
        &stream,
        ">",
    ]);
    assert!(taken.contains(&id), "{taken}");
    let far = worker(&master, &redis, "far");
    succeeds_at_once(&master, &id);
    // One that can't ask, because the master is away for longer than a lease.
    master.signal("STOP");
    let job = new_id();
    redis.ask(&["XADD", &stream, "*", "job", &job]);
    let pending = || {
        let said = redis.ask(&["XPENDING", &stream, "workers", "-", "+", "9"]);
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        let idle_ms: u64 = lines.get(2)?.trim().parse().ok()?;
        Some((lines[1].clone(), idle_ms))
    };
    let (mut kept, mut before) = (0, u64::MAX);
    until("it was kept for longer than a lease", DEADLINE, || {
        let (holder, idle_ms) = pending()?;
        assert_eq!(holder, "far");
        // Each time that it is kept, its time begins anew.
        kept += u64::from(idle_ms < before);
        before = idle_ms;
        (kept > 10).then_some(())
    });
    master.signal("CONT");
    until("the answer is no, and it goes", DEADLINE, || {
        (redis.entries("default") == 0).then_some(())
    });
    drop(far);
    row.held(1, "");
}

#[test]
fn jobs_of_a_killed_worker_come_back_by_way_of_redis() {
    let row = row!("Redis killed, flushed, full, stalled");
    let redis = Redis::start();
    let master = master(&redis);
    let mut far = worker(&master, &redis, "far");
    let id = master.run(HELD);
    master.until_log(&id, "begin\n");
    far.kill();
    let _near = worker(&master, &redis, "near");
    master.until_log(&id, "begin\nbegin\n");
    release(&id);
    let job = master.ended(&id);
    assert_eq!(
        (&job["status"], &job["attempt"], &job["worker_id"]),
        (&json!("success"), &json!(2), &json!("near")),
        "{job}"
    );
    row.held(1, "");
}

#[test]
fn a_worker_that_leaves_takes_nothing_with_it() {
    let row = row!("Redis killed, flushed, full, stalled");
    let redis = Redis::start();
    let master = master(&redis);
    let mut far = worker(&master, &redis, "far");
    far.signal("TERM");
    far.wait();
    let id = master.run("echo hi");
    let _near = worker(&master, &redis, "near");
    let job = master.ended(&id);
    assert_eq!(
        (&job["status"], &job["worker_id"]),
        (&json!("success"), &json!("near")),
        "{job}"
    );
    row.held(1, "");
}

/// The workers' names.
const NAMES: [&str; 3] = ["one", "two", "three"];

/// One of three workers with a network of its own.
struct Side {
    wire: Wire,
    token: String,
    worker: Elsewhere,
}

impl Side {
    fn start(master: &Master, redis: &Redis, name: &str) -> Self {
        let (wire, token) = (Wire::to(master), token(master, name));
        let worker = Elsewhere::on_redis((&wire.address, &token), &redis.url(), &[], &[]);
        Self {
            wire,
            token,
            worker,
        }
    }

    fn again(&mut self, redis: &Redis) {
        self.worker.kill();
        let address = (self.wire.address.as_str(), self.token.as_str());
        self.worker = Elsewhere::on_redis(address, &redis.url(), &[], &[]);
    }
}

/// All three sides.
struct Sides {
    dir: PathBuf,
    master: Master,
    redis: Redis,
    workers: [Side; 3],
}

impl Sides {
    /// One fault after the other, at a side that chance has chosen.
    fn broken(&mut self, round: u64, which: usize) {
        match round % 8 {
            0 => {
                self.redis.ask(&["FLUSHALL"]);
            }
            1 => self.master_again(),
            2 => {
                self.redis.kill();
                self.redis.start_again();
            }
            3 => self.workers[which].again(&self.redis),
            4 => {
                self.redis.signal("STOP");
                queue_is(&self.master, "degraded");
                self.redis.signal("CONT");
            }
            5 => self.frozen(which),
            6 => {
                self.workers[which].wire.cut();
                self.workers[which].wire.lead_to(&self.master);
            }
            _ => {
                self.redis.kill();
                self.workers[which].worker.kill();
                self.master_again();
                self.redis.start_again();
                self.workers[which].again(&self.redis);
            }
        }
    }

    fn master_again(&mut self) {
        self.master.kill();
        self.workers.iter().for_each(|it| it.wire.cut());
        history::check_database(&self.dir);
        self.master = Master::start_in(&self.dir, &arguments(&self.redis.url()));
        for it in &self.workers {
            it.wire.lead_to(&self.master);
        }
    }

    /// Until its lease is over and its jobs are elsewhere.
    fn frozen(&self, which: usize) {
        let worker = &self.workers[which].worker;
        worker.signal("STOP");
        until("it holds nothing any more", DEADLINE, || {
            let held = ["scheduling", "running"].iter().any(|status| {
                let path = format!("/api/v1/jobs?status={status}&limit=1000");
                let jobs = self.master.get(&path).json();
                let mut jobs = jobs["jobs"].as_array().unwrap().iter();
                jobs.any(|it| it["worker_id"] == NAMES[which])
            });
            (!held).then_some(())
        });
        worker.signal("CONT");
    }
}

#[test]
fn each_of_the_three_sides_broken_again_and_again() {
    let row = row!("Redis killed, flushed, full, stalled");
    let rounds = setting("DANUBE_FAULT_ROUNDS").map_or(ROUNDS_DEFAULT, |it| it / 4);
    let seed = setting("DANUBE_FAULT_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("{rounds} faults; DANUBE_FAULT_SEED={seed} chooses the same ones again");
    let mut random = Random::new(seed);
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let redis = Redis::start();
    let master = Master::start_in(&dir, &arguments(&redis.url()));
    let workers = NAMES.map(|it| Side::start(&master, &redis, it));
    let mut sides = Sides {
        dir,
        master,
        redis,
        workers,
    };
    let mut load = Load::elsewhere(seed);
    for round in 0..rounds {
        load.history().check_running(&sides.master);
        load.serve(&sides.master, false);
        load.wait_for_answer();
        // tidy: allow(sleep): nothing is waited for; the random moment is the fault itself
        thread::sleep(Duration::from_millis(random.below(BREAK_AFTER_MS_MAX)));
        sides.broken(round, usize::try_from(random.below(3)).unwrap());
    }
    let Sides { master, redis, .. } = &sides;
    load.serve(master, true);
    load.join();
    let jobs = load.history().check_ended(master);
    queue_is(master, "ok");
    eprintln!("{} jobs: {:?}", jobs.len(), super::counts(&jobs));
    until("nothing is left in Redis", DEADLINE, || {
        (redis.entries("default") == 0).then_some(())
    });
    row.held(
        rounds,
        format!("{} jobs: {:?}", jobs.len(), super::counts(&jobs)),
    );
}

#[test]
fn what_the_living_hold_does_not_hide_what_a_dead_worker_has_left() {
    let row = row!("Redis killed, flushed, full, stalled");
    let redis = Redis::start();
    let stream = "here:queue:default";
    redis.ask(&["XGROUP", "CREATE", stream, "workers", "0", "MKSTREAM"]);
    // More in front than Redis looks at for one that is wanted.
    let jobs: Vec<String> = (0..30).map(|_| new_id()).collect();
    for job in &jobs {
        redis.ask(&["XADD", stream, "*", "job", job]);
    }
    redis.ask(&[
        "XREADGROUP",
        "GROUP",
        "workers",
        "living",
        "STREAMS",
        stream,
        ">",
    ]);
    let last = redis.ask(&["XREVRANGE", stream, "+", "-", "COUNT", "1"]);
    let last = last.lines().next().unwrap();
    let two_hours = "7200000";
    redis.ask(&[
        "XCLAIM", stream, "workers", "dead", "0", last, "IDLE", two_hours,
    ]);
    let signals = Signals::new(BuildInfo::default(), Limits::default());
    let mut source = Source::new(
        (Address::parse(&redis.url()).unwrap(), "here"),
        ("near", &["default".to_owned()]),
        Duration::from_secs(3_600),
        signals,
    );
    let taken = source.next(1).unwrap();
    let message = taken[0].message.as_ref().unwrap();
    assert_eq!(
        (taken.len(), message.job.to_string()),
        (1, jobs[29].clone())
    );
    row.held(1, "");
}

//! Provokes events: what people do, and faults that are really there.

use std::fs;
use std::net::TcpListener;

use rusqlite::Connection;
use serde_json::json;

use crate::collector::Collector;
use crate::elsewhere::{Elsewhere, Wire, token};
use crate::faults::{SmallDisk, killed_while_it_runs};
use crate::master::{Master, id};
use crate::otlp;
use crate::processes::{release, root_or_skip};
use crate::receiver::{Receiver, Reply};
use crate::redis::Redis;
use crate::watch::{FAST, LockedDatabase, is_of_database};
use crate::watchdog::Parked;
use crate::webhooks::{ALLOWED, told_at};

/// Jobs that end in each way, and the end of the master itself.
pub(super) fn work() -> Option<Vec<String>> {
    let mut master = Master::with(&["--log-level", "info,danube.store=debug"]);
    let fails = json!({"ref": "main", "spec": {"name": "fails", "steps": [
        {"name": "first", "run": "echo one"},
        {"name": "second", "run": "exit 3"},
    ]}});
    let late = json!({"spec": {"name": "late", "steps": [
        {"name": "slow", "run": "echo slow; sleep 600", "timeout_seconds": 1},
    ]}});
    for body in [fails, late] {
        master.ended(&id(&master.submit(&body)));
    }
    let job = master.run("echo begin; exec sleep 600");
    master.until_log(&job, "begin\n");
    let answer = master.call("DELETE", &format!("/api/v1/jobs/{job}"), None);
    assert_eq!(answer.status, 202, "{}", answer.text());
    master.ended(&job);
    master.event(|it| it["event"] == "job_completed" && it["job_id"] == job);
    master.signal("TERM");
    assert!(master.wait().success());
    let mut lines = master.log_lines();
    assert_eq!(lines.pop().as_deref(), Some("{\"event\":\"(end)\"}"));
    Some(lines)
}

/// A run that is profiled, with a directory where one of its files should be.
pub(super) fn profiles() -> Option<Vec<String>> {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    fs::create_dir_all(dir.join("profile-cpu.pb.gz/in the way")).unwrap();
    let mut master = Master::start_in(&dir, &["--profile-run"]);
    assert_eq!(master.get("/debug/pprof/heap").status, 200);
    master.signal("TERM");
    assert!(master.wait().success());
    let mut lines = master.log_lines();
    assert_eq!(lines.pop().as_deref(), Some("{\"event\":\"(end)\"}"));
    Some(lines)
}

/// A master that dies with a job that may run again.
pub(super) fn killed() -> Option<Vec<String>> {
    let (master, _own, job) = killed_while_it_runs(true);
    master.event(|it| it["event"] == "job_retried" && it["job_id"] == job);
    master.until_log(&job, "begin\nbegin\n");
    release(&job);
    master.ended(&job);
    Some(master.log_lines())
}

/// A worker on another machine whose network breaks.
pub(super) fn elsewhere() -> Option<Vec<String>> {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let wire = Wire::to(&master);
    let token = token(&master, "far");
    let way = (wire.address.as_str(), token.as_str());
    let chatty = [
        "env",
        "DANUBE_OBSERVABILITY_LOG_LEVEL=info,danube.worker=debug",
    ];
    let worker = Elsewhere::on_redis(way, "redis://127.0.0.1:1", &chatty, &[]);
    worker.event("rpc_call");
    wire.cut();
    worker.event("worker_disconnected");
    Some(worker.log_lines())
}

/// One thread of the master is stopped for some seconds.
pub(super) fn stalled() -> Option<Vec<String>> {
    if !root_or_skip("stopping one thread of another process") {
        return None;
    }
    let master = Master::start();
    let parked = Parked::thread(master.pid(), "scheduler");
    master.event(|it| it["event"] == "loop_stalled");
    drop(parked);
    master.event(|it| it["event"] == "loop_resumed");
    Some(master.log_lines())
}

/// A Redis that dies.
pub(super) fn redis() -> Option<Vec<String>> {
    let mut redis = Redis::start();
    let master = Master::with(&["--queue-url", &redis.url()]);
    master.event(|it| it["event"] == "queue_refilled");
    redis.kill();
    master.event(|it| it["event"] == "queue_disconnected");
    Some(master.log_lines())
}

/// Something stands where a workspace was and is none.
pub(super) fn left_workspace() -> Option<Vec<String>> {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let work = dir.join("work");
    fs::create_dir_all(&work).unwrap();
    let job = "0192f3a4-5b6c-7d8e-9f00-112233445566";
    fs::write(work.join(job), "no directory").unwrap();
    let master = Master::start_in(&dir, &[]);
    master.event(|it| it["event"] == "workspace_left" && it["job_id"] == job);
    Some(master.log_lines())
}

/// A browser with a good and with a wrong key, and a key that may not do that.
pub(super) fn people() -> Option<Vec<String>> {
    let master = Master::start();
    let new = json!({"name": "looks", "role": "viewer"});
    let made = master.call("POST", "/api/v1/api-keys", Some(&new)).json();
    let key = made["key"].as_str().unwrap();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (body, status) in [(format!("key={key}"), 200), ("key=wrong".into(), 401)] {
        let answer = master.request("POST", "/login", &form, body.as_bytes());
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let bearer = format!("Bearer {key}");
    let headers = [
        ("authorization", &*bearer),
        ("content-type", "application/json"),
    ];
    let answer = master.request("POST", "/api/v1/jobs", &headers, b"{}");
    assert_eq!(answer.status, 403, "{}", answer.text());
    master.event(|it| it["event"] == "permission_denied" && it["user"] == "looks");
    master.event(|it| it["event"] == "login_failed");
    Some(master.log_lines())
}

/// A receiver that takes a webhook at the second attempt.
pub(super) fn webhooks() -> Option<Vec<String>> {
    let receiver = Receiver::new(&[Reply::Status(500, ""), Reply::Status(200, "")]);
    let master = Master::with(ALLOWED);
    let job = told_at(&master, &receiver.address);
    master.event(|it| it["event"] == "webhook_failed" && it["job_id"] == job);
    master.event(|it| it["event"] == "webhook_sent" && it["job_id"] == job);
    Some(master.log_lines())
}

/// Somebody sets the level for a time, which ends; then the settings are wrong.
pub(super) fn level() -> Option<Vec<String>> {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let master = Master::start_in(&dir, &[]);
    let new = json!({"level": "debug", "for_seconds": 1});
    let answer = master.call("PUT", "/api/v1/admin/log-level", Some(&new));
    assert_eq!(answer.status, 200, "{}", answer.text());
    master.event(|it| it["event"] == "log_level_changed" && it["reason"] == "expired");
    fs::write(dir.join("danube.toml"), "nonsense").unwrap();
    master.signal("HUP");
    master.event(|it| it["event"] == "settings_refused");
    Some(master.log_lines())
}

/// Another program holds the database's write lock, and gives it back.
pub(super) fn database() -> Option<Vec<String>> {
    let master = Master::start();
    let other = Connection::open(master.dir.join("danube.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    master.event(|it| it["event"] == "database_unavailable");
    master.event(|it| it["event"] == "self_heal_attempted" && it["check"] == "database");
    other.execute_batch("ROLLBACK").unwrap();
    master.event(|it| it["event"] == "health_check_recovered" && it["check"] == "database");
    Some(master.log_lines())
}

/// A database that nobody can write for long enough, with an Alertmanager that isn't
/// there.
pub(super) fn alerts() -> Option<Vec<String>> {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let own = [
        "--health-interval",
        "1",
        "--log-level",
        "info,danube.health=debug",
        "--alertmanager-url",
    ];
    let master = Master::with(&[FAST, &own, &[&address]].concat());
    master.event(|it| it["event"] == "health_checks_completed");
    let locked = LockedDatabase::of(&master);
    master.event(|it| is_of_database(it, "alert_fired"));
    master.event(|it| it["event"] == "alerts_not_sent");
    locked.release();
    master.event(|it| is_of_database(it, "alert_resolved"));
    Some(master.log_lines())
}

/// A collector that comes late.
pub(super) fn collector() -> Option<Vec<String>> {
    let address = Collector::grpc().address();
    let master = otlp::master(&format!("http://{address}"), "grpc", &[]);
    master.event(|it| it["event"] == "otlp_export_failed");
    let _collector = Collector::grpc_at(address);
    master.event(|it| it["event"] == "otlp_export_recovered");
    Some(master.log_lines())
}

/// A log that is older than logs are kept.
pub(super) fn reaper() -> Option<Vec<String>> {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let master = Master::start_in(&dir, &[]);
    let job = master.run("echo hello");
    master.ended(&job);
    drop(master);
    let master = Master::start_in(&dir, &["--logs-max-bytes", "1"]);
    master.event(|it| it["event"] == "reaper_completed");
    Some(master.log_lines())
}

/// A job whose output the disk doesn't hold.
pub(super) fn full_disk() -> Option<Vec<String>> {
    if !root_or_skip("mounting a small disk") {
        return None;
    }
    let disk = SmallDisk::mount("48m");
    let arguments = ["--jobs-at-once", "1", "--grace", "1"];
    let master = Master::start_in(&disk.dir.join("data"), &arguments);
    let script = "while :; do echo 'a line that is there to fill the disk'; done";
    let job = master.run(script);
    master.event(|it| it["event"] == "log_write_failed" && it["job_id"] == job);
    let lines = master.log_lines();
    let answer = master.call("DELETE", &format!("/api/v1/jobs/{job}"), None);
    assert_eq!(answer.status, 202, "{}", answer.text());
    Some(lines)
}

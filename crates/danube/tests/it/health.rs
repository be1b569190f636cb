//! What the server says of its health, to probes, people and programs.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::master::{DEADLINE, Master};
use crate::processes::until;
use crate::watch::LockedDatabase;

/// Every check, in the words of the documents.
const CHECKS: [&str; 13] = [
    "blueprint_sync",
    "database",
    "dex",
    "disk",
    "forges",
    "git",
    "k8s",
    "log_pipeline",
    "otlp_export",
    "queue",
    "registry",
    "webhooks",
    "workers",
];

/// What the server says of a check.
#[track_caller]
pub(crate) fn check(master: &Master, name: &str) -> Value {
    let report = master.get("/api/v1/health").json();
    let checks = report["checks"].as_array().unwrap().iter();
    let mut found = checks.filter(|it| it["name"] == name);
    found
        .next()
        .unwrap_or_else(|| panic!("no {name} in {report}"))
        .clone()
}

#[test]
fn a_probe_is_told_every_check_and_what_is_not_configured_is_disabled() {
    let master = Master::start();
    for path in ["/health/ready", "/ready"] {
        let answer = master.request("GET", path, &[], &[]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let said = answer.json();
        assert_eq!(said["status"], "ready");
        assert!(said["timestamp"].as_str().unwrap().ends_with('Z'));
        let checks = said["checks"].as_object().unwrap();
        assert_eq!(checks.keys().collect::<Vec<_>>(), CHECKS);
        for name in [
            "k8s",
            "dex",
            "registry",
            "blueprint_sync",
            "queue",
            "otlp_export",
            "forges",
        ] {
            assert_eq!(checks[name], "disabled", "{name}");
        }
        for name in ["database", "workers", "webhooks", "log_pipeline", "git"] {
            assert_eq!(checks[name], "ok", "{name}");
        }
    }
}

#[test]
fn people_are_told_how_old_a_result_is_how_long_it_took_and_what_was_tried() {
    let master = Master::start();
    let report = master.get("/api/v1/health").json();
    assert_eq!(
        (&report["status"], &report["healing"]),
        (&json!("ready"), &json!("auto"))
    );
    let database = check(&master, "database");
    assert_eq!(database["gates_readiness"], true);
    assert_eq!(database["consecutive_failures"], 0);
    assert!(
        database["age_seconds"].as_f64().unwrap() < 5.0,
        "{database}"
    );
    assert!(database["duration_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(database["healing"]["action"], "clear_locks");
    assert_eq!(database["healing"]["last_result"], Value::Null);
    assert_eq!(check(&master, "git")["gates_readiness"], false);
    assert_eq!(check(&master, "git")["healing"], Value::Null);
    assert_eq!(check(&master, "git")["period_seconds"], 300.0);
    // Strangers are told by the probe alone.
    assert_eq!(
        master.request("GET", "/api/v1/health", &[], &[]).status,
        401
    );

    let locked = LockedDatabase::of(&master);
    let database = until("what was tried is shown", DEADLINE, || {
        let it = check(&master, "database");
        (it["healing"]["last_result"] == "error").then_some(it)
    });
    assert_eq!(database["status"], "failed");
    let said = master.danube(&["health"]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert!(
        text.contains("not_ready") && text.contains("clear_locks: error"),
        "{text}"
    );
    locked.release();
    until("it is ready again", DEADLINE, || {
        master.danube(&["health"]).status.success().then_some(())
    });
    let said = master.danube(&["health", "--output", "json"]);
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["status"], "ready", "{said}");
}

#[test]
fn a_storm_of_probes_asks_the_database_nothing_and_is_answered_while_it_hangs() {
    let master = Master::start();
    let locked = LockedDatabase::of(&master);
    until("it is found", DEADLINE, || {
        (master.get("/health/ready").status == 503).then_some(())
    });
    let queries = || -> f64 {
        ["select", "insert", "update", "delete"]
            .map(|it| master.metric(&format!("danube_db_queries_total{{operation=\"{it}\"}}")))
            .iter()
            .sum()
    };
    let before = queries();
    for _ in 0..1_000 {
        let live = master.request("GET", "/health", &[], &[]);
        assert_eq!(live.status, 200);
        assert_eq!(live.json()["status"], "ok");
        assert_eq!(master.request("GET", "/health/ready", &[], &[]).status, 503);
    }
    // The checks go on by themselves, a few statements each time.
    let asked = queries() - before;
    assert!(asked < 500.0, "{asked} statements for 2,000 probes");
    locked.release();
}

#[test]
fn a_dry_run_says_what_would_be_tried_and_touches_nothing() {
    let master = Master::with(&["--heal", "dry_run"]);
    let locked = LockedDatabase::of(&master);
    // The machine's own disk may be nearly full, which is another check.
    let told = master.event(|it| it["event"] == "self_heal_attempted" && it["check"] == "database");
    assert_eq!(
        (&told["action"], &told["result"]),
        (&json!("clear_locks"), &json!("dry_run"))
    );
    let metric = "danube_self_heal_total{check=\"database\",result=\"dry_run\"}";
    assert_eq!(master.metric(metric), 1.0);
    assert_eq!(master.get("/api/v1/health").json()["healing"], "dry_run");
    locked.release();
}

#[test]
fn what_is_marked_hands_off_is_never_healed_and_what_does_not_gate_lets_work_in() {
    let arguments = ["--hands-off", "database", "--not-gating", "database"];
    let master = Master::with(&arguments);
    let locked = LockedDatabase::of(&master);
    master.event(|it| {
        it["event"] == "health_check_failed" && it["check"] == "database" && it["level"] == "error"
    });
    let answer = master.get("/health/ready");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let database = check(&master, "database");
    assert_eq!(database["gates_readiness"], false);
    assert_eq!(database["healing"]["hands_off"], true);
    assert_eq!(database["healing"]["last_result"], Value::Null);
    let tried = master.log_lines();
    let is_of_database =
        |it: &String| it.contains("self_heal_attempted") && it.contains("\"check\":\"database\"");
    assert!(!tried.iter().any(is_of_database));
    locked.release();
}

#[test]
fn an_operator_has_the_reaper_look_now_and_may_ask_before_what_would_go() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let master = Master::start_in(&dir, &["--logs-max-bytes", "1KiB"]);
    let id = master.run("seq 1000");
    assert_eq!(master.ended(&id)["status"], "success");
    let reaped = |arguments: &[&str]| -> Value {
        let said = master.danube(&[arguments, &["--output", "json"]].concat());
        assert!(
            said.status.success(),
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
        serde_json::from_slice(&said.stdout).unwrap()
    };
    let would = reaped(&["reap", "--dry-run"]);
    assert_eq!(
        (&would["logs_deleted"], &would["dry_run"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(master.get(&format!("/api/v1/jobs/{id}/logs")).status, 200);
    let did = reaped(&["reap"]);
    assert_eq!(
        (&did["logs_deleted"], &did["dry_run"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(master.get(&format!("/api/v1/jobs/{id}/logs")).status, 410);
    let told = master.event(|it| it["event"] == "reaper_completed");
    assert_eq!(
        (&told["reason"], &told["logs_deleted"]),
        (&json!("asked"), &json!(1))
    );
}

#[test]
fn traces_and_workspaces_that_nobody_looks_for_are_deleted() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    // It ends before anybody has it: it has a trace and no log.
    let unrun = master.run("true");
    let path = format!("/api/v1/jobs/{unrun}");
    assert_eq!(master.call("DELETE", &path, None).status, 202);
    assert_eq!(master.get(&format!("{path}/trace")).status, 200);
    master.signal("TERM");
    assert!(master.wait().success());
    let trace = dir.join(format!("traces/{unrun}.jsonl"));
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(40 * 86_400);
    std::fs::File::options()
        .append(true)
        .open(&trace)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    let connection = Connection::open(dir.join("danube.db")).unwrap();
    connection
        .execute_batch("UPDATE jobs SET finished_at = finished_at - 3600000")
        .unwrap();
    drop(connection);
    let master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    let told = master.event(|it| it["event"] == "reaper_completed");
    assert_eq!(
        (&told["traces_deleted"], &told["reason"]),
        (&json!(1), &json!("start"))
    );
    assert!(!trace.exists());
    // Left by a worker that was killed; who ran the job never comes back.
    let left = dir.join("work").join(&unrun);
    std::fs::create_dir(&left).unwrap();
    let said = master.danube(&["reap", "--output", "json"]);
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["workspaces_deleted"], 1, "{said}");
    assert!(!left.exists());
}

//! What breaks: a killed master, a locked database, a log that nobody reads.

use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Proof, Scenario, Scrape, histograms_are_whole};
use crate::master::{Master, id, one_step};
use crate::processes::{HELD, root_or_skip, until};
use crate::redis::Redis;
use crate::watchdog::Parked;
use crate::wire::connect;

pub(super) const ORPHANS: Scenario = &[
    "danube_orphaned_jobs_rescued_total",
    "cicd_system_errors_total",
];

pub(super) const LOCK: Scenario = &[
    "danube_db_lock_wait_seconds_total",
    "danube_db_connections_active",
    "danube_health_check_status",
    "danube_health_check_consecutive_failures",
    "danube_self_heal_total",
];

pub(super) const REDIS: Scenario = &[
    "danube_redis_call_duration_seconds",
    "danube_redis_call_errors_total",
];

pub(super) const STALL: Scenario = &["danube_loop_silent_seconds"];

pub(super) const UNREAD_LOG: Scenario = &["danube_telemetry_dropped_total"];

#[test]
fn calls_of_redis_are_timed_and_those_that_fail_are_counted() {
    let mut redis = Redis::start();
    let master = Master::with(&["--queue-url", &redis.url(), "--jobs-at-once", "0"]);
    let proof = Proof::of(&master);
    master.event(|it| it["event"] == "queue_refilled");
    master.run("true");
    proof.until(
        r#"danube_redis_call_duration_seconds_count{command="add"}"#,
        1.0,
    );
    proof.until(r#"danube_health_check_status{check="queue"}"#, 1.0);
    redis.kill();
    proof.until_holds(
        r#"danube_redis_call_errors_total{command="connect"}"#,
        |it| it >= 1.0,
    );
    proof.until(r#"danube_health_check_status{check="queue"}"#, 0.5);
    histograms_are_whole(&proof.now());
    proof.complete(REDIS);
}

#[test]
fn jobs_of_a_killed_master_are_counted_once_and_shown_where_they_are() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "2"]);
    let mut once = one_step(HELD);
    once["spec"]["name"] = json!("once");
    once["retry_on_lost"] = json!(false);
    let running = [master.run(HELD), id(&master.submit(&once))];
    let waiting = [master.run("true"), master.run("true")];
    for job in &running {
        master.until_log(job, "begin\n");
    }
    master.kill();

    // Without a worker everything stays where the rescue put it.
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    let proof = Proof::since_start(&master);
    let active = |pipeline: &str, state: &str| {
        format!(
            "cicd_pipeline_run_active{{cicd_pipeline_name=\"{pipeline}\",cicd_pipeline_run_state=\"{state}\"}}"
        )
    };
    let lost = |pipeline: &str| {
        format!(
            "cicd_pipeline_run_errors_total{{cicd_pipeline_name=\"{pipeline}\",error_type=\"worker_lost\"}}"
        )
    };
    let system =
        r#"cicd_system_errors_total{cicd_system_component="agent",error_type="worker_lost"}"#;
    for (sample, value) in [
        ("danube_orphaned_jobs_rescued_total", 2.0),
        ("danube_job_queue_size", 3.0),
        ("danube_active_jobs", 0.0),
        (&active("test", "pending"), 3.0),
        (&active("test", "executing"), 0.0),
        (&active("once", "pending"), 0.0),
        (&active("once", "executing"), 0.0),
        (
            r#"danube_jobs_total{status="failure",pipeline="once"}"#,
            1.0,
        ),
        (&lost("once"), 1.0),
        (&lost("test"), 1.0),
        (system, 2.0),
    ] {
        proof.holds(sample, |it| it == value);
    }
    assert_eq!(proof.now().sum("danube_jobs_total", &[]), 1.0);
    proof.complete(ORPHANS);
    master.kill();
    what_was_rescued_is_told_no_more_and_the_rest_runs(&dir, &running[0], &waiting);
}

fn what_was_rescued_is_told_no_more_and_the_rest_runs(
    dir: &Path,
    rescued: &str,
    waiting: &[String],
) {
    let active = |state: &str| {
        format!(
            "cicd_pipeline_run_active{{cicd_pipeline_name=\"test\",cicd_pipeline_run_state=\"{state}\"}}"
        )
    };
    let master = Master::start_in(dir, &["--jobs-at-once", "2"]);
    let proof = Proof::of(&master);
    assert_eq!(
        proof.before.value("danube_orphaned_jobs_rescued_total"),
        Some(0.0)
    );
    for job in waiting {
        assert_eq!(master.ended(job)["status"], "success");
    }
    master.until_log(rescued, "begin\n");
    let path = format!("/api/v1/jobs/{rescued}");
    assert_eq!(master.call("DELETE", &path, None).status, 202);
    assert_eq!(master.ended(rescued)["status"], "cancelled");
    proof.until_all(&[
        (
            r#"danube_jobs_total{status="success",pipeline="test"}"#,
            2.0,
        ),
        (
            r#"danube_jobs_total{status="cancelled",pipeline="test"}"#,
            1.0,
        ),
        (
            r#"danube_jobs_total{status="failure",pipeline="test"}"#,
            0.0,
        ),
        ("danube_job_queue_size", 0.0),
        ("danube_active_jobs", 0.0),
        (&active("pending"), 0.0),
        (&active("executing"), 0.0),
        (&active("finalizing"), 0.0),
    ]);
}

#[test]
fn a_lock_held_by_another_process_is_shown_as_waiting_and_as_a_failed_check() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let proof = Proof::of(&master);
    let check = |family: &str| format!("danube_health_check_{family}{{check=\"database\"}}");
    assert_eq!(proof.before.value(&check("status")), Some(1.0));
    assert_eq!(
        proof.before.value(&check("consecutive_failures")),
        Some(0.0)
    );
    // The test's process is another one to the master's.
    let other = Connection::open(master.dir.join("danube.db")).unwrap();
    let began = Instant::now();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    a_client_that_leaves(&master);
    proof.until_holds("danube_db_connections_active", |it| it >= 1.0);
    proof.until_holds("danube_db_lock_wait_seconds_total", |it| it > 0.0);
    // Longer than anybody waits for a lock.
    proof.until_holds(&check("status"), |it| it == 0.0);
    proof.holds(&check("consecutive_failures"), |it| it >= 1.0);
    let refused = master.call("POST", "/api/v1/jobs", Some(&one_step("true")));
    assert_eq!(refused.status, 503, "{}", refused.text());
    let errors =
        r#"cicd_system_errors_total{cicd_system_component="controller",error_type="database"}"#;
    proof.until_holds(errors, |it| it >= 1.0);
    // The request whose client left had no answer.
    let left = r#"{method="POST",route="/api/v1/jobs",status="499"}"#;
    proof.until(
        &format!("danube_http_request_duration_seconds_count{left}"),
        1.0,
    );
    let tried = r#"danube_self_heal_total{check="database",result="error"}"#;
    proof.until(tried, 1.0);
    other.execute_batch("ROLLBACK").unwrap();
    let held = began.elapsed().as_secs_f64();
    proof.until(&check("status"), 1.0);
    proof.until(&check("consecutive_failures"), 0.0);
    // Two wait at most: the writer, and the longest of those behind it.
    let waited = proof.holds("danube_db_lock_wait_seconds_total", |it| {
        it < 2.0 * held + 1.0
    });
    assert!(waited > held / 2.0, "{waited} of {held} s");
    let failed =
        master.event(|it| it["event"] == "health_check_failed" && it["check"] == "database");
    assert_eq!(failed["level"], "warning");
    assert_eq!(failed["consecutive_failures"], 1);
    master.event(|it| it["event"] == "database_unavailable");
    master.event(|it| it["event"] == "health_check_recovered" && it["check"] == "database");
    proof.complete(LOCK);
}

#[test]
fn a_loop_that_gives_no_sign_of_life_is_shown_until_it_goes_on() {
    if !root_or_skip("stopping one thread of another process") {
        return;
    }
    let master = Master::start();
    let proof = Proof::of(&master);
    let silent = |name: &str| format!("danube_loop_silent_seconds{{loop=\"{name}\"}}");
    let parked = Parked::thread(master.pid(), "scheduler");
    let seconds = proof.until_holds(&silent("scheduler"), |it| it >= 3.0);
    for other in ["store_writer", "http", "watchdog"] {
        proof.holds(&silent(other), |it| it < seconds);
    }
    drop(parked);
    proof.until_holds(&silent("scheduler"), |it| it < 1.0);
    proof.complete(STALL);
}

/// Submits, and goes before the answer.
fn a_client_that_leaves(master: &Master) {
    use std::io::Write as _;
    let body = one_step("true").to_string();
    let request = format!(
        "POST /api/v1/jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        master.key,
        body.len()
    );
    let mut stream = connect(master);
    stream.write_all(request.as_bytes()).unwrap();
    // Its request is being served once the writer waits for it.
    until("the request is there", crate::master::DEADLINE, || {
        let now = Scrape::of(master);
        (now.value("danube_db_connections_active")? >= 1.0).then_some(())
    });
}

/// Bytes of a path that still fits into a request's head.
const LONG_PATH_BYTES: usize = 12_000;

#[test]
fn lines_of_a_log_that_nobody_reads_are_counted_and_told() {
    let master = Master::start();
    let proof = Proof::of(&master);
    let made = master.call(
        "POST",
        "/api/v1/api-keys",
        Some(&json!({"name": "looks", "role": "viewer"})),
    );
    let viewer = format!("Bearer {}", made.json()["key"].as_str().unwrap());
    // Each is denied, and its line shows its path.
    let path = format!("/api/v1/jobs/{}", "x".repeat(LONG_PATH_BYTES));
    let dropped = r#"danube_telemetry_dropped_total{signal="log"}"#;
    {
        let _held = master.hold_output();
        until("the log is full", crate::master::DEADLINE, || {
            for _ in 0..100 {
                let headers = [("authorization", viewer.as_str())];
                assert_eq!(master.request("DELETE", &path, &headers, b"").status, 403);
            }
            (proof.now().value(dropped)? > 0.0).then_some(())
        });
    }
    // Told once somebody reads again, by the line that follows.
    until("every lost line is told", crate::master::DEADLINE, || {
        master.request(
            "DELETE",
            "/api/v1/jobs/x",
            &[("authorization", &viewer)],
            b"",
        );
        let counted = proof.now().value(dropped)?;
        (counted > 0.0 && told(&master) == counted).then_some(())
    });
    proof.holds(dropped, |it| it > 0.0);
    proof.complete(UNREAD_LOG);
}

/// How many lines the log itself says were lost.
fn told(master: &Master) -> f64 {
    let lines = master.log_lines();
    let events = lines
        .iter()
        .filter_map(|it| serde_json::from_str::<Value>(it).ok());
    events
        .filter(|it| it["event"] == "log_lines_dropped")
        .filter_map(|it| it["lines"].as_f64())
        .sum()
}

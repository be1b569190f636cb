//! Jobs that succeed, fail, run out of time and are cancelled.

use serde_json::{Value, json};

use super::{Proof, Scenario, Scrape, histograms_are_whole};
use crate::master::{Master, id};
use crate::processes::{HELD, release};

pub(super) const ENDS: Scenario = &[
    "danube_jobs_total",
    "danube_job_duration_seconds",
    "danube_job_timeouts_total",
    "danube_job_queue_wait_seconds",
    "danube_step_duration_seconds",
    "danube_job_cpu_seconds_total",
    "danube_job_max_rss_bytes",
    "danube_log_bytes_written_total",
    "danube_log_bytes_ingested_total",
    "danube_log_redactions_total",
    "danube_log_ingest_blocked_seconds_total",
    "cicd_pipeline_run_duration_seconds",
    "cicd_pipeline_run_errors_total",
];

pub(super) const STATES: Scenario = &[
    "danube_active_jobs",
    "danube_job_queue_size",
    "danube_workers_active",
    "cicd_pipeline_run_active",
    "cicd_workers",
];

/// A secret that a job prints.
const SECRET: &str = "kB7#xQ2vL9-never";

/// How often.
const PRINTED: u32 = 3;

fn order(name: &str, steps: &Value) -> Value {
    json!({"spec": {"name": name, "steps": steps}})
}

fn step(name: &str, run: &str) -> Value {
    json!({"name": name, "run": run})
}

/// Burns some processor time, and prints a secret.
fn good() -> Value {
    let burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    let print = format!("for n in 1 2 3; do echo {SECRET}; done");
    let mut order = order("good", &json!([step("burn", burn), step("print", &print)]));
    order["mask"] = json!([SECRET]);
    order
}

#[test]
fn the_ends_of_jobs_are_counted_once_each_with_their_reason() {
    let master = Master::with(&["--jobs-at-once", "1"]);
    let proof = Proof::of(&master);
    let good: Vec<String> = (0..2).map(|_| id(&master.submit(&good()))).collect();
    let may_fail = json!({"name": "may", "run": "exit 9", "continue_on_error": true});
    let bad = id(&master.submit(&order("bad", &json!([may_fail, step("must", "exit 3")]))));
    let slow = json!({"name": "slow", "run": "sleep 600", "timeout_seconds": 1});
    let late = id(&master.submit(&order("late", &json!([slow]))));
    let held = id(&master.submit(&order("stopped", &json!([step("only", HELD)]))));
    let waits = id(&master.submit(&order("waits", &json!([step("only", "true")]))));
    master.until_log(&held, "begin\n");
    for job in [&waits, &held] {
        let path = format!("/api/v1/jobs/{job}");
        assert_eq!(master.call("DELETE", &path, None).status, 202);
    }
    let ended: Vec<Value> = good
        .iter()
        .chain([&bad, &late, &held])
        .map(|it| master.ended(it))
        .collect();

    proof.until_all(&[
        (
            r#"danube_jobs_total{status="success",pipeline="good"}"#,
            2.0,
        ),
        (
            r#"danube_jobs_total{status="failure",pipeline="good"}"#,
            0.0,
        ),
        (r#"danube_jobs_total{status="failure",pipeline="bad"}"#, 1.0),
        (
            r#"danube_jobs_total{status="timeout",pipeline="late"}"#,
            1.0,
        ),
        (
            r#"danube_jobs_total{status="cancelled",pipeline="stopped"}"#,
            1.0,
        ),
        (
            r#"danube_jobs_total{status="cancelled",pipeline="waits"}"#,
            1.0,
        ),
        (r#"danube_job_timeouts_total{pipeline="late"}"#, 1.0),
        (r#"danube_job_timeouts_total{pipeline="good"}"#, 0.0),
        // One that never began has no time.
        (r#"danube_job_duration_seconds_count{pipeline="good"}"#, 2.0),
        ("danube_job_queue_wait_seconds_count", 5.0),
        (
            r#"danube_step_duration_seconds_count{pipeline="good"}"#,
            4.0,
        ),
        (r#"danube_step_duration_seconds_count{pipeline="bad"}"#, 2.0),
    ]);
    let now = proof.now();
    assert_eq!(
        now.value(r#"danube_job_duration_seconds_count{pipeline="waits"}"#),
        Some(0.0)
    );
    assert_eq!(now.sum("danube_jobs_total", &[]), 6.0);
    histograms_are_whole(&now);
    the_numbers_are_those_of_the_jobs(&proof, &ended);
    the_runs_are_told_as_the_conventions_say(&proof);
    proof.complete(ENDS);
}

/// Times, memory and bytes are what the API says of the same jobs.
fn the_numbers_are_those_of_the_jobs(proof: &Proof<'_>, ended: &[Value]) {
    let good = &ended[..2];
    let steps = |job: &Value| job["steps"].as_array().unwrap().clone();
    let close = |a: f64, b: f64| (a - b).abs() < 1e-3;
    let seconds: f64 = good
        .iter()
        .map(|it| it["duration_seconds"].as_f64().unwrap())
        .sum();
    proof.holds(
        r#"danube_job_duration_seconds_sum{pipeline="good"}"#,
        |it| close(it, seconds),
    );
    let cpu: f64 = good
        .iter()
        .flat_map(steps)
        .map(|it| it["cpu_seconds"].as_f64().unwrap())
        .sum();
    assert!(cpu > 0.0);
    proof.holds(r#"danube_job_cpu_seconds_total{pipeline="good"}"#, |it| {
        close(it, cpu)
    });
    let peak = steps(&good[1])
        .iter()
        .map(|it| it["max_rss_bytes"].as_f64().unwrap())
        .fold(0.0, f64::max);
    proof.holds(r#"danube_job_max_rss_bytes{pipeline="good"}"#, |it| {
        it == peak
    });
    let bytes = |job: &Value| job["log_bytes"].as_f64().unwrap();
    for job in ended {
        let sample = format!("danube_log_bytes_written_total{{job_id={}}}", job["id"]);
        assert_eq!(proof.now().value(&sample), Some(bytes(job)), "{sample}");
    }
    let sample = format!("danube_log_bytes_written_total{{job_id={}}}", good[0]["id"]);
    proof.holds(&sample, |it| it > 0.0);
    let all: f64 = ended.iter().map(bytes).sum();
    proof.holds("danube_log_bytes_ingested_total", |it| it == all);
    let printed = f64::from(PRINTED) * 2.0;
    proof.holds(r#"danube_log_redactions_total{rule="value"}"#, |it| {
        it == printed
    });
    let ran: f64 = ended
        .iter()
        .filter_map(|it| it["duration_seconds"].as_f64())
        .sum();
    proof.holds("danube_log_ingest_blocked_seconds_total", |it| {
        it > 0.0 && it < ran
    });
    // The step's own clock lies within the job's.
    let steps = proof.holds(
        r#"danube_step_duration_seconds_sum{pipeline="good"}"#,
        |it| it > 0.0,
    );
    assert!(steps <= seconds + 0.1, "{steps} of {seconds}");
}

fn the_runs_are_told_as_the_conventions_say(proof: &Proof<'_>) {
    let name = "cicd_pipeline_run_duration_seconds_count";
    let run = |pipeline: &str, state: &str, more: &str| {
        format!(
            "{name}{{cicd_pipeline_name=\"{pipeline}\",cicd_pipeline_run_state=\"{state}\"{more}}}"
        )
    };
    let result = |result: &str| format!(",cicd_pipeline_result=\"{result}\"");
    let failed = |it: &str, error: &str| format!("{},error_type=\"{error}\"", result(it));
    for (sample, count) in [
        (run("good", "pending", ""), 2.0),
        (run("good", "executing", &result("success")), 2.0),
        (run("good", "finalizing", ""), 2.0),
        (
            run("bad", "executing", &failed("failure", "step_failed")),
            1.0,
        ),
        (run("late", "executing", &failed("timeout", "timeout")), 1.0),
        (run("stopped", "executing", &result("cancellation")), 1.0),
        (run("waits", "pending", &result("cancellation")), 1.0),
    ] {
        proof.until(&sample, count);
    }
    let now = proof.now();
    let ends = [
        "success",
        "failure",
        "timeout",
        "cancellation",
        "error",
        "skip",
    ];
    let all: f64 = ends
        .iter()
        .map(|it| now.sum(name, &[("cicd_pipeline_result", it)]))
        .sum();
    assert_eq!(all, 6.0, "each run has one result");
    let errors = "cicd_pipeline_run_errors_total";
    proof.until(
        &format!("{errors}{{cicd_pipeline_name=\"bad\",error_type=\"step_failed\"}}"),
        // The step that may fail did, too.
        2.0,
    );
    proof.until(
        &format!("{errors}{{cicd_pipeline_name=\"late\",error_type=\"timeout\"}}"),
        1.0,
    );
    assert_eq!(proof.now().sum(errors, &[]), 3.0);
}

#[test]
fn jobs_that_wait_and_run_are_shown_where_they_are() {
    let master = Master::with(&["--jobs-at-once", "1"]);
    let proof = Proof::since_start(&master);
    let active = |state: &str| {
        format!(
            "cicd_pipeline_run_active{{cicd_pipeline_name=\"held\",cicd_pipeline_run_state=\"{state}\"}}"
        )
    };
    let worker = |state: &str| format!("cicd_workers{{cicd_worker_state=\"{state}\"}}");
    let shows = |queue: f64, runs: f64| {
        proof.until_all(&[
            ("danube_job_queue_size", queue),
            ("danube_active_jobs", runs),
            (&active("pending"), queue),
            (&active("executing"), runs),
            (&active("finalizing"), 0.0),
            (&worker("busy"), runs),
            (&worker("available"), 1.0 - runs),
            (&worker("offline"), 0.0),
        ]);
    };
    let held = order("held", &json!([step("only", HELD)]));
    let jobs: Vec<String> = (0..3).map(|_| id(&master.submit(&held))).collect();
    for (done, job) in jobs.iter().enumerate() {
        master.until_log(job, "begin\n");
        shows([2.0, 1.0, 0.0][done], 1.0);
        release(job);
        master.ended(job);
    }
    shows(0.0, 0.0);
    proof.until("danube_workers_active", 1.0);
    proof.complete(STATES);

    // A master without a worker has none to count.
    let idle = Master::with(&["--jobs-at-once", "0"]);
    let now = Scrape::of(&idle);
    assert_eq!(now.value("danube_workers_active"), Some(0.0));
    assert_eq!(now.sum("cicd_workers", &[]), 0.0);
}

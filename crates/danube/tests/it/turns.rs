//! How jobs wait for their turn: how many of a pipeline run and wait, which newer ones take the
//! place of older ones, and how teams share the workers.

use std::thread;

use serde_json::{Value, json};

use crate::blueprint::Served;
use crate::elsewhere::{Elsewhere, running, token};
use crate::master::{DEADLINE, Master, id};
use crate::processes::{HELD, release, until};
use crate::redis::Redis;

/// A submit of a pipeline that says this of how its jobs wait.
fn job(queueing: &Value, script: &str) -> Value {
    let mut spec = json!({"name": "deploy", "steps": [{"name": "only", "run": script}]});
    let more = queueing.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(more);
    json!({"spec": spec, "ref": "main"})
}

fn status(master: &Master, id: &str) -> Value {
    master.job(id)["status"].clone()
}

#[track_caller]
fn refused(master: &Master, body: &Value) -> String {
    let answer = master.call("POST", "/api/v1/jobs", Some(body));
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("1"));
    let problem = answer.json();
    assert_eq!(problem["code"], "queue_full", "{problem}");
    problem["detail"].as_str().unwrap().to_owned()
}

/// Three jobs of one pipeline and one beside them, on workers with room for all.
#[track_caller]
fn one_after_the_other(master: &Master) {
    let one = json!({"concurrency": 1});
    let jobs: Vec<String> = (0..3)
        .map(|_| id(&master.submit(&job(&one, HELD))))
        .collect();
    let beside = master.run(HELD);
    master.until_log(&beside, "begin\n");
    for (place, it) in jobs.iter().enumerate() {
        master.until_log(it, "begin\n");
        for later in &jobs[place + 1..] {
            assert_eq!(status(master, later), "pending");
        }
        release(it);
        assert_eq!(master.ended(it)["status"], "success");
    }
    release(&beside);
    master.ended(&beside);
    let time = |it: &str, field: &str| master.job(it)[field].as_str().unwrap().to_owned();
    for pair in jobs.windows(2) {
        assert!(time(&pair[0], "finished_at") <= time(&pair[1], "started_at"));
    }
}

#[test]
fn jobs_of_a_pipeline_with_concurrency_1_run_one_after_the_other() {
    one_after_the_other(&Master::with(&["--jobs-at-once", "4"]));
}

#[test]
fn so_they_do_on_workers_elsewhere() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let _near = Elsewhere::start(&master, "near", &["--jobs", "2"]);
    let _far = Elsewhere::start(&master, "far", &["--jobs", "2"]);
    one_after_the_other(&master);
}

#[test]
fn so_they_do_where_workers_hear_of_jobs_in_redis() {
    let redis = Redis::start();
    let master = with_redis(&redis);
    let _workers = [
        on_redis(&master, &redis, "near", "2"),
        on_redis(&master, &redis, "far", "2"),
    ];
    one_after_the_other(&master);
}

fn with_redis(redis: &Redis) -> Master {
    let master = Master::with(&["--jobs-at-once", "0", "--queue-url", &redis.url()]);
    master.event(|it| it["event"] == "queue_refilled");
    master
}

fn on_redis(master: &Master, redis: &Redis, name: &str, jobs: &str) -> Elsewhere {
    let token = token(master, name);
    let worker = Elsewhere::on_redis(
        (&master.address, &token),
        &redis.url(),
        &[],
        &["--jobs", jobs],
    );
    worker.event("queue_connected");
    worker
}

#[test]
fn no_more_jobs_wait_than_may_and_a_restart_forgets_no_bound() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let arguments = ["--jobs-at-once", "2", "--max-pending", "3"];
    let mut master = Master::start_in(&dir, &arguments);
    let bounded = job(&json!({"concurrency": 1, "max_pending": 2}), HELD);
    let runs = id(&master.submit(&bounded));
    master.until_log(&runs, "begin\n");
    let waits = [id(&master.submit(&bounded)), id(&master.submit(&bounded))];
    let detail = refused(&master, &bounded);
    assert!(
        detail.contains("2 jobs of the pipeline `deploy` wait"),
        "{detail}"
    );
    // Others are bounded together with them.
    let other = job(&json!({"name": "other", "concurrency": 1}), HELD);
    let other_runs = id(&master.submit(&other));
    master.until_log(&other_runs, "begin\n");
    master.submit(&other);
    let detail = refused(&master, &other);
    assert!(
        detail.contains("3 jobs wait, as many as `queue.max_pending`"),
        "{detail}"
    );
    let said = master.danube(&["submit", "--", "true"]);
    assert_eq!(said.status.code(), Some(7), "{said:?}");

    master.kill();
    drop(master);
    let master = Master::start_in(&dir, &arguments);
    // What ran is taken back, whatever waits; and is first again.
    master.until_log(&runs, "begin\n");
    assert_eq!(master.job(&runs)["attempt"], 2);
    for it in &waits {
        assert_eq!(status(&master, it), "pending");
    }
    refused(&master, &bounded);
    release(&runs);
    master.ended(&runs);
    master.until_log(&waits[0], "begin\n");
    assert_eq!(status(&master, &waits[1]), "pending");
}

#[test]
fn a_newer_job_for_the_same_ref_cancels_what_waits_and_runs_and_says_so() {
    let master = Master::with(&["--jobs-at-once", "2"]);
    let newer = json!({"cancel_superseded": true, "concurrency": 1});
    let submit = |git_ref: &str, parameters: Value| {
        let mut body = job(&newer, HELD);
        body["ref"] = json!(git_ref);
        body["parameters"] = parameters;
        id(&master.submit(&body))
    };
    let runs = submit("main", json!({}));
    master.until_log(&runs, "begin\n");
    let others = [
        submit("next", json!({})),
        submit("main", json!({"LEVEL": "2"})),
        id(&master.submit(&job(&json!({"concurrency": 1}), HELD))),
    ];
    assert_eq!(status(&master, &runs), "running");
    let waits = submit("main", json!({}));
    let ended = master.ended(&runs);
    assert_eq!(ended["status"], "cancelled", "{ended}");
    let reason = ended["reason"].as_str().unwrap();
    let expected = format!("superseded by job {waits}");
    assert!(reason.starts_with(&expected), "{reason}");
    let newest = submit("main", json!({}));
    let ended = master.ended(&waits);
    assert_eq!(ended["reason"], format!("superseded by job {newest}"));
    let told = master.event(|it| it["event"] == "job_cancelled" && it["job_id"] == *waits);
    assert_eq!(told["user"], "admin", "{told}");
    let history = master.get(&format!("/api/v1/jobs/{waits}/history")).json();
    let last = history["transitions"].as_array().unwrap().last().unwrap();
    assert_eq!(last["detail"], format!("superseded by job {newest}"));
    for it in others.iter().chain([&newest]) {
        let now = status(&master, it);
        assert!(
            now == "pending" || now == "scheduling" || now == "running",
            "{now}"
        );
    }
}

#[test]
fn with_pending_what_runs_goes_on_and_a_retry_cancels_nothing() {
    let master = Master::with(&["--jobs-at-once", "1"]);
    let body = job(&json!({"cancel_superseded": "pending"}), HELD);
    let runs = id(&master.submit(&body));
    master.until_log(&runs, "begin\n");
    let waits = id(&master.submit(&body));
    let newest = id(&master.submit(&body));
    assert_eq!(master.ended(&waits)["status"], "cancelled");
    let again = master.call("POST", &format!("/api/v1/jobs/{waits}/retry"), None);
    assert_eq!(again.status, 202, "{}", again.text());
    assert_eq!(status(&master, &newest), "pending");
    release(&runs);
    assert_eq!(master.ended(&runs)["status"], "success");
    master.until_log(&newest, "begin\n");
}

#[test]
fn a_superseded_job_is_stopped_on_a_worker_elsewhere() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let _far = Elsewhere::start(&master, "far", &["--jobs", "1"]);
    let body = job(&json!({"cancel_superseded": true}), HELD);
    let old = id(&master.submit(&body));
    running(&master, &old);
    let new = id(&master.submit(&body));
    assert_eq!(master.ended(&old)["status"], "cancelled");
    master.until_log(&new, "begin\n");
    release(&new);
    assert_eq!(master.ended(&new)["status"], "success");
}

/// Kills while submits come in, each of which cancels the one before.
const KILLS: usize = 4;

#[test]
fn whenever_the_server_is_killed_the_newest_job_is_there_and_all_before_it_are_cancelled() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let body = job(&json!({"cancel_superseded": true}), "true");
    for round in 0..KILLS {
        let mut master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
        let (address, key) = (master.address.clone(), master.key.clone());
        let text = body.to_string();
        let flood = thread::spawn(move || {
            let client = ureq::agent();
            let mut taken = 0;
            while client
                .post(format!("{address}/api/v1/jobs"))
                .header("authorization", format!("Bearer {key}"))
                .header("content-type", "application/json")
                .send(&text)
                .is_ok()
            {
                taken += 1;
            }
            taken
        });
        let enough = 5 + 7 * round;
        until("some are submitted", DEADLINE, || {
            let jobs = master
                .get("/api/v1/jobs?status=cancelled&limit=1000")
                .json();
            (jobs["jobs"].as_array().unwrap().len() > enough * (round + 1)).then_some(())
        });
        master.kill();
        assert!(flood.join().unwrap() > 0);
        let master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
        let list = |status: &str| {
            let page = master.get(&format!("/api/v1/jobs?limit=1000&status={status}"));
            page.json()["jobs"].as_array().unwrap().clone()
        };
        let (pending, cancelled) = (list("pending"), list("cancelled"));
        assert_eq!(pending.len(), 1, "{pending:?}");
        // Newest first: each says which one came after it.
        let mut newer = id(&pending[0]);
        for it in cancelled {
            assert_eq!(it["reason"], format!("superseded by job {newer}"));
            newer = id(&it);
        }
    }
}

/// A blueprint with two teams and a pipeline of each.
fn teams(script: &str) -> Served {
    let served = Served::new();
    let steps = json!([{"name": "only", "run": script}]);
    let file = |kind: &str, name: &str, spec: &Value| {
        let text = json!({
            "apiVersion": "danube.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec,
        });
        let dir = if kind == "Team" { "teams" } else { "pipelines" };
        served.write(&format!("{dir}/{name}.json"), &text.to_string());
    };
    file("Team", "many", &json!({"members": ["alice"]}));
    let by_permissions =
        json!({"steps": steps, "permissions": {"write": ["many"], "read": ["web"]}});
    file("Pipeline", "of-many", &by_permissions);
    file(
        "Pipeline",
        "of-web",
        &json!({"steps": steps, "team": "web"}),
    );
    served.commit();
    served
}

fn submit_of(master: &Master, pipeline: &str) -> String {
    id(&master.submit(&json!({"pipeline": pipeline})))
}

#[test]
fn one_job_of_a_team_does_not_wait_behind_all_of_another() {
    let served = teams(HELD);
    let master = served.master(&["--jobs-at-once", "1"]);
    let many: Vec<String> = (0..20).map(|_| submit_of(&master, "of-many")).collect();
    master.until_log(&many[0], "begin\n");
    let one = submit_of(&master, "of-web");
    release(&many[0]);
    master.until_log(&one, "begin\n");
    assert_eq!(status(&master, &many[1]), "pending");
    // Then the others go on.
    release(&one);
    master.until_log(&many[1], "begin\n");
}

#[test]
fn nor_where_workers_hear_of_jobs_in_redis() {
    let redis = Redis::start();
    let served = teams("true");
    let url = redis.url();
    let master = served.master(&["--jobs-at-once", "0", "--queue-url", &url]);
    master.event(|it| it["event"] == "queue_refilled");
    let many: Vec<String> = (0..60).map(|_| submit_of(&master, "of-many")).collect();
    until("all are in Redis", DEADLINE, || {
        (redis.entries("default") == 60).then_some(())
    });
    let one = submit_of(&master, "of-web");
    until("each team has its share of the stream", DEADLINE, || {
        (redis.entries("default") == 17).then_some(())
    });
    let _worker = on_redis(&master, &redis, "far", "1");
    let begun = master.ended(&one)["started_at"]
        .as_str()
        .unwrap()
        .to_owned();
    let is_before = |it: &&String| master.ended(it)["started_at"].as_str().unwrap() < &*begun;
    let before = many.iter().filter(is_before).count();
    assert!(before <= 17, "{before} of the others went first");
}

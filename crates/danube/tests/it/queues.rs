//! Named queues: which jobs go first, how many of one queue run, and who takes them; with
//! workers that ask the master, and with workers that hear of jobs in Redis.

use serde_json::{Value, json};

use crate::elsewhere::{Elsewhere, running, token};
use crate::master::{DEADLINE, Master, id, one_step};
use crate::processes::{HELD, release, until};
use crate::redis::Redis;

/// A job for this queue.
fn job_in(queue: &str, script: &str) -> Value {
    let mut body = one_step(script);
    body["queue"] = json!(queue);
    body
}

#[track_caller]
fn submit(master: &Master, queue: &str, script: &str) -> String {
    id(&master.submit(&job_in(queue, script)))
}

/// A master without a worker of its own that fills this Redis.
fn with_redis(redis: &Redis, arguments: &[&str]) -> Master {
    let url = redis.url();
    let mut all = vec!["--jobs-at-once", "0", "--lease", "3", "--queue-url", &url];
    all.extend(arguments);
    let master = Master::with(&all);
    master.event(|it| it["event"] == "queue_refilled");
    master
}

/// A worker that hears of jobs in this Redis.
fn worker(master: &Master, redis: &Redis, name: &str, arguments: &[&str]) -> Elsewhere {
    let token = token(master, name);
    Elsewhere::on_redis((&master.address, &token), &redis.url(), &[], arguments)
}

#[test]
fn a_queue_that_is_not_declared_is_refused_and_nothing_waits_there() {
    let master = Master::with(&["--queue", "deploy:priority=3", "--queue", "night"]);
    let answer = master.call("POST", "/api/v1/jobs", Some(&job_in("dploy", "true")));
    assert_eq!(answer.status, 422, "{}", answer.text());
    let error = &answer.json()["errors"][0];
    assert_eq!(error["pointer"], "/queue", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("deploy, default, night"), "{message}");
    assert_eq!(
        master.get("/api/v1/jobs").json()["jobs"],
        json!([]),
        "nothing was changed"
    );
    // From the start, so that an alert sees the first job.
    for queue in ["default", "deploy", "night"] {
        let series = format!("ansible_api_queue_length{{queue_name=\"{queue}\"}} 0");
        assert!(master.get("/metrics").text().contains(&series), "{series}");
    }
}

#[test]
fn the_command_line_names_a_queue_and_shows_it_and_a_retry_waits_in_it_again() {
    let master = Master::with(&["--queue", "night"]);
    let made = master.danube(&["submit", "--queue", "night", "--", "true"]);
    assert!(made.status.success(), "{made:?}");
    let id = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert_eq!(master.ended(&id)["queue"], "night");
    let shown = master.danube(&["job", &id]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let is_shown = |it: &str| it.starts_with("queue") && it.ends_with("night");
    assert!(shown.lines().any(is_shown), "{shown}");
    let again = master.call("POST", &format!("/api/v1/jobs/{id}/retry"), None);
    assert_eq!(again.status, 202, "{}", again.text());
    assert_eq!(again.json()["queue"], "night");
    assert_eq!(master.ended(&master.run("true"))["queue"], "default");
}

#[test]
fn a_job_of_a_higher_priority_overtakes_those_that_wait_and_a_queue_runs_no_more_than_it_may() {
    let master = Master::with(&[
        "--jobs-at-once",
        "3",
        "--queue",
        "deploy:priority=5:jobs_at_once=1",
    ]);
    let first = submit(&master, "deploy", HELD);
    master.until_log(&first, "begin\n");
    // There are places, but not for these.
    let held_back: Vec<String> = (0..3).map(|_| submit(&master, "deploy", HELD)).collect();
    let others: Vec<String> = (0..2).map(|_| submit(&master, "default", HELD)).collect();
    for id in &others {
        master.until_log(id, "begin\n");
    }
    for id in &held_back {
        assert_eq!(master.job(id)["status"], "pending");
    }
    // Now every place is taken: what waits is decided when one is free.
    let late = submit(&master, "default", HELD);
    release(&first);
    master.ended(&first);
    master.until_log(&held_back[0], "begin\n");
    assert_eq!(
        master.job(&late)["status"],
        "pending",
        "it has less priority"
    );
    for id in &held_back[1..] {
        assert_eq!(master.job(id)["status"], "pending", "one at a time");
    }
    release(&others[0]);
    master.until_log(&late, "begin\n");
    for id in &held_back {
        master.until_log(id, "begin\n");
        release(id);
        assert_eq!(master.ended(id)["status"], "success");
    }
    for id in [&others[1], &late] {
        release(id);
        assert_eq!(master.ended(id)["status"], "success");
    }
}

#[test]
fn a_worker_takes_jobs_of_its_queues_alone() {
    let master = Master::with(&["--jobs-at-once", "0", "--queue", "gpu"]);
    let _worker = Elsewhere::start(&master, "far", &["--queues", "gpu"]);
    let other = submit(&master, "default", "echo any");
    let own = submit(&master, "gpu", "echo mine");
    assert_eq!(master.ended(&own)["worker_id"], "far");
    assert_eq!(master.job(&other)["status"], "pending");
    let _any = Elsewhere::start(&master, "near", &[]);
    assert_eq!(master.ended(&other)["worker_id"], "near");
}

#[test]
fn a_worker_for_a_queue_that_is_not_there_says_so_and_ends() {
    let master = Master::with(&["--jobs-at-once", "0", "--queue", "gpu"]);
    let token = token(&master, "far");
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("token");
    std::fs::write(&file, token).unwrap();
    let output = master.danube(&[
        "worker",
        "--server",
        &master.address,
        "--token-file",
        file.to_str().unwrap(),
        "--data-dir",
        own.path().join("data").to_str().unwrap(),
        "--queues",
        "gpus",
    ]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("no queue `gpus`") && said.contains("default, gpu"),
        "{said}"
    );
}

#[test]
fn workers_hear_of_jobs_in_redis_and_the_streams_hold_what_waits() {
    let redis = Redis::start();
    let master = with_redis(&redis, &["--queue", "deploy:priority=5:jobs_at_once=1"]);
    until("the check of the queue is ok", DEADLINE, || {
        let ready = master.get("/ready").json();
        (ready["checks"]["queue"] == "ok").then_some(())
    });
    let first = submit(&master, "default", HELD);
    let waiting: Vec<String> = (0..3).map(|_| submit(&master, "deploy", "true")).collect();
    until("what may begin is in Redis", DEADLINE, || {
        (redis.entries("default") == 1 && redis.entries("deploy") == 1).then_some(())
    });
    // Which job, and its trace: nothing of what it is to do.
    let entry = redis.ask(&["XRANGE", &redis.key(":queue:default"), "-", "+"]);
    let fields: Vec<&str> = entry.lines().skip(1).collect();
    let trace = master.job(&first)["trace_id"].as_str().unwrap().to_owned();
    assert_eq!(fields.len(), 4, "{entry}");
    assert_eq!(fields[..3], ["job", &first, "traceparent"], "{entry}");
    assert!(fields[3].contains(&trace), "{entry}");
    // A cancelled job leaves no entry.
    let cancelled = &waiting[0];
    let answer = master.call("DELETE", &format!("/api/v1/jobs/{cancelled}"), None);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let worker = worker(&master, &redis, "far", &["--jobs", "2"]);
    worker.event("queue_connected");
    for id in &waiting[1..] {
        let job = master.ended(id);
        assert_eq!(
            (&job["status"], &job["worker_id"], &job["attempt"]),
            (&json!("success"), &json!("far"), &json!(1)),
            "{job}"
        );
    }
    running(&master, &first);
    release(&first);
    master.ended(&first);
    until("nothing waits in Redis", DEADLINE, || {
        (redis.entries("default") == 0 && redis.entries("deploy") == 0).then_some(())
    });
    let pending = redis.ask(&["XPENDING", &redis.key(":queue:default"), "workers"]);
    assert_eq!(pending.lines().next(), Some("0"), "{pending}");
    assert!(
        master.metric("danube_redis_call_duration_seconds_count{command=\"add\"}") >= 2.0,
        "every call is told"
    );
}

#[test]
fn a_playbook_s_way_through_redis_is_in_its_trace() {
    let redis = Redis::start();
    let master = with_redis(&redis, &[]);
    let body = json!({
        "source": {"type": "inline", "playbook": "- hosts: all\n  gather_facts: false\n  tasks: []\n"},
        "inventory": {"type": "inline", "hosts": ["localhost"]},
    });
    let id = id(&master.submit(&body));
    until("it is in Redis", DEADLINE, || {
        (redis.entries("default") == 1).then_some(())
    });
    let trace = master.get(&format!("/api/v1/jobs/{id}/trace")).json();
    let spans = trace["resourceSpans"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|it| it["scopeSpans"].as_array().unwrap())
        .flat_map(|it| it["spans"].as_array().unwrap());
    let spans: Vec<&Value> = spans.collect();
    let named = |name: &str| spans.iter().find(|it| it["name"] == name);
    let submit = named("api.submit_job").expect("a span of the submit");
    let enqueue = named("redis.enqueue").expect("a span of the way into Redis");
    assert_eq!(enqueue["parentSpanId"], submit["spanId"], "{trace}");
    assert_eq!(enqueue["traceId"], submit["traceId"]);
    assert!(named("queue.enqueue").is_none(), "{trace}");
}

#[test]
fn a_password_of_redis_is_shown_nowhere() {
    let redis = Redis::start();
    redis.ask(&["CONFIG", "SET", "requirepass", "Sup3rSecret!"]);
    let url = redis.url().replace("redis://", "redis://:Sup3rSecret!@");
    let master = Master::with(&["--queue-url", &url]);
    let event = master.event(|it| it["event"] == "queue_connected");
    assert!(
        event["server"].as_str().unwrap().contains("***@"),
        "{event}"
    );
    let shown = master.danube(&["config", "show", "--queue-url", &url]);
    assert!(shown.status.success(), "{shown:?}");
    let all = format!(
        "{shown:?}{}{}",
        master.log_lines().join("\n"),
        master.stderr()
    );
    assert!(!all.contains("Sup3rSecret"), "{all}");
}

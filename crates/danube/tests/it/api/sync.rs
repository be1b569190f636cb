//! Submits that wait for their job's end.

use std::io::Write;
use std::net::Shutdown;
use std::thread;

use serde_json::{Value, json};

use super::{all_jobs, problem};
use crate::elsewhere::Elsewhere;
use crate::master::{Answer, DEADLINE, Master, id, one_step};
use crate::processes::{HELD, release, until};
use crate::wire::connect;

/// Submits with this query; the idempotency key is left out when empty.
fn submit(master: &Master, query: &str, key: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {}", master.key);
    let mut headers = vec![
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    headers.extend(Some(("idempotency-key", key)).filter(|_| !key.is_empty()));
    let path = format!("/api/v1/jobs?{query}");
    master.request("POST", &path, &headers, body.to_string().as_bytes())
}

/// The id of the only job that there is, once it is there.
fn only(master: &Master) -> String {
    until("the job is there", DEADLINE, || {
        let list = master.get("/api/v1/jobs").json();
        list["jobs"].get(0).map(id)
    })
}

#[track_caller]
fn is_at(answer: &Answer, status: u16, state: &str) -> Value {
    let job = answer.json();
    assert_eq!(
        (answer.status, &job["status"]),
        (status, &json!(state)),
        "{job:#}"
    );
    let location = format!("/api/v1/jobs/{}", id(&job));
    assert_eq!(answer.header("location"), Some(location.as_str()));
    job
}

#[test]
fn the_answer_is_the_job_as_it_ended() {
    let master = Master::start();
    let good = submit(&master, "sync=true", "", &one_step("echo hello"));
    let job = is_at(&good, 200, "success");
    assert_eq!(job, master.job(&id(&job)), "it is what a GET shows");
    assert_eq!(job["steps"][0]["status"], "success");
    assert_eq!(job["log_complete"], true);
    let bad = submit(&master, "sync=1", "", &one_step("exit 3"));
    let job = is_at(&bad, 200, "failure");
    assert_eq!(job["exit_code"], 3);
    let plain = submit(&master, "sync=false", "", &one_step("true"));
    assert_eq!(plain.status, 202, "{}", plain.text());
}

#[test]
fn a_job_that_takes_longer_goes_on_and_the_answer_says_where() {
    let master = Master::start();
    let query = "sync=true&timeout_seconds=1";
    let first = submit(&master, "", "again", &one_step(HELD)).json();
    master.until_log(&id(&first), "begin");
    // The same request waits for the same job.
    let late = submit(&master, query, "again", &one_step(HELD));
    let job = is_at(&late, 202, "running");
    assert_eq!(job["id"], first["id"]);
    let repeated = thread::scope(|scope| {
        let waits = scope.spawn(|| submit(&master, "sync=true", "again", &one_step(HELD)));
        release(&id(&job));
        waits.join().unwrap()
    });
    let ended = is_at(&repeated, 200, "success");
    assert_eq!(ended["id"], job["id"]);
    // It has ended: now there is nothing to wait for.
    let third = submit(&master, query, "again", &one_step(HELD));
    assert_eq!(is_at(&third, 200, "success"), ended);
    let other = submit(&master, query, "again", &one_step("true"));
    problem(&other, 409, "idempotency_conflict");
}

#[test]
fn the_end_of_a_job_elsewhere_is_heard_of_too() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let _worker = Elsewhere::start(&master, "far", &[]);
    let query = "sync=true&timeout_seconds=600";
    let answer = submit(&master, query, "", &one_step("echo hello"));
    let job = is_at(&answer, 200, "success");
    assert_eq!(job["worker_id"], "far");
}

#[test]
fn a_job_that_never_ran_ends_the_waiting_when_it_is_cancelled() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let answer = thread::scope(|scope| {
        let waits = scope.spawn(|| submit(&master, "sync=true", "", &one_step("true")));
        let job = only(&master);
        let answer = master.call("DELETE", &format!("/api/v1/jobs/{job}"), None);
        assert_eq!(answer.status, 202, "{}", answer.text());
        waits.join().unwrap()
    });
    is_at(&answer, 200, "cancelled");
}

#[test]
fn a_client_that_leaves_takes_nothing_with_it() {
    let master = Master::start();
    let body = one_step(HELD).to_string();
    let request = format!(
        "POST /api/v1/jobs?sync=true HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        master.key,
        body.len()
    );
    let mut stream = connect(&master);
    stream.write_all(request.as_bytes()).unwrap();
    let job = only(&master);
    master.until_log(&job, "begin");
    stream.shutdown(Shutdown::Both).unwrap();
    until("the server has seen it go", DEADLINE, || {
        let left = "danube_http_request_duration_seconds_count{method=\"POST\",route=\"/api/v1/jobs\",status=\"499\"}";
        (master.metric(left) > 0.0).then_some(())
    });
    release(&job);
    assert_eq!(master.ended(&job)["status"], "success");
}

#[test]
fn a_master_that_stops_answers_and_the_job_is_there_after_it() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    let answer = thread::scope(|scope| {
        let waits = scope.spawn(|| {
            submit(
                &master,
                "sync=true&timeout_seconds=600",
                "",
                &one_step("true"),
            )
        });
        only(&master);
        master.signal("TERM");
        waits.join().unwrap()
    });
    let job = is_at(&answer, 202, "pending");
    assert!(master.wait().success());
    let master = Master::start_in(&dir, &[]);
    assert_eq!(master.ended(&id(&job))["status"], "success");
}

#[test]
fn a_wrong_query_is_refused_before_anything_is_accepted() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let before = all_jobs(&master);
    for query in [
        "sync=maybe",
        "sync=true&timeout_seconds=0",
        "sync=true&timeout_seconds=601",
        "sync=true&timeout_seconds=soon",
        "sync=true&timeout_seconds=1.5",
        "sync=true&sync=true",
        "timeout_seconds=5",
        "sync=false&timeout_seconds=5",
        "sink=true",
    ] {
        let answer = submit(&master, query, "", &one_step("true"));
        problem(&answer, 400, "malformed");
    }
    let wrong = submit(&master, "sync=true", "", &json!({"pipeline": "none"}));
    problem(&wrong, 422, "invalid");
    assert_eq!(all_jobs(&master), before);
}

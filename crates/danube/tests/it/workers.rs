//! Workers on other machines, as processes of their own: what a job of theirs shows,
//! and who may say what of it.

use serde_json::{Value, json};

use crate::elsewhere::{Elsewhere, Wire, running, token};
use crate::master::{Answer, Master, id, one_step};
use crate::processes::{HELD, all_gone, release, until};

/// A master that runs no job itself.
fn master() -> Master {
    Master::with(&["--jobs-at-once", "0"])
}

/// A call as a worker makes it.
pub(crate) fn call(master: &Master, path: &str, token: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("danube-protocol", "1"),
        ("danube-instance", "abc"),
    ];
    master.request("POST", path, &headers, body.to_string().as_bytes())
}

#[test]
fn a_job_runs_elsewhere_and_shows_all_that_it_would_show_here() {
    // What others may send has nothing to do with what workers must send.
    let master = Master::with(&["--jobs-at-once", "0", "--body-bytes-max", "2KiB"]);
    let id = master.run("echo \"on $DANUBE_SERVER\"; echo oh >&2; trap 'r=1' USR1; until [ -n \"${r:-}\" ]; do sleep 0.05; done; seq 1 20000; exit 3");
    let worker = Elsewhere::start(&master, "far", &["--jobs", "2"]);
    // Live: the follower reads while the job runs.
    master.until_log(&id, "oh\n");
    running(&master, &id);
    assert_eq!(master.job(&id)["worker_id"], "far");
    assert!(master.metric("danube_workers_active") >= 1.0);
    let list = master.get("/api/v1/workers").json();
    assert_eq!(list["workers"][0]["is_connected"], true, "{list}");
    assert_eq!(list["workers"][0]["jobs"], 1, "{list}");
    release(&id);
    let job = master.ended(&id);
    assert_eq!(job["status"], "failure", "{job}");
    assert_eq!(job["exit_code"], 3, "{job}");
    assert_eq!(job["log_complete"], true, "{job}");
    let counted: String = (1..=20_000).map(|it| format!("{it}\n")).collect();
    let log = format!("on {}\noh\n{counted}", master.address);
    assert!(master.log(&id) == log.as_bytes(), "byte for byte");
    assert_eq!(job["log_bytes"], log.len(), "{job}");
    let step = &job["steps"][0];
    assert_eq!(
        (&step["log_start"], &step["log_end"]),
        (&json!(0), &json!(log.len()))
    );
    let trace = master.get(&format!("/api/v1/jobs/{id}/trace")).text();
    assert!(
        trace.contains("Create workspace"),
        "what the worker alone knows: {trace}"
    );
    // Another one, so that nothing is left in the way of it.
    let other = master.ended(&master.run("echo more"));
    assert_eq!(other["status"], "success", "{other}");
    drop(worker);
}

#[test]
fn a_cancel_and_a_timeout_reach_a_job_elsewhere() {
    let master = master();
    let _worker = Elsewhere::start(&master, "far", &["--jobs", "2"]);
    let cancelled = master.run(HELD);
    master.until_log(&cancelled, "begin\n");
    let answer = master.call("DELETE", &format!("/api/v1/jobs/{cancelled}"), None);
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(master.ended(&cancelled)["status"], "cancelled");
    all_gone(&cancelled);
    let mut body = one_step(HELD);
    body["spec"]["max_duration_seconds"] = json!(1);
    let late = id(&master.submit(&body));
    let job = master.ended(&late);
    assert_eq!(job["status"], "timeout", "{job}");
    all_gone(&late);
}

#[test]
fn a_value_masked_late_is_nowhere_in_the_log_of_a_job_elsewhere() {
    let master = master();
    let _worker = Elsewhere::start(&master, "far", &[]);
    let id = master.run(
        &HELD
            .replace("echo begin", "echo it is hunter2hunter2; echo begin")
            .replace("echo end", "echo again hunter2hunter2; echo end"),
    );
    master.until_log(&id, "begin\n");
    let body = json!({"value": "hunter2hunter2"});
    let masked = master.call("POST", &format!("/api/v1/jobs/{id}/mask"), Some(&body));
    assert_eq!(masked.status, 200, "{}", masked.text());
    assert_eq!(masked.json()["lines_blanked"], 1, "{}", masked.text());
    release(&id);
    let job = master.ended(&id);
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(job["log_complete"], true, "{job}");
    let log = String::from_utf8(master.log(&id)).unwrap();
    assert!(!log.contains("hunter2"), "{log}");
    assert!(log.ends_with("end\n"), "{log}");
}

#[test]
fn a_job_s_own_token_opens_its_routes_wherever_it_runs() {
    let master = master();
    let _worker = Elsewhere::start(&master, "far", &[]);
    // The job itself, with its own token.
    let script = "at=${DANUBE_SERVER#http://}; exec 9<>\"/dev/tcp/${at%:*}/${at##*:}\"; \
        body='{\"value\": \"geheim-geheim\"}'; \
        printf 'POST /api/v1/jobs/%s/mask HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer %s\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%s' \
            \"$DANUBE_JOB_ID\" \"$DANUBE_JOB_TOKEN\" \"${#body}\" \"$body\" >&9; \
        read -r answer <&9; echo \"$answer\"; [[ \"$answer\" == *' 200 '* ]]";
    let mut order = one_step(script);
    order["spec"]["shell"] = json!("bash");
    let job = master.ended(&id(&master.submit(&order)));
    let log = String::from_utf8_lossy(&master.log(job["id"].as_str().unwrap())).into_owned();
    assert_eq!(job["status"], "success", "{job} {log}");
}

#[test]
fn a_worker_speaks_of_its_own_jobs_alone_and_only_with_a_good_token() {
    let master = master();
    let _worker = Elsewhere::start(&master, "far", &[]);
    let other = token(&master, "other");
    let id = master.run(HELD);
    master.until_log(&id, "begin\n");
    let lease = json!({"job": id, "fence": 1, "number": 1});
    let finish = json!({"lease": lease, "cause": "succeeded", "failed": null, "exit_code": 0,
        "reason": null, "timeout_seconds": null, "steps": [], "log_end": 0, "log_is_cut": false,
        "spans": null});
    let refused = call(&master, "/rpc/finish", &other, &finish);
    assert_eq!(refused.status, 409, "{}", refused.text());
    let back =
        json!({"lease": lease, "reason": "x", "may_have_run": false, "log_end": 0, "spans": null});
    assert_eq!(call(&master, "/rpc/hand-back", &other, &back).status, 409);
    let beat = json!({"running": [{"lease": lease, "token_sha256": "00"}]});
    let told = call(&master, "/rpc/heartbeat", &other, &beat).json();
    assert_eq!(told["wishes"][0]["lost"], true, "{told}");
    for wrong in ["", "dnb_worker_x", &master.key] {
        assert_eq!(call(&master, "/rpc/finish", wrong, &finish).status, 401);
    }
    // A worker's token is no key.
    let bearer = format!("Bearer {other}");
    let asked = master.request("GET", "/api/v1/jobs", &[("authorization", &bearer)], b"");
    assert_eq!(asked.status, 401);
    running(&master, &id);
    release(&id);
    assert_eq!(master.ended(&id)["status"], "success");
    // Told once more, as after a lost answer, by somebody else.
    assert_eq!(call(&master, "/rpc/finish", &other, &finish).status, 409);
}

#[test]
fn another_protocol_is_refused_with_both_numbers() {
    let master = master();
    let bearer = format!("Bearer {}", token(&master, "old"));
    let headers = [
        ("authorization", bearer.as_str()),
        ("danube-protocol", "7"),
        ("danube-instance", "abc"),
    ];
    let answer = master.request("POST", "/rpc/claim", &headers, b"{}");
    assert_eq!(answer.status, 400);
    let text = answer.text();
    assert!(text.contains("protocol 1") && text.contains('7'), "{text}");
}

#[test]
fn a_revoked_worker_stops_its_jobs_and_says_why_and_the_job_goes_to_another() {
    let master = Master::with(&["--jobs-at-once", "0", "--lease", "3"]);
    let mut worker = Elsewhere::start(&master, "far", &[]);
    let id = master.run(HELD);
    master.until_log(&id, "begin\n");
    let revoked = master.danube(&["worker", "revoke", "far"]);
    assert!(revoked.status.success());
    assert_eq!(worker.wait().code(), Some(4), "{}", worker.errors());
    assert!(
        worker.errors().contains("danube worker create"),
        "{}",
        worker.errors()
    );
    let _other = Elsewhere::start(&master, "near", &[]);
    master.until_log(&id, "begin\nbegin\n");
    release(&id);
    let job = master.ended(&id);
    assert_eq!(
        (&job["status"], &job["worker_id"]),
        (&json!("success"), &json!("near"))
    );
}

#[test]
fn a_worker_that_is_told_to_stop_hands_its_job_back_at_no_cost() {
    let master = master();
    let mut worker = Elsewhere::start(&master, "far", &[]);
    let id = master.run(HELD);
    master.until_log(&id, "begin\n");
    worker.signal("TERM");
    assert_eq!(worker.wait().code(), Some(0), "{}", worker.errors());
    all_gone(&id);
    let job = until("the job waits again", crate::master::DEADLINE, || {
        let job = master.job(&id);
        (job["status"] == "pending").then_some(job)
    });
    assert_eq!(job["reason"], "the worker was stopped", "{job}");
    let _other = Elsewhere::start(&master, "near", &[]);
    master.until_log(&id, "begin\nbegin\n");
    release(&id);
    let job = master.ended(&id);
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(job["log_complete"], true, "{job}");
    assert_eq!(master.log(&id), b"begin\nbegin\nend\n");
}

#[test]
fn workers_are_made_listed_and_revoked_and_tokens_are_shown_once() {
    let master = master();
    let made = master.danube(&["worker", "create", "one"]);
    let token = String::from_utf8(made.stdout).unwrap();
    assert!(token.starts_with("dnb_worker_"), "{token}");
    let again = master.danube(&["worker", "create", "one"]);
    assert_eq!(again.status.code(), Some(6));
    let reserved = master.danube(&["worker", "create", "local-1"]);
    assert_eq!(reserved.status.code(), Some(2));
    let list = master.danube(&["worker", "list"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(
        list.contains("one") && !list.contains(token.trim()),
        "{list}"
    );
    assert!(master.danube(&["worker", "revoke", "one"]).status.success());
    assert_eq!(
        master.danube(&["worker", "revoke", "one"]).status.code(),
        Some(5)
    );
    assert!(master.danube(&["worker", "create", "one"]).status.success());
}

#[test]
fn a_worker_that_starts_before_its_master_says_so_and_waits() {
    let master = master();
    let wire = Wire::to(&master);
    let name = token(&master, "early");
    wire.cut();
    let address = wire.address.clone();
    let started = std::thread::spawn(move || Elsewhere::with_token(&address, &name, &[]));
    wire.lead_to(&master);
    let worker = started.join().unwrap();
    assert_eq!(worker.event("worker_connected")["worker_id"], "early");
    assert!(
        worker
            .log_lines()
            .iter()
            .all(|it| !it.contains("dnb_worker_"))
    );
}

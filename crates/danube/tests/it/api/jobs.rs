//! Reading, cancelling and retrying jobs.

use serde_json::{Value, json};

use super::{all_jobs, causes, ids, problem};
use crate::master::{Master, id, one_step};
use crate::wire::Puppets;

#[test]
fn a_submit_is_answered_with_the_job_and_where_it_is() {
    let master = Master::start();
    let answer = master.call("POST", "/api/v1/jobs", Some(&one_step("true")));
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let job = answer.json();
    let place = answer.header("location").unwrap();
    assert_eq!(place, format!("/api/v1/jobs/{}", id(&job)));
    master.ended(&id(&job));
    let found = master.get(place);
    assert_eq!(found.status, 200);
    for field in [
        "id",
        "short_id",
        "pipeline",
        "submitted_by",
        "created_at",
        "trace_id",
        "kind",
    ] {
        assert_eq!(found.json()[field], job[field], "{field}");
    }
}

#[test]
fn times_tell_a_jobs_story_in_order() {
    let master = Master::start();
    let job = master.ended(&master.run("true"));
    let time = |of: &Value| of.as_str().expect("a time").to_owned();
    let step = &job["steps"][0];
    let told = [
        &job["created_at"],
        &job["started_at"],
        &step["started_at"],
        &step["finished_at"],
        &job["finished_at"],
    ];
    let told: Vec<String> = told.into_iter().map(time).collect();
    assert!(told.is_sorted(), "{told:?}");
    let history = master
        .get(&format!("/api/v1/jobs/{}/history", id(&job)))
        .json();
    let moves: Vec<String> = history["transitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| time(&it["at"]))
        .collect();
    assert!(moves.is_sorted(), "{moves:?}");
}

#[test]
fn a_list_shows_what_the_filter_asks_for() {
    let master = Master::with(&["--jobs-at-once", "1"]);
    let good = master.run("true");
    master.ended(&good);
    let bad = master.run("false");
    master.ended(&bad);
    let slow = id(&master.submit(&json!({"spec": {"name": "slow", "steps": [{"name": "a", "run": "exec sleep 600", "timeout_seconds": 1}]}})));
    master.ended(&slow);
    let puppets = Puppets::new();
    let (running, puppet) = puppets.start(&master);
    let pending = master.run("true");
    let stopped = master.run("true");
    assert_eq!(
        master
            .call("DELETE", &format!("/api/v1/jobs/{stopped}"), None)
            .status,
        202
    );

    let list = |query: &str| {
        let answer = master.get(&format!("/api/v1/jobs{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        ids(&answer.json())
    };
    let newest_first = [&*stopped, &pending, &running, &slow, &bad, &good];
    assert_eq!(list(""), newest_first);
    assert_eq!(list("?status=success"), [&*good]);
    assert_eq!(list("?status=failure"), [&*bad]);
    assert_eq!(list("?status=failed"), [&*bad]);
    assert_eq!(list("?status=timeout"), [&*slow]);
    assert_eq!(list("?status=pending"), [&*pending]);
    assert_eq!(list("?status=cancelled"), [&*stopped]);
    assert_eq!(list("?status=success,failed"), [&*bad, &*good]);
    assert_eq!(list("?pipeline=slow"), [&*slow]);
    assert_eq!(list("?pipeline=test&status=failed"), [&*bad]);
    assert_eq!(list("?pipeline=nobody"), [""; 0]);
    assert_eq!(list("?status=scheduling,running"), [&*running]);
    drop(puppet);
    master.ended(&running);
    master.ended(&pending);
    for query in [
        "status=done",
        "state=success",
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=many",
        "cursor=7",
        "cursor=%00",
    ] {
        problem(
            &master.get(&format!("/api/v1/jobs?{query}")),
            400,
            "malformed",
        );
    }
    assert_eq!(list("?limit=1000").len(), 6);
}

#[test]
fn pages_stay_put_while_jobs_come_in() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let mut submitted: Vec<String> = (0..25).map(|_| master.run("true")).collect();
    submitted.reverse();
    let (mut seen, mut cursor, mut sizes) = (Vec::new(), String::new(), Vec::new());
    loop {
        let page = master
            .get(&format!("/api/v1/jobs?status=pending&limit=10{cursor}"))
            .json();
        sizes.push(ids(&page).len());
        seen.extend(ids(&page));
        master.run("echo another one");
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, submitted);
    assert_eq!(sizes, [10, 10, 5]);
    let all = master.get("/api/v1/jobs?limit=28").json();
    assert_eq!(ids(&all).len(), 28);
    assert_eq!(
        all["next_cursor"],
        Value::Null,
        "a full last page has no next one"
    );
    // A cursor that somebody changed is refused, not read as another place.
    let page = master.get("/api/v1/jobs?limit=10").json();
    let mut bent = page["next_cursor"].as_str().unwrap().to_owned();
    let last = if bent.pop() == Some('0') { '1' } else { '0' };
    bent.push(last);
    problem(
        &master.get(&format!("/api/v1/jobs?cursor={bent}")),
        400,
        "malformed",
    );
}

#[test]
fn a_job_answers_to_its_id_and_its_short_id() {
    let master = Master::start();
    let job = master.ended(&master.run("true"));
    let (full, short) = (id(&job), job["short_id"].as_str().unwrap().to_owned());
    assert_eq!(short.len(), 8);
    for name in [full.clone(), short.clone(), short.to_uppercase()] {
        assert_eq!(master.job(&name), job, "{name}");
        assert_eq!(
            causes(&master, &name),
            ["submitted", "claimed", "started", "succeeded"]
        );
        assert_eq!(master.log(&name), b"");
    }
    let before = all_jobs(&master);
    let strangers = [
        "zzzzzzzz",
        "01900000-0000-7000-8000-000000000000",
        "1",
        "..",
        "%2e%2e",
        "%ff",
        "%00",
        "a%2fb",
        "%3Cscript%3E",
    ];
    for name in strangers {
        for (method, rest) in [
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/retry"),
            ("GET", "/history"),
            ("GET", "/logs"),
            ("GET", "/logs/stream"),
        ] {
            let answer = master.call(method, &format!("/api/v1/jobs/{name}{rest}"), None);
            problem(&answer, 404, "not_found");
        }
    }
    assert_eq!(all_jobs(&master), before);
}

#[test]
fn the_history_tells_every_move_and_why() {
    let master = Master::start();
    let job = master.ended(&master.run("exit 7"));
    let history = master
        .get(&format!("/api/v1/jobs/{}/history", id(&job)))
        .json();
    let told: Vec<_> = history["transitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["from"].as_str(),
                it["to"].as_str().unwrap(),
                it["cause"].as_str().unwrap(),
                it["attempt"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (None, "pending", "submitted", 0),
            (Some("pending"), "scheduling", "claimed", 1),
            (Some("scheduling"), "running", "started", 1),
            (Some("running"), "failure", "failed", 1),
        ]
    );
    assert_eq!(history["transitions"][0]["by"], "admin");
    assert_eq!(history["transitions"][1]["by"], job["worker_id"]);
    assert_eq!(history["transitions"][3]["detail"], "step_failed");
}

#[test]
fn a_pending_job_is_cancelled_at_once_and_never_runs() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let job = master.run("true");
    let answer = master.call("DELETE", &format!("/api/v1/jobs/{job}"), None);
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json()["status"], "cancelled");
    assert_eq!(answer.json()["reason"], "cancelled by admin");
    assert_eq!(master.job(&job), answer.json());
    assert_eq!(causes(&master, &job), ["submitted", "cancel_asked"]);
    // Its log is empty, and following it ends.
    assert_eq!(master.ended(&job)["log_bytes"], 0);
}

#[test]
fn a_running_job_is_stopped_when_somebody_cancels_it() {
    let master = Master::start();
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    puppet.print("before\n");
    let answer = master.call("DELETE", &format!("/api/v1/jobs/{job}"), None);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let at_once = answer.json();
    assert!(
        at_once["status"] == "cancelled" || at_once["cancel_requested"] == true,
        "{at_once}"
    );
    let ended = master.ended(&job);
    assert_eq!(ended["status"], "cancelled");
    assert_eq!(ended["cancel_requested"], false);
    assert_eq!(ended["steps"][0]["status"], "cancelled");
    assert_eq!(master.log(&job), b"before\n");
    assert_eq!(
        causes(&master, &job),
        ["submitted", "claimed", "started", "stopped"]
    );
    // Asked again: it has ended, and stays as it is.
    let again = master.call("DELETE", &format!("/api/v1/jobs/{job}"), None);
    problem(&again, 409, "wrong_state");
    assert_eq!(master.job(&job), ended);
}

#[test]
fn an_ended_job_can_be_retried_and_only_an_ended_one() {
    let master = Master::start();
    let puppets = Puppets::new();
    let order = json!({"spec": {"name": "again", "shell": "bash", "steps": [{"name": "only", "run": puppets.script()}]},
        "ref": "main", "mask": ["a-value-nobody-sees"]});
    let first = id(&master.submit(&order));
    let mut puppet = puppets.arrival();
    let before = all_jobs(&master);
    problem(
        &master.call("POST", &format!("/api/v1/jobs/{first}/retry"), None),
        409,
        "wrong_state",
    );
    assert_eq!(
        ids(&serde_json::from_str(&before).unwrap()),
        ids(&master.get("/api/v1/jobs").json())
    );
    puppet.print("one a-value-nobody-sees\n");
    drop(puppet);
    let first = master.ended(&first);

    let answer = master.call("POST", &format!("/api/v1/jobs/{}/retry", id(&first)), None);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let second = answer.json();
    assert_eq!(
        answer.header("location").unwrap(),
        format!("/api/v1/jobs/{}", id(&second))
    );
    assert_ne!(id(&second), id(&first));
    assert_ne!(second["trace_id"], first["trace_id"]);
    assert_eq!(second["retry_of"], first["id"]);
    assert_eq!(second["trigger_type"], "retry");
    assert_eq!(
        (&second["pipeline"], &second["trigger_ref"]),
        (&json!("again"), &json!("main"))
    );
    let mut puppet = puppets.arrival();
    puppet.print("two a-value-nobody-sees\n");
    drop(puppet);
    let second = master.ended(&id(&second));
    assert_eq!(
        (&second["status"], &second["attempt"]),
        (&json!("success"), &json!(1))
    );
    // The first one is as it was, the second has a log of its own, masked as well.
    assert_eq!(master.job(&id(&first)), first);
    assert_eq!(master.log(&id(&first)), b"one [redacted]\n");
    assert_eq!(master.log(&id(&second)), b"two [redacted]\n");
}

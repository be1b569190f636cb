//! What a forge asks for while no more jobs may wait: it is kept, and begins when there is room.

use serde_json::Value;

use super::{World, count, know, push, push_of};
use crate::master::{DEADLINE, Master};
use crate::processes::until;

/// Nothing begins, and one job may wait.
const FULL: [&str; 4] = ["--jobs-at-once", "0", "--max-pending", "1"];

/// Sends it, and says what was answered.
#[track_caller]
fn sent(master: &Master, (git_ref, commit): (&str, &str), status: u16) -> Value {
    let git_ref = format!("refs/heads/{git_ref}");
    let webhook = push_of("github", commit, (&git_ref, commit), &["a"]);
    let answer = webhook.send(master);
    assert_eq!(answer.status, status, "{}", answer.text());
    answer.json()
}

/// The commits of all jobs, the oldest job first, once there are so many and all have ended.
fn commits(master: &Master, number: usize) -> Vec<String> {
    let jobs = until("all have ended", DEADLINE, || {
        let list = master.get("/api/v1/jobs").json();
        let jobs = list["jobs"].as_array().unwrap().clone();
        let ended = jobs.iter().filter(|it| crate::master::is_terminal(it));
        (ended.count() == number).then_some(jobs)
    });
    let commit = |it: &Value| {
        let job = master.job(it["id"].as_str().unwrap());
        job["forge"]["commit"].as_str().unwrap().to_owned()
    };
    jobs.iter().rev().map(commit).collect()
}

#[test]
fn what_finds_no_room_is_kept_over_a_kill_and_begins_in_its_order_once() {
    let world = World::new(&[("build", "triggers: {push: {}}, ")]);
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = world.start_in(&dir, &FULL);
    know(&master, "http://127.0.0.1", None);
    let made: Vec<String> = ["1", "2", "3", "4"].map(|it| world.commit(it)).to_vec();
    assert_eq!(sent(&master, ("main", &made[0]), 200)["outcome"], "started");
    for commit in &made[1..3] {
        let said = sent(&master, ("main", commit), 202);
        assert_eq!(said["outcome"], "waiting", "{said}");
        assert_eq!(said["waiting"][0], "build", "{said}");
    }
    // Another branch of the same pipeline waits its turn, too.
    assert_eq!(
        sent(&master, ("topic", &made[3]), 202)["outcome"],
        "waiting"
    );
    let kept = master.event(|it| it["event"] == "webhook_kept");
    assert_eq!(
        (&kept["credential_name"], &kept["starts"]),
        (&"own-github".into(), &1.into())
    );
    assert_eq!(
        sent(&master, ("main", &made[1]), 200)["outcome"],
        "repeated"
    );
    assert_eq!(count(&master), 1);
    master.kill();
    drop(master);
    // One after the other, for one may wait.
    let master = world.start_in(&dir, &["--jobs-at-once", "1", "--max-pending", "1"]);
    assert_eq!(commits(&master, 4), made);
    let again = sent(&master, ("main", &made[1]), 200);
    assert_eq!(again["outcome"], "repeated");
    let job = master.job(again["jobs"][0].as_str().unwrap());
    assert_eq!(job["forge"]["commit"], made[1]);
    assert_eq!(count(&master), 4);
    // There is room again.
    let commit = world.commit("5");
    assert_eq!(sent(&master, ("main", &commit), 200)["outcome"], "started");
}

#[test]
fn of_what_waits_the_newest_of_a_ref_is_left_where_the_pipeline_says_so() {
    let spec = "cancel_superseded: pending, triggers: {push: {}}, ";
    let world = World::new(&[
        ("build", spec),
        ("other", "triggers: {push: {branches: [none]}}, "),
    ]);
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let master = world.start_in(&dir, &FULL);
    know(&master, "http://127.0.0.1", None);
    let made = ["1", "2", "3"].map(|it| world.commit(it));
    sent(&master, ("main", &made[0]), 200);
    sent(&master, ("topic", &made[1]), 202);
    sent(&master, ("topic", &made[2]), 202);
    let dropped = master.event(|it| it["event"] == "webhook_dropped");
    assert_eq!(dropped["pipeline"], "build");
    assert_eq!(dropped["trigger_ref"], "topic");
    assert!(
        dropped["reason"].as_str().unwrap().contains("later commit"),
        "{dropped}"
    );
    drop(master);
    let master = world.start_in(&dir, &["--jobs-at-once", "1", "--max-pending", "1"]);
    assert_eq!(commits(&master, 2), [made[0].clone(), made[2].clone()]);
}

#[test]
fn what_waits_begins_as_soon_as_a_job_waits_no_more() {
    let world = World::new(&[("build", "triggers: {push: {}}, ")]);
    let master = world.master(&FULL);
    let made = ["1", "2"].map(|it| world.commit(it));
    let first = sent(&master, ("main", &made[0]), 200);
    sent(&master, ("main", &made[1]), 202);
    let first = first["jobs"][0].as_str().unwrap();
    let cancelled = master.call("DELETE", &format!("/api/v1/jobs/{first}"), None);
    assert_eq!(cancelled.status, 202, "{}", cancelled.text());
    until("the second begins", DEADLINE, || {
        (count(&master) == 2).then_some(())
    });
}

#[test]
fn a_full_inbox_refuses_the_whole_webhook_and_health_tells() {
    // One webhook asks for many pipelines, or it would take a thousand.
    let names: Vec<String> = (0..120).map(|it| format!("build-{it}")).collect();
    let pipelines: Vec<(&str, &str)> = names
        .iter()
        .map(|it| (it.as_str(), "triggers: {push: {}}, "))
        .collect();
    let world = World::new(&pipelines);
    let master = world.master(&[&FULL[..], &["--health-interval", "1"]].concat());
    let commit = |number: usize| format!("{number:040x}");
    for number in 1..=8 {
        let said = sent(&master, ("main", &commit(number)), 202);
        let waiting = said["waiting"].as_array().unwrap().len();
        assert_eq!(waiting, if number == 1 { 119 } else { 120 });
    }
    let webhook = push("github", "last", &commit(9));
    let refused = webhook.send(&master);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    master.event(|it| it["event"] == "webhook_rejected" && it["reason"] == "inbox_full");
    let told = master.event(|it| {
        let error = it["error"].as_str().unwrap_or_default();
        it["check"] == "forges" && error.contains("webhooks were refused")
    });
    assert_eq!(told["event"], "health_check_failed", "{told}");
    // Another forge has room of its own.
    let other = push("gitea", "other", &commit(9)).send(&master);
    assert_eq!(other.status, 202, "{}", other.text());
    assert_eq!(count(&master), 1);
}

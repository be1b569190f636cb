//! Logs that are deleted: by hand, by age, by size.

use std::process::Command;

use serde_json::json;

use crate::master::{Answer, Master};
use crate::wire::Puppets;

fn delete(master: &Master, job: &str) -> Answer {
    master.call("DELETE", &format!("/api/v1/jobs/{job}/logs"), None)
}

/// Everybody who asks for the log hears that it is gone; the job itself stays.
#[track_caller]
fn is_gone(master: &Master, job: &str) {
    for path in [
        "logs",
        "logs?from_line=1",
        "logs?follow=1",
        "logs/stream",
        "logs/search?q=x",
    ] {
        let answer = master.get(&format!("/api/v1/jobs/{job}/{path}"));
        assert_eq!(answer.status, 410, "{path}: {}", answer.text());
        assert_eq!(answer.json()["code"], "log_gone");
    }
    let shown = master.job(job);
    assert!(shown["log_deleted_at"].is_string(), "{shown}");
    assert_eq!(shown["status"], "success");
    let left = std::fs::read_dir(master.dir.join("logs")).unwrap();
    let left: Vec<_> = left
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .filter(|it| it.starts_with(job))
        .collect();
    assert_eq!(left, [""; 0]);
}

/// Ends the job and makes its log look this old to the next look.
fn aged(master: &Master, job: &str, days: u32) {
    for entry in std::fs::read_dir(master.dir.join("logs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with(job) {
            let touched = Command::new("touch")
                .args(["-d", &format!("{days} days ago")])
                .arg(&path)
                .status();
            assert!(touched.unwrap().success());
        }
    }
}

#[test]
fn the_log_of_one_ended_job_is_deleted_by_hand() {
    let master = Master::start();
    let (running, puppet) = Puppets::new().start(&master);
    let refused = delete(&master, &running);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert_eq!(refused.json()["code"], "wrong_state");
    drop(puppet);
    master.ended(&running);

    let job = master.run("echo hello");
    master.ended(&job);
    let deleted = delete(&master, &job);
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    assert!(deleted.json()["bytes_freed"].as_u64().unwrap() > 6);
    is_gone(&master, &job);
    assert_eq!(delete(&master, &job).json(), json!({"bytes_freed": 0}));
    let mask = format!("/api/v1/jobs/{job}/mask");
    let masked = master.call("POST", &mask, Some(&json!({"value": "some-value-17"})));
    assert_eq!(masked.status, 200, "{}", masked.text());
    let page = master.get(&format!("/jobs/{job}"));
    assert!(page.status == 200 || page.status == 303, "{}", page.status);

    let said = master.danube(&["logs", &running, "--delete"]);
    assert!(said.status.success(), "{said:?}");
    is_gone(&master, &running);
    let said = master.danube(&["logs", &running]);
    assert_eq!(said.status.code(), Some(5), "{said:?}");
    assert_eq!(delete(&master, "00000000").status, 404);
}

#[test]
fn logs_go_when_they_are_old() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let master = Master::start_in(&dir, &[]);
    let [old, young] = [(); 2].map(|()| {
        let job = master.run("echo hello");
        master.ended(&job);
        // Its trace is written once somebody looks, at the latest.
        assert_eq!(master.get(&format!("/api/v1/jobs/{job}/trace")).status, 200);
        job
    });
    aged(&master, &old, 8);
    aged(&master, &young, 6);
    let trace = |job: &str| dir.join("traces").join(format!("{job}.jsonl"));
    assert!(trace(&old).is_file() && trace(&young).is_file());
    drop(master);
    let master = Master::start_in(&dir, &["--logs-days", "7"]);
    let told = master.event(|it| it["event"] == "reaper_completed");
    assert_eq!(told["logger"], "danube.reaper");
    assert_eq!(
        (&told["logs_deleted"], &told["level"]),
        (&json!(1), &json!("info"))
    );
    assert!(told["bytes_freed"].as_u64().unwrap() > 6, "{told}");
    is_gone(&master, &old);
    assert_eq!(master.log(&young), b"hello\n");
    // A trace lives as long as its log.
    assert!(!trace(&old).exists() && trace(&young).is_file());
    drop(master);
    // Kept for ever.
    let master = Master::start_in(&dir, &["--logs-days", "0"]);
    assert_eq!(master.log(&young), b"hello\n");
    is_gone(&master, &old);
}

#[test]
fn the_oldest_logs_go_when_all_of_them_are_too_large() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let master = Master::start_in(&dir, &[]);
    let jobs: Vec<String> = (0..3)
        .map(|age| {
            let job = master.run("head -c 20000 /dev/zero | tr '\\0' x");
            master.ended(&job);
            aged(&master, &job, 3 - age);
            job
        })
        .collect();
    drop(master);
    let master = Master::start_in(&dir, &["--logs-max-bytes", "50000"]);
    master.event(|it| it["event"] == "reaper_completed");
    is_gone(&master, &jobs[0]);
    for job in &jobs[1..] {
        assert_eq!(master.log(job).len(), 20_000);
    }
}

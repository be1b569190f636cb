//! What is kept for how long: the oldest go when all are too large, and what somebody said is
//! kept stays.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Waiting, list, path};
use crate::master::Master;

fn names(master: &Master, job: &str) -> Vec<String> {
    let all = list(master, job);
    let name = |it: &Value| it["name"].as_str().unwrap().to_owned();
    all.iter().map(name).collect()
}

#[test]
fn the_oldest_go_when_all_are_too_large_and_what_is_kept_stays() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let job = Waiting::start(&master);
    for name in ["a-kept", "b-oldest", "c-old", "d/young"] {
        assert_eq!(
            job.put(&master, &name.replace('/', "%2F"), &[b'x'; 1000])
                .status,
            200
        );
    }
    let id = job.end(&master);
    let said = master.danube(&["artifact", "keep", &id, "a-kept"]);
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let all = list(&master, &id);
    let kept: Vec<&Value> = all.iter().map(|it| &it["is_kept"]).collect();
    assert_eq!(kept, [true, false, false, false]);
    let refused = master.danube(&["artifact", "delete", &id, "a-kept"]);
    assert_eq!(
        refused.status.code(),
        Some(6),
        "what is kept isn't deleted by mistake"
    );
    let unknown = master.danube(&["artifact", "keep", &id, "none"]);
    assert_eq!(unknown.status.code(), Some(5));
    master.signal("TERM");
    assert!(master.wait().success());
    let connection = Connection::open(dir.join("danube.db")).unwrap();
    let order = "UPDATE artifacts SET created_at = created_at - CASE name \
        WHEN 'a-kept' THEN 40 * 86400000 WHEN 'b-oldest' THEN 3000 WHEN 'c-old' THEN 2000 ELSE 0 END";
    connection.execute_batch(order).unwrap();
    drop(connection);

    // 4,000 bytes are there. A look without a deletion tells what would go.
    let limit = ["--artifacts-total-max-bytes", "2500"];
    let mut master = Master::start_in(&dir, &limit);
    let told = master.event(|it| it["event"] == "reaper_completed");
    assert_eq!(
        (&told["artifacts_deleted"], &told["bytes_freed"]),
        (&json!(2), &json!(2000)),
        "{told}"
    );
    assert_eq!(
        names(&master, &id),
        ["a-kept", "d/young"],
        "also after its days"
    );
    assert_eq!(master.get(&path(&id, "a-kept")).status, 200);
    let said = master.danube(&["artifact", "release", &id]);
    assert!(said.status.success());
    assert!(list(&master, &id).iter().all(|it| it["is_kept"] == false));
    let said = master.danube(&["reap", "--dry-run", "--output", "json"]);
    let would: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(would["artifacts_deleted"], 1, "its days are over: {would}");
    assert!(master.danube(&["reap"]).status.success());
    assert_eq!(names(&master, &id), ["d/young"]);
    master.signal("TERM");
    assert!(master.wait().success());
}

#[test]
fn who_may_write_says_what_is_kept_and_it_is_on_record() {
    let master = Master::start();
    let job = Waiting::start(&master);
    assert_eq!(job.put(&master, "a", b"a").status, 200);
    let id = job.end(&master);
    let viewer = json!({"name": "looker", "role": "viewer"});
    let viewer = master
        .call("POST", "/api/v1/api-keys", Some(&viewer))
        .json();
    let bearer = format!("Bearer {}", viewer["key"].as_str().unwrap());
    let path = format!("/api/v1/jobs/{id}/artifacts");
    let body = json!({"keep": true}).to_string();
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let answer = master.request("POST", &path, &headers, body.as_bytes());
    assert_eq!(answer.status, 403);
    for wrong in [
        json!({}),
        json!({"keep": "yes"}),
        json!({"keep": true, "days": 3}),
    ] {
        let status = master.call("POST", &path, Some(&wrong)).status;
        assert_eq!(status, 400, "{wrong}");
    }
    assert_eq!(list(&master, &id)[0]["is_kept"], false);
    let answer = master.call("POST", &path, Some(&json!({"keep": true})));
    assert_eq!(
        answer.json()["artifacts"][0]["is_kept"],
        true,
        "{}",
        answer.text()
    );
    let said = master.danube(&["audit", "list"]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(text.contains(&path), "{text}");
}

//! A store that refuses to end a session or a key: whoever wanted it is told that it goes on.

mod peers;

use std::path::PathBuf;

use serde_json::json;

use super::disk::{SmallDisk, until_ready};
use super::row::row;
use super::strace::Inject;
use crate::auth::cookie_of;
use crate::master::{Answer, Master};
use crate::processes::root_or_skip;

/// What the disk says, and with which status a browser is told.
const REFUSALS: [(&str, &str, u16); 3] = [
    ("pwrite64", "ENOSPC", 507),
    ("pwrite64", "EROFS", 503),
    ("fsync,fdatasync", "EIO", 503),
];

fn with(master: &Master, cookie: &str, method: &str, path: &str) -> Answer {
    let headers = [("cookie", cookie), ("sec-fetch-site", "same-origin")];
    master.request(method, path, &headers, b"")
}

#[test]
fn a_sign_out_that_the_disk_refuses_is_none_and_works_once_the_disk_does() {
    let row = row!("a disk that is full or refuses");
    if !root_or_skip("injecting errors into another process") {
        return row.left_out("needs root");
    }
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let mut ended = vec![cookie_of(&master)];
    for (calls, error, status) in REFUSALS {
        let session = ended.pop().unwrap();
        let files: Vec<PathBuf> = ["danube.db", "danube.db-wal"].map(|it| dir.join(it)).into();
        let bad = Inject {
            calls,
            what: &format!("error={error}"),
            files: &files,
            noted: None,
        }
        .into(&master);
        for _ in 0..2 {
            let told = with(&master, &session, "POST", "/logout");
            assert_eq!(told.status, status, "{error}: {}", told.text());
            assert_eq!(told.header("set-cookie"), None, "{error}");
            let text = told.text();
            assert!(text.contains("You are still signed in"), "{error}: {text}");
            assert_eq!(with(&master, &session, "GET", "/api/v1/jobs").status, 200);
        }
        // Nobody comes in meanwhile, and is told so on a page.
        let form = ("content-type", "application/x-www-form-urlencoded");
        let key = format!("key={}", master.key);
        let refused = master.request("POST", "/login", &[form], key.as_bytes());
        assert_eq!(refused.status, status, "{error}: {}", refused.text());
        assert_eq!(refused.header("set-cookie"), None);
        assert!(
            refused.text().contains("You aren&#39;t signed in"),
            "{}",
            refused.text()
        );
        drop(bad);
        until_ready(&master, 200);
        let out = with(&master, &session, "POST", "/logout");
        assert_eq!(out.status, 200, "{}", out.text());
        assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
        assert_eq!(with(&master, &session, "GET", "/api/v1/jobs").status, 401);
        // It is on record by now, and for the next round there is another one.
        let entered = master.request("POST", "/login", &[form], key.as_bytes());
        let next = entered.header("set-cookie").unwrap();
        ended.push(session);
        ended.push(next.split(';').next().unwrap().to_owned());
    }
    let live = ended.pop().unwrap();
    master.kill();
    let master = Master::start_in(&dir, &[]);
    for session in &ended {
        assert_eq!(with(&master, session, "GET", "/api/v1/jobs").status, 401);
    }
    assert_eq!(with(&master, &live, "GET", "/api/v1/jobs").status, 200);
    row.held(3, "refused with a page, and done afterwards");
}

#[test]
fn on_a_full_disk_people_can_sign_out() {
    let row = row!("a disk that is full or refuses");
    if !root_or_skip("mounting a small disk") {
        return row.left_out("needs root");
    }
    let disk = SmallDisk::mount("48m");
    let dir = disk.dir.join("data");
    let mut master = Master::start_in(&dir, &[]);
    let session = cookie_of(&master);
    disk.fill();
    until_ready(&master, 503);
    let new = json!({"name": "no room", "role": "viewer"});
    let refused = (0..1_000).any(|_| {
        disk.fill();
        let answer = master.call("POST", "/api/v1/api-keys", Some(&new));
        master.call("DELETE", "/api/v1/api-keys/no%20room", None);
        answer.status == 507
    });
    assert!(refused, "a full disk never refused");
    let out = with(&master, &session, "POST", "/logout");
    assert_eq!(out.status, 200, "{}", out.text());
    assert_eq!(with(&master, &session, "GET", "/api/v1/jobs").status, 401);
    disk.free();
    until_ready(&master, 200);
    master.kill();
    let master = Master::start_in(&dir, &[]);
    assert_eq!(with(&master, &session, "GET", "/api/v1/jobs").status, 401);
    row.held(1, "by the room that is kept for stopping");
}

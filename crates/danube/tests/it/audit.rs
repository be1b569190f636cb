//! The audit log: what an administrator did is on record before it is done, and whoever
//! changes the record is found out.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::master::Master;

/// The entries, as they were put down.
fn entries(master: &Master) -> Vec<Value> {
    let list = master.get("/api/v1/audit?limit=1000").json();
    let rows = list["entries"].as_array().unwrap().clone();
    let text = |it: &Value| it["entry"].as_str().unwrap().to_owned();
    rows.iter()
        .map(|it| serde_json::from_str(&text(it)).unwrap())
        .collect()
}

/// What `danube audit verify` says: exit code, output, errors.
fn verify(master: &Master, more: &[&str]) -> (Option<i32>, String, String) {
    let ended = master.danube(&[&["audit", "verify"], more].concat());
    let text = |it| String::from_utf8(it).unwrap().trim().to_owned();
    (ended.status.code(), text(ended.stdout), text(ended.stderr))
}

/// Every file of a directory that isn't served, copied.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn stop(mut master: Master) {
    master.signal("TERM");
    assert!(master.wait().success());
}

#[test]
fn what_an_administrator_did_is_on_record_with_who_and_how_it_ended() {
    let master = Master::start();
    let new = json!({"name": "deploy bot", "role": "viewer"});
    assert_eq!(
        master.call("POST", "/api/v1/api-keys", Some(&new)).status,
        201
    );
    let credential = json!({"name": "door", "kind": "password", "username": "u", "password": "correct horse battery"});
    assert_eq!(
        master
            .call("POST", "/api/v1/credentials", Some(&credential))
            .status,
        201
    );
    assert_eq!(
        master
            .call("DELETE", "/api/v1/credentials/nobody", None)
            .status,
        404
    );
    assert_eq!(
        master
            .call("DELETE", "/api/v1/credentials/door", None)
            .status,
        200
    );
    let job = master.run("echo out");
    master.ended(&job);
    assert_eq!(
        master
            .call("DELETE", &format!("/api/v1/jobs/{job}/logs"), None)
            .status,
        200
    );
    assert_eq!(master.get("/api/v1/admin/backup").status, 200);

    let all = entries(&master);
    let found: Vec<(String, u64, Option<String>)> = all
        .iter()
        .zip(1..)
        .filter(|(it, _)| it["kind"] == "asked")
        .map(|(it, seq): (&Value, u64)| {
            let answer = all.iter().find(|other| other["to"] == json!(seq)).unwrap();
            assert_eq!(it["user"], "admin", "{it}");
            let what = format!(
                "{} {}",
                it["method"].as_str().unwrap(),
                it["path"].as_str().unwrap()
            );
            let about = answer["about"].as_str().map(str::to_owned);
            (what, answer["status"].as_u64().unwrap(), about)
        })
        .collect();
    let own = |text: &str| Some(text.to_owned());
    let expected = [
        (
            "POST /api/v1/api-keys".to_owned(),
            201,
            own("key 2 `deploy bot` with the role `viewer`"),
        ),
        (
            "POST /api/v1/credentials".to_owned(),
            201,
            own("credential `door`"),
        ),
        ("DELETE /api/v1/credentials/nobody".to_owned(), 404, None),
        ("DELETE /api/v1/credentials/door".to_owned(), 200, None),
        (format!("DELETE /api/v1/jobs/{job}/logs"), 200, None),
        ("GET /api/v1/admin/backup".to_owned(), 200, None),
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_record_has_no_secret_and_is_for_administrators_alone() {
    let master = Master::start();
    let new = json!({"name": "deploy bot", "role": "viewer"});
    let made = master.call("POST", "/api/v1/api-keys", Some(&new)).json();
    let viewer = made["key"].as_str().unwrap().to_owned();
    let credential =
        json!({"kind": "password", "username": "u", "password": "correct horse battery"});
    assert_eq!(
        master
            .call("PUT", "/api/v1/credentials/door", Some(&credential))
            .status,
        201
    );
    assert_eq!(
        master
            .call("DELETE", "/api/v1/credentials/nobody", None)
            .status,
        404
    );
    let all = entries(&master);
    let whole = format!("{all:?}");
    assert!(
        !whole.contains(&viewer) && !whole.contains("correct horse battery"),
        "{whole}"
    );

    // Somebody who may not is told so, leaves nothing, and may not look either.
    let with = [("x-api-key", viewer.as_str())];
    for (method, path) in [("GET", "/api/v1/audit"), ("POST", "/api/v1/admin/reaper")] {
        let refused = master.request(method, path, &with, &[]);
        assert_eq!(refused.status, 403, "{method} {path}");
    }
    assert_eq!(entries(&master), all);

    let shown = String::from_utf8(master.danube(&["audit", "list"]).stdout).unwrap();
    assert!(
        shown.contains("DELETE /api/v1/credentials/nobody") && shown.contains("404"),
        "{shown}"
    );
    let last = String::from_utf8(master.danube(&["audit", "list", "--limit", "2"]).stdout).unwrap();
    assert!(
        last.contains("nobody") && !last.contains("api-keys"),
        "{last}"
    );
}

#[test]
fn whoever_changes_the_record_is_found_out() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let master = Master::start_in(&dir, &[]);
    let (code, empty, errors) = verify(&master, &[]);
    assert_eq!(
        (code, empty.as_str()),
        (Some(0), format!("0:{}", "0".repeat(64)).as_str()),
        "{errors}"
    );
    for name in ["first bot", "second bot"] {
        let new = json!({"name": name, "role": "viewer"});
        assert_eq!(
            master.call("POST", "/api/v1/api-keys", Some(&new)).status,
            201
        );
    }
    let (code, early, _) = verify(&master, &[]);
    assert_eq!(code, Some(0));
    assert!(early.starts_with("4:"), "{early}");
    stop(master);
    let older = own.path().join("older");
    copy(&dir, &older);

    let master = Master::start_in(&dir, &[]);
    let new = json!({"name": "third bot", "role": "viewer"});
    assert_eq!(
        master.call("POST", "/api/v1/api-keys", Some(&new)).status,
        201
    );
    let (code, later, _) = verify(&master, &["--head", &early]);
    assert_eq!(code, Some(0), "it goes on where it was");
    stop(master);

    // An older state was put back.
    let master = Master::start_in(&older, &[]);
    let (code, _, why) = verify(&master, &["--head", &later]);
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("ends at entry 4"), "{why}");
    stop(master);

    // Somebody who can write the database puts other words in an entry.
    let file = dir.join("danube.db");
    let mut bytes = fs::read(&file).unwrap();
    let (old, new) = (b"`second bot` with", b"`sacond bot` with");
    let at: Vec<usize> = (0..bytes.len() - old.len())
        .filter(|at| &bytes[*at..*at + old.len()] == old)
        .collect();
    assert!(!at.is_empty());
    for at in at {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    fs::write(&file, bytes).unwrap();
    let master = Master::start_in(&dir, &[]);
    let (code, _, why) = verify(&master, &[]);
    assert_eq!(code, Some(1), "{why}");
    assert!(
        why.contains("entry 4 isn't what was put down after entry 3"),
        "{why}"
    );
}

/// Each request on record with its answer: `USER KEY METHOD PATH STATUS`, and what was made.
fn told(master: &Master) -> Vec<(String, String)> {
    let all = entries(master);
    let answer = |seq: u64| all.iter().find(|it| it["to"] == json!(seq));
    let asked = all.iter().zip(1..).filter(|(it, _)| it["kind"] == "asked");
    asked
        .map(|(it, seq)| {
            let text = |name: &str| it[name].as_str().unwrap();
            let answer = answer(seq).unwrap_or_else(|| panic!("no answer to {it}"));
            let line = [text("user"), text("key"), text("method"), text("path")].join(" ");
            let about = answer["about"].as_str().unwrap_or_default();
            (format!("{line} {}", answer["status"]), about.to_owned())
        })
        .collect()
}

/// Told, without what was made.
fn lines(master: &Master) -> Vec<String> {
    told(master).into_iter().map(|(line, _)| line).collect()
}

#[test]
fn who_signs_in_and_out_is_on_record_and_who_only_tries_is_not() {
    let master = Master::start();
    let by_link = crate::auth::cookie_of(&master);
    let form = ("content-type", "application/x-www-form-urlencoded");
    let key = format!("key={}", master.key);
    let entered = master.request("POST", "/login", &[form], key.as_bytes());
    let by_key = entered.header("set-cookie").unwrap().to_owned();
    let by_key = by_key.split(';').next().unwrap();
    // Whoever guesses could fill the disk with what is never deleted: they are an event.
    for wrong in ["/login?token=guess", "/login/oidc/callback?code=x&state=y"] {
        assert_eq!(master.request("GET", wrong, &[], b"").status, 401);
    }
    let refused = master.request("POST", "/login", &[form], b"key=guess");
    assert_eq!(refused.status, 401);
    master.event(|it| it["event"] == "login_failed");
    for cookie in [&by_link, by_key, by_key, "danube_session=guess"] {
        let out = master.request("POST", "/logout", &[("cookie", cookie)], b"");
        assert_eq!(out.status, 200);
    }
    // The page of another site signs nobody out, and takes no cookie.
    let entered = master.request("POST", "/login", &[form], key.as_bytes());
    let live = entered.header("set-cookie").unwrap().to_owned();
    let live = live.split(';').next().unwrap();
    let foreign = [("cookie", live), ("sec-fetch-site", "cross-site")];
    let stays = master.request("POST", "/logout", &foreign, b"");
    assert_eq!((stays.status, stays.header("set-cookie")), (403, None));
    assert_eq!(
        lines(&master),
        [
            "login link login-link GET /login 200",
            "admin key-1 POST /login 200",
            "login link login-link POST /logout 200",
            "admin key-1 POST /logout 200",
            "admin key-1 POST /login 200",
        ]
    );
    assert_eq!(told(&master)[1].1, "a browser's session");
    let whole = format!("{:?}", entries(&master));
    for cookie in [by_link.as_str(), by_key, live] {
        let token = cookie.split_once('=').unwrap().1;
        assert!(!whole.contains(token), "{whole}");
    }
}

mod peers {
    use super::*;
    use crate::rights::{declare, with};
    use crate::signin::peer::Peer;
    use crate::signin::{key_of, started};

    #[test]
    fn a_key_of_the_command_line_is_on_record_with_whose_it_is_and_until_when() {
        let own = tempfile::tempdir().unwrap();
        declare(own.path(), true);
        let mut peer = Peer::start();
        let master = started(own.path(), &peer.issuer);
        let key = key_of(&master, &mut peer, "writer@example.org");
        let keys = master.get("/api/v1/api-keys").json();
        let made = keys["keys"].as_array().unwrap().last().unwrap();
        let text = |name: &str| made[name].as_str().unwrap();
        let (id, name, until) = (text("id"), text("name"), text("expires_at"));
        assert!(name.starts_with("login/writer/"), "{name}");
        let ended = with(&master, &key, "POST", "/login/cli/end", None);
        assert_eq!(ended.status, 200, "{}", ended.text());
        let about = format!("key {id} `{name}` with the rights of user `writer` until {until}");
        let expected = [
            (
                "writer user-writer GET /login/oidc/callback 200".to_owned(),
                "a browser's session".to_owned(),
            ),
            (
                "writer user-writer POST /login/cli/key 200".to_owned(),
                about.clone(),
            ),
            (
                format!("writer key-{id} POST /login/cli/end 200"),
                format!("key {id} of user `writer` is no more"),
            ),
        ];
        assert_eq!(told(&master), expected);
        let shown = String::from_utf8(master.danube(&["audit", "list"]).stdout).unwrap();
        let words: Vec<&str> = shown.split_whitespace().collect();
        let shown = words.join(" ");
        for it in ["writer POST /login/cli/key 200", &about] {
            assert!(shown.contains(it), "{it}: {shown}");
        }
        assert!(!shown.contains(&key), "{shown}");
        assert_eq!(verify(&master, &[]).0, Some(0));
    }
}

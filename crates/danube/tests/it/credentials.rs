//! Credentials through the door: who may do what, what comes back, and that no value
//! is ever seen again.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is tests; clippy sees only the functions marked so"
)]

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::cli::seen;
use crate::cli::terminal::terminal;
use crate::leaks::{files_hold_none, holds_none};
use crate::master::{Answer, DANUBE, DEADLINE, Master};

const PATH: &str = "/api/v1/credentials";
const PASSWORD: &str = "canary/pass+word&5b1e77a09c";
const SECOND: &str = "canary-second-7741d0e5fa";
const KEY_LINE: &str = "Y2FuYXJ5LWtleS1saW5lLTlmMGE2MmIx";
const VALUES: &[&str] = &[PASSWORD, SECOND, KEY_LINE];

fn private_key() -> String {
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{KEY_LINE}\n-----END OPENSSH PRIVATE KEY-----\n")
}

fn password(name: &str) -> Value {
    json!({"name": name, "kind": "password", "password": PASSWORD, "username": "deploy"})
}

/// Asks with a key of this role.
fn with_role(master: &Master, role: &str) -> impl Fn(&str, &str, Option<&Value>) -> Answer {
    let new = json!({"name": role, "role": role});
    let made = master.call("POST", "/api/v1/api-keys", Some(&new)).json();
    let key = format!("Bearer {}", made["key"].as_str().unwrap());
    move |method, path, body| {
        let body = body.map(|it| it.to_string().into_bytes());
        let headers = [
            ("authorization", key.as_str()),
            ("content-type", "application/json"),
        ];
        master.request(method, path, &headers, &body.unwrap_or_default())
    }
}

/// `danube ARGS` against the master, with this on standard input.
fn danube(master: &Master, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(DANUBE)
        .args(args)
        .env("DANUBE_SERVER", &master.address)
        .env("DANUBE_API_KEY", &master.key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn done(output: &Output) -> String {
    let (code, out, err) = seen(output);
    assert_eq!(code, 0, "{out}{err}");
    out
}

/// Waits until no rotation runs.
fn rotated(master: &Master) -> Value {
    let view = done(&master.danube(&["credential", "rotate-key", "--output", "json"]));
    serde_json::from_str(&view).unwrap()
}

#[test]
fn a_credential_is_made_replaced_listed_and_deleted_and_no_value_comes_back() {
    let master = Master::start();
    let made = master.call("POST", PATH, Some(&password("web")));
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.header("location"), Some("/api/v1/credentials/web"));
    let view = made.json();
    assert_eq!(view["metadata"], json!({"username": "deploy"}));
    assert_eq!(
        (&view["version"], &view["created_by"]),
        (&json!(1), &json!("admin"))
    );
    assert_eq!(
        master.call("POST", PATH, Some(&password("web"))).status,
        409
    );

    let key = json!({"kind": "ssh_key", "private_key": private_key()});
    let put = |name: &str| master.call("PUT", &format!("{PATH}/{name}"), Some(&key));
    assert_eq!((put("web").status, put("key").status), (200, 201));
    let one = master.get(&format!("{PATH}/web")).json();
    assert_eq!(
        (&one["kind"], &one["version"]),
        (&json!("ssh_key"), &json!(2))
    );
    assert_eq!(one["last_used_at"], Value::Null);
    let listed = master.get(PATH);
    let names: Vec<&str> = ["key", "web"].into();
    let list = listed.json();
    let list = list["credentials"].as_array().unwrap();
    assert!(list.iter().map(|it| it["name"].as_str().unwrap()).eq(names));
    for answer in [made, put("web"), listed] {
        holds_none(VALUES, &answer.body, "an answer");
    }
    let usage = master.get(&format!("{PATH}/web/usage"));
    assert_eq!(usage.json(), json!({"uses": []}));
    assert_eq!(
        master.call("DELETE", &format!("{PATH}/web"), None).status,
        200
    );
    for (method, rest) in [("GET", ""), ("DELETE", ""), ("GET", "/usage")] {
        let answer = master.call(method, &format!("{PATH}/web{rest}"), None);
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (404, &json!("not_found"))
        );
    }
}

#[test]
fn a_wrong_credential_is_told_all_that_is_wrong_without_its_values_and_changes_nothing() {
    let master = Master::start();
    let body = json!({"name": "../x", "kind": "ssh_key", "private_key": PASSWORD, "passphrase": "short", "colour": 1});
    let answer = master.call("POST", PATH, Some(&body));
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (422, &json!("invalid"))
    );
    let problem = answer.json();
    let errors = problem["errors"].as_array().unwrap();
    let pointers: Vec<&str> = errors
        .iter()
        .map(|it| it["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(
        pointers,
        ["/name", "/private_key", "/passphrase", "/colour"]
    );
    holds_none(VALUES, &answer.body, "the problem");
    for (body, status) in [
        (json!([]), 422),
        (
            json!({"name": "a", "kind": "password", "password": "x".repeat(300_000)}),
            413,
        ),
    ] {
        assert_eq!(master.call("POST", PATH, Some(&body)).status, status);
    }
    assert_eq!(master.get(PATH).json(), json!({"credentials": []}));
}

#[test]
fn admins_set_members_see_names_and_viewers_see_nothing() {
    let master = Master::start();
    master.call("POST", PATH, Some(&password("web")));
    let one = format!("{PATH}/web");
    let usage = format!("{PATH}/web/usage");
    let seal = "/api/v1/admin/seal-key";
    let rotate = format!("{seal}/rotate");
    let body = password("other");
    let (member, viewer) = (with_role(&master, "member"), with_role(&master, "viewer"));
    for path in [PATH, &one, &usage] {
        let answer = member("GET", path, None);
        assert_eq!(answer.status, 200);
        holds_none(VALUES, &answer.body, path);
        assert_eq!(viewer("GET", path, None).status, 403);
        assert_eq!(master.request("GET", path, &[], b"").status, 401);
    }
    for (method, path) in [
        ("POST", PATH),
        ("PUT", &one),
        ("DELETE", &one),
        ("GET", seal),
        ("POST", &rotate),
    ] {
        assert_eq!(
            member(method, path, Some(&body)).status,
            403,
            "{method} {path}"
        );
        assert_eq!(
            viewer(method, path, Some(&body)).status,
            403,
            "{method} {path}"
        );
    }
    let list = master.get(PATH).json();
    assert_eq!(list["credentials"].as_array().unwrap().len(), 1);
    assert_eq!(list["credentials"][0]["version"], 1);
}

#[test]
fn the_command_line_sets_lists_and_deletes_without_a_value_in_its_arguments() {
    let master = Master::start();
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("id");
    fs::write(&file, private_key()).unwrap();
    let set = [
        "credential",
        "set",
        "key",
        "--kind",
        "ssh_key",
        "--username",
        "deploy",
        "--value-file",
    ];
    let set: Vec<&str> = set.into_iter().chain([file.to_str().unwrap()]).collect();
    assert_eq!(done(&master.danube(&set)), "set key (ssh_key), version 1\n");
    let set = [
        "credential",
        "set",
        "web",
        "--kind",
        "password",
        "--value-stdin",
    ];
    let out = done(&danube(&master, &set, &format!("{PASSWORD}\n")));
    assert_eq!(out, "set web (password), version 1\n");
    let vault = [
        "credential",
        "set",
        "v",
        "--kind",
        "vault_password",
        "--vault-id",
        "prod",
        "--value-stdin",
    ];
    done(&danube(&master, &vault, SECOND));

    let list = done(&master.danube(&["credential", "list"]));
    assert!(
        list.contains("username=deploy") && list.contains("vault_id=prod"),
        "{list}"
    );
    let show = done(&master.danube(&["credential", "show", "key", "-o", "json"]));
    let show: Value = serde_json::from_str(&show).unwrap();
    assert_eq!(show["kind"], "ssh_key");
    let usage = done(&master.danube(&["credential", "usage", "key", "-o", "json"]));
    assert_eq!(
        serde_json::from_str::<Value>(&usage).unwrap(),
        json!({"uses": []})
    );
    assert_eq!(
        done(&master.danube(&["credential", "delete", "v"])),
        "deleted v (vault_password), version 1\n"
    );
    holds_none(VALUES, list.as_bytes(), "the list");
}

#[test]
fn a_wrong_command_line_says_what_to_do_and_never_the_value() {
    let master = Master::start();
    let set = [
        "credential",
        "set",
        "web",
        "--kind",
        "password",
        "--value-stdin",
    ];
    let wrong = [
        "credential",
        "set",
        "web",
        "--kind",
        "ssh_key",
        "--value-stdin",
    ];
    let (code, out, err) = seen(&danube(&master, &wrong, PASSWORD));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("/private_key: ") && err.contains("-----BEGIN"),
        "{err}"
    );
    holds_none(VALUES, err.as_bytes(), "an error");
    let (code, _, err) = seen(&danube(&master, &set, "short"));
    assert!(code == 2 && err.contains("too short"), "{err}");
    let (code, _, err) = seen(&danube(&master, &set, "\n"));
    assert!(code == 2 && err.contains("holds no value"), "{err}");
    let none = ["credential", "set", "web", "--kind", "password"];
    assert_eq!(seen(&master.danube(&none)).0, 2, "a value is needed");
    assert_eq!(seen(&master.danube(&["credential", "show", "gone"])).0, 5);
}

#[test]
fn a_value_can_be_typed_and_is_not_shown() {
    let master = Master::start();
    let (ours, theirs) = terminal(80);
    let mut child = Command::new("setsid")
        .args(["--ctty", "--wait", DANUBE, "credential", "set", "web"])
        .args(["--kind", "password", "--prompt"])
        .env("DANUBE_SERVER", &master.address)
        .env("DANUBE_API_KEY", &master.key)
        .stdin(theirs.try_clone().unwrap())
        .stdout(theirs.try_clone().unwrap())
        .stderr(theirs)
        .spawn()
        .unwrap();
    let mut ours = fs::File::from(ours);
    let (mut shown, mut piece) = (Vec::new(), [0; 256]);
    while !shown.ends_with(b"value: ") {
        let count = ours.read(&mut piece).unwrap();
        shown.extend_from_slice(&piece[..count]);
    }
    ours.write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    while !String::from_utf8_lossy(&shown).contains("version 1") {
        let count = ours.read(&mut piece).unwrap();
        shown.extend_from_slice(&piece[..count]);
    }
    holds_none(VALUES, &shown, "the terminal");
    assert_eq!(master.get(&format!("{PATH}/web")).status, 200);
}

/// Also not when a job's name or an address brings it into the server's log by
/// another way.
#[test]
fn no_value_is_in_any_file_answer_or_line_of_the_log() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--log-level", "trace"]);
    let key = json!({"name": "key", "kind": "ssh_key", "private_key": private_key(), "passphrase": SECOND});
    for body in [password("web"), key] {
        let made = master.call("POST", PATH, Some(&body));
        assert_eq!(made.status, 201, "{}", made.text());
        holds_none(VALUES, &made.body, "an answer");
    }
    let leak = |master: &Master| {
        // A path is told in the log with what nobody may do.
        let viewer = with_role(master, "viewer");
        assert_eq!(viewer("GET", &format!("{PATH}/{SECOND}"), None).status, 403);
        let told = master.event(|it| it["event"] == "permission_denied");
        holds_none(VALUES, told.to_string().as_bytes(), "the event");
    };
    leak(&master);
    assert_eq!(rotated(&master)["state"], "idle");
    master.ended(&master.run("true"));
    files_hold_none(VALUES, &dir);
    for path in [
        PATH,
        "/api/v1/credentials/web",
        "/metrics",
        "/health",
        "/api/v1/admin/seal-key",
    ] {
        holds_none(VALUES, &master.get(path).body, path);
    }
    holds_none(VALUES, master.log_lines().join("\n").as_bytes(), "the log");
    master.signal("TERM");
    assert!(master.wait().success());
    holds_none(VALUES, master.log_lines().join("\n").as_bytes(), "the log");
    holds_none(VALUES, master.stderr().as_bytes(), "standard error");
    files_hold_none(VALUES, &dir);
    drop(master);

    // What was stored is kept out of the log after a restart as well.
    let master = Master::start_in(&dir, &["--log-level", "trace"]);
    let caller = master.call("DELETE", "/api/v1/api-keys/viewer", None);
    assert_eq!(caller.status, 200);
    leak(&master);
    holds_none(VALUES, master.log_lines().join("\n").as_bytes(), "the log");
}

#[test]
fn a_key_is_rotated_while_jobs_are_submitted_and_run() {
    let master = Master::start();
    master.call("POST", PATH, Some(&password("web")));
    let before = fs::read(master.dir.join("seal.key")).unwrap();
    let mut jobs: Vec<String> = (0..20).map(|_| master.run("echo one")).collect();
    let begun = master.call("POST", "/api/v1/admin/seal-key/rotate", None);
    assert_eq!(begun.status, 202, "{}", begun.text());
    jobs.extend((0..20).map(|_| master.run("echo two")));
    let view = rotated(&master);
    assert_eq!(
        (&view["state"], &view["error"]),
        (&json!("idle"), &Value::Null)
    );
    assert_eq!(view["rows_unreadable"], 0);
    for job in &jobs {
        assert_eq!(master.ended(job)["status"], "success");
    }
    let after = fs::read(master.dir.join("seal.key")).unwrap();
    assert_eq!((before.len(), after.len()), (32, 32));
    assert_ne!(before, after);
    // A retry reads the order that was sealed anew.
    let again = master.call("POST", &format!("/api/v1/jobs/{}/retry", jobs[0]), None);
    assert_eq!(
        master.ended(&crate::master::id(&again.json()))["status"],
        "success"
    );
}

/// With SIGKILL, again and again: the next master ends what the one before began.
#[test]
fn a_master_that_is_killed_in_the_middle_of_a_rotation_goes_on_after_its_start() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let none = ["--jobs-at-once", "0"];
    let mut master = Master::start_in(&dir, &none);
    master.call("POST", PATH, Some(&password("web")));
    let jobs: Vec<String> = (0..400).map(|_| master.run("true")).collect();
    let mut interrupted = 0;
    for _ in 0..5 {
        let before = master.get("/api/v1/admin/seal-key").json()["key_id"].clone();
        let begun = master
            .call("POST", "/api/v1/admin/seal-key/rotate", None)
            .json();
        assert_ne!(begun["key_id"], before);
        master.kill();
        let keys = fs::metadata(dir.join("seal.key")).unwrap().len();
        interrupted += usize::from(keys == 64);
        drop(master);
        master = Master::start_in(&dir, &none);
        // It goes on by itself; the end is waited for.
        let mut view = master.get("/api/v1/admin/seal-key").json();
        let until = Instant::now() + DEADLINE;
        while view["state"] != "idle" {
            assert!(Instant::now() < until, "{view}");
            view = master.get("/api/v1/admin/seal-key").json();
        }
        assert_eq!(view["key_id"], begun["key_id"], "no other key was made");
        assert_eq!(view["rows_unreadable"], 0);
        assert_eq!(fs::metadata(dir.join("seal.key")).unwrap().len(), 32);
    }
    assert!(interrupted > 0, "a kill came in the middle");
    drop(master);
    let master = Master::start_in(&dir, &[]);
    for job in &jobs {
        assert_eq!(master.ended(job)["status"], "success");
    }
    assert_eq!(master.get(PATH).json()["credentials"][0]["name"], "web");
}

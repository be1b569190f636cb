//! A blueprint whose repository asks who wants it: over HTTP with a password, over ssh with a
//! key. What is stored is used at the next look, and is seen nowhere.

mod ssh;

use std::path::Path;

use serde_json::{Value, json};

use super::served::{Served, check, in_force, pipeline, shown};
use crate::auth::below;
use crate::backend::Backend;
use crate::master::Master;
use crate::pages::page;
use crate::playbooks::git;

/// `me:right-Zk3vQ8x1`, and the same with `newer-Lw7cT2n5`.
const RIGHT: &str = "Basic bWU6cmlnaHQtWmszdlE4eDE=";
const NEWER: &str = "Basic bWU6bmV3ZXItTHc3Y1QybjU=";

fn master(url: &str) -> Master {
    Master::with(&[
        "--blueprint-url",
        url,
        "--blueprint-interval",
        "1",
        "--blueprint-credential",
        "forge",
    ])
}

/// Sets the credential that the blueprint is fetched with.
#[track_caller]
fn set(master: &Master, body: &Value) {
    let answer = master.call("PUT", "/api/v1/credentials/forge", Some(body));
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

/// Asks for a look that comes to nothing, and checks that each place that tells of it says
/// this, and nothing of the secrets.
#[track_caller]
fn refused(master: &Master, status: &str, said: &str, secrets: &[&str]) {
    let answer = master.call("POST", "/api/v1/blueprint/sync", None);
    assert_eq!(answer.status, 502, "{}", answer.text());
    let event = master.event(|it| {
        let error = it["error"].as_str().unwrap_or_default();
        it["event"] == "blueprint_sync_failed" && error.contains(said)
    });
    let page = page(&master.get("/"));
    let places = [
        answer.text(),
        shown(master).to_string(),
        check(master, status),
        String::from_utf8(master.danube(&["blueprint", "show"]).stdout).unwrap(),
        event.to_string(),
        page,
    ];
    for place in &places {
        assert!(place.contains(said), "{said} in {place}");
    }
    let log = master.log_lines().join("\n");
    for secret in secrets {
        for place in places.iter().chain([&log, &master.stderr()]) {
            assert!(!place.contains(secret), "{secret} in {place}");
        }
        nowhere_on_the_disk(&master.dir, secret);
    }
}

#[track_caller]
fn nowhere_on_the_disk(dir: &Path, secret: &str) {
    for file in below(dir) {
        // What is there for a moment only is gone when it is opened.
        let bytes = std::fs::read(&file).unwrap_or_default();
        let holds = bytes
            .windows(secret.len())
            .any(|it| it == secret.as_bytes());
        let is_private = file.components().any(|it| it.as_os_str() == "private");
        assert!(!holds || is_private, "{secret} in {}", file.display());
    }
}

#[test]
fn a_password_opens_the_repository_and_another_one_from_the_next_look_on() {
    let served = Served::new();
    let first = git(&served.dir(), &["rev-parse", "HEAD"]);
    let root = served.dir().parent().unwrap().to_owned();
    let backend = Backend::start(root);
    // A server that says again what it was shown.
    backend.lets_in(RIGHT, "no wrong-Pf5mX9b4, bWU6d3JvbmctUGY1bVg5YjQ= here\n");
    let master = master(&format!("http://{}/blue", backend.address));
    refused(&master, "failed", "there is no credential", &[]);

    let wrong = json!({"kind": "git", "username": "me", "password": "wrong-Pf5mX9b4"});
    set(&master, &wrong);
    let secrets = ["wrong-Pf5mX9b4", "bWU6d3JvbmctUGY1bVg5YjQ"];
    refused(&master, "failed", "Authentication failed", &secrets);
    let message = check(&master, "failed");
    for part in ["none is in force", "remote: no "] {
        assert!(message.contains(part), "{part} in {message}");
    }
    let right = json!({"kind": "git", "username": "me", "password": "right-Zk3vQ8x1"});
    set(&master, &right);
    in_force(&master, &first);
    assert_eq!(check(&master, "ok"), "");

    // The server takes another one: told, and what was in force stays.
    backend.lets_in(NEWER, "no right-Zk3vQ8x1 here\n");
    served.write("pipelines/late.yaml", &pipeline("late", ""));
    let late = served.commit();
    refused(
        &master,
        "degraded",
        "Authentication failed",
        &["right-Zk3vQ8x1"],
    );
    assert_eq!(shown(&master)["commit"], first.as_str());
    assert_eq!(shown(&master)["pipelines"], json!(["build"]));
    let newer = json!({"kind": "git", "username": "me", "password": "newer-Lw7cT2n5"});
    set(&master, &newer);
    assert_eq!(
        in_force(&master, &late)["pipelines"],
        json!(["build", "late"])
    );
    nowhere_on_the_disk(&master.dir, "newer-Lw7cT2n5");
    // Of another kind, it says so.
    set(
        &master,
        &json!({"kind": "become", "password": "other-Hs6dB3y8"}),
    );
    let said = "is neither a key for ssh nor a user with a password";
    refused(&master, "degraded", said, &["other-Hs6dB3y8"]);
}

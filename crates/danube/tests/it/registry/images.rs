//! What lies in a registry: seen, measured, and deleted once nobody uses it.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{DockerRegistry, Image, pull};
use crate::master::{DEADLINE, Master};
use crate::processes::until;

/// What the server shows, after it looked.
fn seen(master: &Master) -> Value {
    let asked = master.call("POST", "/api/v1/admin/reaper", Some(&json!({})));
    assert_eq!(asked.status, 200, "{}", asked.text());
    master.get("/api/v1/registry/images").json()
}

/// Repositories with their tags.
pub(super) fn names(view: &Value) -> Vec<String> {
    let images = view["images"].as_array().unwrap().iter();
    let name = |it: &Value| {
        let tags: Vec<&str> = it["tags"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        format!("{}:{}", it["repository"].as_str().unwrap(), tags.join(","))
    };
    images.map(name).collect()
}

/// As if this long had gone by since images were used.
pub(super) fn age(dir: &Path, days: i64) {
    let database = Connection::open(dir.join("danube.db")).unwrap();
    let sql = "UPDATE images SET last_used_at = last_used_at - ?1 * 86400000";
    assert!(database.execute(sql, [days]).unwrap() > 0);
}

#[test]
fn an_image_that_nobody_uses_goes_with_all_of_its_tags_and_one_that_is_pulled_stays() {
    let mut registry = DockerRegistry::start();
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let url = registry.url();
    let arguments = ["--registry-url", &url, "--images-days", "7"];
    let master = Master::start_in(&dir, &arguments);
    let token = fs::read_to_string(dir.join("registry.token")).unwrap();
    registry.tell(&master.address, token.trim());
    let old = Image::with(b"content that is shared by two names");
    for name in ["team/app:v1", "team/app:latest", "other:v1"] {
        old.push(&registry.address, name);
    }
    Image::with(b"something else").push(&registry.address, "team/app:v2");

    let view = seen(&master);
    let all = ["other:v1", "team/app:latest,v1", "team/app:v2"];
    let mut found = names(&view);
    found.sort();
    assert_eq!(found, all, "{view:#}");
    let sizes: Vec<u64> = view["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["bytes"].as_u64().unwrap())
        .collect();
    // Two of the three are the same bytes.
    let bytes = view["bytes"].as_u64().unwrap();
    assert!(bytes > 0 && bytes < sizes.iter().sum(), "{view:#}");
    assert_eq!(master.metric("danube_registry_storage_bytes"), bytes as f64);
    assert_eq!(
        (&view["images_days"], &view["error"]),
        (&json!(7), &Value::Null)
    );

    age(&dir, 6);
    assert_eq!(seen(&master)["count"], 3, "six days aren't seven");
    age(&dir, 2);
    let pulled = pull(&registry.address, "other:v1");
    assert!(pulled.status.success(), "{pulled:?}");
    until("the pull is told", DEADLINE, || {
        let pulls = master.metric("danube_registry_pulls_total{image=\"other\"}");
        (pulls == 1.0).then_some(())
    });
    let reap = |more: &[&str]| -> Value {
        let reaped = master.danube(&[&["reap", "--output", "json"][..], more].concat());
        serde_json::from_slice(&reaped.stdout).unwrap()
    };
    let would = reap(&["--dry-run"]);
    assert_eq!(would["images_deleted"], 2, "{would}");
    let reaped = reap(&[]);
    assert_eq!(reaped["images_deleted"], 2, "{reaped}");
    let told = master.event(|it| it["event"] == "reaper_completed" && it["images_deleted"] == 2);
    assert_eq!(told["reason"], "asked");
    assert_eq!(names(&seen(&master)), ["other:v1"]);
    assert!(pull(&registry.address, "other:v1").status.success());
    assert!(!pull(&registry.address, "team/app:latest").status.success());

    let listed = master.danube(&["registry", "list", "--repository", "other"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("other") && listed.contains("v1"),
        "{listed}"
    );
    let wrong = master.get("/api/v1/registry/images?limit=0");
    assert_eq!(wrong.status, 400, "{}", wrong.text());
}

#[test]
fn a_registry_that_deletes_nothing_is_named_and_what_is_there_stays() {
    let registry = DockerRegistry::that_keeps_everything();
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let url = registry.url();
    let arguments = [
        "--registry-url",
        &url,
        "--images-days",
        "1",
        "--health-interval",
        "1",
    ];
    let master = Master::start_in(&dir, &arguments);
    Image::with(b"content").push(&registry.address, "team/app:v1");
    assert_eq!(seen(&master)["count"], 1);
    age(&dir, 2);
    let view = seen(&master);
    assert_eq!(view["count"], 1);
    let why = "storage.delete.enabled";
    assert!(view["error"].as_str().unwrap().contains(why), "{view}");
    let degraded = |it: &Value| it["event"] == "health_check_failed" && it["check"] == "registry";
    let told = master.event(degraded);
    assert!(told["error"].as_str().unwrap().contains(why), "{told}");
    let listed = master.danube(&["registry", "list"]);
    let said = String::from_utf8(listed.stderr).unwrap();
    assert!(said.contains(why), "{said}");
}

#[test]
fn without_a_registry_there_is_nothing_to_see() {
    let master = Master::start();
    let view = seen(&master);
    assert_eq!((&view["url"], &view["count"]), (&Value::Null, &json!(0)));
    let listed = master.danube(&["registry", "list"]);
    let said = String::from_utf8(listed.stdout).unwrap();
    assert!(said.contains("registry.url"), "{said}");
}

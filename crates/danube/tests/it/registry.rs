//! Images in a real registry, taken there and fetched by a real client.

mod docker;
mod images;
pub(crate) mod started;

use serde_json::Value;

use crate::health;
use crate::master::{DEADLINE, Master};
use crate::processes::until;
pub(crate) use docker::{DockerRegistry, Image, pull};

/// What the server says of the check.
fn check(master: &Master) -> Value {
    health::check(master, "registry")
}

#[test]
fn a_registry_that_answers_is_well_and_one_that_was_killed_is_not_and_gates_nothing() {
    let mut registry = DockerRegistry::start();
    let url = registry.url();
    let arguments = ["--registry-url", &url, "--health-interval", "1"];
    let master = Master::with(&arguments);
    assert_eq!(check(&master)["status"], "ok");
    let image = Image::with(b"content");
    image.push(&registry.address, "team/app:v1");
    let pulled = pull(&registry.address, "team/app:v1");
    assert!(pulled.status.success(), "{pulled:?}");

    registry.kill();
    let failed = master.event(|it| it["event"] == "health_check_failed");
    assert_eq!(failed["check"], "registry");
    assert_eq!(check(&master)["status"], "failed");
    let ready = master.request("GET", "/health/ready", &[], &[]);
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert_eq!(ready.json()["checks"]["registry"], "failed");

    registry.start_again();
    master.event(|it| it["event"] == "health_check_recovered");
    until("it is well again", DEADLINE, || {
        (check(&master)["status"] == "ok").then_some(())
    });
}

#[test]
fn what_is_no_registry_is_named_and_a_login_is_never_shown() {
    // A master is none.
    let other = Master::start();
    let (_, host) = other.address.split_once("://").unwrap();
    let url = format!("http://someone:pass-phrase-of-mine@{host}");
    let master = Master::with(&["--registry-url", &url]);
    let said = check(&master);
    assert_eq!(said["status"], "failed");
    let message = said["message"].as_str().unwrap();
    assert!(message.contains("is it a registry?"), "{message}");
    let log = master.log_lines().join("\n");
    assert!(!log.contains("pass-phrase-of-mine") && !message.contains("pass-phrase-of-mine"));
}

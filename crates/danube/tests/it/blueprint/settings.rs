//! Settings that a blueprint makes: they hold while the server runs, what the operator says
//! goes before them, and what isn't said any more is as it was.

use serde_json::{Value, json};

use super::served::{Served, file, in_force, shown};
use crate::artifacts::Waiting;
use crate::master::{Master, id, one_step};

const SPEC: &str = "{observability: {log_level: debug}, redaction: {email: true}, retention: {logs_max_bytes: 1}, \
                    limits: {max_duration_seconds: 3000, artifact_file_max_bytes: 3}}";

fn level(master: &Master) -> Value {
    master.get("/api/v1/admin/log-level").json()["level"].clone()
}

/// How an artifact of ten bytes is answered.
fn left(master: &Master) -> u16 {
    let job = Waiting::start(master);
    let status = job.put(master, "ten", b"0123456789").status;
    job.end(master);
    status
}

fn logged(master: &Master) -> String {
    let job = master.submit(&one_step("echo from somebody@example.org"));
    let job = master.ended(&id(&job));
    assert_eq!(job["status"], "success", "{job:#}");
    String::from_utf8(master.log(&id(&job))).unwrap()
}

fn to_be_reaped(master: &Master) -> u64 {
    let answer = master.call("POST", "/api/v1/admin/reaper?dry_run=true", None);
    answer.json()["logs_deleted"].as_u64().unwrap()
}

#[test]
fn settings_hold_at_once_and_are_as_before_once_they_are_taken_out() {
    let served = Served::new();
    let master = served.master(&[]);
    assert_eq!((level(&master), left(&master)), (json!("info"), 200));
    assert!(logged(&master).contains("somebody@example.org"));
    assert_eq!(to_be_reaped(&master), 0);

    served.write("config.yaml", &file("Config", "config", SPEC));
    in_force(&master, &served.commit());
    assert_eq!((level(&master), left(&master)), (json!("debug"), 413));
    assert!(!logged(&master).contains("somebody@example.org"));
    assert!(to_be_reaped(&master) > 0);

    let short = file("Config", "config", "{limits: {max_duration_seconds: 1}}");
    served.write("config.yaml", &short);
    in_force(&master, &served.commit());
    let slow = master.submit(&one_step("sleep 600"));
    assert_eq!(master.ended(&id(&slow))["status"], "timeout");

    served.write("config.yaml", &file("Config", "config", "{}"));
    in_force(&master, &served.commit());
    assert_eq!((level(&master), left(&master)), (json!("info"), 200));
    assert!(logged(&master).contains("somebody@example.org"));
    assert_eq!(to_be_reaped(&master), 0);
    assert_eq!(shown(&master)["settings"], json!([]));
}

#[test]
fn what_the_operator_says_goes_before_the_blueprint_also_after_a_restart() {
    let served = Served::new();
    served.write("config.yaml", &file("Config", "config", SPEC));
    let commit = served.commit();
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let url = served.url();
    let said = [
        "--blueprint-url",
        &url,
        "--log-level",
        "info",
        "--artifact-max-bytes",
        "1MiB",
    ];
    let master = Master::start_in(&dir, &said);
    in_force(&master, &commit);
    assert_eq!((level(&master), left(&master)), (json!("info"), 200));
    assert!(!logged(&master).contains("somebody@example.org"));
    let settings = shown(&master)["settings"].clone();
    let of = |key: &str| {
        let all = settings.as_array().unwrap().iter();
        let mut found = all.filter(|it| it["key"] == key);
        found.next().unwrap()["in_force"].clone()
    };
    for (key, expected) in [
        ("observability.log_level", false),
        ("artifacts.file_max_bytes", false),
        ("redaction.email", true),
        ("limits.max_duration_seconds", true),
    ] {
        assert_eq!(of(key), expected, "{key}");
    }
    drop(master);
    drop(served);
    // From the store, and nobody else says anything any more.
    let master = Master::start_in(&dir, &["--blueprint-url", &url]);
    assert_eq!((level(&master), left(&master)), (json!("debug"), 413));
    assert!(!logged(&master).contains("somebody@example.org"));
}

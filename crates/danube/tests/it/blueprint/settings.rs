//! Settings that a blueprint makes: they hold while the server runs, what the operator says
//! goes before them, and what isn't said any more is as it was.

use std::fs;

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

/// An option as a running server tells it: the value, and who said it.
fn option(master: &Master, key: &str) -> (Value, Value) {
    let view = master.get("/api/v1/admin/config").json();
    let option = &view["options"][key];
    (option["value"].clone(), option["origin"].clone())
}

#[test]
fn a_running_server_tells_who_said_each_of_its_settings() {
    let served = Served::new();
    let spec = "{observability: {log_level: debug}, retention: {logs_days: 7, keep: [{pipelines: [build]}]}, \
                limits: {artifact_file_max_bytes: 3, max_duration_seconds: 3000, step: {processes: 100, open_files: 1000000}}}";
    served.write("config.yaml", &file("Config", "config", spec));
    let commit = served.commit();
    let own = tempfile::tempdir().unwrap();
    let settings = own.path().join("danube.toml");
    fs::write(&settings, "[log]\nhead_bytes = \"64MiB\"\n").unwrap();
    let path = settings.to_str().unwrap();
    let arguments = ["--config", path, "--artifact-max-bytes", "1MiB"];
    let followed = served.arguments();
    let followed: Vec<&str> = followed.iter().map(String::as_str).collect();
    let environment = [("DANUBE_SERVER_GRACE_SECONDS", "5")];
    let master = Master::in_environment(&environment, &[&arguments[..], &followed].concat());
    in_force(&master, &commit);

    let blueprint = json!({"source": "blueprint", "commit": commit});
    let default = json!({"source": "default"});
    for (key, value, origin) in [
        ("observability.log_level", json!("debug"), &blueprint),
        ("retention.logs_days", json!(7), &blueprint),
        ("limits.max_duration_seconds", json!(3000), &blueprint),
        ("steps.processes", json!(100), &blueprint),
        // Higher than what the server lets a step have, it changes nothing.
        ("steps.open_files", json!(65536), &default),
        ("retention.artifacts_days", json!(30), &default),
        (
            "artifacts.file_max_bytes",
            json!(1 << 20),
            &json!({"source": "flag", "flag": "--artifact-max-bytes"}),
        ),
        (
            "server.grace_seconds",
            json!(5),
            &json!({"source": "environment", "variable": "DANUBE_SERVER_GRACE_SECONDS"}),
        ),
        (
            "log.head_bytes",
            json!(64 << 20),
            &json!({"source": "file", "file": path, "line": 2}),
        ),
    ] {
        assert_eq!(option(&master, key), (value, origin.clone()), "{key}");
    }
    let said = master.danube(&["config", "show", "--server"]);
    let text = String::from_utf8(said.stdout).unwrap();
    for line in [
        format!("log_level = \"debug\"  # blueprint, commit {commit}"),
        format!("logs_days = 7  # blueprint, commit {commit}"),
        "file_max_bytes = 1048576  # flag --artifact-max-bytes".to_owned(),
        "grace_seconds = 5  # environment DANUBE_SERVER_GRACE_SECONDS".to_owned(),
        format!("head_bytes = 67108864  # file {path}:2"),
        "open_files = 65536  # default".to_owned(),
        "# memory_bytes is not set  # default".to_owned(),
        format!("# limits.max_duration_seconds = 3000  # blueprint, commit {commit}"),
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in {text}");
    }

    // As it holds, whoever changes it while the server runs.
    let body = json!({"level": "warning"});
    let answer = master.call("PUT", "/api/v1/admin/log-level", Some(&body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let request = (json!("warning"), json!({"source": "request"}));
    assert_eq!(option(&master, "observability.log_level"), request);
    served.write("config.yaml", &file("Config", "config", "{}"));
    in_force(&master, &served.commit());
    assert_eq!(option(&master, "retention.logs_days"), (json!(30), default));
    assert_eq!(
        option(&master, "retention.keep"),
        (Value::Null, Value::Null)
    );
}

#[test]
fn a_flag_of_a_server_is_not_taken_where_a_running_one_is_asked() {
    let master = Master::start();
    let said = master.danube(&["config", "show", "--server", "--listen", "127.0.0.1:1"]);
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    let said = master.danube(&["config", "show", "--server", &master.address, "-o", "json"]);
    let view: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(view["options"]["server.listen"]["origin"]["source"], "flag");
}

//! What a submit may set of a pipeline, through the command line and over HTTP.

use std::fs;

use serde_json::{Value, json};

use crate::master::{Master, id};

const FILE: &str = r#"apiVersion: danube.dev/v1
kind: Pipeline
metadata: {name: ship}
spec:
  parameters:
    LEVEL: "1"
    WHERE: {description: which region, choices: [eu, us]}
    DRY: {type: boolean, default: false}
    TOKEN: {secret: true, default: ""}
    NOTE: {default: ""}
  steps:
    - name: say
      run: 'printf "%s|" "$DANUBE_PARAM_LEVEL" "$DANUBE_PARAM_WHERE" "$DANUBE_PARAM_DRY" "$DANUBE_PARAM_NOTE" "<$DANUBE_PARAM_TOKEN>"'
"#;

/// A master with the pipeline in its directory.
fn master() -> (Master, tempfile::TempDir) {
    let own = tempfile::tempdir().unwrap();
    fs::write(own.path().join("ship.yaml"), FILE).unwrap();
    let dir = own.path().to_str().unwrap().to_owned();
    (Master::with(&["--pipelines", &dir]), own)
}

fn log(master: &Master, id: &str) -> String {
    assert_eq!(master.ended(id)["status"], "success");
    String::from_utf8(master.log(id)).unwrap()
}

#[test]
fn values_stand_over_defaults_and_reach_a_step_as_they_are() {
    let (master, _own) = master();
    let hostile = "a'b\"; $(touch /tmp/x) `id` $HOME \\ %s\n* && exit 7 # ü";
    let arguments = [
        "submit",
        "ship",
        "--param",
        "WHERE=eu",
        "--param",
        &format!("NOTE={hostile}"),
    ];
    let made = master.danube(&arguments);
    assert!(made.status.success(), "{made:?}");
    let id = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert_eq!(log(&master, &id), format!("1|eu|false|{hostile}|<>|"));
}

#[test]
fn every_wrong_parameter_is_told_at_once_and_nothing_is_submitted() {
    let (master, _own) = master();
    let body = json!({"pipeline": "ship", "parameters": {"DRY": "perhaps", "TOKEN": "hunter2", "COLOUR": "red"}});
    let answer = master.call("POST", "/api/v1/jobs", Some(&body));
    assert_eq!(answer.status, 422, "{}", answer.text());
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    let pointers: Vec<&str> = errors
        .iter()
        .map(|it| it["pointer"].as_str().unwrap())
        .collect();
    let expected = ["/parameters/COLOUR", "/parameters/DRY", "/parameters/WHERE"];
    assert_eq!(pointers, expected, "{errors:?}");
    // One that is too short to be masked is told without being repeated.
    let body = json!({"pipeline": "ship", "parameters": {"WHERE": "eu", "TOKEN": "hunter2"}});
    let answer = master.call("POST", "/api/v1/jobs", Some(&body));
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(answer.json()["errors"][0]["pointer"], "/parameters/TOKEN");
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    assert_eq!(master.get("/api/v1/jobs").json()["jobs"], json!([]));
    let said = master.danube(&["submit", "ship", "--param", "WHERE=moon"]);
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("must be one of `eu`, `us`"), "{said}");
}

#[test]
fn a_secret_parameter_reaches_its_step_and_no_log() {
    let (master, _own) = master();
    let secret = "correct-horse-battery";
    let body = json!({"pipeline": "ship", "parameters": {"WHERE": "us", "TOKEN": secret}});
    let id = id(&master.submit(&body));
    let log = log(&master, &id);
    assert!(
        log.starts_with("1|us|false||<") && !log.contains(secret),
        "{log}"
    );
    assert_ne!(log, "1|us|false||<>|");
    for path in ["", "/trace", "/history"] {
        let answer = master.get(&format!("/api/v1/jobs/{id}{path}"));
        assert!(!answer.text().contains(secret), "{path}: {}", answer.text());
    }
    assert!(!master.log_lines().join("\n").contains(secret));
}

#[test]
fn whoever_asks_for_parameters_is_told_which_there_are() {
    let (master, _own) = master();
    let answer = master.get("/api/v1/pipelines");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let listed = answer.json();
    let ship: &Value = &listed["pipelines"][0];
    assert_eq!(ship["name"], "ship");
    assert_eq!(
        (&ship["source"], &ship["manual"]),
        (&json!("directory"), &json!(true))
    );
    let shown = json!({
        "description": "which region", "type": "text", "required": true, "default": null,
        "choices": ["eu", "us"], "secret": false,
    });
    assert_eq!(ship["parameters"]["WHERE"], shown);
    assert_eq!(ship["parameters"]["DRY"]["type"], "boolean");
    assert_eq!(ship["parameters"]["TOKEN"]["secret"], true);
    let listed = master.danube(&["pipelines", "list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let line = listed.lines().nth(1).unwrap();
    assert!(
        line.starts_with("ship") && line.contains("WHERE!=eu|us"),
        "{listed}"
    );
    assert!(
        line.contains("LEVEL=1") && line.contains("TOKEN*="),
        "{listed}"
    );
}

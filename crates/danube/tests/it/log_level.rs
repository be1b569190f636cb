//! The level of the server's log changes while it runs, and nothing else does.

use std::fs;

use serde_json::{Value, json};

use crate::master::{Answer, Master};

const PATH: &str = "/api/v1/admin/log-level";

fn set(master: &Master, body: &Value) -> Value {
    let answer = master.call("PUT", PATH, Some(body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Has the log say something that can be found again; only its place matters.
fn mark(master: &Master, number: usize) {
    set(master, &json!({"level": "info", "for_seconds": number}));
    master.event(|it| it["event"] == "log_level_changed" && it["for_seconds"] == number as f64);
}

/// The names of the events between two marks.
fn between(master: &Master, from: usize, to: usize) -> Vec<String> {
    let events: Vec<Value> = master
        .log_lines()
        .iter()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let at = |number: usize| {
        let is_mark = |it: &Value| it["for_seconds"] == number as f64;
        events.iter().position(is_mark).expect("the mark")
    };
    let names = events[at(from)..at(to)].iter().map(|it| &it["event"]);
    names.map(|it| it.as_str().unwrap().to_owned()).collect()
}

#[test]
fn debug_events_appear_when_asked_for_and_vanish_again() {
    let master = Master::start();
    mark(&master, 1001);
    master.ended(&master.run("true"));
    mark(&master, 1002);
    let view = set(&master, &json!({"level": "info,danube.store=DEBUG"}));
    let expected = json!({"level": "info,danube.store=debug", "configured": "info", "until": null});
    assert_eq!(view, expected);
    assert_eq!(master.get(PATH).json(), expected);
    let told = master.event(|it| it["event"] == "sql_query");
    assert_eq!(told["level"], "debug", "{told}");
    mark(&master, 1003);
    master.ended(&master.run("true"));
    mark(&master, 1004);
    for quiet in [(1001, 1002), (1003, 1004)] {
        let names = between(&master, quiet.0, quiet.1);
        assert!(names.contains(&"job_completed".to_owned()), "{names:?}");
        assert!(!names.contains(&"sql_query".to_owned()), "{names:?}");
    }
}

#[test]
fn a_level_with_a_time_ends_by_itself_and_says_so_even_from_off() {
    let master = Master::start();
    let view = set(&master, &json!({"level": "off", "for_seconds": 1}));
    assert_eq!(view["level"], "off");
    assert_eq!(view["configured"], "info");
    assert!(view["until"].as_str().is_some(), "{view}");
    // Told while the level before still let it through.
    let told = master.event(|it| it["event"] == "log_level_changed" && it["reason"] == "api");
    assert_eq!(told["user"], "admin", "{told}");
    assert_eq!(told["for_seconds"], 1.0, "{told}");
    let told = master.event(|it| it["event"] == "log_level_changed" && it["reason"] == "expired");
    assert_eq!(
        (&told["new_level"], &told["old_level"]),
        (&"info".into(), &"off".into())
    );
    assert_eq!(
        master.get(PATH).json(),
        json!({"level": "info", "configured": "info", "until": null})
    );
}

#[test]
fn a_wrong_level_says_what_is_allowed_and_changes_nothing() {
    let master = Master::start();
    let wrong = |body: Value, pointer: &str, words: &str| {
        let answer = master.call("PUT", PATH, Some(&body));
        assert_eq!(answer.status, 422, "{}", answer.text());
        let error = answer.json()["errors"][0].clone();
        assert_eq!(error["pointer"], pointer, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    };
    let allowed = "allowed are off, error, warning, info, debug and trace";
    wrong(json!({"level": "loud"}), "/level", allowed);
    wrong(json!({"level": "info,danube.api=x"}), "/level", allowed);
    wrong(json!({"level": "info\n,debug"}), "/level", allowed);
    let bounds = "between 1 and 86400 seconds";
    wrong(
        json!({"level": "debug", "for_seconds": 0}),
        "/for_seconds",
        bounds,
    );
    wrong(
        json!({"level": "debug", "for_seconds": 86_401}),
        "/for_seconds",
        bounds,
    );
    wrong(
        json!({"level": "debug", "for": 1}),
        "",
        "unknown field `for`",
    );
    wrong(json!({}), "", "missing field `level`");
    assert_eq!(
        master.get(PATH).json(),
        json!({"level": "info", "configured": "info", "until": null})
    );
    assert!(
        !master
            .log_lines()
            .iter()
            .any(|it| it.contains("log_level_changed"))
    );
}

#[test]
fn only_an_admin_sees_and_sets_the_level() {
    let master = Master::start();
    for role in ["viewer", "member"] {
        let new = json!({"name": role, "role": role});
        let made = master.call("POST", "/api/v1/api-keys", Some(&new)).json();
        let key = format!("Bearer {}", made["key"].as_str().unwrap());
        let headers = [
            ("authorization", &*key),
            ("content-type", "application/json"),
        ];
        let ask =
            |method| -> Answer { master.request(method, PATH, &headers, b"{\"level\":\"off\"}") };
        assert_eq!(ask("GET").status, 403);
        assert_eq!(ask("PUT").status, 403);
        let told = master.event(|it| it["event"] == "permission_denied" && it["user"] == role);
        assert_eq!(told["resource"], "/admin/log-level", "{told}");
    }
    assert_eq!(master.request("GET", PATH, &[], b"").status, 401);
    assert_eq!(master.get(PATH).json()["level"], "info");
}

#[test]
fn sighup_reads_the_settings_again_and_keeps_what_it_has_when_they_are_wrong() {
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("danube.toml");
    let config = file.to_str().unwrap();
    let dir = own.path().join("data");
    fs::write(&file, "[observability]\nlog_level = \"info\"\n").unwrap();
    let master = Master::start_in(&dir, &["--config", config]);
    set(
        &master,
        &json!({"level": "info,danube.api=debug", "for_seconds": 3600}),
    );
    fs::write(
        &file,
        "[observability]\nlog_level = \"info,danube.store=debug\"\n",
    )
    .unwrap();
    master.signal("HUP");
    let told = master.event(|it| it["event"] == "log_level_changed" && it["reason"] == "hangup");
    assert_eq!(told["new_level"], "info,danube.store=debug", "{told}");
    assert_eq!(told["old_level"], "info,danube.api=debug", "{told}");
    master.event(|it| it["event"] == "sql_query");
    let level = json!({"level": "info,danube.store=debug", "configured": "info,danube.store=debug", "until": null});
    assert_eq!(master.get(PATH).json(), level);

    fs::write(&file, "[observability]\nlog_level = \"loud\"\n").unwrap();
    master.signal("HUP");
    let told = master.event(|it| it["event"] == "settings_refused");
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("/observability/log_level: "), "{error}");
    assert!(error.contains("`loud`"), "{error}");
    assert_eq!(master.get(PATH).json(), level);
}

#[test]
fn the_command_line_shows_and_sets_it() {
    let master = Master::start();
    let run = |arguments: &[&str]| {
        let output = master.danube(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    assert_eq!(
        run(&["log-level"]),
        (Some(0), "info\n".into(), String::new())
    );
    let (code, out, err) = run(&["log-level", "danube.store=debug,warn", "--for", "10m"]);
    assert_eq!((code, &*out), (Some(0), "warning,danube.store=debug\n"));
    assert!(
        err.contains("the configured info comes back at 20"),
        "{err}"
    );
    let (code, out, err) = run(&["log-level", "error"]);
    assert_eq!((code, &*out), (Some(0), "error\n"));
    assert!(
        err.contains("configured is info; this level holds until"),
        "{err}"
    );
    let (code, _, err) = run(&["log-level", "loud"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("allowed are off, error"), "{err}");
    let (code, _, err) = run(&["log-level", "info", "--for", "soon"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("90s, 10m, 2h"), "{err}");
    let (code, out, _) = run(&["log-level", "info", "--output", "json"]);
    assert_eq!(code, Some(0));
    let view: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(view["level"], "info");
}

//! What people and programs ask of a blueprint that a server follows.

use std::fs;

use serde_json::{Value, json};

use super::served::{Served, file, in_force, pipeline, shown};
use crate::master::{Master, id};
use crate::playbooks::git;

/// What the command prints, for people and as JSON, and how it ends.
fn danube(master: &Master, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = master.danube(arguments);
    let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn a_sync_that_is_asked_for_says_what_changed_or_every_mistake() {
    let served = Served::new();
    // Only whoever asks has it look again.
    let url = served.url();
    let master = Master::with(&["--blueprint-url", &url, "--blueprint-interval", "300"]);
    let first = git(&served.dir(), &["rev-parse", "HEAD"]);
    in_force(&master, &first);
    let (code, out, _) = danube(&master, &["blueprint", "sync"]);
    assert_eq!(code, Some(0));
    assert!(
        out.starts_with("ok  1 pipeline, 1 user, 1 team at commit "),
        "{out}"
    );
    assert!(out.contains("nothing changed"), "{out}");

    served.write("pipelines/second.yaml", &pipeline("second", ""));
    served.write(
        "users/bob.yaml",
        &file("User", "bob", "{email: bob@example.org}"),
    );
    let commit = served.commit();
    let (code, out, _) = danube(&master, &["blueprint", "sync", "-o", "json"]);
    assert_eq!(code, Some(0));
    let synced: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(synced["commit"], commit.as_str());
    let changes = json!([
        {"part": "user", "kind": "added", "name": "bob"},
        {"part": "pipeline", "kind": "added", "name": "second"},
    ]);
    assert_eq!(synced["changes"], changes);

    served.write(
        "users/bob.yaml",
        &file("User", "bob", "{email: alice@example.org}"),
    );
    served.write("teams/web.yaml", &file("Team", "web", "{members: [carol]}"));
    served.commit();
    let (code, _, err) = danube(&master, &["blueprint", "sync"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains("teams/web.yaml:4:18") && err.contains("users/"),
        "{err}"
    );
    let answer = master.call("POST", "/api/v1/blueprint/sync", None);
    let problem = answer.json();
    assert_eq!(
        (answer.status, &problem["code"]),
        (422, &json!("blueprint_wrong"))
    );
    assert!(
        problem["errors"].as_array().unwrap().len() >= 2,
        "{problem:#}"
    );
    let (code, out, _) = danube(&master, &["blueprint", "show"]);
    assert_eq!(code, Some(0));
    for word in [
        url.as_str(),
        &commit,
        "teams/web.yaml:4:18",
        "build, second",
        "alice, bob",
    ] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let (_, out, _) = danube(&master, &["blueprint", "show", "-o", "json"]);
    let view: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(view, shown(&master));

    let audit = master.get("/api/v1/audit?limit=1000").text();
    assert!(audit.contains("/api/v1/blueprint/sync"), "{audit}");
}

#[test]
fn only_administrators_ask_and_without_a_blueprint_there_is_nothing_to_ask_for() {
    let master = Master::start();
    let answer = master.call("POST", "/api/v1/blueprint/sync", None);
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (409, &json!("no_blueprint"))
    );
    let (code, _, err) = danube(&master, &["blueprint", "sync"]);
    assert_eq!(code, Some(6), "{err}");
    let (code, out, _) = danube(&master, &["blueprint", "show"]);
    assert_eq!(
        (code, out.contains("no blueprint is followed")),
        (Some(0), true)
    );
    let key = master.call(
        "POST",
        "/api/v1/api-keys",
        Some(&json!({"name": "member", "role": "member"})),
    );
    let key = format!("Bearer {}", key.json()["key"].as_str().unwrap());
    let as_member = [("authorization", key.as_str())];
    for (method, path) in [
        ("GET", "/api/v1/blueprint"),
        ("POST", "/api/v1/blueprint/sync"),
    ] {
        let answer = master.request(method, path, &as_member, &[]);
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
}

#[test]
fn a_name_is_of_one_pipeline_and_one_that_nobody_starts_by_hand_is_refused() {
    let served = Served::new();
    let cron = "triggers: {manual: false, cron: [{schedule: 0 3 1 1 *}]}, ";
    served.write("pipelines/nightly.yaml", &pipeline("nightly", cron));
    served.write("pipelines/both.yaml", &pipeline("both", ""));
    served.commit();
    let own = tempfile::tempdir().unwrap();
    fs::write(own.path().join("both.yaml"), pipeline("both", "")).unwrap();
    fs::write(own.path().join("mine.yaml"), pipeline("mine", "")).unwrap();
    let dir = own.path().to_str().unwrap();
    let master = served.master(&["--pipelines", dir]);
    let refused = |name: &str| {
        let answer = master.call("POST", "/api/v1/jobs", Some(&json!({"pipeline": name})));
        assert_eq!(answer.status, 422, "{}", answer.text());
        let message = answer.json()["errors"][0]["message"].clone();
        message.as_str().unwrap().to_owned()
    };
    let said = refused("nightly");
    assert!(
        said.contains("triggers.manual") && said.contains("pipelines/nightly.yaml"),
        "{said}"
    );
    let said = refused("both");
    assert!(
        said.contains("pipelines/both.yaml of the blueprint"),
        "{said}"
    );
    let said = refused("neither");
    assert!(
        said.contains("`build`") && said.contains("`mine`"),
        "{said}"
    );
    for name in ["build", "mine"] {
        let job = master.submit(&json!({"pipeline": name}));
        let job = master.ended(&id(&job));
        assert_eq!(
            (&job["status"], &job["pipeline"]),
            (&json!("success"), &json!(name))
        );
    }
}

#[test]
fn a_repository_of_this_machine_is_followed_only_where_the_operator_allows_it() {
    let served = Served::new();
    let url = format!("file://{}", served.dir().display());
    let own = tempfile::tempdir().unwrap();
    let data = own.path().join("data");
    let said = Master::try_start_in(&data, &["--blueprint-url", &url])
        .err()
        .unwrap();
    assert!(said.contains("sources.allow_paths"), "{said}");
    let above = served.dir().parent().unwrap().to_str().unwrap().to_owned();
    let master = Master::start_in(&data, &["--blueprint-url", &url, "--allow-path", &above]);
    let commit = git(&served.dir(), &["rev-parse", "HEAD"]);
    in_force(&master, &commit);

    for (wrong, word) in [
        ("https://me:hunter2@git.example.org/a", "password"),
        ("ext::sh -c id", "address"),
    ] {
        let said = Master::try_start_in(&data.join("x"), &["--blueprint-url", wrong]);
        let said = said.err().unwrap();
        assert!(said.contains(word) && !said.contains("hunter2"), "{said}");
    }
    let branch = [
        "--blueprint-url",
        "git://127.0.0.1:9/a",
        "--blueprint-branch",
        "a..b",
    ];
    let said = Master::try_start_in(&data.join("x"), &branch)
        .err()
        .unwrap();
    assert!(said.contains("branch"), "{said}");
}

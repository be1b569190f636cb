//! What users of a blueprint may do with its pipelines.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is tests; clippy sees only the functions marked so"
)]

mod matrix;

use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

use crate::master::{Answer, DEADLINE, Master, id};
use crate::processes::{HELD, until};
use crate::signin::peer::Peer;
use crate::signin::{key_of, started};

/// A blueprint in which each user but `root` has one right to `web`, and bob none.
pub(crate) fn declare(own: &Path, with_reader: bool) {
    let dir = own.join("blueprint");
    let _ = fs::remove_dir_all(&dir);
    let write = |path: &str, kind: &str, name: &str, spec: &Value| {
        let file = dir.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let text = json!({"apiVersion": "danube.dev/v1", "kind": kind,
                          "metadata": {"name": name}, "spec": spec});
        fs::write(file, text.to_string()).unwrap();
    };
    for user in ["bob", "reader", "writer", "keeper", "root"] {
        let spec = json!({"email": format!("{user}@example.org"), "admin": user == "root"});
        write(&format!("users/{user}.json"), "User", user, &spec);
    }
    for user in ["reader", "writer", "keeper"] {
        let is_in = with_reader || user != "reader";
        let members: Vec<&str> = is_in.then_some(user).into_iter().collect();
        write(
            &format!("teams/{user}s.json"),
            "Team",
            &format!("{user}s"),
            &json!({"members": members}),
        );
    }
    let steps = json!([{"name": "say", "run": "echo hi"}]);
    let permissions = json!({"read": ["readers"], "write": ["writers"], "admin": ["keepers"]});
    write(
        "pipelines/web.json",
        "Pipeline",
        "web",
        &json!({"steps": steps, "permissions": permissions}),
    );
    // Nobody has a right to it.
    write(
        "pipelines/payroll.json",
        "Pipeline",
        "payroll",
        &json!({"steps": steps}),
    );
}

/// A request with a key of its own.
pub(crate) fn with(
    master: &Master,
    key: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let bearer = format!("Bearer {key}");
    let body = body.map(|it| it.to_string().into_bytes());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    master.request(method, path, &headers, body.as_deref().unwrap_or_default())
}

/// A submit of a pipeline with this name.
fn spec(name: &str, run: &str) -> Value {
    json!({"spec": {"name": name, "steps": [{"name": "say", "run": run}]}})
}

/// The pipelines of the jobs that are listed, newest first, by pages of one.
#[track_caller]
fn listed(master: &Master, key: &str, query: &str) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/jobs?limit=1{query}{cursor}");
        let page = with(master, key, "GET", &path, None).json();
        let jobs = page["jobs"].as_array().unwrap().iter();
        names.extend(jobs.map(|it| it["pipeline"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return names,
        }
    }
}

#[track_caller]
fn submitted(master: &Master, key: &str, body: &Value) -> String {
    let answer = with(master, key, "POST", "/api/v1/jobs", Some(body));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let job = id(&answer.json());
    master.ended(&job);
    job
}

mod peers {
    use super::*;

    #[test]
    fn a_user_sees_what_the_blueprint_gives_and_what_is_their_own_and_nothing_else() {
        let own = tempfile::tempdir().unwrap();
        declare(own.path(), true);
        let mut peer = Peer::start();
        let master = started(own.path(), &peer.issuer);
        let mut key = |user: &str| key_of(&master, &mut peer, &format!("{user}@example.org"));
        let (bob, reader, writer) = (key("bob"), key("reader"), key("writer"));
        // A key that is called as a user is none of theirs.
        let other = json!({"name": "bob", "role": "member"});
        let other = master.call("POST", "/api/v1/api-keys", Some(&other)).json();
        submitted(
            &master,
            other["key"].as_str().unwrap(),
            &spec("notes", "true"),
        );

        for name in ["web", "payroll"] {
            submitted(&master, &master.key, &json!({"pipeline": name}));
        }
        let bobs = submitted(&master, &bob, &spec("scratch", "true"));
        submitted(&master, &writer, &json!({"pipeline": "web"}));
        submitted(&master, &writer, &spec("scratch", "true"));

        assert_eq!(listed(&master, &bob, ""), ["scratch"]);
        assert_eq!(listed(&master, &reader, ""), ["web", "web"]);
        assert_eq!(listed(&master, &writer, ""), ["scratch", "web", "web"]);
        assert_eq!(listed(&master, &master.key, "").len(), 6);
        for query in ["&status=success", "&status=success,pending,running"] {
            assert_eq!(listed(&master, &writer, query), ["scratch", "web", "web"]);
        }
        assert_eq!(listed(&master, &bob, "&pipeline=scratch").len(), 1);
        for (name, count) in [("web", 2), ("payroll", 0), ("notes", 0), ("scratch", 0)] {
            let query = format!("&pipeline={name}");
            assert_eq!(listed(&master, &reader, &query).len(), count, "{name}");
        }
        let timing = with(&master, &reader, "GET", "/api/v1/pipelines/timing", None).text();
        assert!(
            timing.contains("web") && !timing.contains("payroll"),
            "{timing}"
        );

        // Their own they may run again; that of another isn't there.
        let again = format!("/api/v1/jobs/{bobs}/retry");
        assert_eq!(with(&master, &bob, "POST", &again, None).status, 202);
        assert_eq!(with(&master, &writer, "POST", &again, None).status, 404);
        assert_eq!(listed(&master, &bob, ""), ["scratch", "scratch"]);
        secrets(&master, (&bob, &writer));
        refusals_are_counted(&master);
    }

    /// What somebody says in full could tell its secrets.
    #[track_caller]
    fn secrets(master: &Master, (bob, writer): (&str, &str)) {
        let value = json!({"value": "correct horse battery"});
        let put = master.call("PUT", "/api/v1/secrets/TOKEN", Some(&value));
        assert_eq!(put.status, 201, "{}", put.text());
        for (key, name) in [(bob, "scratch"), (writer, "web")] {
            let mut body = spec(name, "echo");
            body["spec"]["secrets"] = json!(["TOKEN"]);
            let refused = with(master, key, "POST", "/api/v1/jobs", Some(&body));
            assert_eq!(refused.status, 403, "{}", refused.text());
            assert_eq!(
                with(master, &master.key, "POST", "/api/v1/jobs", Some(&body)).status,
                202
            );
        }
        // A name of the blueprint is what its permissions make of it, however it is said.
        let refused = with(
            master,
            bob,
            "POST",
            "/api/v1/jobs",
            Some(&spec("web", "true")),
        );
        assert_eq!(refused.status, 403, "{}", refused.text());
        let hidden = with(
            master,
            bob,
            "POST",
            "/api/v1/jobs",
            Some(&json!({"pipeline": "web"})),
        );
        let unknown = with(
            master,
            bob,
            "POST",
            "/api/v1/jobs",
            Some(&json!({"pipeline": "wex"})),
        );
        assert_eq!(hidden.status, 422);
        assert_eq!(hidden.text().replace("web", "wex"), unknown.text());
    }

    #[track_caller]
    fn refusals_are_counted(master: &Master) {
        let count = |kind: &str| {
            master.metric(&format!(
                "danube_auth_permission_denied_total{{resource=\"{kind}\"}}"
            ))
        };
        assert!(count("pipeline") >= 3.0 && count("secret") >= 2.0);
    }

    #[test]
    fn a_right_that_the_blueprint_takes_away_is_gone_also_for_who_is_following() {
        let own = tempfile::tempdir().unwrap();
        declare(own.path(), true);
        let mut peer = Peer::start();
        let master = started(own.path(), &peer.issuer);
        let reader = key_of(&master, &mut peer, "reader@example.org");
        let job = id(&master.submit(&spec("web", HELD)));
        master.until_log(&job, "begin");
        let path = format!("/api/v1/jobs/{job}");
        assert_eq!(with(&master, &reader, "GET", &path, None).status, 200);
        let bearer = format!("Bearer {reader}");
        let headers = [("authorization", bearer.as_str())];
        let streams: Vec<_> = ["logs/stream", "stream"]
            .map(|it| master.open("GET", &format!("{path}/{it}"), &headers, b""))
            .into();

        declare(own.path(), false);
        master.signal("HUP");
        until("it isn't there any more", DEADLINE, || {
            (with(&master, &reader, "GET", &path, None).status == 404).then_some(())
        });
        assert!(listed(&master, &reader, "").is_empty());
        // The job goes on, and they end all the same.
        for stream in streams {
            let mut text = String::new();
            stream
                .into_body()
                .into_reader()
                .read_to_string(&mut text)
                .unwrap();
            assert!(text.contains("begin"), "{text}");
            assert!(
                text.ends_with(": this job isn't shown to you any more\n\n"),
                "{text}"
            );
        }
        assert_eq!(master.job(&job)["status"], "running");
        assert_eq!(
            with(&master, &master.key, "DELETE", &path, None).status,
            202
        );
        master.ended(&job);
    }
}

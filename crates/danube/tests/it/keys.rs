//! What bounds an API key: its time, its pipelines, its account.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is tests; clippy sees only the functions marked so"
)]

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::master::{Answer, DANUBE, DEADLINE, Master, id};
use crate::processes::until;

/// A request with a key of its own.
fn with(master: &Master, key: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let bearer = format!("Bearer {key}");
    let body = body.map(|it| it.to_string().into_bytes());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    master.request(method, path, &headers, body.as_deref().unwrap_or_default())
}

/// Makes a key of these fields.
#[track_caller]
fn make(master: &Master, fields: &Value) -> String {
    let made = master.call("POST", "/api/v1/api-keys", Some(fields));
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["key"].as_str().unwrap().to_owned()
}

/// A submit of a pipeline with this name.
fn spec(name: &str) -> Value {
    json!({"spec": {"name": name, "steps": [{"name": "say", "run": "echo hi"}]}})
}

/// The key with this name, as it is listed.
#[track_caller]
fn listed(master: &Master, name: &str) -> Value {
    let all = master.call("GET", "/api/v1/api-keys", None).json();
    let all = all["keys"].as_array().unwrap();
    let found = all.iter().rfind(|it| it["name"] == name);
    found.unwrap_or_else(|| panic!("{name} in {all:?}")).clone()
}

/// The program as a client with the admin key: its output and what it noted.
#[track_caller]
fn client(master: &Master, arguments: &[&str]) -> (String, String) {
    let output = Command::new(DANUBE)
        .args(arguments)
        .args(["--server", &master.address])
        .env("DANUBE_API_KEY", &master.key)
        .output()
        .unwrap();
    let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    (out, err)
}

#[test]
fn a_key_that_expired_is_refused_with_the_reason_and_leaves_its_name() {
    let own = tempfile::tempdir().unwrap();
    let mut master = Master::start_in(own.path(), &[]);
    let arguments = ["apikey", "create", "short", "--role", "member", "--expires"];
    let (out, err) = client(&master, &[&arguments[..], &["2s"]].concat());
    assert!(err.contains("it is good until 2"), "{err}");
    let key = out.trim().to_owned();
    let late = until("the key expires", DEADLINE, || {
        let answer = with(&master, &key, "GET", "/api/v1/jobs", None);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(late.status, 401);
    let detail = late.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("the key `short` expired at 2"), "{detail}");
    let login = master.request(
        "POST",
        "/login",
        &[("content-type", "application/x-www-form-urlencoded")],
        format!("key={key}").as_bytes(),
    );
    assert_eq!(login.status, 401);
    let seen = listed(&master, "short");
    assert_eq!(
        (&seen["is_expired"], &seen["revoked_at"]),
        (&json!(true), &json!(null))
    );
    assert!(client(&master, &["apikey", "list"]).0.contains("expired 2"));

    // A restart forgets nothing of it.
    master.kill();
    let master = Master::start_in(own.path(), &[]);
    let late = with(&master, &key, "GET", "/api/v1/jobs", None);
    assert_eq!(late.status, 401);
    assert_eq!(late.json()["detail"], detail.as_str());
    let again = make(&master, &json!({"name": "short", "role": "member"}));
    assert_eq!(
        with(&master, &again, "GET", "/api/v1/jobs", None).status,
        200
    );
    assert_eq!(with(&master, &key, "GET", "/api/v1/jobs", None).status, 401);
}

#[test]
fn a_session_lasts_no_longer_than_the_key_that_opened_it() {
    let master = Master::start();
    let key = make(
        &master,
        &json!({"name": "short", "role": "viewer", "expires_at": in_seconds(2)}),
    );
    let login = master.request(
        "POST",
        "/login",
        &[("content-type", "application/x-www-form-urlencoded")],
        format!("key={key}").as_bytes(),
    );
    assert_eq!(login.status, 200, "{}", login.text());
    let cookie = login.header("set-cookie").unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let page = |path: &str| {
        master
            .request("GET", path, &[("cookie", &cookie)], b"")
            .status
    };
    until("the session ends with it", DEADLINE, || {
        (page("/api/v1/jobs") == 401).then_some(())
    });
    assert_eq!(page("/"), 303);
}

/// The time so many seconds from now.
fn in_seconds(seconds: u64) -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let at = now + Duration::from_secs(seconds);
    danube_model::Timestamp::from_millis(i64::try_from(at.as_millis()).unwrap()).to_string()
}

#[test]
fn what_bounds_a_key_is_checked_whole_and_nothing_is_made() {
    let master = Master::start();
    let wrong = json!({"name": "x", "role": "admin", "expires_at": "2020-01-01T00:00:00.000Z",
                       "account": "a\nb", "pipelines": ["ok-*", "no?"]});
    let refused = master.call("POST", "/api/v1/api-keys", Some(&wrong));
    assert_eq!(refused.status, 422);
    let pointers: Vec<String> = refused.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["pointer"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(pointers, ["/expires_at", "/account", "/pipelines", "/role"]);
    for pipelines in [json!([]), json!(vec!["x"; 33])] {
        let wrong = json!({"name": "x", "role": "member", "pipelines": pipelines});
        assert_eq!(
            master.call("POST", "/api/v1/api-keys", Some(&wrong)).status,
            422
        );
    }
    let keys = master.call("GET", "/api/v1/api-keys", None).json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);

    // An admin key that expires doesn't make the lasting one dispensable.
    make(
        &master,
        &json!({"name": "guest", "role": "admin", "expires_at": "2999-01-01T00:00:00.000Z"}),
    );
    let last = master.call("DELETE", "/api/v1/api-keys/admin", None);
    assert_eq!(last.status, 409, "{}", last.text());
}

#[test]
fn to_a_key_of_some_pipelines_nothing_else_is_there() {
    let master = Master::start();
    let key = make(
        &master,
        &json!({"name": "web", "role": "member", "pipelines": ["web-*", "docs"]}),
    );
    let ask = |method: &str, path: &str| with(&master, &key, method, path, None).status;
    let other = id(&master
        .call("POST", "/api/v1/jobs", Some(&spec("payroll")))
        .json());
    let web = id(&master
        .call("POST", "/api/v1/jobs", Some(&spec("web-build")))
        .json());
    master.ended(&other);
    master.ended(&web);
    for (method, rest) in [
        ("GET", ""),
        ("GET", "/history"),
        ("GET", "/events"),
        ("GET", "/stream"),
        ("GET", "/logs"),
        ("GET", "/logs/stream"),
        ("GET", "/logs/folds"),
        ("GET", "/logs/search?q=hi"),
        ("GET", "/trace"),
        ("GET", "/artifacts"),
        ("GET", "/artifacts/x"),
        ("POST", "/retry"),
        ("DELETE", ""),
        ("DELETE", "/logs"),
    ] {
        let path = format!("/api/v1/jobs/{other}{rest}");
        assert_eq!(ask(method, &path), 404, "{method} {path}");
    }
    let mask = json!({"value": "a value to mask"});
    let path = format!("/api/v1/jobs/{other}/mask");
    assert_eq!(with(&master, &key, "POST", &path, Some(&mask)).status, 404);
    assert_eq!(
        ask("GET", &format!("/api/v1/webhooks/deliveries/{other}")),
        404
    );
    // It is as if it had never been: the words are those for an id that nobody has.
    let path = format!("/api/v1/jobs/{other}");
    let real = with(&master, &key, "GET", &path, None).json()["detail"].clone();
    let none = danube_model::JobId::new().to_string();
    let path = format!("/api/v1/jobs/{none}");
    let made_up = with(&master, &key, "GET", &path, None).json()["detail"].clone();
    let bare = |it: &Value, id: &str| it.as_str().unwrap().replace(id, "ID");
    assert_eq!(bare(&real, &other), bare(&made_up, &none));
    assert_eq!(
        master
            .call("GET", &format!("/api/v1/jobs/{other}"), None)
            .status,
        200
    );

    for rest in [
        "",
        "/history",
        "/logs",
        "/logs/folds",
        "/trace",
        "/artifacts",
    ] {
        assert_eq!(
            ask("GET", &format!("/api/v1/jobs/{web}{rest}")),
            200,
            "{rest}"
        );
    }
    assert_eq!(ask("POST", &format!("/api/v1/jobs/{web}/retry")), 202);
    lists_are_cut(&master, &key);
    the_server_is_closed(&master, &key);
}

#[track_caller]
fn lists_are_cut(master: &Master, key: &str) {
    let names = |path: &str| -> Vec<String> {
        let page = with(master, key, "GET", path, None).json();
        let jobs = page["jobs"].as_array().unwrap();
        jobs.iter()
            .map(|it| it["pipeline"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("/api/v1/jobs"), ["web-build", "web-build"]);
    assert_eq!(
        names("/api/v1/jobs?status=success,running,pending,scheduling").len(),
        2
    );
    assert_eq!(names("/api/v1/jobs?pipeline=web-build").len(), 2);
    assert!(names("/api/v1/jobs?pipeline=payroll").is_empty());
    let all = with(master, key, "GET", "/api/v1/pipelines/timing", None);
    assert!(!all.text().contains("payroll"), "{}", all.text());
    let one = with(master, key, "GET", "/api/v1/pipelines/payroll/timing", None);
    assert_eq!(one.status, 404);
    let near = with(
        master,
        key,
        "GET",
        "/api/v1/pipelines/web-bulid/timing",
        None,
    );
    assert!(near.text().contains("web-build"), "{}", near.text());

    let submit = |body: &Value| with(master, key, "POST", "/api/v1/jobs", Some(body));
    assert_eq!(submit(&spec("docs")).status, 202);
    let refused = submit(&spec("payroll"));
    assert_eq!(refused.status, 403);
    assert!(
        refused.text().contains("only web-*, docs"),
        "{}",
        refused.text()
    );
    // By name there is no such pipeline, though it may be there.
    assert_eq!(submit(&json!({"pipeline": "payroll"})).status, 422);
}

#[track_caller]
fn the_server_is_closed(master: &Master, key: &str) {
    for path in [
        "/api/v1/api-keys",
        "/api/v1/workers",
        "/api/v1/audit",
        "/api/v1/secrets",
        "/api/v1/credentials",
        "/api/v1/credentials/x/usage",
        "/api/v1/panels",
        "/api/v1/alerts",
        "/api/v1/health",
        "/api/v1/admin/log-level",
        "/api/v1/admin/backup",
    ] {
        let status = with(master, key, "GET", path, None).status;
        assert_eq!(status, 403, "{path}");
    }
    let denied =
        |it: &String| it.contains("permission_denied") && it.contains(r#""resource":"payroll""#);
    until("the refusals are told", DEADLINE, || {
        master.log_lines().iter().any(denied).then_some(())
    });
}

#[test]
fn a_service_account_outlives_its_keys() {
    let master = Master::start();
    let make = |name: &str| {
        make(
            &master,
            &json!({"name": name, "role": "member", "account": "deployer"}),
        )
    };
    let first = make("deployer 2025");
    let submit = |key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", "once"),
        ];
        let body = spec("x").to_string().into_bytes();
        master.request("POST", "/api/v1/jobs", &headers, &body)
    };
    let job = submit(&first).json();
    assert_eq!(job["submitted_by"], "deployer");

    let second = make("deployer 2026");
    let revoked = master.call("DELETE", "/api/v1/api-keys/deployer%202025", None);
    assert_eq!(revoked.status, 200);
    assert_eq!(submit(&first).status, 401);
    let same = submit(&second).json();
    assert_eq!(
        (&same["id"], &same["submitted_by"]),
        (&job["id"], &job["submitted_by"])
    );

    // One name stands for one owner.
    for taken in [
        json!({"name": "deployer", "role": "member"}),
        json!({"name": "y", "role": "member", "account": "admin"}),
    ] {
        let refused = master.call("POST", "/api/v1/api-keys", Some(&taken));
        assert_eq!(refused.status, 409, "{}", refused.text());
    }
    let (out, _) = client(&master, &["apikey", "list"]);
    let row = out.lines().find(|it| it.contains("deployer 2026")).unwrap();
    assert!(
        row.matches("deployer").count() == 2 && row.contains("good"),
        "{row}"
    );
    let told = master.call("GET", "/api/v1/audit", None).text();
    assert!(told.contains("of account `deployer`"), "{told}");
}

#[test]
fn a_session_outlives_a_kill_and_no_session_outlives_its_end() {
    let own = tempfile::tempdir().unwrap();
    let mut master = Master::start_in(own.path(), &[]);
    let (one, two) = (
        make(&master, &json!({"name": "one", "role": "viewer"})),
        make(&master, &json!({"name": "two", "role": "viewer"})),
    );
    let form = ("content-type", "application/x-www-form-urlencoded");
    let enter = |master: &Master, key: &str| {
        let body = format!("key={key}");
        let entered = master.request("POST", "/login", &[form], body.as_bytes());
        let cookie = entered.header("set-cookie").unwrap();
        cookie.split(';').next().unwrap().to_owned()
    };
    let seen = |master: &Master, cookie: &str| {
        let jobs = master.request("GET", "/api/v1/jobs", &[("cookie", cookie)], b"");
        jobs.status
    };
    let stays = enter(&master, &one);
    let leaves = enter(&master, &one);
    let thrown_out = enter(&master, &two);
    let left = master.request("POST", "/logout", &[("cookie", &leaves)], b"");
    assert_eq!(left.status, 200);
    assert_eq!(
        master.call("DELETE", "/api/v1/api-keys/two", None).status,
        200
    );
    let all = |master: &Master| [&stays, &leaves, &thrown_out].map(|it| seen(master, it));
    assert_eq!(all(&master), [200, 401, 401]);

    master.kill();
    let token = stays.split_once('=').unwrap().1;
    for file in ["danube.db", "danube.db-wal"] {
        let bytes = std::fs::read(own.path().join(file)).unwrap_or_default();
        let found = bytes.windows(token.len()).any(|it| it == token.as_bytes());
        assert!(!found, "{file} holds the token");
    }
    let master = Master::start_in(own.path(), &[]);
    assert_eq!(all(&master), [200, 401, 401]);
    let shown = master.request("GET", "/metrics", &[], b"").text();
    assert!(
        shown.contains("\ndanube_auth_active_sessions 1\n"),
        "{shown}"
    );
}

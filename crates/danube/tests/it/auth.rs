//! Keys, roles, sessions, and where none of them may stand.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is tests; clippy sees only the functions marked so"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::master::{Answer, DEADLINE, Master, id, one_step};
use crate::processes::until;

/// Makes a key; its id and its text.
#[track_caller]
fn make(master: &Master, name: &str, role: &str) -> (String, String) {
    let made = master.call(
        "POST",
        "/api/v1/api-keys",
        Some(&json!({"name": name, "role": role})),
    );
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    (id(&made), made["key"].as_str().unwrap().to_owned())
}

fn with(master: &Master, key: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let bearer = format!("Bearer {key}");
    let body = body
        .map(|it| it.to_string().into_bytes())
        .unwrap_or_default();
    master.request(
        method,
        path,
        &[
            ("authorization", &bearer),
            ("content-type", "application/json"),
        ],
        &body,
    )
}

/// Every file and directory below `dir`, with `dir` itself.
pub(crate) fn below(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut all = vec![dir.to_owned()];
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            all.extend(below(&path));
        } else {
            all.push(path);
        }
    }
    all
}

/// The link that a first start prints.
#[track_caller]
pub(crate) fn login_path(master: &Master) -> String {
    let said = master.stderr();
    let link = said
        .split_whitespace()
        .find(|it| it.contains("/login?token="));
    let link = link.unwrap_or_else(|| panic!("a link in {said}"));
    link.strip_prefix(&master.address)
        .expect("a link to this master")
        .to_owned()
}

/// The cookie that an answer sets, as a browser would send it back.
#[track_caller]
pub(crate) fn cookie(answer: &Answer) -> String {
    let set = answer
        .header("set-cookie")
        .unwrap_or_else(|| panic!("a cookie: {}", answer.text()));
    let (pair, flags) = set.split_once("; ").unwrap();
    assert_eq!(flags, "HttpOnly; SameSite=Lax; Path=/");
    assert!(pair.len() > "danube_session=".len() + 40, "{pair}");
    pair.to_owned()
}

/// The cookie of a session that the first start's link opens.
#[track_caller]
pub(crate) fn cookie_of(master: &Master) -> String {
    until("the login link", DEADLINE, || {
        master.stderr().contains("/login?token=").then_some(())
    });
    cookie(&master.request("GET", &login_path(master), &[], b""))
}

#[test]
fn nobody_else_on_the_machine_can_read_what_is_secret() {
    let master = Master::start();
    master.ended(&master.run("echo secret"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&master.dir.join("admin.key")), 0o600);
    for path in below(&master.dir) {
        // The address is for everybody; directories may be walked through.
        let allowed = if path.ends_with("master.addr") {
            0o644
        } else if path.is_dir() {
            0o711
        } else {
            0o600
        };
        assert_eq!(
            mode(&path) & !allowed,
            0,
            "{} has mode {:o}",
            path.display(),
            mode(&path)
        );
    }
}

#[test]
fn a_key_stands_in_no_file_but_its_own_and_in_no_line_of_the_log() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--log-level", "trace"]);
    let keys =
        ["viewer", "member", "admin"].map(|role| make(&master, &format!("a {role}"), role).1);
    for key in &keys {
        let job = with(
            &master,
            key,
            "POST",
            "/api/v1/jobs",
            Some(&one_step("env; cat /proc/*/environ || true")),
        );
        assert!([202, 403].contains(&job.status));
        if job.status == 202 {
            master.ended(&id(&job.json()));
        }
    }
    let link = login_path(&master);
    let token = link.split_once('=').unwrap().1.to_owned();
    let session = cookie(&master.request("GET", &link, &[], b""))
        .split_once('=')
        .unwrap()
        .1
        .to_owned();
    let admin = master.key.clone();
    let secrets: Vec<&str> = keys
        .iter()
        .chain([&admin, &token, &session])
        .map(String::as_str)
        .collect();
    let check = |master: &Master| {
        for path in below(&dir).into_iter().filter(|it| it.is_file()) {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            for secret in &secrets {
                let own = path.ends_with("admin.key") && **secret == admin;
                assert_eq!(text.contains(secret), own, "{}", path.display());
            }
        }
        let log = master.log_lines().join("\n");
        assert!(
            secrets.iter().all(|it| !log.contains(it)),
            "in the server log"
        );
        let listed = master.get("/api/v1/api-keys").text();
        assert!(secrets.iter().all(|it| !listed.contains(it)), "{listed}");
    };
    check(&master);
    master.kill();
    let master = Master::start_in(&dir, &[]);
    check(&master);
    assert!(
        !master.stderr().contains("/login?token="),
        "a link goes to the first start only"
    );
    for key in &keys {
        assert_eq!(
            with(&master, key, "GET", "/api/v1/jobs", None).status,
            200,
            "keys survive a restart"
        );
    }
}

#[test]
fn a_role_bounds_what_its_key_may_do() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let [viewer, member, admin] =
        ["viewer", "member", "admin"].map(|role| make(&master, &format!("a {role}"), role).1);
    let body = one_step("true");
    let allowed = |key: &str| {
        let job = master.run("true");
        let asks = [
            ("GET", "/api/v1/jobs".to_owned(), None),
            ("GET", format!("/api/v1/jobs/{job}/logs"), None),
            ("POST", "/api/v1/jobs".to_owned(), Some(&body)),
            ("DELETE", format!("/api/v1/jobs/{job}"), None),
            ("POST", format!("/api/v1/jobs/{job}/retry"), None),
            ("GET", "/api/v1/api-keys".to_owned(), None),
        ];
        asks.map(|(method, path, body)| with(&master, key, method, &path, body).status)
    };
    assert_eq!(allowed(&viewer), [200, 200, 403, 403, 403, 403]);
    assert_eq!(allowed(&member), [200, 200, 202, 202, 202, 403]);
    assert_eq!(allowed(&admin), [200, 200, 202, 202, 202, 200]);
    let told = master.event(|it| it["event"] == "permission_denied");
    assert_eq!(
        (&told["user"], &told["action"]),
        (&json!("a viewer"), &json!("write"))
    );
    // Both headers carry a key.
    assert_eq!(
        master
            .request("GET", "/api/v1/jobs", &[("x-api-key", &viewer)], b"")
            .status,
        200
    );
    assert_eq!(
        master
            .request(
                "GET",
                "/api/v1/jobs",
                &[("authorization", &format!("bearer {viewer}"))],
                b""
            )
            .status,
        200
    );
    let by_member = with(&master, &member, "POST", "/api/v1/jobs", Some(&body)).json();
    assert_eq!(by_member["submitted_by"], "a member");
    for (wrong, pointers) in [
        (json!({"name": "", "role": "admin"}), vec!["/name"]),
        (
            json!({"name": "<b>", "role": "root"}),
            vec!["/name", "/role"],
        ),
        (json!({"name": "x"}), vec![""]),
    ] {
        let answer = master.call("POST", "/api/v1/api-keys", Some(&wrong));
        assert_eq!(answer.status, 422, "{}", answer.text());
        let errors = answer.json()["errors"].clone();
        let found: Vec<&str> = errors
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["pointer"].as_str().unwrap())
            .collect();
        assert_eq!(found, pointers);
    }
}

#[test]
fn a_revoked_key_is_worth_nothing_at_once_and_for_ever() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    let (by_id, first) = make(&master, "first", "member");
    let (_, second) = make(&master, "second", "viewer");
    let form = format!("key={first}");
    let login = master.request(
        "POST",
        "/login",
        &[("content-type", "application/x-www-form-urlencoded")],
        form.as_bytes(),
    );
    let session = cookie(&login);
    assert_eq!(
        master
            .request("GET", "/", &[("cookie", &session)], b"")
            .status,
        200
    );
    for (name, key) in [(by_id.as_str(), &first), ("second", &second)] {
        assert_eq!(with(&master, key, "GET", "/api/v1/jobs", None).status, 200);
        let revoked = master.call("DELETE", &format!("/api/v1/api-keys/{name}"), None);
        assert_eq!(revoked.status, 200, "{}", revoked.text());
        assert!(revoked.json()["revoked_at"].is_string());
        assert_eq!(with(&master, key, "GET", "/api/v1/jobs", None).status, 401);
        assert_eq!(
            master
                .call("DELETE", &format!("/api/v1/api-keys/{name}"), None)
                .status,
            404
        );
    }
    // What was begun with the key ends with it.
    assert_eq!(
        master
            .request("GET", "/api/v1/jobs", &[("cookie", &session)], b"")
            .status,
        401
    );
    master.kill();
    let master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    for key in [&first, &second] {
        assert_eq!(
            with(
                &master,
                key,
                "POST",
                "/api/v1/jobs",
                Some(&one_step("true"))
            )
            .status,
            401
        );
    }
    assert_eq!(master.get("/api/v1/jobs").json()["jobs"], json!([]));
}

#[test]
fn the_last_admin_key_stays() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    make(&master, "member", "member");
    let refused = master.call("DELETE", "/api/v1/api-keys/admin", None);
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (409, &json!("wrong_state"))
    );
    assert_eq!(master.get("/api/v1/api-keys").status, 200);
    let (_, other) = make(&master, "other", "admin");
    assert_eq!(
        master.call("DELETE", "/api/v1/api-keys/admin", None).status,
        200
    );
    assert_eq!(master.get("/api/v1/api-keys").status, 401);
    master.kill();
    // The key in the file is revoked, and a start doesn't bring it back.
    let master = Master::start_in(&dir, &[]);
    assert_eq!(master.get("/api/v1/api-keys").status, 401);
    assert_eq!(
        with(&master, &other, "GET", "/api/v1/api-keys", None).status,
        200
    );
    assert_eq!(
        with(&master, &other, "DELETE", "/api/v1/api-keys/other", None).status,
        409
    );
}

#[test]
fn admins_that_revoke_each_other_at_once_leave_one() {
    let master = Master::start();
    let keys: Vec<(String, String)> = (0..8)
        .map(|number| make(&master, &format!("admin {number}"), "admin"))
        .collect();
    assert_eq!(
        with(
            &master,
            &keys[0].1,
            "DELETE",
            "/api/v1/api-keys/admin",
            None
        )
        .status,
        200
    );
    std::thread::scope(|scope| {
        for (id, key) in &keys {
            let master = &master;
            scope.spawn(move || {
                with(
                    master,
                    key,
                    "DELETE",
                    &format!("/api/v1/api-keys/{id}"),
                    None,
                )
                .status
            });
        }
    });
    let living = keys
        .iter()
        .filter(|(_, key)| with(&master, key, "GET", "/api/v1/api-keys", None).status == 200);
    assert_eq!(living.count(), 1);
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one session from its start to its end"
)]
fn a_login_link_opens_a_session_once_that_may_only_read() {
    let master = Master::start();
    let job = master.run("echo hello");
    master.ended(&job);
    let link = login_path(&master);
    let entered = master.request("GET", &link, &[], b"");
    assert_eq!(entered.status, 200);
    let session = cookie(&entered);
    assert!(
        !session.contains(link.split_once('=').unwrap().1),
        "a token of its own"
    );
    assert_eq!(entered.header("cache-control"), Some("no-store"));
    assert_eq!(entered.header("referrer-policy"), Some("no-referrer"));
    for again in [link.as_str(), "/login?token=", "/login?token=guess"] {
        let refused = master.request("GET", again, &[], b"");
        assert_eq!(
            (refused.status, refused.header("set-cookie")),
            (401, None),
            "{again}"
        );
    }
    let browser = [
        ("cookie", session.as_str()),
        ("content-type", "application/json"),
    ];
    for path in [
        "/",
        &format!("/jobs/{job}"),
        "/api/v1/jobs",
        &format!("/api/v1/jobs/{job}/logs"),
    ] {
        assert_eq!(
            master.request("GET", path, &browser, b"").status,
            200,
            "{path}"
        );
        assert_ne!(master.request("GET", path, &[], b"").status, 200, "{path}");
    }
    let before = master.get("/api/v1/jobs").text();
    let submit = one_step("true").to_string();
    for (method, path, body) in [
        ("POST", "/api/v1/jobs".to_owned(), submit.as_str()),
        ("POST", format!("/api/v1/jobs/{job}/retry"), ""),
        ("DELETE", format!("/api/v1/jobs/{job}"), ""),
        (
            "POST",
            "/api/v1/api-keys".to_owned(),
            r#"{"name":"mine","role":"admin"}"#,
        ),
        ("GET", "/api/v1/api-keys".to_owned(), ""),
    ] {
        let answer = master.request(method, &path, &browser, body.as_bytes());
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (403, &json!("forbidden")),
            "{method} {path}"
        );
    }
    assert_eq!(master.get("/api/v1/jobs").text(), before);
    // Logged out is logged out, whoever kept the cookie.
    let out = master.request("POST", "/logout", &browser, b"");
    assert!(
        out.header("set-cookie")
            .unwrap()
            .starts_with("danube_session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0")
    );
    assert_eq!(
        master.request("GET", "/api/v1/jobs", &browser, b"").status,
        401
    );
    assert_eq!(
        master.metric("danube_auth_logins_total{status=\"success\"}"),
        1.0
    );
    assert_eq!(
        master.metric("danube_auth_logins_total{status=\"failure\"}"),
        3.0
    );
}

#[test]
fn metrics_need_a_key_where_others_reach_the_server() {
    let open = Master::start();
    assert_eq!(open.request("GET", "/metrics", &[], b"").status, 200);
    // Passed on for somebody else, it does there too.
    let by_proxy = [("x-forwarded-for", "203.0.113.9")];
    assert_eq!(open.request("GET", "/metrics", &by_proxy, b"").status, 401);

    let public = Master::with(&["--public-url", "https://ci.example.org"]);
    let refused = public.request("GET", "/metrics", &[], b"");
    assert_eq!(refused.status, 401);
    assert!(
        !refused.text().contains("danube_jobs"),
        "{}",
        refused.text()
    );
    let wrong = [("authorization", "Bearer wrong")];
    assert_eq!(public.request("GET", "/metrics", &wrong, b"").status, 401);
    let (_, viewer) = make(&public, "scraper", "viewer");
    assert_eq!(with(&public, &viewer, "GET", "/metrics", None).status, 200);
}

#[test]
fn a_key_opens_a_session_for_a_browser() {
    let master = Master::start();
    let (_, viewer) = make(&master, "looks", "viewer");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let entered = master.request(
        "POST",
        "/login",
        &[form],
        format!("key={viewer}").as_bytes(),
    );
    assert_eq!(entered.status, 200);
    let session = cookie(&entered);
    assert_eq!(
        master
            .request("GET", "/api/v1/jobs", &[("cookie", &session)], b"")
            .status,
        200
    );
    // The same key begins another session, never the same.
    assert_ne!(
        cookie(&master.request(
            "POST",
            "/login",
            &[form],
            format!("key={viewer}").as_bytes()
        )),
        session
    );
    for (headers, body) in [
        (vec![form], "key=wrong".to_owned()),
        (vec![form], "key=".to_owned()),
        // A form on somebody else's page.
        (
            vec![form, ("sec-fetch-site", "cross-site")],
            format!("key={viewer}"),
        ),
    ] {
        let refused = master.request("POST", "/login", &headers, body.as_bytes());
        assert_eq!(
            (refused.status, refused.header("set-cookie")),
            (401, None),
            "{headers:?}"
        );
        assert!(!refused.text().contains(&viewer));
    }
    // A session that somebody made up before is worth nothing after a login.
    let fixed = [("cookie", "danube_session=chosen-by-somebody-else"), form];
    let entered = master.request("POST", "/login", &fixed, format!("key={viewer}").as_bytes());
    assert!(!cookie(&entered).contains("chosen"));
    assert_eq!(
        master
            .request("GET", "/api/v1/jobs", &fixed[..1], b"")
            .status,
        401
    );
    let told = master.event(|it| it["event"] == "login_succeeded");
    assert_eq!(told["user"], "looks");
}

#[test]
fn telemetry_is_open_on_loopback_and_jobs_are_not() {
    let master = Master::start();
    for path in [
        "/metrics",
        "/health",
        "/health/ready",
        "/ready",
        "/api/v1/openapi.json",
        "/login",
        "/assets/0/danube.css",
    ] {
        assert_eq!(master.request("GET", path, &[], b"").status, 200, "{path}");
    }
    let ready = master.request("GET", "/health/ready", &[], b"").json();
    assert_eq!(ready["status"], "ready");
    assert_eq!(ready["checks"]["database"], "ok", "{ready}");
    for path in [
        "/api/v1/jobs",
        "/api/v1/jobs/zzzzzzzz",
        "/api/v1/jobs/zzzzzzzz/logs",
        "/api/v1/jobs/zzzzzzzz/logs/stream",
        "/api/v1/pipelines/timing",
        "/api/v1/api-keys",
    ] {
        assert_eq!(master.request("GET", path, &[], b"").status, 401, "{path}");
    }
}

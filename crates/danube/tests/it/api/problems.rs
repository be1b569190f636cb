//! Every wrong request is told what is wrong, and changes nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};

use super::{all_jobs, pointers, problem};
use crate::master::{Master, one_step};
use crate::wire::{connect, raw};

/// A key with this role.
fn key(master: &Master, name: &str, role: &str) -> String {
    let made = master.call(
        "POST",
        "/api/v1/api-keys",
        Some(&json!({"name": name, "role": role})),
    );
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["key"].as_str().unwrap().to_owned()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of mistakes")]
fn all_mistakes_of_a_submit_are_told_at_once() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let before = all_jobs(&master);
    let wrong = json!({
        "spec": {"name": "-x", "repository": "ext::sh -c id", "max_duration_seconds": 0, "steps": [
            {"name": "a", "run": ""},
            {"name": "b", "run": "true"},
            {"name": "b", "run": "true", "timeout_seconds": -1, "env": {"1BAD": "x"}},
            {"run": 7, "shell": "fish", "wrong": 1},
        ]},
        "ref": "--upload-pack=id", "mask": ["short", 5], "queue": "\u{7}", "retry_on_lost": "yes",
        "callback_url": "http://127.0.0.1/", "colour": "red",
    });
    let answer = master.call("POST", "/api/v1/jobs", Some(&wrong));
    let told = problem(&answer, 422, "invalid");
    let mut found = pointers(&told);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "/callback_url",
            "/colour",
            "/mask/0",
            "/mask/1",
            "/queue",
            "/ref",
            "/retry_on_lost",
            "/spec/max_duration_seconds",
            "/spec/name",
            "/spec/repository",
            "/spec/steps/0/run",
            "/spec/steps/2/env/1BAD",
            "/spec/steps/2/name",
            "/spec/steps/2/timeout_seconds",
            "/spec/steps/3/name",
            "/spec/steps/3/run",
            "/spec/steps/3/shell",
            "/spec/steps/3/wrong",
        ]
    );
    let message = |pointer: &str| -> String {
        let errors = told["errors"].as_array().unwrap();
        errors.iter().find(|it| it["pointer"] == pointer).unwrap()["message"].to_string()
    };
    assert!(
        message("/spec/steps/3/shell").contains("bash"),
        "what is allowed"
    );
    assert_eq!(all_jobs(&master), before);
    for (body, expected) in [
        (json!({}), "/pipeline"),
        (json!([]), ""),
        (json!(null), ""),
        (json!("run"), ""),
        (json!({"spec": {"name": "x", "steps": []}}), "/spec/steps"),
        (json!({"spec": {"name": "x", "steps": {}}}), "/spec/steps"),
        (
            json!({"spec": {"name": "x", "steps": [{"name": "a", "run": "a\u{0}b"}]}}),
            "/spec/steps/0/run",
        ),
        (
            json!({"spec": {"name": "x", "steps": [{"name": "a", "run": "x".repeat(200_000)}]}}),
            "/spec/steps/0/run",
        ),
        (
            json!({"spec": {"name": "<script>", "steps": [{"name": "a", "run": "true"}]}}),
            "/spec/name",
        ),
    ] {
        let answer = master.call("POST", "/api/v1/jobs", Some(&body));
        assert_eq!(pointers(&problem(&answer, 422, "invalid")), [expected]);
    }
    assert_eq!(all_jobs(&master), before);
}

#[test]
fn a_refused_value_is_never_repeated() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let body = json!({"spec": {"name": "x", "steps": [{"name": "use s3cret-canary", "run": "true"}]},
        "mask": ["s3cret-canary", "canry7"], "ref": "s3cret-canary"});
    let answer = master.call("POST", "/api/v1/jobs", Some(&body));
    problem(&answer, 422, "invalid");
    assert!(!answer.text().contains("canry7"), "{}", answer.text());
    let body = json!({"spec": {"name": "x", "steps": [{"name": "use s3cret-canary", "run": "true"}]}, "mask": ["s3cret-canary"]});
    let answer = master.call("POST", "/api/v1/jobs", Some(&body));
    assert_eq!(
        pointers(&problem(&answer, 422, "invalid")),
        ["/spec/steps/0/name"]
    );
    assert!(!answer.text().contains("s3cret"), "{}", answer.text());
    assert!(master.log_lines().iter().all(|it| !it.contains("s3cret")));
}

/// A master with one pending job, and its list of jobs as it must stay.
struct Still {
    master: Master,
    before: String,
}

impl Still {
    fn new() -> Self {
        let master = Master::with(&["--jobs-at-once", "0", "--body-bytes-max", "4096"]);
        master.run("true");
        let before = all_jobs(&master);
        Self { master, before }
    }

    /// Sends a request, and checks that it is refused like this and changed nothing.
    #[track_caller]
    fn refuses(&self, request: &Wrong<'_>, status: u16, code: &str) -> Value {
        let Wrong(method, path, headers, body) = request;
        let answer = self.master.request(method, path, headers, body.as_bytes());
        let told = problem(&answer, status, code);
        assert_eq!(all_jobs(&self.master), self.before, "{method} {path}");
        match code {
            "unauthorized" => assert_eq!(answer.header("www-authenticate"), Some("Bearer")),
            "method_not_allowed" => {
                let allowed = answer.header("allow").unwrap_or_default();
                assert!(allowed.contains("GET"), "{method} {path}: {allowed}");
            }
            _ => {}
        }
        told
    }
}

/// Method, path, headers and body.
struct Wrong<'a>(&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn a_body_that_is_no_json_is_refused_with_the_place_where_it_ends() {
    let still = Still::new();
    let key = still.master.key.clone();
    let headers = [("x-api-key", key.as_str()), JSON];
    let trailing = format!("{} x", one_step("true"));
    for (body, expected) in [
        (
            "{\"spec\":\n  {\"name\": }",
            "isn't valid JSON at line 2, column 12",
        ),
        ("{\"spec\":", "ends too early at line 1, column 8"),
        ("", "ends too early at line 1, column 0"),
        (&"[".repeat(4_000), "isn't valid JSON at line 1"),
        (&trailing, "isn't valid JSON at line 1"),
    ] {
        let request = Wrong("POST", "/api/v1/jobs", &headers, body);
        let told = still.refuses(&request, 400, "malformed");
        assert!(
            told["detail"].as_str().unwrap().contains(expected),
            "{told}"
        );
    }
    let body = one_step("true").to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/xml",
    ] {
        let headers = [("x-api-key", key.as_str()), ("content-type", kind)];
        let request = Wrong("POST", "/api/v1/jobs", &headers, &body);
        still.refuses(&request, 415, "unsupported_media_type");
    }
}

#[test]
fn without_a_valid_key_nothing_is_shown_and_nothing_changed() {
    let still = Still::new();
    let admin = format!("Bearer {}", still.master.key);
    let body = one_step("true").to_string();
    for headers in [
        &[JSON][..],
        &[JSON, ("authorization", "Bearer wrong")],
        &[JSON, ("authorization", "Bearer ")],
        &[JSON, ("authorization", "Basic YWRtaW46YWRtaW4=")],
        &[JSON, ("x-api-key", "")],
        &[JSON, ("x-api-key", "\u{e9}")],
        &[JSON, ("cookie", "danube_session=guess")],
        // A wrong key isn't excused by a good one beside it.
        &[JSON, ("x-api-key", "wrong"), ("authorization", &admin)],
    ] {
        let request = Wrong("POST", "/api/v1/jobs", headers, &body);
        still.refuses(&request, 401, "unauthorized");
    }
    for path in ["/api/v1/jobs", "/api/v1/api-keys", "/api/v1/jobs/x/logs"] {
        still.refuses(&Wrong("GET", path, &[], ""), 401, "unauthorized");
    }
}

#[test]
fn a_key_that_may_not_do_it_changes_nothing() {
    let still = Still::new();
    let viewer = key(&still.master, "looks", "viewer");
    let member = key(&still.master, "works", "member");
    let listed = still.master.get("/api/v1/jobs").json();
    let job = format!("/api/v1/jobs/{}", super::ids(&listed)[0]);
    let body = one_step("true").to_string();
    let more = r#"{"name":"more","role":"admin"}"#;
    for (who, method, path, body) in [
        (&viewer, "POST", "/api/v1/jobs", body.as_str()),
        (&viewer, "DELETE", &job, ""),
        (&viewer, "POST", &format!("{job}/retry"), ""),
        (&member, "POST", "/api/v1/api-keys", more),
        (&member, "GET", "/api/v1/api-keys", ""),
        (&member, "DELETE", "/api/v1/api-keys/admin", ""),
    ] {
        let headers = [("x-api-key", who.as_str()), JSON];
        still.refuses(&Wrong(method, path, &headers, body), 403, "forbidden");
    }
    let keys = still.master.get("/api/v1/api-keys").json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 3);
}

#[test]
fn what_is_not_there_is_not_found_and_what_is_takes_its_methods_only() {
    let still = Still::new();
    let admin = still.master.key.clone();
    let headers = [("x-api-key", admin.as_str())];
    for path in [
        "/api/v1/nothing",
        "/api/v2/jobs",
        "/favicon.ico",
        "/api/v1/jobs/",
        "/%ff",
        "/..",
    ] {
        still.refuses(&Wrong("GET", path, &headers, ""), 404, "not_found");
    }
    for (method, path) in [
        ("PUT", "/api/v1/jobs"),
        ("DELETE", "/api/v1/jobs"),
        ("POST", "/metrics"),
        ("PATCH", "/api/v1/jobs/x"),
        ("POST", "/"),
    ] {
        let request = Wrong(method, path, &headers, "");
        still.refuses(&request, 405, "method_not_allowed");
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_however_it_comes() {
    let master = Master::with(&["--jobs-at-once", "0", "--body-bytes-max", "4096"]);
    let before = all_jobs(&master);
    let head = |rest: &str| {
        format!(
            "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n{rest}\r\n\r\n",
            master.key
        )
    };
    let large = one_step(&format!("# {}", "x".repeat(5_000))).to_string();
    let announced = raw(
        &master,
        format!(
            "{}{large}",
            head(&format!("Content-Length: {}", large.len()))
        )
        .as_bytes(),
    );
    let chunked = raw(
        &master,
        format!(
            "{}{:x}\r\n{large}\r\n0\r\n\r\n",
            head("Transfer-Encoding: chunked"),
            large.len()
        )
        .as_bytes(),
    );
    for answer in [announced, chunked] {
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(
            answer.contains("content-type: application/problem+json"),
            "{answer}"
        );
        assert!(
            answer.contains(r#""code":"too_large""#) && answer.contains("4096 bytes"),
            "{answer}"
        );
    }
    // Announced and never sent: refused by its length alone.
    let announced = raw(&master, head("Content-Length: 99999999999").as_bytes());
    assert!(announced.starts_with("HTTP/1.1 413 "), "{announced}");
    assert_eq!(all_jobs(&master), before);
    // One that just fits is taken.
    let empty = one_step("").to_string().len();
    let fits = one_step(&"#".repeat(4_096 - empty));
    assert_eq!(fits.to_string().len(), 4_096);
    assert_eq!(master.call("POST", "/api/v1/jobs", Some(&fits)).status, 202);
}

#[test]
fn the_key_is_asked_for_before_the_body_is_read() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let mut stream = connect(&master);
    stream.write_all(b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream);
    assert_eq!(first_line(&mut lines), "HTTP/1.1 401 Unauthorized\r\n");
    // The answer wasn't lost under the bytes still to come, nor is the connection.
    lines.get_mut().write_all(&vec![b'x'; 100_000]).unwrap();
    lines
        .get_mut()
        .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert_eq!(first_line(&mut lines), "HTTP/1.1 200 OK\r\n");
}

#[test]
fn who_asks_before_sending_a_body_hears_the_answer_only() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let body = one_step("true").to_string();
    let ask = |key: &str| {
        format!(
            "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nX-API-Key: {key}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
    };
    let refused = raw(&master, ask("wrong").as_bytes());
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    assert_eq!(refused.matches("HTTP/1.1").count(), 1, "{refused}");
    let mut stream = connect(&master);
    stream.write_all(ask(&master.key).as_bytes()).unwrap();
    let mut lines = BufReader::new(stream);
    assert_eq!(first_line(&mut lines), "HTTP/1.1 100 Continue\r\n");
    lines.get_mut().write_all(body.as_bytes()).unwrap();
    assert_eq!(first_line(&mut lines), "HTTP/1.1 202 Accepted\r\n");
}

/// The first line of the next answer; the rest of it is skipped.
fn first_line(lines: &mut BufReader<TcpStream>) -> String {
    let (mut first, mut length) = (String::new(), 0);
    lines.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            lines.read_exact(&mut vec![0; length]).unwrap();
            return first;
        }
    }
}

#[test]
fn clients_that_break_off_in_the_middle_harm_nobody() {
    const CLIENTS: usize = 1_000;
    let master = Master::with(&["--jobs-at-once", "0"]);
    let body = one_step("true").to_string();
    let request = format!(
        "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        master.key,
        body.len()
    );
    let request = request.as_bytes();
    for client in 0..CLIENTS {
        let mut stream = connect(&master);
        // Each at another place: in the head, in the body, or right after it.
        let cut = 1 + client * (request.len() - 1) / (CLIENTS - 1);
        stream.write_all(&request[..cut]).unwrap();
        if client % 2 == 0 {
            stream.shutdown(Shutdown::Both).unwrap();
        }
    }
    for _ in 0..100 {
        assert_eq!(
            master
                .call("POST", "/api/v1/jobs", Some(&one_step("true")))
                .status,
            202
        );
    }
    // Whole requests may have been taken; nothing else was, and all of it is sound.
    let page = master.get("/api/v1/jobs?limit=1000").json();
    let jobs = page["jobs"].as_array().unwrap();
    assert!((100..=102).contains(&jobs.len()), "{}", jobs.len());
    assert!(jobs.iter().all(|it| it["status"] == "pending"));
    assert_eq!(master.get("/health/ready").status, 200);
    assert!(
        master
            .log_lines()
            .iter()
            .all(|it| !it.contains(r#""level":"error""#))
    );
}

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

#[test]
fn a_request_that_cannot_be_served_is_refused_and_changes_nothing() {
    let master = Master::with(&["--jobs-at-once", "0", "--body-bytes-max", "4096"]);
    let pending = master.run("true");
    let (viewer, member) = (
        key(&master, "looks", "viewer"),
        key(&master, "works", "member"),
    );
    let before = all_jobs(&master);
    let admin = format!("Bearer {}", master.key);
    let good = one_step("true").to_string();
    let json = ("content-type", "application/json");
    let submit = |headers: &[(&str, &str)], body: &str| {
        master.request("POST", "/api/v1/jobs", headers, body.as_bytes())
    };
    let check = |answer: &crate::master::Answer, status: u16, code: &str| -> Value {
        let told = problem(answer, status, code);
        assert_eq!(
            all_jobs(&master),
            before,
            "{status} {code} changed something"
        );
        told
    };

    let told = check(
        &submit(
            &[("authorization", &admin), json],
            "{\"spec\":\n  {\"name\": }",
        ),
        400,
        "malformed",
    );
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("line 2, column 12"),
        "{told}"
    );
    let told = check(
        &submit(&[("authorization", &admin), json], "{\"spec\":"),
        400,
        "malformed",
    );
    assert!(
        told["detail"].as_str().unwrap().contains("ends too early"),
        "{told}"
    );
    check(
        &submit(&[("authorization", &admin), json], ""),
        400,
        "malformed",
    );
    check(
        &submit(&[("authorization", &admin), json], &"[".repeat(4_000)),
        400,
        "malformed",
    );
    check(
        &submit(&[("authorization", &admin), json], &format!("{good} x")),
        400,
        "malformed",
    );

    for wrong in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/xml",
    ] {
        check(
            &submit(&[("authorization", &admin), ("content-type", wrong)], &good),
            415,
            "unsupported_media_type",
        );
    }

    for headers in [
        &[json][..],
        &[json, ("authorization", "Bearer wrong")],
        &[json, ("authorization", "Bearer ")],
        &[json, ("authorization", "Basic YWRtaW46YWRtaW4=")],
        &[json, ("x-api-key", "")],
        &[json, ("x-api-key", "\u{e9}")],
        &[json, ("cookie", "danube_session=guess")],
        // A wrong key isn't excused by a good one beside it.
        &[json, ("x-api-key", "wrong"), ("authorization", &admin)],
    ] {
        let answer = submit(headers, &good);
        check(&answer, 401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    for path in [
        "/api/v1/jobs",
        "/api/v1/api-keys",
        &format!("/api/v1/jobs/{pending}/logs"),
    ] {
        check(&master.request("GET", path, &[], b""), 401, "unauthorized");
    }

    let as_viewer = ("x-api-key", viewer.as_str());
    check(&submit(&[as_viewer, json], &good), 403, "forbidden");
    check(
        &master.request(
            "DELETE",
            &format!("/api/v1/jobs/{pending}"),
            &[as_viewer],
            b"",
        ),
        403,
        "forbidden",
    );
    check(
        &master.request(
            "POST",
            &format!("/api/v1/jobs/{pending}/retry"),
            &[as_viewer],
            b"",
        ),
        403,
        "forbidden",
    );
    let as_member = ("x-api-key", member.as_str());
    check(
        &master.request(
            "POST",
            "/api/v1/api-keys",
            &[as_member, json],
            br#"{"name":"more","role":"admin"}"#,
        ),
        403,
        "forbidden",
    );
    check(
        &master.request("GET", "/api/v1/api-keys", &[as_member], b""),
        403,
        "forbidden",
    );
    check(
        &master.request("DELETE", "/api/v1/api-keys/admin", &[as_member], b""),
        403,
        "forbidden",
    );

    for path in [
        "/api/v1/nothing",
        "/api/v2/jobs",
        "/favicon.ico",
        "/api/v1/jobs/",
        "/%ff",
        "/..",
    ] {
        check(&master.get(path), 404, "not_found");
    }
    for (method, path) in [
        ("PUT", "/api/v1/jobs"),
        ("DELETE", "/api/v1/jobs"),
        ("POST", "/metrics"),
        ("PATCH", "/api/v1/jobs/x"),
        ("POST", "/"),
    ] {
        let answer = master.call(method, path, None);
        check(&answer, 405, "method_not_allowed");
        assert!(
            answer.header("allow").is_some_and(|it| it.contains("GET")),
            "{method} {path}"
        );
    }
    let keys = |master: &Master| {
        master.get("/api/v1/api-keys").json()["keys"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(keys(&master), 3);
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

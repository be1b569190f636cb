//! Values that are registered while a job runs, or after it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::secrets::{clean_everywhere, clean_files};
use crate::master::{Answer, DANUBE, Master, id, one_step};
use crate::processes::arrival;
use crate::wire::{Puppets, raw};

/// Letters and digits that stand nowhere else.
const LATE: &str = "zaunkoenig-4711-q";

fn mask(master: &Master, job: &str, body: &Value) -> Answer {
    master.call("POST", &format!("/api/v1/jobs/{job}/mask"), Some(body))
}

#[track_caller]
fn masked(master: &Master, job: &str, value: &str) -> (u64, u64) {
    let answer = mask(master, job, &json!({ "value": value }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    let count = |name: &str| told[name].as_u64().unwrap();
    (count("lines_blanked"), count("bytes_blanked"))
}

fn canaries() -> Vec<String> {
    vec![LATE.to_owned()]
}

#[test]
fn a_value_registered_late_is_blanked_where_it_stands_and_masked_from_then_on() {
    let master = Master::start();
    let (job, mut puppet) = Puppets::new().start(&master);
    let line = format!("see {LATE} here\n");
    // Their ends stay.
    let blanked = 2 * (line.len() as u64 - 1);
    puppet.print("before\n");
    puppet.print(&line);
    puppet.print("between\n");
    puppet.complain(&line);
    master.until_log(&job, "between\n");
    let before = master.log(&job);
    assert_eq!(masked(&master, &job, LATE), (2, blanked));
    puppet.print(format!("after {LATE}\n"));
    drop(puppet);
    master.ended(&job);

    let log = master.log(&job);
    let text = String::from_utf8_lossy(&log);
    assert_eq!(&log[..7], &before[..7], "other lines stay, byte for byte");
    assert!(text.contains("\nbetween\n"), "{text}");
    assert!(text.ends_with("after [redacted]\n"), "{text}");
    let kept = text.lines().count();
    assert_eq!(kept, 6, "four old lines, a notice, the last: {text}");
    clean_everywhere(&canaries(), &master, &job);
}

#[test]
fn a_value_that_was_registered_late_is_masked_in_the_next_attempt_and_in_a_retry() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    puppet.print(format!("{LATE}\n"));
    master.until_log(&job, LATE);
    masked(&master, &job, LATE);
    master.kill();
    clean_files(&canaries(), &dir);

    let master = Master::start_in(&dir, &[]);
    let mut puppet = puppets.arrival();
    puppet.print(format!("second {LATE}\n"));
    drop(puppet);
    let ended = master.ended(&job);
    assert_eq!(ended["attempt"], 2);
    let again = master.call("POST", &format!("/api/v1/jobs/{job}/retry"), None);
    let again = id(&again.json());
    let mut puppet = puppets.arrival();
    puppet.print(format!("third {LATE}\n"));
    drop(puppet);
    master.ended(&again);
    for (job, line) in [(&job, "second [redacted]"), (&again, "third [redacted]")] {
        let log = String::from_utf8(master.log(job)).unwrap();
        assert!(log.contains(line), "{log}");
        clean_everywhere(&canaries(), &master, job);
    }
}

#[test]
fn the_log_of_an_ended_job_is_cleaned_too() {
    let master = Master::start();
    let script = format!("echo clean; echo {LATE}; echo {LATE}{LATE}");
    // As it would stand in the pipeline, in clear, if nobody had sealed it.
    let job = master.run(&script);
    master.ended(&job);
    assert_eq!(masked(&master, &job, LATE), (2, 17 + 34));
    assert_eq!(masked(&master, &job, LATE), (0, 0), "twice is once");
    assert_eq!(&master.log(&job)[..6], b"clean\n");
    clean_everywhere(&canaries(), &master, &job);
}

#[test]
fn a_job_that_waits_takes_a_value_for_later() {
    let master = Master::with(&["--jobs-at-once", "1"]);
    let puppets = Puppets::new();
    let (_, first) = puppets.start(&master);
    let job = id(&master.submit(&puppets.order()));
    assert_eq!(masked(&master, &job, LATE), (0, 0));
    drop(first);
    let mut second = puppets.arrival();
    second.print(format!("{LATE}\n"));
    drop(second);
    master.ended(&job);
    assert_eq!(master.log(&job), b"[redacted]\n");
}

#[test]
fn a_refusal_changes_nothing_and_repeats_no_value() {
    let master = Master::start();
    let (job, mut puppet) = Puppets::new().start(&master);
    puppet.print("abc123\npassword\n");
    for value in ["abc123", "password", "aaaaaaaaaa", " \n "] {
        let answer = mask(&master, &job, &json!({ "value": value }));
        assert_eq!(answer.status, 422, "{value}: {}", answer.text());
        let problem = answer.json();
        assert_eq!(problem["errors"][0]["pointer"], "/value", "{problem}");
        assert!(!answer.text().contains("abc123"), "{problem}");
    }
    for (path, status) in [
        (format!("/api/v1/jobs/{}/mask", "0".repeat(8)), 404),
        ("/api/v1/jobs/nobody/mask".to_owned(), 404),
    ] {
        let answer = master.call("POST", &path, Some(&json!({ "value": LATE })));
        assert_eq!(answer.status, status, "{path}");
    }
    let large = mask(&master, &job, &json!({"value": "x".repeat(500_000)}));
    assert_eq!(large.status, 413, "{}", large.text());

    let short = mask(
        &master,
        &job,
        &json!({"value": "abc123", "allow_short": true}),
    );
    assert_eq!(short.status, 200, "{}", short.text());
    let told = short.json();
    assert_eq!(told["lines_blanked"], 1);
    assert_eq!(told["warnings"].as_array().map(Vec::len), Some(1), "{told}");
    drop(puppet);
    master.ended(&job);
    let log = String::from_utf8(master.log(&job)).unwrap();
    assert!(!log.contains("abc123") && log.contains("password"), "{log}");
    assert!(!master.log_lines().join("\n").contains("abc123"));
}

#[test]
fn a_short_value_of_a_submit_is_masked_on_request_with_a_warning() {
    let master = Master::start();
    let mut order = one_step("echo x1y2z3");
    order["mask"] = json!(["x1y2z3"]);
    let refused = master.call("POST", "/api/v1/jobs", Some(&order));
    assert_eq!(refused.status, 422);
    assert!(!refused.text().contains("x1y2z3"), "{}", refused.text());
    order["allow_short_masks"] = json!(true);
    let job = master.submit(&order);
    let warned = job["warnings"][0].as_str().unwrap();
    assert!(warned.starts_with("`mask/0` is shorter"), "{warned}");
    master.ended(&id(&job));
    assert_eq!(master.log(&id(&job)), b"[redacted]\n");
    assert_eq!(master.job(&id(&job)).get("warnings"), None);
}

/// What a step that waits on a socket tells of its environment, and the socket.
fn asked(listener: &TcpListener) -> (Vec<String>, BufReader<TcpStream>) {
    let stream = arrival(listener);
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let words = line.split_whitespace().map(ToOwned::to_owned).collect();
    (words, lines)
}

#[test]
fn a_job_masks_a_value_of_its_own() {
    let master = Master::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // The value is put together, so that it stands nowhere in the order.
    let script = format!(
        "VALUE=zaunkoenig-$((4700 + 11))-q; echo \"$VALUE\"; exec 9<>/dev/tcp/127.0.0.1/{port}; \
         echo \"$DANUBE_SERVER $DANUBE_JOB_ID $DANUBE_JOB_TOKEN\" >&9; read -r word <&9; \
         echo \"then $VALUE\"; env"
    );
    let mut order = one_step(&script);
    order["spec"]["shell"] = json!("bash");
    let job = id(&master.submit(&order));
    let (words, mut waits) = asked(&listener);
    // A step doesn't see this program if it was built below `/tmp`; what counts is
    // that it needs nothing but what a step has.
    let mut mask = Command::new(DANUBE)
        .args(["secret", "mask"])
        .env_clear()
        .envs(
            ["DANUBE_SERVER", "DANUBE_JOB_ID", "DANUBE_JOB_TOKEN"]
                .iter()
                .zip(&words),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    mask.stdin
        .take()
        .unwrap()
        .write_all(LATE.as_bytes())
        .unwrap();
    let said = mask.wait_with_output().unwrap();
    assert!(said.status.success());
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.starts_with("masked; 1 "), "{said}");
    waits.get_mut().write_all(b"go\n").unwrap();
    assert_eq!(master.ended(&job)["status"], "success");
    let log = String::from_utf8(master.log(&job)).unwrap();
    assert!(log.contains("then [redacted]\n"), "{log}");
    assert!(log.contains("DANUBE_JOB_TOKEN=[redacted]\n"), "{log}");
    assert!(!log.contains("dnb_"), "{log}");
    clean_everywhere(&canaries(), &master, &job);
}

#[test]
fn the_token_of_a_job_opens_its_own_masks_and_nothing_else() {
    let master = Master::start();
    let (other, _puppet) = Puppets::new().start(&master);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "exec 9<>/dev/tcp/127.0.0.1/{port}; echo \"$DANUBE_JOB_TOKEN $DANUBE_SERVER\" >&9; read -r word <&9"
    );
    let mut order = one_step(&script);
    order["spec"]["shell"] = json!("bash");
    let job = id(&master.submit(&order));
    let (words, mut lines) = asked(&listener);
    let (token, server) = (words[0].as_str(), &words[1]);
    assert_eq!(*server, master.address);
    assert!(token.starts_with("dnb_job_"), "{token}");

    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = json!({ "value": LATE }).to_string();
    let status = |method: &str, path: &str| {
        master
            .request(method, path, &headers, body.as_bytes())
            .status
    };
    let own = format!("/api/v1/jobs/{job}");
    for (method, path) in [
        ("GET", "/api/v1/jobs".to_owned()),
        ("POST", "/api/v1/jobs".to_owned()),
        ("GET", own.clone()),
        ("DELETE", own.clone()),
        ("GET", format!("{own}/logs")),
        ("POST", format!("{own}/retry")),
        ("POST", format!("/api/v1/jobs/{other}/mask")),
        ("GET", "/api/v1/api-keys".to_owned()),
    ] {
        assert_eq!(status(method, &path), 401, "{method} {path}");
    }
    assert_eq!(status("POST", &format!("{own}/mask")), 200);
    let wrong = format!("Bearer {}x", &token[..token.len() - 1]);
    let refused = master.request(
        "POST",
        &format!("{own}/mask"),
        &[
            ("authorization", &wrong),
            ("content-type", "application/json"),
        ],
        body.as_bytes(),
    );
    assert_eq!(refused.status, 401);

    lines.get_mut().write_all(b"go\n").unwrap();
    master.ended(&job);
    assert_eq!(
        status("POST", &format!("{own}/mask")),
        401,
        "it died with the attempt"
    );
    let seen = master.log_lines().join("\n") + &String::from_utf8_lossy(&master.log(&job));
    assert!(!seen.contains(token) && !seen.contains(LATE));
    for entry in fs::read_dir(&master.dir).unwrap().map(Result::unwrap) {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(token), "{}", entry.path().display());
    }
}

#[test]
fn a_broken_body_says_where_it_broke_and_nothing_of_it() {
    let master = Master::start();
    let job = master.run("true");
    let body = format!("{{\"value\": \"{LATE}\", }}");
    let answer = raw(
        &master,
        format!(
            "POST /api/v1/jobs/{job}/mask HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            master.key,
            body.len()
        )
        .as_bytes(),
    );
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(!answer.contains("zaunkoenig"), "{answer}");
}

#[test]
fn outside_of_a_job_the_command_says_what_is_missing() {
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new(DANUBE);
        for name in ["DANUBE_SERVER", "DANUBE_JOB_ID", "DANUBE_JOB_TOKEN"] {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        let command = command
            .args(["secret", "mask"])
            .stdin(std::process::Stdio::null());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = run(&[]);
    assert!(
        said.contains("DANUBE_SERVER, DANUBE_JOB_ID, DANUBE_JOB_TOKEN are not set here"),
        "{said}"
    );
    assert!(said.contains("`danube run` doesn't"), "{said}");
    let said = run(&[
        ("DANUBE_SERVER", "http://127.0.0.1:1"),
        ("DANUBE_JOB_ID", "x"),
    ]);
    assert!(
        said.contains(": DANUBE_JOB_TOKEN is not set here"),
        "{said}"
    );
}

#[test]
fn anybody_who_may_submit_masks_a_value_from_outside() {
    let master = Master::start();
    let job = master.run(&format!("echo clean; echo {LATE}"));
    master.ended(&job);
    let run = |key: &str, arguments: &[&str]| {
        let mut child = Command::new(DANUBE)
            .args(["secret", "mask"])
            .args(arguments)
            .env("DANUBE_SERVER", &master.address)
            .env("DANUBE_API_KEY", key)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(format!("{LATE}\n").as_bytes()).unwrap();
        drop(input);
        child.wait_with_output().unwrap()
    };
    let made = json!({"name": "looks", "role": "viewer"});
    let viewer = master.call("POST", "/api/v1/api-keys", Some(&made)).json();
    let refused = run(viewer["key"].as_str().unwrap(), &[&job]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    let done = run(&master.key, &[&job, "--output", "json"]);
    assert!(done.status.success(), "{done:?}");
    let told: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(told, json!({"lines_blanked": 1, "bytes_blanked": 17}));
    let done = run(&master.key, &[&job]);
    let said = String::from_utf8_lossy(&done.stdout);
    assert_eq!(said, "masked; no stored line held it\n");
    clean_everywhere(&canaries(), &master, &job);
}

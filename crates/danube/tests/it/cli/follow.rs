//! Reading logs: to the end, byte by byte, over broken connections.

use std::io::Read;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::responder::{Answer, Responder};
use super::{Place, job, seen};

fn ended(status: &str, log_bytes: usize, exit_code: Option<i32>) -> Answer {
    let finished = json!({"finished_at": "2026-01-10T12:34:59.000Z", "duration_seconds": 2.0, "exit_code": exit_code,
                          "log_bytes": log_bytes, "log_complete": true});
    Answer::json(200, &job(status, &finished))
}

/// The log that the tests read: no line end, no UTF-8, things that steer terminals.
const HOSTILE: &[u8] = b"a\x1b]0;owned\x07\r\xff\x00\x1b[31mred\x1b[2J";

#[test]
fn a_pipe_gets_every_byte() {
    let place = Place::new();
    let server = Responder::new(vec![Answer::log(HOSTILE)]);
    let output = place
        .client(&server.url, &["logs", "pb1x9sfp"])
        .output()
        .unwrap();
    assert_eq!(output.stdout, HOSTILE);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(server.finish()[0].line, "GET /api/v1/jobs/pb1x9sfp/logs");
}

#[test]
fn a_broken_connection_is_read_on_from_where_it_broke() {
    let place = Place::new();
    let server = Responder::new(vec![
        Answer::broken_log(b"one "),
        // Still away.
        Answer::nothing(),
        Answer::problem("unavailable", 503, "starting"),
        Answer::broken_log(b"two "),
        Answer::log(b"three"),
        ended("success", 13, Some(0)),
    ]);
    let (code, out, err) = seen(
        &place
            .client(&server.url, &["logs", "-f", "pb1x9sfp"])
            .output()
            .unwrap(),
    );
    assert_eq!((code, out.as_str()), (0, "one two three"));
    assert_eq!(err, "job pb1x9sfp ended: success after 2.0 s\n");
    let requests = server.finish();
    let ranges: Vec<Option<&str>> = requests.iter().map(|it| it.header("range")).collect();
    assert_eq!(
        ranges,
        [
            None,
            Some("bytes=4-"),
            Some("bytes=4-"),
            Some("bytes=4-"),
            Some("bytes=8-"),
            None
        ]
    );
    assert!(
        requests[0].line.ends_with("/logs?follow=1&gaps=end"),
        "{}",
        requests[0].line
    );
}

#[test]
fn a_server_that_stops_in_between_ends_nothing() {
    let place = Place::new();
    let server = Responder::new(vec![
        // The body comes whole, but the job goes on.
        Answer::log(b"one "),
        Answer::json(200, &job("running", &json!({"log_bytes": 4}))),
        Answer::log(b"two"),
        // The job has ended meanwhile, and its log is longer than what came.
        ended("success", 9, Some(0)),
        Answer::log(b"!!"),
        ended("success", 9, Some(0)),
    ]);
    let (code, out, _) = seen(
        &place
            .client(&server.url, &["logs", "-f", "pb1x9sfp"])
            .output()
            .unwrap(),
    );
    assert_eq!((code, out.as_str()), (0, "one two!!"));
    assert_eq!(server.finish()[4].header("range"), Some("bytes=7-"));
}

#[test]
fn the_end_of_the_range_is_the_end_of_the_log() {
    let place = Place::new();
    let server = Responder::new(vec![
        Answer::broken_log(b"all"),
        Answer::problem("range_not_satisfiable", 416, "the log has 3 bytes"),
        ended("success", 3, Some(0)),
    ]);
    let (code, out, _) = seen(
        &place
            .client(&server.url, &["logs", "-f", "pb1x9sfp"])
            .output()
            .unwrap(),
    );
    assert_eq!((code, out.as_str()), (0, "all"));
    server.finish();
}

#[test]
fn a_text_without_offsets_is_read_anew_and_what_is_known_passed_over() {
    let place = Place::new();
    let server = Responder::new(vec![
        Answer::broken_log(b"12:00 one\n12:0"),
        Answer::log(b"12:00 one\n12:01 two\n"),
    ]);
    let args = [
        "logs",
        "pb1x9sfp",
        "--timestamps",
        "--strip-ansi",
        "--step",
        "a b",
    ];
    let (code, out, _) = seen(&place.client(&server.url, &args).output().unwrap());
    assert_eq!((code, out.as_str()), (0, "12:00 one\n12:01 two\n"));
    let requests = server.finish();
    assert!(
        requests[0]
            .line
            .ends_with("/logs?timestamps=1&ansi=strip&step=a%20b"),
        "{}",
        requests[0].line
    );
    assert_eq!(requests[1].header("range"), None);
}

#[test]
fn reading_can_begin_anywhere() {
    let place = Place::new();
    let server = Responder::new(vec![Answer::broken_log(b"ab"), Answer::log(b"c")]);
    let (code, out, _) = seen(
        &place
            .client(&server.url, &["logs", "pb1x9sfp", "--from", "100"])
            .output()
            .unwrap(),
    );
    assert_eq!((code, out.as_str()), (0, "abc"));
    let ranges: Vec<String> = server
        .finish()
        .iter()
        .map(|it| it.header("range").unwrap().to_owned())
        .collect();
    assert_eq!(ranges, ["bytes=100-", "bytes=102-"]);
}

#[test]
fn an_unknown_job_is_not_waited_for() {
    let place = Place::new();
    let server = Responder::new(vec![Answer::problem(
        "not_found",
        404,
        "there is no job `x`",
    )]);
    let (code, _, err) = seen(
        &place
            .client(&server.url, &["logs", "-f", "x"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 5);
    assert!(
        err.starts_with("error: read the log of job x: there is no job `x`\n"),
        "{err}"
    );
    server.finish();
    let (code, _, _) = seen(
        &place
            .client("http://127.0.0.1:1", &["logs", "-f", "x"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 7);
}

#[test]
fn a_followed_job_that_fails_is_exit_3_or_its_own() {
    let place = Place::new();
    for (args, status, exit) in [
        (&["logs", "-f", "x"][..], "failure", 3),
        (&["logs", "-f", "x", "--exit-code"], "failure", 42),
        (&["logs", "-f", "x", "--exit-code"], "success", 0),
        (&["logs", "-f", "x"], "cancelled", 3),
    ] {
        let own = (status == "failure").then_some(42);
        let server = Responder::new(vec![Answer::log(b"out\n"), ended(status, 4, own)]);
        let (code, out, _) = seen(&place.client(&server.url, args).output().unwrap());
        assert_eq!((code, out.as_str()), (exit, "out\n"), "{args:?} {status}");
        server.finish();
    }
}

#[test]
fn submit_and_retry_follow_to_the_end() {
    let place = Place::new();
    for (args, first) in [
        (["submit", "p", "-f", "--exit-code"], "POST /api/v1/jobs"),
        (
            ["retry", "x", "-f", "--exit-code"],
            "POST /api/v1/jobs/x/retry",
        ),
    ] {
        let server = Responder::new(vec![
            Answer::json(202, &job("pending", &json!({}))),
            // The server has answered: what follows may break.
            Answer::nothing(),
            Answer::log(b"out\n"),
            ended("failure", 4, Some(7)),
        ]);
        let (code, out, err) = seen(&place.client(&server.url, &args).output().unwrap());
        assert_eq!((code, out.as_str()), (7, "out\n"));
        assert!(err.starts_with("submitted job pb1x9sfp\n"), "{err}");
        assert!(
            err.ends_with("job pb1x9sfp ended: failure, exit code 7 after 2.0 s\n"),
            "{err}"
        );
        assert_eq!(server.finish()[0].line, first);
    }
}

#[test]
fn a_log_that_misses_something_says_so() {
    let place = Place::new();
    for (missing, said) in [
        (0, "its log isn't complete"),
        (2048, "2.0 KiB of its log are missing"),
    ] {
        let changes =
            json!({"log_bytes": 3 + missing, "log_complete": false, "log_missing_bytes": missing});
        let server = Responder::new(vec![
            Answer::log(b"out"),
            Answer::json(200, &job("success", &changes)),
        ]);
        let (code, out, err) = seen(
            &place
                .client(&server.url, &["logs", "-f", "x"])
                .output()
                .unwrap(),
        );
        assert_eq!((code, out.as_str()), (0, "out"));
        assert_eq!(err, format!("job pb1x9sfp ended: success; {said}\n"));
        server.finish();
    }
}

#[test]
fn a_log_in_json_loses_no_byte() {
    let place = Place::new();
    let server = Responder::new(vec![
        Answer::log(b"one\r\n\xff\ntwo"),
        ended("success", 10, Some(0)),
    ]);
    let (code, out, err) = seen(
        &place
            .client(&server.url, &["logs", "-f", "x", "-o", "json"])
            .output()
            .unwrap(),
    );
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<Value> = out
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(lines[0], json!({"offset": 0, "text": "one\r\n"}));
    assert_eq!(
        lines[1],
        json!({"offset": 5, "base64": "/wo=", "encoding": "base64"})
    );
    assert_eq!(lines[2], json!({"offset": 7, "text": "two"}));
    assert_eq!(lines[3]["status"], "success");
    assert_eq!(lines.len(), 4);
    server.finish();
}

#[test]
fn an_interrupt_leaves_the_job_and_says_so() {
    let place = Place::new();
    let server = Responder::new(vec![Answer::broken_log(b"begun\n").and_stays()]);
    let mut command = place.client(&server.url, &["logs", "-f", "pb1x9sfp"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Output is there, so the program watches for interrupts.
    let mut begun = [0; 6];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut begun)
        .unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let (code, out, err) = seen(&child.wait_with_output().unwrap());
    assert_eq!((code, out.as_str()), (130, ""));
    assert_eq!(
        err,
        "error: interrupted; job pb1x9sfp goes on\n\
         hint: `danube logs -f pb1x9sfp` follows it again, `danube cancel pb1x9sfp` stops it\n"
    );
    server.finish();
}

#[test]
fn a_reader_who_leaves_ends_the_following() {
    let place = Place::new();
    let server = Responder::new(vec![Answer::log(b"out\n")]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (code, _, err) = seen(
        &place
            .client(&server.url, &["logs", "-f", "x"])
            .stdout(writer)
            .output()
            .unwrap(),
    );
    assert_eq!((code, err.as_str()), (0, ""));
    server.finish();
}

//! Clients that begin a request and take their time.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::master::{Master, one_step};
use crate::wire::connect;

/// How many of each kind.
const CLIENTS: usize = 100;

#[test]
fn requests_that_never_end_are_ended_and_hold_nobody_up() {
    let master = Master::start();
    let begun = |what: &str| -> Vec<TcpStream> {
        let all = (0..CLIENTS).map(|_| {
            let mut stream = connect(&master);
            stream.write_all(what.as_bytes()).expect("send a part");
            stream
        });
        all.collect()
    };
    let key = &master.key;
    let nothing = begun("");
    let preface = begun("PRI * HT");
    let heads = begun("GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\nX-Slow: a");
    let bodies = begun(&format!(
        "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{{"
    ));
    let forms = begun(
        "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 400\r\n\r\nkey=",
    );
    // Meanwhile others are served as ever.
    for _ in 0..20 {
        let job = master.submit(&one_step("echo served"));
        let job = master.ended(&crate::master::id(&job));
        assert_eq!(job["status"], "success");
    }
    for (what, all) in [
        ("nothing", nothing),
        ("preface", preface),
        ("head", heads),
        ("body", bodies),
        ("form", forms),
    ] {
        for mut stream in all {
            let mut answer = Vec::new();
            // The deadline of the connection is longer than any of the server's.
            let ended = stream.read_to_end(&mut answer).map_err(|it| it.kind());
            let answer = String::from_utf8_lossy(&answer);
            // Closed with something unread, a connection is reset.
            let is_closed = matches!(ended, Ok(_) | Err(ErrorKind::ConnectionReset));
            assert!(is_closed, "{what} is held open: {ended:?} {answer}");
            assert!(!answer.starts_with("HTTP/1.1 2"), "{what}: {answer}");
        }
    }
    let jobs = master.get("/api/v1/jobs").json();
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(20), "{jobs}");
}

//! Clients that drop their connection in the middle of a request that writes.

use std::fs;
use std::io::Write as _;
use std::net::{Shutdown, TcpStream};

use rusqlite::Connection;
use serde_json::json;

use super::load::Random;
use super::row::row;
use super::setting;
use crate::master::{DEADLINE, Master, id, one_step};
use crate::processes::until;
use crate::wire::connect;

/// Clients that leave, and as many in the quick form.
const CLIENTS: u64 = 10_000;
const CLIENTS_QUICK: u64 = 1_000;

/// Requests that follow, and as many in the quick form.
const REQUESTS: usize = 1_000;
const REQUESTS_QUICK: usize = 200;

/// Descriptors that a server may have more than before: threads come and go.
const FILES_MORE_MAX: usize = 64;

/// A request that writes.
fn request(master: &Master, method: &str, path: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        master.key,
        body.len()
    )
    .into_bytes()
}

/// How a client leaves.
fn leave(stream: TcpStream, how: u64) {
    match how {
        // Quietly; with a farewell; and with an answer on its way, which makes it a reset.
        0 => drop(stream),
        1 => stream.shutdown(Shutdown::Both).unwrap(),
        _ => stream.shutdown(Shutdown::Read).unwrap(),
    }
}

fn open_files(master: &Master) -> usize {
    fs::read_dir(format!("/proc/{}/fd", master.pid()))
        .expect("the process lives")
        .count()
}

#[test]
fn ten_thousand_clients_that_leave_in_the_middle_of_a_write_harm_nobody() {
    let row = row!("10,000 clients that break off a write");
    let long = setting("DANUBE_FAULT_ROUNDS").is_some();
    let (clients, requests) = if long {
        (CLIENTS, REQUESTS)
    } else {
        (CLIENTS_QUICK, REQUESTS_QUICK)
    };
    let master = Master::with(&["--jobs-at-once", "0"]);
    let waiting = master.run("true");
    let submit = request(
        &master,
        "POST",
        "/api/v1/jobs",
        &one_step("true").to_string(),
    );
    let secret = json!({"kind": "password", "password": "not-to-be-seen"}).to_string();
    let mask = json!({"value": "not-to-be-seen"}).to_string();
    let others = [
        request(&master, "DELETE", &format!("/api/v1/jobs/{waiting}"), ""),
        request(
            &master,
            "POST",
            &format!("/api/v1/jobs/{waiting}/mask"),
            &mask,
        ),
        request(&master, "PUT", "/api/v1/credentials/mine", &secret),
    ];
    let before = open_files(&master);
    let mut random = Random::new(7);
    for client in 0..clients {
        let bytes = match client % 8 {
            0..5 => &submit,
            other => &others[usize::try_from(other - 5).unwrap()],
        };
        // Half of them after the last byte, while it is being served.
        let sent = match client % 2 {
            0 => bytes.len(),
            _ => 1 + usize::try_from(random.below(bytes.len() as u64 - 1)).unwrap(),
        };
        let mut stream = connect(&master);
        // A server that has answered already may have closed it.
        let _ = stream.write_all(&bytes[..sent]);
        leave(stream, client % 3);
    }
    let ids: Vec<String> = (0..requests)
        .map(|_| id(&master.submit(&one_step("true"))))
        .collect();
    for id in &ids {
        assert_eq!(master.job(id)["status"], "pending");
    }
    nothing_is_left_open(&master, before);
    row.held(clients, format!("the next {requests} submits succeeded"));
}

/// No transaction, no connection to the database, no descriptor.
fn nothing_is_left_open(master: &Master, before: usize) {
    let other = Connection::open(master.dir.join("danube.db")).unwrap();
    other.busy_timeout(DEADLINE).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").unwrap();
    until("no connection is in use", DEADLINE, || {
        // Each of these reads may find that of a health check.
        let active = master.metric("danube_db_connections_active");
        (active < 0.5).then_some(())
    });
    until("its connections are closed", DEADLINE, || {
        (open_files(master) <= before + FILES_MORE_MAX).then_some(())
    });
    assert_eq!(master.get("/health/ready").status, 200);
    let lines = master.log_lines();
    let errors: Vec<_> = lines
        .iter()
        .filter(|it| it.contains(r#""level":"error""#))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
}

//! Those who follow a log: they come, they go, they are sent away.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::{Proof, Scenario};
use crate::master::{DANUBE, Master};
use crate::wire::{Puppets, connect, follow};

pub(super) const FOLLOWERS: Scenario = &[
    "danube_sse_clients_active",
    "danube_sse_messages_sent_total",
];

pub(super) const DROPPED: Scenario = &["danube_sse_clients_dropped_total"];

/// More than the system keeps for a connection.
const BURST_BYTES: usize = 8 * 1024 * 1024;

/// Open files of a master that leaves room for one follower.
const FILES: u64 = 500;

#[test]
fn followers_and_their_messages_are_counted() {
    let master = Master::start();
    let proof = Proof::of(&master);
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    let mut open: Vec<_> = (0..3).map(|_| follow(&master, &job, None)).collect();
    proof.until("danube_sse_clients_active", 3.0);
    puppet.print("x\n");
    for live in &mut open {
        assert_eq!(live.next().unwrap().bytes(), b"x\n");
    }
    proof.until("danube_sse_messages_sent_total", 3.0);
    drop(open.pop());
    proof.until("danube_sse_clients_active", 2.0);
    drop(puppet);
    for live in open {
        assert_eq!(live.last().unwrap().name, "end");
    }
    proof.until("danube_sse_clients_active", 0.0);
    // Two logs and two ends more than the three; one piece each at least.
    proof.until_holds("danube_sse_messages_sent_total", |it| it == 5.0);
    assert_eq!(
        proof.now().sum("danube_sse_clients_dropped_total", &[]),
        0.0
    );
    proof.complete(FOLLOWERS);
}

/// Asks for a stream; nothing of the answer is read yet.
fn ask(master: &Master, job: &str) -> TcpStream {
    let mut stream = connect(master);
    let request = format!(
        "GET /api/v1/jobs/{job}/logs/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        master.key
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn followers_that_are_sent_away_are_counted_by_the_reason() {
    let master = Master::with(&["--client-silence", "1"]);
    let proof = Proof::of(&master);
    let dropped = |reason: &str| format!("danube_sse_clients_dropped_total{{reason=\"{reason}\"}}");

    // Slow: it takes no byte.
    let job = master.run(&format!("yes 'a line' | head -c {BURST_BYTES}"));
    master.ended(&job);
    let slow = connect(&master);
    set_socket_recv_buffer_size(&slow, 4 * 1024).unwrap();
    let mut slow_stream = slow;
    let request = format!(
        "GET /api/v1/jobs/{job}/logs/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        master.key
    );
    slow_stream.write_all(request.as_bytes()).unwrap();
    proof.until(&dropped("slow"), 1.0);
    proof.until("danube_sse_clients_active", 0.0);

    // Error: the log is gone behind the server's back.
    let job = master.run("echo gone");
    master.ended(&job);
    for entry in fs::read_dir(master.dir.join("logs")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with(&job) {
            fs::remove_file(entry.path()).unwrap();
            fs::create_dir(entry.path()).unwrap();
        }
    }
    let mut stream = ask(&master, &job);
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&answer).contains("can't be read") {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..count]);
    }
    proof.until(&dropped("error"), 1.0);
    // One that leaves by itself was sent away by nobody.
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    let mut live = follow(&master, &job, None);
    puppet.print("x\n");
    assert_eq!(live.next().unwrap().bytes(), b"x\n");
    drop(live);
    puppet.print("y\n");
    proof.until("danube_sse_clients_active", 0.0);
    proof.until_all(&[
        (&dropped("slow"), 1.0),
        (&dropped("error"), 1.0),
        (&dropped("limit"), 0.0),
    ]);
    drop(puppet);
    proof.complete(DROPPED);
}

#[test]
fn a_follower_too_many_is_counted() {
    let own = tempfile::tempdir().unwrap();
    let limited = format!("ulimit -n {FILES} && exec \"$0\" \"$@\"");
    let master = Master::start_by(
        &["sh", "-c", &limited, DANUBE],
        &own.path().join("data"),
        &[],
    );
    let proof = Proof::of(&master);
    let puppets = Puppets::new();
    let (job, puppet) = puppets.start(&master);
    let first = follow(&master, &job, None);
    proof.until("danube_sse_clients_active", 1.0);
    let refused = master.get(&format!("/api/v1/jobs/{job}/logs/stream"));
    assert_eq!(refused.status, 429, "{}", refused.text());
    proof.until(r#"danube_sse_clients_dropped_total{reason="limit"}"#, 1.0);
    drop((first, puppet));
}

//! Playbook jobs, from the request to what is told of them: a real server and a real
//! Ansible. Where there is no Ansible, they say so and prove nothing.

mod elsewhere;
mod ends;
mod folds;
mod galaxy;
mod here;
mod inventories;
mod odd_secrets;
mod secrets;
mod sources;
mod submitted;
mod told;

pub(crate) use sources::{Daemon, git};
pub(crate) use told::provoked;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::master::{Master, id};

/// Whether Ansible is installed; says what is left out when it isn't.
pub(crate) fn ansible_or_skip(what: &str) -> bool {
    static IS_THERE: OnceLock<bool> = OnceLock::new();
    let is_there = *IS_THERE.get_or_init(|| {
        let mut command = Command::new("ansible-playbook");
        let asked = command.arg("--version").stdout(Stdio::null()).status();
        asked.is_ok_and(|it| it.success())
    });
    if !is_there {
        eprintln!("skipped: {what} needs ansible-playbook (`make deps` installs it)");
    }
    is_there
}

/// Tasks as an inline playbook on these hosts of the inventory below.
pub(crate) fn tasks(text: &str) -> Value {
    let lines: String = text.lines().map(|it| format!("    {it}\n")).collect();
    let playbook = format!("- hosts: all\n  gather_facts: false\n  tasks:\n{lines}");
    order(json!({"type": "inline", "playbook": playbook}))
}

/// A playbook job on hosts `one` and `two`, which are this machine.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a case is written where it is used"
)]
pub(crate) fn order(source: Value) -> Value {
    let here = json!({"ansible_connection": "local"});
    json!({
        "source": source,
        "inventory": {"type": "inline", "hosts": {"one": here, "two": here}},
    })
}

/// The same with one field more.
pub(crate) fn with(mut order: Value, field: &str, value: Value) -> Value {
    order[field] = value;
    order
}

/// The job that came of it, when it has ended.
#[track_caller]
pub(crate) fn ended(master: &Master, order: &Value) -> Value {
    master.ended(&id(&master.submit(order)))
}

/// All events of a job's latest attempt.
pub(crate) fn events(master: &Master, job: &Value) -> Vec<Value> {
    let path = format!("/api/v1/jobs/{}/events", id(job));
    let list = master.get(&path).json();
    assert_eq!(list["next"], Value::Null, "it has ended: {list}");
    list["events"].as_array().expect("a list").clone()
}

/// One event of a stream, its id as it came.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

/// All events of a stream to its end; `last` is the id of the last event seen.
pub(crate) fn followed(master: &Master, path: &str, last: Option<&str>) -> Vec<Named> {
    let key = format!("Bearer {}", master.key);
    let mut headers = vec![("authorization", key.as_str())];
    headers.extend(last.map(|it| ("last-event-id", it)));
    let answer = master.open("GET", path, &headers, b"");
    assert_eq!(answer.status(), 200);
    let (mut name, mut id, mut events) = (String::new(), String::new(), Vec::new());
    for line in BufReader::new(answer.into_body().into_reader()).lines() {
        let line = line.expect("read events");
        match line.split_once(": ") {
            Some(("event", it)) => name = it.to_owned(),
            Some(("id", it)) => id = it.to_owned(),
            Some(("data", it)) => events.push(Named {
                name: name.clone(),
                id: id.clone(),
                data: serde_json::from_str(it).expect("data is JSON"),
            }),
            _ => {}
        }
    }
    events
}

/// An HTTP server on loopback with these files by their paths; its address.
pub(crate) fn serve_files(files: Vec<(&'static str, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = String::new();
            let mut lines = BufReader::new(stream.try_clone().expect("a copy"));
            while lines.read_line(&mut line).is_ok_and(|it| it > 2) {}
            let asked = line.split([' ', '?']).nth(1).unwrap_or_default();
            let found = files.iter().find(|(path, _)| *path == asked);
            let (status, body) = match found {
                Some((_, body)) => ("200 OK", body.as_slice()),
                None => ("404 Not Found", &b"no"[..]),
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.write_all(&[head.as_bytes(), body].concat());
        }
    });
    format!("http://{address}")
}

/// The SHA-256 of some bytes, as a request has it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|it| format!("{it:02x}")).collect()
}

/// A credential that the server keeps.
#[track_caller]
pub(crate) fn credential(master: &Master, body: &Value) {
    let answer = master.call("POST", "/api/v1/credentials", Some(body));
    assert_eq!(answer.status, 201, "{}", answer.text());
}

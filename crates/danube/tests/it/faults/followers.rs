//! Very many followers of one job, and slow ones among them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::row::row;
use super::setting;
use crate::master::{Master, id};
use crate::processes::{forget_highest_memory, memory};
use crate::wire::{Events, Puppets, connect, follow, joined};

/// Followers of one job that the design promises.
const FOLLOWERS: usize = 10_000;

/// As many in the quick form, without `DANUBE_FAULT_ROUNDS`.
const FOLLOWERS_QUICK: usize = 1_000;

/// Memory that a follower may cost the server: 25,000 of them in a GiB.
const FOLLOWER_BYTES_MAX: u64 = 42 * 1024;

/// The same for one that is being written to: a piece is read, another is made,
/// and one waits in its connection.
const BUSY_FOLLOWER_BYTES_MAX: u64 = 80 * 1024;

/// What a test build of the server may need beside its followers: threads that
/// read for them, and the allocator's leavings.
const OTHER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Descriptors of the test beside its connections.
const OTHER_FILES: u64 = 512;

/// Fast followers of a job that has slow ones too, and as many in the quick form.
const FAST: usize = 1_000;
const FAST_QUICK: usize = 100;

/// Slow ones among them.
const SLOW: usize = 20;

/// A slow one's machine keeps no more for it; else the system would take it all.
const SLOW_BUFFER_BYTES: usize = 4 * 1024;

/// What the job prints for them: more than the 4 MiB that the system itself may
/// keep for a connection.
const BURST_BYTES: usize = 6 * 1024 * 1024;

/// Stack of a thread that only reads.
const STACK_BYTES: usize = 128 * 1024;

/// One follower on a connection of its own: raw bytes of an answer in pieces.
struct Raw {
    stream: TcpStream,
    seen: Vec<u8>,
    /// Where the body begins in `seen`.
    body: usize,
}

impl Raw {
    /// Asks; the answer is read later.
    fn ask(master: &Master, path: &str) -> Self {
        let mut stream = connect(master);
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
            master.key
        );
        stream.write_all(request.as_bytes()).expect("ask");
        Self {
            stream,
            seen: Vec::new(),
            body: 0,
        }
    }

    /// Reads the head of the answer; its status.
    fn status(&mut self) -> u16 {
        while !self.seen.windows(4).any(|it| it == b"\r\n\r\n") {
            self.more().expect("an answer");
        }
        let end = self.seen.windows(4).position(|it| it == b"\r\n\r\n");
        self.body = end.expect("found above") + 4;
        let status = self
            .seen
            .get(9..12)
            .and_then(|it| std::str::from_utf8(it).ok());
        status.and_then(|it| it.parse().ok()).expect("a status")
    }

    /// Reads until the body holds `text`.
    fn until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.bytes()).contains(text) {
            self.more().expect("more of the log");
        }
    }

    /// Reads to the end; the body.
    fn rest(mut self) -> Vec<u8> {
        while self.more().is_some() {}
        let bytes = self.bytes();
        assert!(
            self.seen.ends_with(b"\r\n0\r\n\r\n"),
            "the answer broke off"
        );
        bytes
    }

    fn more(&mut self) -> Option<()> {
        let mut piece = [0; 16 * 1024];
        let count = self.stream.read(&mut piece).expect("read the log");
        self.seen.extend_from_slice(&piece[..count]);
        (count > 0).then_some(())
    }

    /// The body so far, out of its chunks.
    fn bytes(&self) -> Vec<u8> {
        let (mut bytes, mut rest) = (Vec::new(), &self.seen[self.body..]);
        while let Some(line) = rest.windows(2).position(|it| it == b"\r\n") {
            let size = std::str::from_utf8(&rest[..line]).expect("a size");
            let size = usize::from_str_radix(size, 16).expect("a size");
            rest = &rest[line + 2..];
            bytes.extend_from_slice(&rest[..size.min(rest.len())]);
            rest = rest.get(size + 2..).unwrap_or_default();
        }
        bytes
    }
}

/// Raises this process's soft limit of open files; what it is then.
fn open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("raise the limit to what is allowed");
    limit.maximum.unwrap_or(u64::MAX)
}

/// Opens followers of a running job until there are `wanted`, or the server says
/// that its limit of open files allows no more.
fn crowd(master: &Master, job: &str, wanted: usize) -> Vec<Raw> {
    let room = open_files().saturating_sub(OTHER_FILES);
    let wanted = wanted.min(usize::try_from(room).unwrap_or(usize::MAX));
    let path = format!("/api/v1/jobs/{job}/logs?follow=1");
    let mut all = Vec::with_capacity(wanted);
    while all.len() < wanted {
        let mut one = Raw::ask(master, &path);
        match one.status() {
            200 => all.push(one),
            429 => break,
            status => panic!("{status} for follower {}", all.len()),
        }
    }
    all
}

#[test]
fn every_one_of_very_many_followers_gets_every_byte_and_costs_little() {
    let row = row!("slow and very many followers");
    let wanted = match setting("DANUBE_FAULT_ROUNDS") {
        None => FOLLOWERS_QUICK,
        Some(_) => FOLLOWERS,
    };
    let master = Master::start();
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    puppet.print("first\n");
    // What the first ones wake up is not theirs alone.
    let mut early = crowd(&master, &job, 50);
    early.iter_mut().for_each(|it| it.until("first\n"));
    let before = memory(master.pid(), "VmRSS");
    let mut all = crowd(&master, &job, wanted);
    all.iter_mut().for_each(|it| it.until("first\n"));
    let count = all.len();
    if count < wanted {
        eprintln!(
            "{count} of {wanted} followers: the limit of {} open files allows no more",
            open_files()
        );
        // Four descriptors a follower, and room for all else.
        let allowed = open_files().saturating_sub(2 * OTHER_FILES) / 4;
        assert!(count as u64 >= allowed, "{count} of {allowed} followers");
    }
    for number in 0..20 {
        puppet.print(format!("line {number} for everybody\n"));
    }
    all.iter_mut()
        .for_each(|it| it.until("line 19 for everybody\n"));
    let each = memory(master.pid(), "VmRSS").saturating_sub(before) / count as u64;
    let room = FOLLOWER_BYTES_MAX + OTHER_BYTES_MAX / count as u64;
    assert!(each <= room, "{each} bytes a follower");
    drop(puppet);
    all.extend(early);
    // A log that is there already is no measure of one that is followed.
    let log: String = (0..20)
        .map(|it| format!("line {it} for everybody\n"))
        .collect();
    let log = format!("first\n{log}");
    for (number, one) in all.into_iter().enumerate() {
        assert_eq!(
            String::from_utf8_lossy(&one.rest()),
            log,
            "follower {number}"
        );
    }
    master.ended(&job);
    assert_eq!(master.log(&job), log.as_bytes());
    row.held(1, format!("{count} followers, {each} bytes each"));
}

#[test]
fn slow_followers_hold_up_neither_the_job_nor_the_fast_ones_and_resume_without_a_gap() {
    let row = row!("slow and very many followers");
    let many = setting("DANUBE_FAULT_ROUNDS").map_or(FAST_QUICK, |_| FAST);
    let master = Master::start();
    let puppets = Puppets::new();
    let script = format!(
        "{}yes 'what a job prints for its followers' | head -c {BURST_BYTES}\n",
        puppets.script()
    );
    let order = json!({"spec": {"name": "burst", "shell": "bash", "steps": [{"name": "only", "run": script}]}});
    let job = id(&master.submit(&order));
    let mut puppet = puppets.arrival();
    puppet.print("first\n");
    let before = forget_highest_memory(master.pid());
    let path = format!("/api/v1/jobs/{job}/logs/stream");
    let mut slow: Vec<Raw> = (0..SLOW).map(|_| Raw::ask(&master, &path)).collect();
    for one in &mut slow {
        set_socket_recv_buffer_size(&one.stream, SLOW_BUFFER_BYTES).expect("set a small buffer");
        assert_eq!(one.status(), 200);
        one.until("first");
    }
    let fast: Vec<Raw> = crowd(&master, &job, many);
    assert_eq!(fast.len(), many);
    let readers: Vec<_> = fast
        .into_iter()
        .map(|one| {
            let thread = thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn(move || one.rest()).expect("a thread")
        })
        .collect();
    drop(puppet);
    // From here on a slow one takes 1 KiB and no more.
    for one in &mut slow {
        let some = one.seen.len() + 1024;
        while one.seen.len() < some {
            one.more().expect("more of the log");
        }
    }
    let all: Vec<Vec<u8>> = readers
        .into_iter()
        .map(|it| it.join().expect("read"))
        .collect();
    let grown = memory(master.pid(), "VmHWM").saturating_sub(before);
    let kib = grown / 1024;
    let room = BUSY_FOLLOWER_BYTES_MAX * (SLOW + many) as u64 + OTHER_BYTES_MAX;
    assert!(
        room < (SLOW * BURST_BYTES) as u64,
        "a queue for each would not be seen"
    );
    assert!(grown <= room, "{grown} bytes more");
    let log = {
        master.ended(&job);
        master.log(&job)
    };
    assert_eq!(log.len(), "first\n".len() + BURST_BYTES);
    assert!(all.iter().all(|it| *it == log), "a fast one lost something");
    // The slow ones still have theirs before them: the job and the others are done.
    #[expect(clippy::float_cmp, reason = "a small whole number")]
    let waiting = master.metric("danube_sse_clients_active") == SLOW as f64;
    assert!(waiting, "{}", master.metric("danube_sse_clients_active"));
    slow.into_iter()
        .step_by(4)
        .for_each(|it| resumes(&master, &job, &log, it));
    row.held(
        1,
        format!("{SLOW} slow and {many} fast ones, {kib} KiB of memory more"),
    );
}

/// What a slow one saw is the log's beginning; resumed there, the rest comes.
fn resumes(master: &Master, job: &str, log: &[u8], one: Raw) {
    let bytes = one.bytes();
    let whole = bytes
        .windows(2)
        .rposition(|it| it == b"\n\n")
        .map_or(0, |it| it + 2);
    let events: Vec<_> = Events::new(&bytes[..whole]).collect();
    let last = events.last().expect("an event").id;
    assert!(last < log.len() as u64);
    assert_eq!(joined(&events, 0), log[..usize::try_from(last).unwrap()]);
    drop(one);
    let events: Vec<_> = follow(master, job, Some(last)).collect();
    assert!(joined(&events, last) == log[usize::try_from(last).unwrap()..]);
}

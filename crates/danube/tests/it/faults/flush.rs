//! The master dies at any flush of a log: what followers saw stays, nothing torn
//! or foreign comes in, and the index still tells where things are.

use std::io::Read;

use serde_json::json;

use super::history::attempts;
use super::load::Random;
use super::row::row;
use super::setting;
use crate::master::{Master, id, one_step};
use crate::processes;
use crate::wire::{follow, joined};

/// Kills when `DANUBE_FAULT_ROUNDS` says nothing else.
const ROUNDS_DEFAULT: u64 = 8;

/// Bytes of each line that the job prints: a number tells where it stands.
const LINE_BYTES: usize = 32;

/// Most bytes that are seen before a kill: some dozens of batches.
const SEEN_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// A line for each number, without an end. One `printf` takes many numbers, so
/// most of the time goes to the log and not to the shell.
const SCRIPT: &str = "i=0; while :; do \
    seq $i $((i + 4095)) | awk '{ printf \"line %020d .....\\n\", $1 }'; \
    i=$((i + 4096)); done";

/// A time and a space before a line, or that there is none.
const STAMP_BYTES: usize = "2026-11-25T10:11:12.345Z ".len();

/// What the job has printed when it has printed `len` bytes.
fn pattern(len: usize) -> Vec<u8> {
    let lines = (0..=len / LINE_BYTES).map(|it| format!("line {it:020} .....\n"));
    let mut bytes = lines.collect::<String>().into_bytes();
    assert_eq!(bytes.len() % LINE_BYTES, 0, "a line is as long as it says");
    bytes.truncate(len);
    bytes
}

/// Follows until so many bytes are here; all of them.
fn seen(master: &Master, job: &str, bytes: u64) -> Vec<u8> {
    let key = format!("Bearer {}", master.key);
    let path = format!("/api/v1/jobs/{job}/logs?follow=1");
    let answer = master.open("GET", &path, &[("authorization", &key)], b"");
    let mut seen = Vec::new();
    let body = answer.into_body().into_reader();
    body.take(bytes).read_to_end(&mut seen).expect("the log");
    assert_eq!(seen.len() as u64, bytes, "the log ended");
    seen
}

#[test]
fn a_log_whose_master_is_killed_at_any_flush_keeps_all_that_was_shown() {
    let row = row!("master killed at a random moment");
    let rounds = setting("DANUBE_FAULT_ROUNDS").unwrap_or(ROUNDS_DEFAULT);
    let seed = setting("DANUBE_FAULT_SEED").unwrap_or(rounds);
    let mut random = Random::new(seed);
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    for round in 0..rounds {
        let mut order = one_step(SCRIPT);
        order["retry_on_lost"] = json!(false);
        let job = id(&master.submit(&order));
        // The first kills fall into the first batches.
        let bytes = match round {
            0..4 => 1 + random.below(64 * 1024),
            _ => 1 + random.below(SEEN_BYTES_MAX),
        };
        let shown = seen(&master, &job, bytes);
        master.kill();
        processes::all_gone(&job);
        master = Master::start_in(&dir, &[]);
        let ended = master.ended(&job);
        assert_eq!(ended["status"], "failure", "{ended}");
        assert_eq!(ended["log_complete"], false, "{ended}");
        check(&master, &job, &shown);
    }
    // The directory is as good as before.
    let job = master.ended(&master.run("echo whole"));
    assert_eq!(job["log_complete"], true, "{job}");
    row.held(rounds, "logs keep all that was shown");
}

fn check(master: &Master, job: &str, shown: &[u8]) {
    let log = master.log(job);
    assert!(log.starts_with(shown), "bytes that were shown are gone");
    assert!(log == pattern(log.len()), "no prefix of what was printed");
    assert_eq!(attempts(&master.dir, job, &log).len(), 1);
    assert_eq!(master.job(job)["log_bytes"], log.len());

    // Every way to read it goes by the index.
    let events: Vec<_> = follow(master, job, None).collect();
    assert!(joined(&events, 0) == log, "events tell another log");
    let text = master.get(&format!("/api/v1/jobs/{job}/logs?timestamps=1"));
    let text = String::from_utf8(text.body).expect("lines");
    // Bytes that came to the disk without their place in the index have no time.
    let lines = text.lines().map(|it| it.split_at(STAMP_BYTES).1);
    let all = String::from_utf8_lossy(&log);
    let differs = lines
        .clone()
        .zip(all.lines())
        .find(|(shown, kept)| shown != kept);
    assert_eq!(differs, None, "of {} bytes", log.len());
    assert_eq!(lines.count(), all.lines().count(), "of {} bytes", log.len());
    // The names of its steps ride with the next commit, and may have died with it.
    let step = master.get(&format!("/api/v1/jobs/{job}/logs?step=only"));
    assert!(
        step.status == 404 || step.body == log,
        "the step lies elsewhere"
    );
    let key = format!("Bearer {}", master.key);
    for from in [0, 1, log.len() / 3, log.len() / 2, log.len() - 1] {
        let range = format!("bytes={from}-{}", from + 99);
        let headers = [("authorization", key.as_str()), ("range", range.as_str())];
        let part = master.request("GET", &format!("/api/v1/jobs/{job}/logs"), &headers, b"");
        assert_eq!(part.status, 206);
        assert_eq!(part.body, log[from..log.len().min(from + 100)]);
    }
}

#[test]
fn a_job_that_runs_again_after_each_kill_leaves_a_prefix_of_each_attempt() {
    let row = row!("master killed at a random moment");
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let job = master.run(SCRIPT);
    let mut shown = Vec::new();
    for bytes in [50_000, 700_000, 1] {
        // More than the attempts before have left: so much is of this one.
        let left = master.log(&job).len() as u64;
        shown = seen(&master, &job, left + bytes);
        master.kill();
        processes::all_gone(&job);
        master = Master::start_in(&dir, &[]);
    }
    let ended = master.ended(&job);
    assert_eq!(ended["status"], "failure", "{ended}");
    assert_eq!(ended["attempt"], 3, "{ended}");
    assert_eq!(ended["log_complete"], false, "{ended}");
    let log = master.log(&job);
    assert!(log.starts_with(&shown), "bytes that were shown are gone");
    let parts = attempts(&dir, &job, &log);
    assert_eq!(parts.len(), 3);
    for part in parts {
        assert!(part == pattern(part.len()), "no prefix of what was printed");
    }
    row.held(3, "a prefix of each attempt");
}

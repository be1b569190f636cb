//! Live logs: pieces arrive while the job runs, and nothing is lost or changed.

use std::io::Read;

use serde_json::json;

use super::text;
use crate::master::{Master, id};
use crate::wire::{Puppets, follow, joined};

/// Follows as raw bytes from an offset on.
fn live(master: &Master, job: &str, query: &str) -> impl Read + use<> {
    let key = format!("Bearer {}", master.key);
    let answer = master.open(
        "GET",
        &format!("/api/v1/jobs/{job}/logs?follow=1{query}"),
        &[("authorization", &key)],
        b"",
    );
    assert_eq!(answer.status(), 200);
    answer.into_body().into_reader()
}

/// The next bytes of a live log.
#[track_caller]
fn next(from: &mut impl Read, expected: impl AsRef<[u8]>) {
    let mut bytes = vec![0; expected.as_ref().len()];
    from.read_exact(&mut bytes).expect("more of the log");
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        String::from_utf8_lossy(expected.as_ref())
    );
}

fn rest(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("the rest of the log");
    bytes
}

#[test]
fn a_follower_hears_each_piece_while_the_job_runs() {
    let master = Master::start();
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    let mut reader = live(&master, &job, "");
    puppet.print("one\n");
    next(&mut reader, "one\n");
    puppet.complain("two\n");
    next(&mut reader, "two\n");
    // A prompt or a progress bar has no newline, and is shown all the same.
    puppet.print("three?");
    next(&mut reader, "three?");
    puppet.print("\r50%\r100%");
    next(&mut reader, "\r50%\r100%");
    let shown = master.job(&job);
    // That it runs rides with the next commit; its output doesn't wait for that.
    let status = shown["status"].as_str().unwrap();
    assert!(matches!(status, "scheduling" | "running"), "{status}");
    assert_eq!(shown["log_bytes"], 23);
    assert_eq!(shown["log_complete"], json!(null));
    drop(puppet);
    assert_eq!(rest(reader), b"");
    assert_eq!(master.job(&job)["status"], "success");
    assert_eq!(master.log(&job), b"one\ntwo\nthree?\r50%\r100%");
}

#[test]
fn from_the_middle_resumed_and_read_after_the_end_give_the_same_bytes() {
    let master = Master::start();
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    let mut whole = live(&master, &job, "");
    puppet.print("first piece\n");
    next(&mut whole, "first piece\n");
    let mut cut = live(&master, &job, "&from=6");
    next(&mut cut, "piece");
    drop(cut);
    puppet.print("second \u{20ac} piece\n");
    let mut resumed = live(&master, &job, "&from=11");
    next(&mut resumed, "\nsecond");
    let ahead = live(&master, &job, "&from=20");
    puppet.print(b"third\0\xff\r");
    drop(puppet);
    let mut seen = b"first piece\n".to_vec();
    seen.extend(rest(whole));
    master.ended(&job);
    let log = master.log(&job);
    assert_eq!(
        log,
        b"first piece\nsecond \xe2\x82\xac piece\nthird\0\xff\r"
    );
    assert_eq!(seen, log);
    assert_eq!(rest(resumed), log[18..]);
    assert_eq!(rest(ahead), log[20..]);
    for from in 0..=log.len() {
        assert_eq!(
            rest(live(&master, &job, &format!("&from={from}"))),
            log[from..],
            "from {from}"
        );
        let key = format!("Bearer {}", master.key);
        let headers = [
            ("authorization", key.as_str()),
            ("range", &format!("bytes={from}-")),
        ];
        let answer = master.request(
            "GET",
            &format!("/api/v1/jobs/{job}/logs?follow=1"),
            &headers,
            b"",
        );
        assert_eq!(answer.body, log[from..], "range from {from}");
    }
}

#[test]
fn every_byte_survives() {
    let master = Master::start();
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    let all: Vec<u8> = (0..=255).collect();
    let pieces: [&[u8]; 9] = [
        &all,
        b"\0\0\0",
        b"\xff\xfe\xf0\x9f\x92",
        b"\xa9\n",
        b"10%\r20%\r\n",
        b"\n\n\n",
        b"\xed\xa0\x80\xc0\xaf",
        &[b'x'; 5_000],
        b"no newline at the end \xe2\x82",
    ];
    let mut expected: Vec<u8> = Vec::new();
    for piece in pieces {
        puppet.print(piece);
        expected.extend(piece);
    }
    drop(puppet);
    master.ended(&job);
    assert_eq!(master.log(&job), expected);
    assert_eq!(rest(live(&master, &job, "")), expected);
    let events: Vec<_> = follow(&master, &job, None).collect();
    assert_eq!(joined(&events, 0), expected);
}

#[test]
fn one_endless_line_and_very_many_short_ones_survive() {
    let master = Master::start();
    let job = master.submit(&json!({"spec": {"name": "long", "steps": [
        {"name": "line", "run": "head -c 3000000 /dev/zero | tr '\\0' x"},
        {"name": "lines", "run": "yes '' | head -n 300000"},
    ]}}));
    let job = master.ended(&id(&job));
    assert_eq!(job["log_bytes"], 3_300_000);
    let log = master.log(&id(&job));
    assert!(log[..3_000_000].iter().all(|it| *it == b'x'));
    assert!(log[3_000_000..].iter().all(|it| *it == b'\n'));
    assert_eq!(log.len(), 3_300_000);
}

#[test]
fn a_step_is_followed_from_its_start_to_its_end() {
    let master = Master::start();
    let puppets = Puppets::new();
    let step = |name: &str| json!({"name": name, "run": puppets.script()});
    let job = id(&master.submit(&json!({"spec": {"name": "steps", "shell": "bash", "steps": [step("one"), step("two"), step("three")]}})));
    let mut first = puppets.arrival();
    first.print("1\n");
    let mut one = live(&master, &job, "&step=one");
    let mut two = live(&master, &job, "&step=two");
    next(&mut one, "1\n");
    first.print("11\n");
    next(&mut one, "11\n");
    drop(first);
    let mut second = puppets.arrival();
    // The first step is over: so is its follower, while the job goes on.
    assert_eq!(rest(one), b"");
    second.print("2\n");
    next(&mut two, "2\n");
    assert_eq!(text(&master, &job, "step=two"), "2\n");
    assert_eq!(text(&master, &job, "step=three"), "");
    drop(second);
    let mut third = puppets.arrival();
    assert_eq!(rest(two), b"");
    third.print("3\n");
    drop(third);
    master.ended(&job);
    for (name, expected) in [("one", "1\n11\n"), ("two", "2\n"), ("three", "3\n")] {
        assert_eq!(text(&master, &job, &format!("step={name}")), expected);
        assert_eq!(
            text(&master, &job, &format!("follow=1&step={name}")),
            expected
        );
    }
}

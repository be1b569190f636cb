//! The log as server-sent events.

use std::io::{Read, Write};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::master::{DEADLINE, Master, id, one_step};
use crate::wire::{Event, Events, Puppets, connect, follow, joined};

/// The bytes of the whole log as its events tell it, with the end checked.
#[track_caller]
fn whole(events: &[Event], from: u64, status: &str) -> Vec<u8> {
    let (end, rest) = events.split_last().expect("an end");
    let bytes = joined(rest, from);
    assert!(rest.iter().all(|it| it.name == "log"), "{rest:?}");
    assert_eq!(end.name, "end");
    assert_eq!(end.id, from + bytes.len() as u64);
    assert_eq!(
        end.data,
        json!({"status": status, "offset": end.id, "log_complete": true})
    );
    bytes
}

/// Waits until a metric has this value.
#[track_caller]
fn wait_for_metric(master: &Master, series: &str, value: f64) {
    let until = Instant::now() + DEADLINE;
    loop {
        let now = master.metric(series);
        #[expect(clippy::float_cmp, reason = "small whole numbers")]
        if now == value {
            return;
        }
        assert!(Instant::now() < until, "{series} is {now}, not {value}");
    }
}

#[test]
fn comments_and_retry_are_skipped_by_a_reader() {
    let text = "retry: 1000\n\n: still here\n\nevent: log\nid: 2\ndata: {\"offset\":0,\"text\":\"a\\n\"}\n\n: still here\n\nevent: end\nid: 2\ndata: {}\n\n";
    let events: Vec<Event> = Events::new(text.as_bytes()).collect();
    assert_eq!(
        events.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(),
        ["log", "end"]
    );
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one stream from its start to its end"
)]
fn a_stream_resumes_at_every_offset_without_loss_or_repetition() {
    let master = Master::start();
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    let mut live = follow(&master, &job, None);
    let mut seen = Vec::new();
    for piece in [
        "one\n",
        "zwei \u{20ac}\u{1f980}\n",
        "\r10%\r20%",
        "\n\u{1b}[1mbold\u{1b}[0m\n",
    ] {
        puppet.print(piece);
        // Each piece is an event of its own, or more.
        let mut arrived = Vec::new();
        while arrived.len() < piece.len() {
            let event = live.next().expect("another event");
            arrived.extend(event.bytes());
            assert_eq!(event.data["stream"], "stdout");
            assert!(
                event.data["time"]
                    .as_str()
                    .is_some_and(|it| it.ends_with('Z'))
            );
            seen.push(event);
        }
        assert_eq!(arrived, piece.as_bytes());
    }
    puppet.complain(b"\xff\x00err\n");
    let event = live.next().expect("what was written to standard error");
    assert_eq!(
        (&event.data["stream"], &event.data["text"]),
        (&json!("stderr"), &Value::Null)
    );
    seen.push(event);
    drop(puppet);
    seen.extend(live);
    master.ended(&job);
    let log = master.log(&job);
    assert_eq!(whole(&seen, 0, "success"), log);
    for offset in 0..=log.len() as u64 {
        let resumed: Vec<Event> = follow(&master, &job, Some(offset)).collect();
        assert_eq!(
            whole(&resumed, offset, "success"),
            log[usize::try_from(offset).unwrap()..],
            "from {offset}"
        );
        let asked = master
            .get(&format!("/api/v1/jobs/{job}/logs/stream?from={offset}"))
            .body;
        assert_eq!(Events::new(&asked[..]).collect::<Vec<_>>(), resumed);
    }
    // Past the end there is only the end.
    let beyond: Vec<Event> = follow(&master, &job, Some(9_999)).collect();
    assert_eq!(
        beyond.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(),
        ["end"]
    );
    let key = format!("Bearer {}", master.key);
    for wrong in ["", "x", "-1", "1.5", "99999999999999999999"] {
        let headers = [("authorization", key.as_str()), ("last-event-id", wrong)];
        let answer = master.request(
            "GET",
            &format!("/api/v1/jobs/{job}/logs/stream"),
            &headers,
            b"",
        );
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (400, &json!("malformed")),
            "{wrong:?}"
        );
    }
    assert_eq!(
        master
            .get(&format!("/api/v1/jobs/{job}/logs/stream?to=4"))
            .status,
        400
    );
}

#[test]
fn a_character_that_the_job_writes_in_pieces_comes_whole() {
    let master = Master::start();
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    let live = follow(&master, &job, None);
    let events = thread::spawn(move || live.collect::<Vec<_>>());
    let key = format!("Bearer {}", master.key);
    let raw = master.open(
        "GET",
        &format!("/api/v1/jobs/{job}/logs?follow=1"),
        &[("authorization", &key)],
        b"",
    );
    let mut raw = raw.into_body().into_reader();
    for byte in "\u{20ac} \u{1f980}\u{e9}".bytes() {
        puppet.print([byte]);
        // It is on the disk, and every follower has been woken for it alone.
        let mut arrived = [0];
        raw.read_exact(&mut arrived).unwrap();
        assert_eq!(arrived, [byte]);
    }
    drop(puppet);
    let events = events.join().unwrap();
    assert_eq!(
        whole(&events, 0, "success"),
        "\u{20ac} \u{1f980}\u{e9}".as_bytes()
    );
    assert!(
        events.iter().all(|it| it.data.get("base64").is_none()),
        "{events:?}"
    );
}

#[test]
fn what_is_no_character_at_all_comes_as_base64_byte_for_byte() {
    let master = Master::start();
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    let live = follow(&master, &job, None);
    let events = thread::spawn(move || live.collect::<Vec<_>>());
    let bytes = b"\xff\xfe ok \xc3(\xf0\x28\x8c\x28 \xed\xa0\x80 end \xf0\x9f";
    for piece in bytes.chunks(2) {
        puppet.print(piece);
    }
    drop(puppet);
    assert_eq!(whole(&events.join().unwrap(), 0, "success"), bytes);
}

#[test]
fn the_end_is_told_with_the_jobs_status() {
    let master = Master::start();
    for (order, status) in [
        (one_step("echo x"), "success"),
        (one_step("echo x; exit 1"), "failure"),
        (
            json!({"spec": {"name": "slow", "steps": [{"name": "a", "run": "echo x; exec sleep 600", "timeout_seconds": 1}]}}),
            "timeout",
        ),
    ] {
        let job = id(&master.submit(&order));
        let live: Vec<Event> = follow(&master, &job, None).collect();
        assert_eq!(whole(&live, 0, status), b"x\n");
        // When the end is told, the job is stored as ended.
        assert_eq!(master.job(&job)["status"], status);
        let later: Vec<Event> = follow(&master, &job, None).collect();
        assert_eq!(whole(&later, 0, status), b"x\n");
    }
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    let mut live = follow(&master, &job, None);
    puppet.print("x\n");
    assert_eq!(live.next().unwrap().bytes(), b"x\n");
    assert_eq!(
        master
            .call("DELETE", &format!("/api/v1/jobs/{job}"), None)
            .status,
        202
    );
    let end = live.next().unwrap();
    assert_eq!(
        (end.name.as_str(), &end.data["status"]),
        ("end", &json!("cancelled"))
    );
    assert_eq!(live.next(), None);
}

#[test]
fn a_job_can_be_followed_before_it_begins() {
    let master = Master::with(&["--jobs-at-once", "1"]);
    let puppets = Puppets::new();
    let (first, puppet) = puppets.start(&master);
    let (second, never) = (master.run("echo at last"), master.run("echo never"));
    let waiting = follow(&master, &second, None);
    let hopeless = follow(&master, &never, None);
    assert_eq!(master.job(&second)["status"], "pending");
    assert_eq!(
        master
            .call("DELETE", &format!("/api/v1/jobs/{never}"), None)
            .status,
        202
    );
    let events: Vec<Event> = hopeless.collect();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].name.as_str(), &events[0].data["status"]),
        ("end", &json!("cancelled"))
    );
    drop(puppet);
    master.ended(&first);
    assert_eq!(
        whole(&waiting.collect::<Vec<_>>(), 0, "success"),
        b"at last\n"
    );
}

#[test]
fn fifty_followers_see_the_same_bytes() {
    let master = Master::start();
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    let (mut raw, mut events) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let mut readers = Vec::new();
        for piece in 0..10 {
            for _ in 0..5 {
                let live = follow(&master, &job, None);
                readers.push(scope.spawn(move || {
                    let mut live = live;
                    let all: Vec<Event> = live.by_ref().collect();
                    (all, live.raw)
                }));
            }
            puppet.print(format!("piece {piece} of a log with a line\n").repeat(100));
        }
        drop(puppet);
        for reader in readers {
            let (all, bytes) = reader.join().unwrap();
            events.push(all);
            raw.push(bytes);
        }
    });
    master.ended(&job);
    let log = master.log(&job);
    assert_eq!(events.len(), 50);
    for all in &events {
        assert_eq!(whole(all, 0, "success"), log);
    }
}

#[test]
fn a_follower_that_stops_reading_holds_nobody_up_and_loses_nothing() {
    const BYTES: usize = 12_000_000;
    let master = Master::start();
    let puppets = Puppets::new();
    let job = id(&master.submit(&json!({"spec": {"name": "flood", "steps": [
        {"name": "wait", "shell": "bash", "run": puppets.script()},
        {"name": "flood", "run": format!("yes 'a line that nobody reads' | head -c {BYTES}")},
    ]}})));
    let puppet = puppets.arrival();
    let mut stuck = Vec::new();
    for path in ["/logs/stream", "/logs?follow=1"] {
        let mut stream = connect(&master);
        let request = format!(
            "GET /api/v1/jobs/{job}{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {}\r\n\r\n",
            master.key
        );
        stream.write_all(request.as_bytes()).unwrap();
        stuck.push(stream);
    }
    wait_for_metric(&master, "danube_sse_clients_active", 1.0);
    drop(puppet);
    // Nobody reads the two sockets, and the job ends all the same.
    let ended = master.ended(&job);
    assert_eq!(
        (&ended["status"], &ended["log_bytes"]),
        (&json!("success"), &json!(BYTES))
    );
    assert_eq!(master.metric("danube_sse_clients_active"), 1.0);
    // They come back and find everything.
    for mut stream in stuck {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8(answer).unwrap();
        let lines = text.matches("a line that nobody reads").count();
        // A piece or a chunk may end inside a line.
        assert!(
            lines >= BYTES / 25 - 2 * BYTES / 8_192,
            "{lines} lines of {}",
            BYTES / 25
        );
        assert!(text.len() >= BYTES);
    }
    assert_eq!(master.log(&job).len(), BYTES);
}

#[test]
fn open_streams_are_counted_and_forgotten_when_they_go() {
    let master = Master::start();
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    let active = "danube_sse_clients_active";
    assert_eq!(master.metric(active), 0.0);
    let mut open: Vec<_> = (0..3).map(|_| follow(&master, &job, None)).collect();
    wait_for_metric(&master, active, 3.0);
    puppet.print("x\n");
    for live in &mut open {
        assert_eq!(live.next().unwrap().bytes(), b"x\n");
    }
    assert!(master.metric("danube_sse_messages_sent_total") >= 3.0);
    // One that goes while the job is silent is noticed too.
    open.pop();
    wait_for_metric(&master, active, 2.0);
    drop(puppet);
    for live in open {
        assert_eq!(live.last().unwrap().name, "end");
    }
    wait_for_metric(&master, active, 0.0);
    assert_eq!(
        master.metric("danube_sse_clients_dropped_total{reason=\"error\"}"),
        0.0
    );
}

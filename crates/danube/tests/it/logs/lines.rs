//! Logs by line, by time, and by what stands in them.

use std::io::{BufRead, BufReader, Write};

use serde_json::{Value, json};

use crate::master::{Answer, Master, id, one_step};
use crate::wire::{Puppets, connect};

fn get(master: &Master, job: &str, query: &str) -> Answer {
    master.get(&format!("/api/v1/jobs/{job}/logs?{query}"))
}

/// Text, offset of the first byte, and number of the first line.
#[track_caller]
fn part(master: &Master, job: &str, query: &str) -> (String, u64, Option<u64>) {
    let answer = get(master, job, query);
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    let number = |name: &str| answer.header(name).map(|it| it.parse().unwrap());
    (
        answer.text(),
        number("danube-log-offset").unwrap(),
        number("danube-first-line"),
    )
}

#[test]
fn lines_are_read_by_their_number() {
    let master = Master::start();
    let job = master.run("for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; printf tail");
    master.ended(&job);
    let check = |query: &str, text: &str, offset: u64, line: Option<u64>| {
        assert_eq!(
            part(&master, &job, query),
            (text.to_owned(), offset, line),
            "{query}"
        );
    };
    check("from_line=3&lines=2", "line 3\nline 4\n", 14, Some(3));
    check("lines=1", "line 1\n", 0, Some(1));
    check("from_line=9", "line 9\ntail", 56, Some(9));
    check("from_line=10&lines=99", "tail", 63, Some(10));
    check("from_line=11", "", 67, None);
    check("from_line=18446744073709551615&lines=2", "", 67, None);
    check("from_line=9&follow=1", "line 9\ntail", 56, Some(9));
    let stamped = part(&master, &job, "from_line=2&lines=1&timestamps=1").0;
    assert!(stamped.ends_with("Z line 2\n"), "{stamped}");
    assert_eq!(stamped.lines().count(), 1);
    for query in [
        "from_line=0",
        "from_line=x",
        "from_line=1&from=0",
        "lines=1&step=only",
        "lines=1&follow=1",
        "from_line=1&since=2026-01-10T12:00:00Z",
        "since=yesterday",
    ] {
        assert_eq!(get(&master, &job, query).status, 400, "{query}");
    }
}

#[test]
fn lines_are_read_by_their_time() {
    let master = Master::start();
    let (job, mut puppet) = Puppets::new().start(&master);
    let time_of = |word: &str| {
        let text = get(&master, &job, "timestamps=1").text();
        let line = text
            .lines()
            .find(|it| it.ends_with(word))
            .unwrap()
            .to_owned();
        line.split_once(' ').unwrap().0.to_owned()
    };
    puppet.print("one\n");
    master.until_log(&job, "one\n");
    // The clock has to move on: a later line has a later millisecond.
    let mut last = "one\n".to_owned();
    for round in 0..1_000 {
        last = format!("round {round}\n");
        puppet.print(&last);
        master.until_log(&job, &last);
        if time_of(last.trim()) > time_of("one") {
            break;
        }
    }
    let since = time_of(last.trim());
    let (text, offset, line) = part(&master, &job, &format!("since={since}"));
    let whole = String::from_utf8(master.log(&job)).unwrap();
    assert!(text.ends_with(&last) && !text.contains("one"), "{text}");
    assert_eq!(whole[usize::try_from(offset).unwrap()..], text);
    let before = whole.lines().count() - text.lines().count();
    assert_eq!(line, Some(before as u64 + 1));
    let nothing = part(&master, &job, "since=2999-01-01T00:00:00Z");
    assert_eq!(nothing, (String::new(), whole.len() as u64, None));
    let all = part(&master, &job, "since=1999-01-01T00:00:00%2B01:00");
    assert_eq!(all, (whole, 0, Some(1)));
    drop(puppet);
}

fn search(master: &Master, job: &str, query: &str) -> Answer {
    master.get(&format!("/api/v1/jobs/{job}/logs/search?{query}"))
}

/// The hits, and how the search ended.
#[track_caller]
fn found(master: &Master, job: &str, query: &str) -> (Vec<Value>, Value) {
    let answer = search(master, job, query);
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let text = answer.text();
    let mut lines: Vec<Value> = text
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let end = lines.pop().unwrap();
    (lines, end["end"].clone())
}

#[test]
fn a_search_finds_every_line_that_matches() {
    let master = Master::start();
    let job = master.run(
        r"printf 'first error\nsecond \033[31mer\033[0mror here\nthird\nERROR a.b\n\377 error\n'",
    );
    master.ended(&job);
    let size = master.log(&job).len() as u64;
    let (hits, end) = found(&master, &job, "q=er%2Bor");
    assert_eq!(
        hits,
        [
            json!({"line": 1, "offset": 0, "start": 6, "end": 11, "text": "first error"}),
            json!({"line": 2, "offset": 12, "start": 7, "end": 12, "text": "second error here"}),
            json!({"line": 5, "offset": 55, "start": 4, "end": 9, "text": "\u{fffd} error"}),
        ]
    );
    assert_eq!(
        end,
        json!({"finished": true, "resume": size, "hits": 3, "scanned_bytes": size})
    );
    let lines = |query: &str| -> Vec<u64> {
        let hits = found(&master, &job, query).0;
        hits.iter().map(|it| it["line"].as_u64().unwrap()).collect()
    };
    assert_eq!(lines("q=error&ignore_case=1"), [1, 2, 4, 5]);
    assert_eq!(lines("q=a.b&literal=1"), [4]);
    assert_eq!(lines("q=d.er&literal=1"), [0; 0]);
    assert_eq!(lines("q=error&ansi=keep"), [1, 5]);
    assert_eq!(lines("q=error&from=12"), [2, 5]);
    assert_eq!(lines("q=nothing"), [0; 0]);
}

#[test]
fn a_search_in_pieces_finds_what_one_finds() {
    let master = Master::start();
    let job = master.run("i=0; while [ $i -lt 300 ]; do echo number $i; i=$((i+1)); done");
    master.ended(&job);
    let (whole, _) = found(&master, &job, "q=7");
    let (mut from, mut pieces) = (0, Vec::new());
    loop {
        let (hits, end) = found(&master, &job, &format!("q=7&limit=10&from={from}"));
        assert!(hits.len() <= 10);
        assert_eq!(end["hits"], hits.len());
        pieces.extend(hits);
        from = end["resume"].as_u64().unwrap();
        if end["finished"] == true {
            break;
        }
    }
    assert_eq!(pieces, whole);
    assert!(whole.len() > 30);
}

#[test]
fn a_wrong_search_is_refused_with_a_reason() {
    let master = Master::start();
    let job = master.run("true");
    for query in ["q=%28", "q=a%7B1000000%7D%7B1000%7D"] {
        let answer = search(&master, &job, query);
        assert_eq!(answer.status, 422, "{query}: {}", answer.text());
        let problem = answer.json();
        assert_eq!(problem["errors"][0]["pointer"], "/q", "{problem}");
    }
    for query in [
        "",
        "q=x&limit=0",
        "q=x&limit=10001",
        "q=x&ansi=no",
        "q=x&literal=2",
        "q=x&y=z",
    ] {
        assert_eq!(search(&master, &job, query).status, 400, "{query}");
    }
}

#[test]
fn the_log_of_a_running_job_is_searched_as_far_as_it_has_come() {
    let master = Master::with(&["--jobs-at-once", "1"]);
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    puppet.print("needle one\n");
    master.until_log(&job, "one");
    let (hits, end) = found(&master, &job, "q=needle");
    assert_eq!((hits.len(), &end["finished"]), (1, &json!(true)));
    puppet.print("needle two\n");
    master.until_log(&job, "two");
    let (hits, _) = found(&master, &job, &format!("q=needle&from={}", end["resume"]));
    assert_eq!(hits[0]["text"], "needle two");
    let waits = id(&master.submit(&one_step("true")));
    let (hits, end) = found(&master, &waits, "q=x");
    assert_eq!((hits.len(), &end["finished"]), (0, &json!(true)));
    drop(puppet);
}

#[test]
fn more_searches_than_there_are_turns_are_told_to_wait_and_a_stalled_reader_frees_its_turn() {
    let master = Master::start();
    // Long lines that all match: more than sockets and queues hold.
    let job = master.run("yes needle$(printf %03000d 0) | head -n 20000");
    master.ended(&job);
    let request = format!(
        "GET /api/v1/jobs/{job}/logs/search?q=needle&limit=10000 HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\n\r\n",
        master.key
    );
    let mut stalled = Vec::new();
    loop {
        let mut stream = connect(&master);
        stream.write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream);
        let mut status = String::new();
        lines.read_line(&mut status).unwrap();
        if status.starts_with("HTTP/1.1 429") {
            break;
        }
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
        stalled.push(lines);
        assert!(stalled.len() < 100, "there is an end to it");
    }
    // They stay, but their time runs out.
    let until = std::time::Instant::now() + crate::master::DEADLINE;
    while search(&master, &job, "q=needle&limit=1").status != 200 {
        assert!(std::time::Instant::now() < until, "a turn becomes free");
    }
    drop(stalled);
}

#[test]
fn the_command_line_reads_lines_and_searches() {
    let master = Master::start();
    let job = master.run("for i in 1 2 3 4 5 6; do echo Line $i; done");
    master.ended(&job);
    let out = |arguments: &[&str]| {
        let output = master.danube(&[&["logs", &job], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        out(&["--from-line", "2", "--lines", "2"]),
        "Line 2\nLine 3\n"
    );
    assert_eq!(out(&["--since", "2999-01-01T00:00:00Z"]), "");
    assert_eq!(out(&["--from-line", "6", "-f"]), "Line 6\n");
    assert_eq!(
        out(&["--search", "line [45]", "-i"]),
        "4:Line 4\n5:Line 5\n"
    );
    assert_eq!(out(&["--search", "Line [45]", "-F"]), "");
    let json = out(&["--search", "6", "--output", "json"]);
    let hit: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(hit["line"], 6);
    let wrong = master.danube(&["logs", &job, "--search", "("]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}

//! Stored logs: ranges, derived texts, the size limit, restarts.

use serde_json::json;

use super::{range, request, text};
use crate::master::{Master, id};
use crate::wire::{follow, joined};

#[test]
#[expect(clippy::too_many_lines, reason = "a table of ranges")]
fn a_range_is_what_the_standard_says() {
    let master = Master::start();
    let job = master.run("for i in 0 1 2 3 4 5 6 7 8 9; do echo line $i; done");
    master.ended(&job);
    let whole = request(&master, "GET", &job, None);
    assert_eq!(whole.status, 200);
    assert_eq!(whole.body.len(), 70);
    for (name, value) in [
        ("content-length", "70"),
        ("accept-ranges", "bytes"),
        ("content-type", "text/plain; charset=utf-8"),
    ] {
        assert_eq!(whole.header(name), Some(value));
    }
    for (asked, from, to) in [
        ("bytes=0-6", 0, 7),
        ("bytes=0-0", 0, 1),
        ("bytes=33-41", 33, 42),
        ("bytes=63-", 63, 70),
        ("bytes=63-9999", 63, 70),
        ("bytes=-7", 63, 70),
        ("bytes=-9999", 0, 70),
        ("bytes=0-", 0, 70),
    ] {
        let part = range(&master, &job, asked);
        assert_eq!(part.status, 206, "{asked}");
        assert_eq!(part.body, whole.body[from..to], "{asked}");
        assert_eq!(
            part.header("content-range").unwrap(),
            format!("bytes {from}-{}/70", to - 1)
        );
        assert_eq!(
            part.header("content-length").unwrap(),
            (to - from).to_string()
        );
        let head = request(&master, "HEAD", &job, Some(asked));
        assert_eq!((head.status, head.body.len()), (206, 0));
        assert_eq!(head.header("content-range"), part.header("content-range"));
    }
    for asked in [
        "bytes=70-",
        "bytes=70-80",
        "bytes=-0",
        "bytes=18446744073709551615-",
    ] {
        let part = range(&master, &job, asked);
        assert_eq!(
            (part.status, part.header("content-range")),
            (416, Some("bytes */70")),
            "{asked}"
        );
        assert_eq!(part.json()["code"], "range_not_satisfiable");
    }
    for asked in [
        "bytes=9-3",
        "bytes=0-1,4-5",
        "lines=1-2",
        "bytes=a-b",
        "bytes=",
        "bytes=99999999999999999999-",
    ] {
        let all = range(&master, &job, asked);
        assert_eq!((all.status, all.body.len()), (200, 70), "{asked}");
    }
    let head = request(&master, "HEAD", &job, None);
    assert_eq!(
        (head.status, head.body.len(), head.header("content-length")),
        (200, 0, Some("70"))
    );

    let silent = master.run("true");
    master.ended(&silent);
    let empty = request(&master, "GET", &silent, None);
    assert_eq!(
        (empty.status, empty.header("content-length")),
        (200, Some("0"))
    );
    assert_eq!(range(&master, &silent, "bytes=0-").status, 416);
}

/// Splits `timestamps=1` text into times and the text without them.
#[track_caller]
fn without_times(text: &str) -> (Vec<&str>, String) {
    let mut times = Vec::new();
    let mut rest = String::new();
    for line in text.split_inclusive('\n') {
        let (time, line) = line
            .split_once(' ')
            .unwrap_or_else(|| panic!("a time before {line:?}"));
        assert!(time.len() == 24 && time.ends_with('Z'), "{time:?}");
        times.push(time);
        rest.push_str(line);
    }
    (times, rest)
}

#[test]
#[expect(clippy::too_many_lines, reason = "tables of queries")]
fn a_log_can_be_had_with_times_without_colours_and_by_step() {
    let master = Master::start();
    let job = master.submit(&json!({"spec": {"name": "colours", "steps": [
        {"name": "paint", "run": r"printf '\033[1;31mred\033[0m\n\033]0;title\007plain\n'"},
        {"name": "count", "run": r"i=0; while [ $i -lt 50 ]; do echo $i; i=$((i + 1)); done; printf 'no newline'"},
        {"name": "never", "run": "exit 1", "continue_on_error": true},
    ]}}));
    let job = master.ended(&id(&job));
    let (start, end) = (
        job["started_at"].as_str().unwrap(),
        job["finished_at"].as_str().unwrap(),
    );
    let job = id(&job);
    let raw = String::from_utf8(master.log(&job)).unwrap();
    let counted: String = (0..50).map(|it| format!("{it}\n")).collect::<String>() + "no newline";
    assert_eq!(
        raw,
        format!("\u{1b}[1;31mred\u{1b}[0m\n\u{1b}]0;title\u{7}plain\n{counted}")
    );

    assert_eq!(
        text(&master, &job, "ansi=strip"),
        format!("red\nplain\n{counted}")
    );
    assert_eq!(text(&master, &job, "step=count"), counted);
    assert_eq!(text(&master, &job, "step=never"), "");
    assert_eq!(text(&master, &job, "step=paint&ansi=strip"), "red\nplain\n");
    for query in [
        "ansi=keep",
        "timestamps=0",
        "ansi=keep&timestamps=0&follow=0",
    ] {
        assert_eq!(text(&master, &job, query), raw, "{query}");
    }
    for (query, rest) in [
        ("timestamps=1", raw.clone()),
        ("timestamps=1&ansi=strip", format!("red\nplain\n{counted}")),
        ("timestamps=1&step=count", counted.clone()),
        (
            "timestamps=1&ansi=strip&step=paint",
            "red\nplain\n".to_owned(),
        ),
    ] {
        let shown = text(&master, &job, query);
        let (times, without) = without_times(&shown);
        assert_eq!(without, rest, "{query}");
        assert!(times.is_sorted(), "{times:?}");
        assert!(
            times.iter().all(|it| (start..=end).contains(it)),
            "{start} {times:?} {end}"
        );
    }

    for query in [
        "timestamps=2",
        "timestamps=yes",
        "ansi=no",
        "ansi=",
        "follow=maybe",
        "from=-1",
        "from=x",
        "colour=1",
        "step",
    ] {
        let answer = master.get(&format!("/api/v1/jobs/{job}/logs?{query}"));
        let expected = if query == "step" { 404 } else { 400 };
        assert_eq!(answer.status, expected, "{query}: {}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    let unknown = master.get(&format!("/api/v1/jobs/{job}/logs?step=pain"));
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.json()["detail"]
            .as_str()
            .unwrap()
            .contains("`paint`"),
        "{}",
        unknown.text()
    );
    assert_eq!(text(&master, &job, "from=7"), raw[7..]);
    assert_eq!(text(&master, &job, "from=9999"), "");
}

#[test]
fn past_the_size_limit_head_and_newest_tail_stay_and_the_rest_is_told() {
    const LINES: usize = 2_000;
    let master = Master::with(&["--log-head", "4KiB", "--log-total", "12KiB"]);
    // Three bytes a sign, so that the limit falls into one.
    let job = master.run(&format!(
        "i=0; while [ $i -lt {LINES} ]; do printf '€€€€€ %04d\\n' $i; i=$((i + 1)); done"
    ));
    let job = master.ended(&job);
    let line = |number: usize| format!("€€€€€ {number:04}\n");
    let written: String = (0..LINES).map(line).collect();
    assert_eq!(job["status"], "success");
    assert_eq!(job["log_complete"], false);
    assert_eq!(job["log_bytes"], written.len());
    let missing = usize::try_from(job["log_missing_bytes"].as_u64().unwrap()).unwrap();
    let kept = written.len() - missing;
    assert!((8 * 1024..=12 * 1024).contains(&kept), "{kept} bytes kept");

    let job = id(&job);
    let log = master.log(&job);
    let tail = kept - 4096;
    let note = format!("\n[danube: {missing} bytes are missing here: the log's size limit]\n");
    let expected = [
        &written.as_bytes()[..4096],
        note.as_bytes(),
        &written.as_bytes()[written.len() - tail..],
    ]
    .concat();
    assert_eq!(
        String::from_utf8_lossy(&log),
        String::from_utf8_lossy(&expected)
    );

    let events: Vec<_> = follow(&master, &job, None).collect();
    let at = events
        .iter()
        .position(|it| it.name == "truncated")
        .expect("told in the stream");
    assert_eq!(
        events[at].data,
        json!({"from": 4096, "to": 4096 + missing, "missing_bytes": missing})
    );
    assert_eq!(events[at].id, 4096 + missing as u64);
    assert!(joined(&events[..at], 0) == written.as_bytes()[..4096]);
    assert!(joined(&events[at..], 4096 + missing as u64) == written.as_bytes()[4096 + missing..]);
    let end = events.last().unwrap();
    assert_eq!(
        (end.name.as_str(), &end.data["log_complete"]),
        ("end", &json!(false))
    );
    // A range speaks logical offsets too, and ends where bytes are missing.
    let key = format!("Bearer {}", master.key);
    let ranged = |range: &str| {
        let headers = [("authorization", key.as_str()), ("range", range)];
        master.request("GET", &format!("/api/v1/jobs/{job}/logs"), &headers, b"")
    };
    let answer = ranged("bytes=4000-9000");
    assert_eq!(answer.status, 206);
    let range = format!("bytes 4000-4095/{}", written.len());
    assert_eq!(answer.header("content-range"), Some(range.as_str()));
    assert_eq!(answer.body, written.as_bytes()[4000..4096]);
    let behind = ranged(&format!("bytes={}-", 4096 + missing));
    assert_eq!(behind.status, 206);
    assert_eq!(behind.body, written.as_bytes()[4096 + missing..]);
    assert_eq!(ranged("bytes=5000-6000").status, 416);
    // Resumed inside what is gone: told again, and on from there.
    let resumed: Vec<_> = follow(&master, &job, Some(5_000)).collect();
    assert_eq!(resumed[0].name, "truncated");
    assert_eq!(resumed[1..], events[at + 1..]);
}

#[test]
fn a_log_is_the_same_after_a_crash_of_the_master() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let job = master.submit(&json!({"spec": {"name": "kept", "steps": [
        {"name": "a", "run": "echo out; echo err >&2; printf '\\000\\377\\r50%%\\r'"},
        {"name": "b", "run": "seq 1 2000"},
    ]}}));
    let job = id(&master.ended(&id(&job)));
    let all = |master: &Master| {
        [
            "",
            "?timestamps=1",
            "?ansi=strip",
            "?step=b",
            "?step=a&timestamps=1",
            "?follow=1",
        ]
        .map(|query| master.get(&format!("/api/v1/jobs/{job}/logs{query}")).body)
    };
    let events = |master: &Master| follow(master, &job, None).collect::<Vec<_>>();
    let (before, told, shown) = (all(&master), events(&master), master.job(&job));
    assert!(before[0].len() > 8_000);
    master.kill();
    let master = Master::start_in(&dir, &[]);
    assert_eq!(all(&master), before);
    assert_eq!(events(&master), told);
    assert_eq!(master.job(&job), shown);
}

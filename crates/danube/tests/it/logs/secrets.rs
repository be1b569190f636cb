//! A job prints its secrets in every way; nobody ever sees one.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::master::{Master, id};
use crate::wire::{Puppet, Puppets, follow, joined};

/// With signs that every encoding writes in its own way.
const ODD: &str = "tr0ub4dor&3/x+\"q'$ z%\\e";
const PLAIN: &str = "kanarienvogel-0815";
const LINES: &str = "first-line-of-a-key-5y\nsecond-line-of-a-key-8w\n}\nlast-line-of-a-key-3k";

/// So long that its encodings are broken into lines.
const LONG: &str = "a-value-of-more-than-a-line/4f1c2b3a5d6e7f8091a2b3c4d5e6f708/9b2e3f0a6c414d8e9a571c0b7f6e2d34/end";

/// What a job may print, and what of it must never be seen.
struct Leak {
    printed: Vec<u8>,
    canary: String,
}

fn leak(printed: impl Into<Vec<u8>>, canary: &str) -> Leak {
    Leak {
        printed: printed.into(),
        canary: canary.to_owned(),
    }
}

fn percent(value: &str, upper: bool) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ if upper => out.push_str(&format!("%{byte:02X}")),
            _ => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

fn hex(value: &str) -> String {
    value.bytes().map(|it| format!("{it:02x}")).collect()
}

/// With these signs written as something else.
fn escaped(value: &str, as_what: impl Fn(char) -> Option<String>) -> String {
    let one = |it: char| as_what(it).unwrap_or_else(|| it.to_string());
    value.chars().map(one).collect()
}

/// The value with a backslash before these signs.
fn backslashed(value: &str, signs: &str) -> String {
    escaped(value, |it| signs.contains(it).then(|| format!("\\{it}")))
}

/// What JSON makes of the value, without the quotes around it.
fn json_inside(value: &str) -> String {
    let quoted = json!(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// An encoding in lines of so many columns, each to be hidden.
fn wrapped(text: &str, columns: usize) -> Vec<Leak> {
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(columns)
        .map(|it| std::str::from_utf8(it).unwrap())
        .collect();
    let printed = lines.join("\n") + "\n";
    let long = lines.iter().filter(|it| it.len() >= 8);
    long.map(|it| leak(printed.clone(), it)).collect()
}

/// The value in base64 with `before` bytes in front of it and something behind:
/// the whole text, and the part of it that only the value decides.
fn base64(engine: &impl Engine, value: &str, before: usize) -> Leak {
    let whole = engine.encode([&b"xyz"[..before], value.as_bytes(), b"!tail"].concat());
    let (from, to) = ((before * 8).div_ceil(6), (before + value.len()) * 8 / 6);
    let core = whole[from..to].to_owned();
    leak(format!("data: {whole}\n"), &core)
}

/// What JSON, shells, forms and HTML make of a value.
fn escapes(value: &str) -> [String; 8] {
    let inside = json_inside(value);
    [
        backslashed(value, "\"\\$`"),
        backslashed(value, " !\"#$&'()*;<>?[\\]^`{|}~"),
        value.replace('\'', "'\"'\"'"),
        inside.replace('/', "\\/"),
        json_inside(&inside),
        inside,
        percent(value, true).replace("%20", "+"),
        escaped(value, |it| match it {
            '&' => Some("&amp;".to_owned()),
            '"' => Some("&quot;".to_owned()),
            '\'' => Some("&#39;".to_owned()),
            _ => None,
        }),
    ]
}

/// Every way to print the registered values.
fn registered() -> Vec<Leak> {
    let mut leaks = Vec::new();
    for value in [ODD, PLAIN] {
        leaks.extend(ways(value));
    }
    leaks.extend(of_many_lines());
    leaks
}

/// Every way to print a value.
fn ways(value: &str) -> Vec<Leak> {
    let mut leaks = Vec::new();
    leaks.push(leak(format!("raw {value} end\n"), value));
    leaks.push(leak(format!("{value}{value}\n"), value));
    leaks.push(leak(value.as_bytes(), value));
    leaks.push(leak("\n", value));
    for before in 0..3 {
        leaks.push(base64(&STANDARD, value, before));
        leaks.push(base64(&URL_SAFE_NO_PAD, value, before));
    }
    for form in [
        percent(value, true),
        percent(value, false),
        hex(value),
        hex(value).to_uppercase(),
    ] {
        leaks.push(leak(format!("?x={form}&y\n"), &form));
    }
    for form in escapes(value) {
        leaks.push(leak(format!("<{form}>\n"), &form));
    }
    let shell = value.replace('\'', "'\\''");
    leaks.push(leak(format!("'{shell}'\n"), &shell));
    let (left, right) = value.split_at(7);
    leaks.push(leak(format!("{left}\u{1b}[31m{right}\u{1b}[0m\n"), value));
    let each: String = value.chars().map(|it| format!("{it}\u{1b}[0m")).collect();
    leaks.push(leak(format!("{each}\n"), value));
    leaks
}

/// All that a job may print of some registered values: what it is to mask, what it prints, and
/// what must never be seen of it.
pub(crate) struct Leaky {
    pub(crate) masks: Vec<&'static str>,
    pub(crate) printed: Vec<u8>,
    pub(crate) canaries: Vec<String>,
}

/// The whole of it.
pub(crate) fn leaky() -> Leaky {
    let all = registered();
    Leaky {
        masks: vec![ODD, PLAIN, LINES, LONG],
        printed: all.iter().flat_map(|it| it.printed.clone()).collect(),
        canaries: all.into_iter().map(|it| it.canary).collect(),
    }
}

/// What must not be seen of a value: itself, and whatever else it may be printed as.
pub(crate) fn canaries(value: &str) -> Vec<String> {
    ways(value).into_iter().map(|it| it.canary).collect()
}

/// Every way to print the values of more than a line, and of a long one.
fn of_many_lines() -> Vec<Leak> {
    let mut leaks = vec![leak(format!("{LINES}\n"), LINES)];
    leaks.push(leak(
        format!("{}\n", LINES.replace('\n', "\r\n")),
        "second-line-of-a-key-8w",
    ));
    leaks.push(leak(
        format!("{}\n", json!(LINES)),
        "first-line-of-a-key-5y\\nsecond",
    ));
    leaks.push(leak(
        format!("+ {}\n", LINES.replace('\n', " ")),
        "key-8w } last",
    ));
    for form in [hex(LINES), percent(LINES, true)] {
        leaks.push(leak(format!("{form}\n"), &form));
    }
    leaks.push(leak(format!("{LONG}\n"), LONG));
    for columns in [64, 76] {
        leaks.extend(wrapped(&STANDARD.encode(LONG), columns));
    }
    for columns in [60, 64] {
        leaks.extend(wrapped(&hex(LONG), columns));
    }
    for line in LINES.lines().filter(|it| it.len() >= 8) {
        leaks.push(leak(format!("  {line} alone\n"), line));
    }
    for before in 0..3 {
        leaks.push(base64(&STANDARD, LINES, before));
    }
    leaks
}

/// Secrets that nobody registered: known by how they look.
fn patterns() -> Vec<Leak> {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
    let token = "abcdefghijklmnopqrstuvwxyz0123456789";
    vec![
        leak("password=swordfish-77\n", "swordfish-77"),
        leak("DB_PASSWORD: 'xyzzy-plugh-5'\n", "xyzzy-plugh-5"),
        leak("{\"api_key\": \"zork-frotz-31\"}\n", "zork-frotz-31"),
        leak(
            "curl -H 'Authorization: Bearer mF_9.B5f-4.1JqM'\n",
            "mF_9.B5f-4.1JqM",
        ),
        leak(
            "Authorization: Basic cm9ib3Q6Z251c3RvLWNsZWVzaA==\n",
            "cm9ib3Q6Z251c3RvLWNsZWVzaA",
        ),
        leak(format!("got {jwt} back\n"), jwt),
        leak(
            "git clone https://robot:gnusto-cleesh@git.example/x\n",
            "gnusto-cleesh",
        ),
        leak(format!("use ghp_{token}\n"), token),
        leak("glpat-AbCdEfGhIjKlMnOpQrSt\n", "AbCdEfGhIjKlMnOpQrSt"),
        leak("AKIAIOSFODNN7EXAMPLE\n", "AKIAIOSFODNN7EXAMPLE"),
        leak(
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq\nqqqQ98fyJ4nZ==\n-----END RSA PRIVATE KEY-----\n",
            "MIIEpAIBAAKCAQEA7bq",
        ),
        leak("mysql --password hunter2hunter2\n", "hunter2hunter2"),
    ]
}

/// A text without escape codes, as somebody reads it on a terminal.
fn stripped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        out.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    out + rest
}

/// Panics when a canary stands in what somebody can see.
#[track_caller]
pub(crate) fn clean(canaries: &[String], place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let plain = stripped(&text);
    for canary in canaries {
        for text in [&*text, &plain] {
            if let Some(at) = text.find(canary.as_str()) {
                let start = text[..at].rfind('\n').map_or(0, |it| it + 1);
                panic!("{canary:?} in {place}: {:?}", text[start..].lines().next());
            }
        }
    }
}

/// Looks into every file below the data directory.
pub(crate) fn clean_files(canaries: &[String], dir: &Path) -> usize {
    let mut seen = 0;
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            seen += clean_files(canaries, &path);
        } else if kind.is_file()
            && let Ok(bytes) = fs::read(&path)
        {
            clean(canaries, &path.display().to_string(), &bytes);
            seen += 1;
        }
    }
    seen
}

/// Looks at everything that the master tells of the job.
pub(super) fn clean_everywhere(canaries: &[String], master: &Master, job: &str) {
    for path in [
        format!("/api/v1/jobs/{job}"),
        format!("/api/v1/jobs/{job}/history"),
        format!("/api/v1/jobs/{job}/logs"),
        format!("/api/v1/jobs/{job}/logs?timestamps=1"),
        format!("/api/v1/jobs/{job}/logs?ansi=strip"),
        format!("/api/v1/jobs/{job}/logs?step=only"),
        "/health/ready".to_owned(),
        "/api/v1/jobs".to_owned(),
        "/metrics".to_owned(),
        "/".to_owned(),
        format!("/jobs/{job}"),
    ] {
        let answer = master.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        clean(canaries, &path, &answer.body);
    }
    for words in [["job", job], ["jobs", "--all"]] {
        let shown = master.danube(&words);
        assert!(shown.status.success(), "{shown:?}");
        clean(canaries, "danube job", &shown.stdout);
        clean(canaries, "danube job's errors", &shown.stderr);
    }
    clean(
        canaries,
        "the server log",
        master.log_lines().join("\n").as_bytes(),
    );
    clean(canaries, "standard error", master.stderr().as_bytes());
    assert!(
        clean_files(canaries, &master.dir) >= 6,
        "database, log and index are there"
    );
}

/// A follower of raw bytes, and all that it saw.
struct Live<R> {
    stream: R,
    seen: Vec<u8>,
}

/// Prints bytes in pieces of this size. After each, a line on the other stream
/// has to arrive at the follower: so each piece was put out on its own.
fn print_in_pieces(
    puppet: &mut Puppet,
    follower: &mut Live<impl BufRead>,
    bytes: &[u8],
    size: usize,
    count: &mut usize,
) {
    for piece in bytes.chunks(size) {
        puppet.print(piece);
        *count += 1;
        puppet.complain(format!("#{count}#\n"));
        let mark = format!("#{count}#");
        loop {
            let from = follower.seen.len();
            let count = follower.stream.read_until(b'\n', &mut follower.seen);
            assert!(count.unwrap() > 0, "the log goes on");
            if String::from_utf8_lossy(&follower.seen[from..]).contains(&mark) {
                break;
            }
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one job from its start to its retry")]
fn a_job_that_prints_its_secrets_in_pieces_leaks_none() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let puppets = Puppets::new();
    let leaks: Vec<Leak> = registered().into_iter().chain(patterns()).collect();
    let canaries: Vec<String> = leaks.iter().map(|it| it.canary.clone()).collect();
    let order = json!({
        "spec": {"name": "leaky", "shell": "bash", "steps": [{
            "name": "only", "run": format!("env\n{}exit 9\n", puppets.script()), "env": {"ONE": ODD, "TWO": PLAIN, "THREE": LINES, "FOUR": LONG},
        }]},
        "parameters": {"KEY": PLAIN}, "mask": [ODD, PLAIN, LINES, LONG],
    });
    let job = id(&master.submit(&order));
    let mut puppet = puppets.arrival();
    let key = format!("Bearer {}", master.key);
    let live = master.open(
        "GET",
        &format!("/api/v1/jobs/{job}/logs?follow=1"),
        &[("authorization", &key)],
        b"",
    );
    let mut live = Live {
        stream: BufReader::new(live.into_body().into_reader()),
        seen: Vec::new(),
    };
    let events = follow(&master, &job, None);
    let events = thread::spawn(move || {
        let mut events = events;
        let all: Vec<_> = events.by_ref().collect();
        (all, events.raw)
    });
    let mut count = 0;
    for (index, Leak { printed, .. }) in leaks.iter().enumerate() {
        // Whole, in two or three pieces, and some byte by byte.
        let size = match index % 4 {
            0 => printed.len(),
            1 => printed.len().div_ceil(2),
            2 => printed.len().div_ceil(3),
            _ => 5,
        };
        print_in_pieces(&mut puppet, &mut live, printed, size, &mut count);
    }
    print_in_pieces(
        &mut puppet,
        &mut live,
        format!("{ODD}\n").as_bytes(),
        1,
        &mut count,
    );
    print_in_pieces(
        &mut puppet,
        &mut live,
        format!("{LINES}\n").as_bytes(),
        7,
        &mut count,
    );
    clean_everywhere(&canaries, &master, &job);
    drop(puppet);
    let ended = master.ended(&job);
    assert_eq!(
        (&ended["status"], &ended["exit_code"]),
        (&json!("failure"), &json!(9))
    );
    live.stream.read_to_end(&mut live.seen).unwrap();
    clean(&canaries, "the raw bytes", &live.seen);
    assert_eq!(live.seen, master.log(&job));
    let printed = master.danube(&["logs", &job]);
    clean(&canaries, "danube logs", &printed.stdout);
    assert!(!printed.stdout.is_empty());
    let (events, raw) = events.join().unwrap();
    clean(&canaries, "the events' bytes", &raw);
    let log = master.log(&job);
    assert_eq!(joined(&events, 0), log);
    clean(&canaries, "the events' data", &joined(&events, 0));
    let shown = String::from_utf8_lossy(&log);
    assert!(
        shown.matches("[redacted]").count() >= leaks.len() / 2,
        "{shown}"
    );
    assert!(
        shown.contains("ONE=[redacted]") && shown.contains(&format!("#{count}#")),
        "{shown}"
    );
    clean_everywhere(&canaries, &master, &job);
    let redactions: f64 = ["value", "key_value"]
        .iter()
        .map(|it| master.metric(&format!("danube_log_redactions_total{{rule=\"{it}\"}}")))
        .sum();
    assert!(redactions > 30.0, "{redactions}");

    // Whatever a crash, a restart and a retry bring to light, it isn't these.
    master.kill();
    clean_files(&canaries, &dir);
    let master = Master::start_in(&dir, &[]);
    assert_eq!(master.log(&job), log);
    let again = master.call("POST", &format!("/api/v1/jobs/{job}/retry"), None);
    let again: Value = again.json();
    let mut puppet = puppets.arrival();
    puppet.print(ODD);
    drop(puppet);
    master.ended(&id(&again));
    clean_everywhere(&canaries, &master, &id(&again));
}

#[test]
fn the_same_job_without_masks_shows_every_value_that_is_looked_for() {
    let master = Master::start();
    let puppets = Puppets::new();
    let (job, mut puppet) = puppets.start(&master);
    let leaks = registered();
    for Leak { printed, .. } in &leaks {
        puppet.print(printed);
    }
    drop(puppet);
    master.ended(&job);
    let log = stripped(&String::from_utf8_lossy(&master.log(&job)));
    let unseen: Vec<&str> = leaks
        .iter()
        .map(|it| it.canary.as_str())
        .filter(|it| !log.contains(it))
        .collect();
    // So the search above can fail.
    assert_eq!(unseen, [""; 0]);
}

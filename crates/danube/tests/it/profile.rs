//! Profiles of a live server: who may take them, when, and that nothing else notices.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is tests; clippy sees only the functions marked so"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Body;
use ureq::http::Response;

use crate::auth::cookie_of;
use crate::master::{Answer, DEADLINE, Master};
use crate::processes::until;

/// Everything that shows how the server works inside.
const PATHS: [&str; 3] = [
    "/debug/pprof/profile?seconds=1",
    "/debug/pprof/heap?seconds=1",
    "/debug/tasks",
];

/// Begins a profile; its head is there when sampling is.
#[track_caller]
pub(crate) fn begin(master: &Master, path: &str) -> Response<Body> {
    let key = format!("Bearer {}", master.key);
    let answer = master.open("GET", path, &[("authorization", &key)], b"");
    assert_eq!(answer.status().as_u16(), 200, "{path}");
    answer
}

pub(crate) fn rest_of(answer: Response<Body>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut body = answer.into_body().into_reader();
    body.read_to_end(&mut bytes).expect("the profile ends");
    bytes
}

/// A submit whose body doesn't end: the server holds what has come of it.
pub(crate) fn hold_memory(master: &Master) -> TcpStream {
    let mut half = TcpStream::connect(master.address.trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: 9000000\r\n\r\n",
        master.key
    );
    half.write_all(head.as_bytes()).unwrap();
    half.write_all(&vec![b' '; 8_000_000]).unwrap();
    half
}

fn text(master: &Master, path: &str) -> String {
    String::from_utf8(rest_of(begin(master, path))).unwrap()
}

/// Submits jobs until the profile is there; all of them must succeed. The profile.
#[track_caller]
pub(crate) fn under_load(master: &Master, path: &str) -> Vec<u8> {
    let profile = begin(master, path);
    let mut jobs = Vec::new();
    std::thread::scope(|scope| {
        let profile = scope.spawn(|| rest_of(profile));
        let script =
            "for i in 1 2 3 4 5; do echo $i; done; sleep 0.01; test \"$(echo a | cat)\" = a";
        while !profile.is_finished() {
            jobs.push(master.run(script));
        }
        for job in &jobs {
            assert_eq!(master.ended(job)["status"], "success");
        }
        assert!(jobs.len() > 20, "{} jobs are no load", jobs.len());
        profile.join().unwrap()
    })
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.json()["code"], code);
}

#[test]
fn jobs_run_as_ever_while_the_processor_is_profiled_as_often_as_can_be() {
    let master = Master::start();
    let profile = under_load(
        &master,
        "/debug/pprof/profile?seconds=4&hz=999&format=folded",
    );
    let folded = String::from_utf8(profile).unwrap();
    // Each line ends in a count.
    let counts = folded.lines().map(|it| it.rsplit_once(' ').unwrap().1);
    let samples: u64 = counts.map(|it| it.parse::<u64>().unwrap()).sum();
    assert!(samples > 50, "{folded}");
    for wanted in [
        "danube_store::",
        "danube_master::",
        "danube_worker::",
        "sqlite3",
    ] {
        assert!(folded.contains(wanted), "no {wanted} in {folded}");
    }
    // Somebody's whole stack, down to where its thread began, through SQLite's own code.
    let whole = folded.lines().find(|it| {
        it.starts_with("danube-store;")
            && it.contains("danube_store::writer")
            && it.contains("sqlite3")
    });
    assert!(whole.is_some(), "{folded}");
    // Nothing of what it works on.
    for secret in [
        master.key.as_str(),
        master.dir.to_str().unwrap(),
        "/debug/pprof",
    ] {
        assert!(!folded.contains(secret), "{folded}");
    }
    let told = master.event(|it| it["event"] == "profile_taken");
    assert_eq!(
        (&told["kind"], &told["user"]),
        (&json!("cpu"), &json!("admin"))
    );
    assert_eq!(told["samples"], samples);
}

#[test]
fn who_holds_memory_is_found_by_name() {
    let master = Master::start();
    let profile = begin(&master, "/debug/pprof/heap?seconds=4&format=folded");
    let half = hold_memory(&master);
    let folded = String::from_utf8(rest_of(profile)).unwrap();
    let held: u64 = folded
        .lines()
        .filter(|it| it.contains("danube_master::http::"))
        .filter_map(|it| it.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum();
    assert!((4_000_000..40_000_000).contains(&held), "{held}: {folded}");
    drop(half);
    // What is over isn't seen, and sampling ended with the profile before.
    let later = text(&master, "/debug/pprof/heap?seconds=1&format=folded");
    assert!(later.len() < folded.len(), "{later}");
}

#[test]
fn each_loop_is_listed_with_what_it_does() {
    let master = Master::start();
    master.ended(&master.run("true"));
    let list = master.get("/debug/tasks").json();
    let tasks = list["tasks"].as_array().unwrap();
    let of = |name: &str| tasks.iter().find(|it| it["name"] == name);
    for name in [
        "accept",
        "health",
        "joblog-sync",
        "log-level",
        "log-writer",
        "reaper",
        "scheduler",
        "store-writer",
        "trace-writer",
        "watch",
        "webhooks",
    ] {
        let task = of(name).unwrap_or_else(|| panic!("no {name} in {list}"));
        assert!(
            ["working", "waiting"].contains(&task["state"].as_str().unwrap()),
            "{task}"
        );
    }
    for name in ["scheduler", "store-writer", "accept"] {
        let task = of(name).unwrap();
        assert!(task["rounds"].as_u64() > Some(0), "{task}");
        assert!(task["longest_round_seconds"].as_f64() > Some(0.0), "{task}");
    }
    let threads = list["threads"].as_array().unwrap();
    let http = threads.iter().find(|it| it["name"] == "http").unwrap();
    assert!(http["count"].as_u64() > Some(0) && list["runtime"]["workers"].as_u64() > Some(0));
    // A loop that goes on is seen going on.
    let rounds = |list: &Value| {
        let tasks = list["tasks"].as_array().unwrap().clone();
        let checks = tasks.iter().filter(|it| it["name"] == "health-check");
        checks.map(|it| it["rounds"].as_u64().unwrap()).sum::<u64>()
    };
    let before = rounds(&list);
    until("the next health check", DEADLINE, || {
        (rounds(&master.get("/debug/tasks").json()) > before).then_some(())
    });
}

#[test]
fn only_an_administrators_key_may_profile() {
    let master = Master::start();
    let session = cookie_of(&master);
    let keys = ["viewer", "member"].map(|role| {
        let body = json!({"name": role, "role": role});
        let made = master.call("POST", "/api/v1/api-keys", Some(&body)).json();
        format!("Bearer {}", made["key"].as_str().unwrap())
    });
    for path in PATHS {
        let with = |headers: &[(&str, &str)]| master.request("GET", path, headers, b"");
        refused(&with(&[]), 401, "unauthorized");
        refused(&with(&[("cookie", &session)]), 403, "forbidden");
        for key in &keys {
            refused(&with(&[("authorization", key)]), 403, "forbidden");
        }
    }
}

#[test]
fn where_others_reach_the_server_profiling_is_off_unless_the_settings_say_so() {
    let public = ["--public-url", "https://ci.example.org"];
    for (more, is_on) in [(["", ""], false), (["--profiling", "on"], true)] {
        let more = more.into_iter().filter(|it| !it.is_empty());
        let master = Master::with(&public.into_iter().chain(more).collect::<Vec<_>>());
        for path in PATHS {
            let answer = master.get(path);
            if is_on {
                assert_eq!(answer.status, 200, "{}", answer.text());
            } else {
                refused(&answer, 403, "profiling_off");
            }
        }
    }
    let master = Master::with(&["--profiling", "off"]);
    for path in PATHS {
        refused(&master.get(path), 403, "profiling_off");
    }
}

#[test]
fn one_profile_is_taken_at_a_time_and_who_leaves_makes_room() {
    let master = Master::start();
    let first = begin(&master, "/debug/pprof/profile?seconds=60");
    for path in ["/debug/pprof/profile", "/debug/pprof/heap"] {
        refused(&master.get(path), 409, "profile_busy");
    }
    assert_eq!(master.get("/debug/tasks").status, 200);
    drop(first);
    let again = until("the next profile", DEADLINE, || {
        let answer = master.get("/debug/pprof/heap?seconds=1");
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(
        again.header("content-type"),
        Some("application/octet-stream")
    );
    assert!(again.body.starts_with(&[0x1f, 0x8b]), "it is compressed");
}

#[test]
fn what_can_not_be_asked_for_is_said() {
    let master = Master::start();
    for query in [
        "seconds=0",
        "seconds=61",
        "seconds=x",
        "hz=0",
        "hz=1000",
        "format=png",
        "more=1",
    ] {
        refused(
            &master.get(&format!("/debug/pprof/profile?{query}")),
            400,
            "malformed",
        );
    }
    for query in ["seconds=0", "seconds=61", "hz=99", "format="] {
        refused(
            &master.get(&format!("/debug/pprof/heap?{query}")),
            400,
            "malformed",
        );
    }
    let answer = master.call("POST", "/debug/pprof/heap", None);
    refused(&answer, 405, "method_not_allowed");
}

#[test]
fn a_server_that_stops_ends_a_profile_before_its_time() {
    let mut master = Master::start();
    let began = Instant::now();
    let profile = begin(&master, "/debug/pprof/profile?seconds=60");
    master.signal("TERM");
    assert!(rest_of(profile).starts_with(&[0x1f, 0x8b]));
    assert!(master.wait().success());
    assert!(began.elapsed() < Duration::from_secs(45));
}

#[test]
fn a_whole_run_is_profiled_into_files_of_its_owner() {
    let mut master = Master::in_environment(&[("DANUBE_PROFILE", "1")], &[]);
    let told = master.event(|it| it["event"] == "profile_started" && it["kind"] == "cpu");
    assert_eq!(
        told["file"].as_str(),
        master.dir.join("profile-cpu.pb.gz").to_str()
    );
    master.ended(&master.run("echo hello"));
    // The processor has its profile already; who holds memory now can be asked for at once.
    refused(&master.get("/debug/pprof/profile"), 409, "profile_busy");
    let half = hold_memory(&master);
    until("what is held", DEADLINE, || {
        let folded = text(&master, "/debug/pprof/heap?seconds=60&format=folded");
        folded.contains("danube_master::http::").then_some(())
    });
    drop(half);
    master.signal("TERM");
    assert!(master.wait().success());
    for name in ["profile-cpu.pb.gz", "profile-heap.pb.gz"] {
        let file = master.dir.join(name);
        assert!(
            fs::read(&file).unwrap().starts_with(&[0x1f, 0x8b]),
            "{name}"
        );
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[test]
fn the_command_writes_a_file_and_shows_the_tasks() {
    let master = Master::start();
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("cpu.svg");
    let ended = master.danube(&[
        "profile",
        "cpu",
        "--seconds",
        "1",
        "--hz",
        "200",
        "--format",
        "svg",
        "-o",
        file.to_str().unwrap(),
    ]);
    assert!(ended.status.success(), "{ended:?}");
    assert!(fs::read_to_string(&file).unwrap().contains("<svg "));
    let ended = master.danube(&["profile", "heap", "--seconds", "1"]);
    assert!(
        ended.status.success() && ended.stdout.starts_with(&[0x1f, 0x8b]),
        "{ended:?}"
    );
    let ended = master.danube(&["profile", "tasks"]);
    let shown = String::from_utf8(ended.stdout).unwrap();
    assert!(
        shown.contains("scheduler") && shown.contains("THREADS"),
        "{shown}"
    );
    let ended = master.danube(&["profile", "tasks", "--output", "json"]);
    let list: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert!(list["tasks"].is_array(), "{list}");
    let first = begin(&master, "/debug/pprof/profile?seconds=60");
    let ended = master.danube(&["profile", "cpu"]);
    assert_eq!(ended.status.code(), Some(6), "{ended:?}");
    drop(first);
}

//! Coordinators whose job has no network: the socket in their sandbox, and what it doesn't
//! open.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{SECRET, Scripted, log, submit};
use crate::elsewhere::Elsewhere;
use crate::leaks::{files_hold_none, holds_none};
use crate::master::{Master, id, one_step};
use crate::processes::{
    HELD, all_gone, forget_highest_memory, memory, of_job, release, root_or_skip,
};

/// What the job masks while it runs.
const LATE: &str = "canary-late-value-77-31";

/// Jobs without network, of a worker elsewhere.
const NO_NETWORK: [(&str, &str); 1] = [("DANUBE_STEPS_NETWORK", "false")];

const SHELL: &str = r#"#!/bin/bash
set -eu
server=${DANUBE_SERVER#http://}
tcp="if (exec 9<>/dev/tcp/${server%:*}/${server##*:}) 2> /dev/null; then echo open; else echo closed; fi"
echo "socket ${DANUBE_SOCKET:-none}, tcp $(eval "$tcp")"
danube step run --name inner -- bash -c "echo step \$($tcp)"
token=$(danube secret get deploy)
echo "<$token> ${#token}"
danube step run --name secret --secret TOKEN=deploy -- sh -c 'echo "[$TOKEN] ${#TOKEN}"'
danube step run --name leaves -- sh -c 'echo step > left; danube artifact upload left'
head -c 3000000 /dev/zero > big
danube artifact upload big --name "big one"
printf %s canary-late-value-77-31 | danube secret mask > /dev/null
echo "late canary-late-value-77-31"
code=0
danube secret get other 2> /dev/null || code=$?
echo "other $code"
danube step report "all is well"
"#;

/// Runs it to its end; its log.
#[track_caller]
fn coordinated(master: &Master) -> String {
    let job = submit(master);
    let ended = master.ended(&job);
    let log = log(master, &job);
    assert_eq!(ended["status"], "success", "{ended} {log}");
    let length = SECRET.len();
    for text in [
        &format!("> {length}\n"),
        &format!("] {length}\n"),
        "\ndanube: status: all is well\n",
        "\nother 4\n",
    ] {
        assert!(log.contains(text), "{text}: {log}");
    }
    holds_none(&[SECRET, LATE], log.as_bytes(), "the log");
    files_hold_none(&[SECRET, LATE], &master.dir);
    let path = format!("/api/v1/jobs/{job}/artifacts");
    let list = master.get(&path).json();
    let all = list["artifacts"].as_array().unwrap().iter();
    let mut all: Vec<(&str, u64)> = all
        .map(|it| (it["name"].as_str().unwrap(), it["bytes"].as_u64().unwrap()))
        .collect();
    all.sort_unstable();
    assert_eq!(all, [("big one", 3_000_000), ("left", 5)]);
    all_gone(&job);
    log
}

#[test]
fn a_shell_script_coordinates_without_network_by_the_socket_of_its_job() {
    let scripted = Scripted::new("ci", SHELL);
    let master = scripted.master(&["--step-network=false"]);
    let log = coordinated(&master);
    assert!(
        log.contains("socket /tmp/.danube.sock, tcp closed\n"),
        "{log}"
    );
    assert!(log.contains("\nstep closed\n"), "{log}");
    assert_eq!(fs::read_dir(master.dir.join("work")).unwrap().count(), 0);
}

#[test]
fn the_same_on_a_worker_elsewhere() {
    let scripted = Scripted::new("ci", SHELL);
    let master = scripted.master(&["--jobs-at-once", "0"]);
    let _worker = Elsewhere::in_environment(&master, "far", &NO_NETWORK);
    let log = coordinated(&master);
    assert!(
        log.contains("socket /tmp/.danube.sock, tcp closed\n"),
        "{log}"
    );
    assert!(log.contains("\nstep closed\n"), "{log}");
}

#[test]
fn with_a_network_there_is_no_socket_and_all_else_is_the_same() {
    let scripted = Scripted::new("ci", SHELL);
    let log = coordinated(&scripted.master(&[]));
    assert!(log.contains("socket none, tcp open\n"), "{log}");
    assert!(log.contains("\nstep open\n"), "{log}");
}

#[test]
fn an_address_with_tls_makes_no_difference_to_a_job_without_network() {
    let program = "#!/bin/sh\nset -eu\ndanube step run --name a -- true\n";
    let scripted = Scripted::new("ci", program);
    let own = scripted.own.path().to_str().unwrap();
    let master = scripted.master(&[
        "--step-network=false",
        "--public-url=https://ci.example.org",
        "--allow-path",
        own,
    ]);
    let job = submit(&master);
    let ended = master.ended(&job);
    assert_eq!(ended["status"], "success", "{ended} {}", log(&master, &job));
}

const PYTHON: &str = r#"#!/usr/bin/env python3
import os
import socket

from danube import artifacts, pipeline, secrets, step

@pipeline
def build():
    host, port = os.environ["DANUBE_SERVER"].rpartition("/")[2].split(":")
    with socket.socket() as tcp:
        tcp.settimeout(5)
        print("tcp", "open" if tcp.connect_ex((host, int(port))) == 0 else "closed", flush=True)
    said = step.run("echo in $DANUBE_STEP", name="say", capture=True)
    assert said.stdout == "in say\n", said.stdout
    print(len(secrets.get("deploy")), flush=True)
    with open("out.txt", "w") as out:
        out.write("made\n")
    artifacts.upload("out.txt")

build()
"#;

#[test]
fn a_danubefile_of_python_coordinates_without_network() {
    let scripted = Scripted::new("danubefile.py", PYTHON);
    let master = scripted.master(&["--step-network=false"]);
    let job = submit(&master);
    let ended = master.ended(&job);
    let log = log(&master, &job);
    assert_eq!(ended["status"], "success", "{ended} {log}");
    let (closed, length) = ("tcp closed\n", format!("\n{}\n", SECRET.len()));
    assert!(log.contains(closed) && log.contains(&length), "{log}");
    let kept = master.get(&format!("/api/v1/jobs/{job}/artifacts/out.txt"));
    assert_eq!(kept.text(), "made\n");
}

/// The socket of a job of the worker in this master, as it is seen from outside.
pub(super) fn socket(master: &Master, job: &str) -> PathBuf {
    master.dir.join("work").join(job).join("tmp/.danube.sock")
}

/// A request at a socket; the status of its answer.
#[track_caller]
fn ask(socket: &Path, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut stream = UnixStream::connect(socket).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: application/json\r\n"
    );
    head.extend(
        headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n")),
    );
    stream
        .write_all(format!("{head}\r\n{{}}").as_bytes())
        .unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).and_then(|it| it.parse().ok());
    status.unwrap_or_else(|| panic!("{method} {path}: {line}"))
}

/// The token of a job that runs, from the environment of its processes.
pub(super) fn token(job: &str) -> String {
    let environment = fs::read(format!("/proc/{}/environ", of_job(job)[0])).unwrap();
    let text = String::from_utf8_lossy(&environment).into_owned();
    let found = text
        .split('\0')
        .find_map(|it| it.strip_prefix("DANUBE_JOB_TOKEN="));
    found.unwrap().to_owned()
}

#[test]
fn a_socket_is_its_job_s_alone_and_leads_to_what_a_job_may_call_and_nowhere_else() {
    if !root_or_skip("jobs of their own users") {
        return;
    }
    let master = Master::with(&["--step-network=false", "--jobs-at-once", "2"]);
    let job = id(&master.submit(&one_step(HELD)));
    master.until_log(&job, "begin\n");
    let at = socket(&master, &job);
    let found = fs::metadata(&at).unwrap();
    let dir = fs::metadata(at.parent().unwrap()).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!((found.mode() & 0o777, dir.mode() & 0o777), (0o600, 0o700));
    assert_eq!((found.uid(), found.gid()), (dir.uid(), dir.gid()));
    assert!(found.uid() >= 1_900_000_000, "{}", found.uid());

    // Another job has one of its own, at the same path, and none of this job's.
    let seen = format!(
        "stat -c '%u %i' /tmp/.danube.sock; ls {} 2> /dev/null || echo none; {HELD}",
        at.display()
    );
    let other = id(&master.submit(&one_step(&seen)));
    master.until_log(&other, "none\nbegin\n");
    let own = fs::metadata(socket(&master, &other)).unwrap();
    let log = log(&master, &other);
    assert!(
        log.starts_with(&format!("{} {}\n", own.uid(), own.ino())),
        "{log}"
    );
    assert_ne!((own.uid(), own.ino()), (found.uid(), found.ino()));

    let (bearer, foreign) = (token(&job), token(&other));
    let [bearer, foreign, admin] =
        [&bearer, &foreign, &master.key].map(|it| format!("Bearer {it}"));
    let by = |method: &str, path: &str, bearer: &str| {
        ask(&at, method, path, &[("Authorization", bearer)])
    };
    let mask = |job: &str| format!("/api/v1/jobs/{job}/mask");
    // It is heard: there is no coordinator, no name, and no value.
    assert_eq!(by("POST", "/rpc/run-step", &bearer), 403);
    assert_eq!(by("POST", "/rpc/upload-artifact", &bearer), 400);
    assert_eq!(by("POST", &mask(&job), &bearer), 422);
    assert_eq!(by("POST", "/rpc/upload-artifact?name=a", &bearer), 200);
    for (key, what) in [(&foreign, "another job's"), (&admin, "a key")] {
        assert_eq!(
            by("POST", "/rpc/upload-artifact?name=a", key),
            401,
            "{what}"
        );
        assert_eq!(by("POST", &mask(&job), key), 401, "{what}");
    }
    let key = [("Authorization", &*foreign), ("X-Api-Key", &*master.key)];
    assert_eq!(ask(&at, "POST", &mask(&job), &key), 401);
    for (method, path, _) in danube_master::rights() {
        let path = path
            .replace("{id}", &other)
            .replace("{name}", "a")
            .replace("{forge}", "x");
        let may = ["run-step", "get-secret", "report-status", "upload-artifact"];
        if may.iter().any(|it| path == format!("/rpc/{it}")) {
            continue;
        }
        for key in [&bearer, &admin] {
            assert_eq!(by(method, &path, key), 404, "{method} {path}");
        }
    }
    for job in [&job, &other] {
        release(job);
        assert_eq!(master.ended(job)["status"], "success");
        assert!(!socket(&master, job).exists());
    }
}

#[test]
fn a_file_passes_through_a_worker_and_is_not_held_in_its_memory() {
    const BYTES: u64 = 64 * 1024 * 1024;
    let program = format!(
        "#!/bin/sh\nset -eu\ntruncate -s {BYTES} big\ndanube artifact upload big > said\ncat said\n"
    );
    let scripted = Scripted::new("ci", &program);
    let master = scripted.master(&["--jobs-at-once", "0"]);
    let worker = Elsewhere::in_environment(&master, "far", &NO_NETWORK);
    let before = forget_highest_memory(worker.pid());
    let job = submit(&master);
    let ended = master.ended(&job);
    assert_eq!(ended["status"], "success", "{ended} {}", log(&master, &job));
    let list = master.get(&format!("/api/v1/jobs/{job}/artifacts")).json();
    assert_eq!(list["artifacts"][0]["bytes"], json!(BYTES), "{list}");
    let grown = memory(worker.pid(), "VmHWM").saturating_sub(before);
    assert!(grown < BYTES / 2, "it grew by {grown} bytes");
}

//! Steps that are started by a process of another unit, for a master that may do little.
//! A loop of the test's own plays systemd's socket here; `systemd.rs` has the real one.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::elsewhere::Elsewhere;
use crate::master::{DANUBE, DEADLINE, Master};
use crate::processes::{HELD, all_gone, of_job, release, root_or_skip, until};

/// A socket at which everybody who connects gets a nursery, as `danube-jobs.socket` does it.
struct Socket {
    dir: TempDir,
    started: Arc<Mutex<Vec<u32>>>,
}

impl Socket {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("jobs.sock")).unwrap();
        let started: Arc<Mutex<Vec<u32>>> = Arc::default();
        let socket = Self {
            dir,
            started: Arc::clone(&started),
        };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut child = Command::new(DANUBE)
                    .arg("--danube-become-nursery")
                    .stdin(Stdio::from(OwnedFd::from(stream.unwrap())))
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                started.lock().unwrap().push(child.id());
                thread::spawn(move || child.wait());
            }
        });
        socket
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("jobs.sock")
    }

    fn started(&self) -> Vec<u32> {
        self.started.lock().unwrap().clone()
    }
}

/// Words that start a program which may do as little as the unit lets the server do: no new
/// rights, three of root's, and no file system to write to but its own directory.
fn restricted(dir: &Path) -> Vec<String> {
    let read_only = "mount --make-rprivate / && mount --bind \"$0\" \"$0\" && \
         mount -o remount,bind,ro / && exec setpriv --no-new-privs \
         --bounding-set=-all,+chown,+dac_override,+fowner \"$@\"";
    let words = ["unshare", "--mount", "sh", "-euc", read_only];
    let words = words.map(str::to_owned).into_iter();
    words
        .chain([dir.display().to_string(), DANUBE.to_owned()])
        .collect()
}

fn status(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix(name));
    line.unwrap().trim_start_matches(':').trim().to_owned()
}

#[test]
fn what_a_master_may_not_do_its_jobs_may() {
    if !root_or_skip("taking rights from a master") {
        return;
    }
    let socket = Socket::open();
    let own = tempfile::tempdir().unwrap();
    fs::set_permissions(own.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let words = restricted(own.path());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let path = socket.path();
    let arguments = ["--nursery-socket", path.to_str().unwrap()];
    let master = Master::start_by(&words, &own.path().join("data"), &arguments);
    assert_eq!(status(master.pid(), "NoNewPrivs"), "1");
    assert_eq!(status(master.pid(), "CapBnd"), "000000000000000b");
    let job = master.ended(&master.run(
        "grep -E '^(Uid|CapBnd|NoNewPrivs):' /proc/self/status; ls -A /tmp; unshare -Ur id -u; \
         mount -t tmpfs none /mnt 2>/dev/null || echo not root; \
         cat /proc/self/mountinfo | grep -c ' / / ro,' || true",
    ));
    assert_eq!(job["status"], "success", "{job}");
    let log = String::from_utf8(master.log(job["id"].as_str().unwrap())).unwrap();
    // It has its own walls, and none of the master's: its root is as writable as ever.
    assert!(log.contains("Uid:\t19000000"), "{log}");
    assert!(log.contains("CapBnd:\t0000000000000000\n"), "{log}");
    assert!(log.contains("not root\n"), "{log}");
    assert!(log.ends_with("\n0\n"), "{log}");
    assert_eq!(socket.started().len(), 1, "one for all steps");
}

#[test]
fn a_master_that_dies_takes_its_steps_with_it_and_finds_what_is_left() {
    let socket = Socket::open();
    let path = socket.path();
    let arguments = ["--nursery-socket", path.to_str().unwrap()];
    let own = tempfile::tempdir().unwrap();
    let mut master = Master::start_in(&own.path().join("data"), &arguments);
    let job = master.run("echo begin; setsid sleep 1000 & sleep 1000");
    master.until_log(&job, "begin");
    assert!(!of_job(&job).is_empty());
    master.kill();
    all_gone(&job);
    let nursery = socket.started()[0];
    until("the nursery ends too", DEADLINE, || {
        fs::metadata(format!("/proc/{nursery}"))
            .is_err()
            .then_some(())
    });
}

#[test]
fn steps_go_on_when_only_the_nursery_dies_and_the_next_job_connects_anew() {
    let socket = Socket::open();
    let path = socket.path();
    let master = Master::with(&["--nursery-socket", path.to_str().unwrap()]);
    let held = master.run(HELD);
    master.until_log(&held, "begin");
    let nursery = socket.started()[0].to_string();
    let killed = Command::new("kill").args(["-s", "KILL", &nursery]).status();
    assert!(killed.unwrap().success());
    let next = master.ended(&master.run("echo next"));
    assert_eq!(next["status"], "success", "{next}");
    assert_eq!(socket.started().len(), 2);
    release(&held);
    assert_eq!(master.ended(&held)["status"], "success");
    // Nobody is there for the one after that: it says so, and the master goes on.
    fs::remove_file(&path).unwrap();
    let nursery = socket.started()[1].to_string();
    let killed = Command::new("kill").args(["-s", "KILL", &nursery]).status();
    assert!(killed.unwrap().success());
    let failed = master.ended(&master.run("echo never"));
    assert_eq!(failed["status"], "failure", "{failed}");
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains(path.to_str().unwrap()), "{reason}");
    assert!(
        reason.contains("systemctl start danube-jobs.socket"),
        "{reason}"
    );
}

#[test]
fn a_worker_elsewhere_has_its_steps_started_so_too() {
    let socket = Socket::open();
    let path = socket.path();
    let master = Master::with(&["--jobs-at-once", "0"]);
    let variables = [("DANUBE_STEPS_NURSERY_SOCKET", path.to_str().unwrap())];
    let _worker = Elsewhere::in_environment(&master, "far", &variables);
    let job = master.ended(&master.run("echo fine"));
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(socket.started().len(), 1);
}

#[test]
fn a_socket_that_is_not_there_is_said_at_the_start() {
    let own = tempfile::tempdir().unwrap();
    let path = own.path().join("nowhere.sock");
    let path = path.to_str().unwrap();
    let dir = own.path().join("data");
    let started = Master::try_start_in(&dir, &["--nursery-socket", path]);
    let said = started.err().expect("it can start no step");
    assert!(said.contains(path), "{said}");
    assert!(
        said.contains("systemctl start danube-jobs.socket"),
        "{said}"
    );
    assert!(said.contains("steps.nursery_socket"), "{said}");
    let doctor = |socket: &str| -> Value {
        let asked = ["doctor", "--output", "json", "--data-dir"];
        let mut command = Command::new(DANUBE);
        command
            .args(asked)
            .arg(&dir)
            .env("DANUBE_STEPS_NURSERY_SOCKET", socket);
        let said: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        let checks = said["checks"].as_array().unwrap();
        checks
            .iter()
            .find(|it| it["check"] == "isolation")
            .unwrap()
            .clone()
    };
    let found = doctor(path);
    assert_eq!(found["status"], "failed", "{found}");
    assert!(found["detail"].as_str().unwrap().contains(path), "{found}");
    let socket = Socket::open();
    let found = doctor(socket.path().to_str().unwrap());
    assert_eq!(found["status"], "ok", "{found}");
    assert_eq!(socket.started().len(), 1);
    // A master without jobs asks for nothing of the kind.
    let arguments = ["--nursery-socket", path, "--jobs-at-once", "0"];
    let master = Master::start_in(&dir, &arguments);
    let ready: Value = master.get("/health/ready").json();
    assert_eq!(ready["status"], "ready", "{ready}");
}

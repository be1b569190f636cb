//! A registry that the server starts: it serves, comes back, and ends with the server.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use super::images::{age, names};
use super::{Image, check, pull};
use crate::master::{DEADLINE, Master};
use crate::peers::find;
use crate::processes::until;

/// Where nobody listens.
fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn program() -> String {
    find(&["docker-registry", "registry"]).display().to_string()
}

/// A master with a registry of its own that answers.
#[track_caller]
fn start(dir: &Path, listen: &str, more: &[&str]) -> Master {
    let program = program();
    start_with(
        dir,
        listen,
        &[&["--registry-program", &program], more].concat(),
    )
}

#[track_caller]
fn start_with(dir: &Path, listen: &str, more: &[&str]) -> Master {
    let own = [
        "--registry-start",
        "--registry-listen",
        listen,
        "--health-interval",
        "1",
    ];
    let master = Master::start_in(dir, &[&own, more].concat());
    until("the registry answers", DEADLINE, || {
        (check(&master)["status"] == "ok").then_some(())
    });
    master
}

/// The registry's process: who reads this configuration.
fn pid(dir: &Path) -> Option<i32> {
    let config = dir.join("registry.json").display().to_string();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains(&config) && line.contains("serve") && !line.contains("tether") {
            return Some(pid);
        }
    }
    None
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// What the server tells of a registry that was killed.
pub(crate) fn provoked() -> Option<Vec<String>> {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let master = start(&dir, &free(), &[]);
    kill(pid(&dir).unwrap());
    master.event(|it| it["event"] == "registry_exited");
    Some(master.log_lines())
}

#[test]
fn a_registry_of_its_own_serves_is_counted_and_comes_back_when_it_was_killed() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let listen = free();
    let master = start(&dir, &listen, &[]);
    let mode = fs::metadata(dir.join("registry.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    Image::with(b"content").push(&listen, "team/app:v1");
    until("the push is told", DEADLINE, || {
        let pushes = master.metric("danube_registry_pushes_total{image=\"team/app\"}");
        (pushes == 1.0).then_some(())
    });
    let before = pid(&dir).unwrap();
    kill(before);
    let told = master.event(|it| it["event"] == "registry_exited");
    assert!(told["exit"].as_str().unwrap().contains("signal"), "{told}");
    until("another one answers", DEADLINE, || {
        pid(&dir).filter(|it| *it != before)
    });
    until("it has the image", DEADLINE, || {
        pull(&listen, "team/app:v1").status.success().then_some(())
    });
    let token = fs::read_to_string(dir.join("registry.token")).unwrap();
    assert!(!master.log_lines().join("\n").contains(token.trim()));
}

#[test]
fn one_that_hangs_is_restarted() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let listen = free();
    let master = start(&dir, &listen, &["--heal", "auto"]);
    let before = pid(&dir).unwrap();
    let stopped = rustix::process::Pid::from_raw(before).unwrap();
    rustix::process::kill_process(stopped, rustix::process::Signal::STOP).unwrap();
    let healed = |it: &Value| it["event"] == "self_heal_attempted" && it["check"] == "registry";
    let told = master.event(healed);
    assert_eq!(
        (&told["action"], &told["result"]),
        (&json!("restart_registry"), &json!("success"))
    );
    until("another one answers", DEADLINE, || {
        (check(&master)["status"] == "ok").then_some(())
    });
    assert_ne!(pid(&dir), Some(before));
}

#[test]
fn no_registry_outlives_its_server_however_that_ends() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let listen = free();
    let mut master = start(&dir, &listen, &[]);
    Image::with(b"content").push(&listen, "team/app:v1");
    master.kill();
    until("it has ended too", DEADLINE, || {
        pid(&dir).is_none().then_some(())
    });
    let mut master = start(&dir, &listen, &[]);
    assert!(pull(&listen, "team/app:v1").status.success());
    master.signal("TERM");
    assert!(master.wait().success());
    assert_eq!(pid(&dir), None);
}

#[test]
fn what_no_image_names_is_collected_when_one_is_deleted() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let listen = free();
    let master = start(&dir, &listen, &["--images-days", "7"]);
    let large: Vec<u8> = (0..2_000_000_u32)
        .flat_map(|it| it.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    Image::with(&large).push(&listen, "team/app:v1");
    let seen = || reap(&master);
    assert_eq!(seen()["images_deleted"], 0);
    let usage = || master.metric("danube_disk_usage_bytes{kind=\"registry\"}");
    assert!(usage() > 1e6, "{}", usage());
    age(&dir, 8);
    Image::with(b"small").push(&listen, "team/app:v2");
    until("the push is told", DEADLINE, || {
        let pushes = master.metric("danube_registry_pushes_total{image=\"team/app\"}");
        (pushes == 2.0).then_some(())
    });
    let reaped = seen();
    assert_eq!(reaped["images_deleted"], 1, "{reaped}");
    assert!(
        reaped["bytes_freed"].as_u64().unwrap() > 1_000_000,
        "{reaped}"
    );
    assert!(usage() < 1e6, "{}", usage());
    assert_eq!(
        names(&master.get("/api/v1/registry/images").json()),
        ["team/app:v2"]
    );
    until("it serves again", DEADLINE, || {
        pull(&listen, "team/app:v2").status.success().then_some(())
    });
}

/// Has the reaper run; what it did.
fn reap(master: &Master) -> Value {
    let asked = master.call("POST", "/api/v1/admin/reaper", Some(&json!({})));
    assert_eq!(asked.status, 200, "{}", asked.text());
    asked.json()
}

#[test]
fn a_registry_that_is_stopped_to_collect_is_not_taken_for_one_that_failed() {
    let own = tempfile::tempdir().unwrap();
    let (dir, gate) = (own.path().join("data"), own.path().join("gate"));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &gate,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    // The real one, which waits at the gate before it collects.
    let slow = own.path().join("slow-registry");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" != garbage-collect ] || read -r _ < '{}'\nexec '{}' \"$@\"\n",
        gate.display(),
        program()
    );
    fs::write(&slow, script).unwrap();
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).unwrap();
    let listen = free();
    let slow = slow.display().to_string();
    let more = [
        "--registry-program",
        &slow,
        "--images-days",
        "7",
        "--heal",
        "auto",
    ];
    let master = start_with(&dir, &listen, &more);
    Image::with(b"content").push(&listen, "team/app:v1");
    reap(&master);
    age(&dir, 8);
    let reaped = thread::scope(|scope| {
        let reaping = scope.spawn(|| reap(&master));
        until("it is stopped and nobody is alarmed", DEADLINE, || {
            let check = check(&master);
            let said = check["message"].as_str().unwrap();
            (check["status"] == "degraded" && said.contains("collected")).then_some(())
        });
        fs::write(&gate, "go\n").unwrap();
        reaping.join().unwrap()
    });
    assert_eq!(reaped["images_deleted"], 1, "{reaped}");
    until("it answers again", DEADLINE, || {
        (check(&master)["status"] == "ok").then_some(())
    });
    let lines = master.log_lines().join("\n");
    assert!(!lines.contains("self_heal_attempted"), "{lines}");
}

#[test]
fn a_registry_that_others_would_reach_is_refused() {
    let own = tempfile::tempdir().unwrap();
    for (arguments, what) in [
        (
            &["--registry-listen", "0.0.0.0:5000"][..],
            "asks for no login",
        ),
        (&["--registry-listen", "127.0.0.1:0"], "port 0"),
        (
            &["--registry-url", "http://127.0.0.1:1"],
            "registry.url already",
        ),
    ] {
        let arguments = [&["--registry-start"], arguments].concat();
        let refused = Master::try_start_in(&own.path().join("data"), &arguments).err();
        assert!(refused.is_some_and(|it| it.contains(what)), "{what}");
    }
}

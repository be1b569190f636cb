//! Liveness, for probes and for a service manager: it ends when one of our own loops is
//! parked, and for nothing else.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::elsewhere::Elsewhere;
use crate::master::{DANUBE, DEADLINE, Master, one_step};
use crate::processes::{HELD, release, root_or_skip, until};

/// How often the manager of these tests wants to hear from a process, in the unit of its
/// variable. It hears twice as often.
const WATCHDOG_USEC: &str = "1000000";

/// As many signs of life as take longer than any loop may be silent.
const FEEDS_LONG: usize = 14;

/// Longer than any of these tests holds a thread.
const HELD_MICROS: u64 = 120_000_000;

/// A service manager, as far as a process knows it.
pub(crate) struct Manager {
    socket: UnixDatagram,
    name: String,
    _own: Option<TempDir>,
}

impl Manager {
    pub(crate) fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        let path = own.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let name = path.to_str().unwrap().to_owned();
        Self {
            socket,
            name,
            _own: Some(own),
        }
    }

    /// One whose socket no file system knows.
    fn nameless() -> Self {
        let name = format!("danube-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self {
            socket: UnixDatagram::bind_addr(&address).unwrap(),
            name: format!("@{name}"),
            _own: None,
        }
    }

    /// The variables by which a process finds it.
    pub(crate) fn variables(&self) -> [(&str, &str); 2] {
        [
            ("NOTIFY_SOCKET", &self.name),
            ("WATCHDOG_USEC", WATCHDOG_USEC),
        ]
    }

    /// The next message; none when nothing comes within this time.
    fn next(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..count].to_vec()).unwrap())
    }

    /// Waits for a message with this line; all of its lines.
    #[track_caller]
    pub(crate) fn until(&self, line: &str) -> Vec<String> {
        let end = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        while Instant::now() < end {
            let Some(message) = self.next(DEADLINE) else {
                break;
            };
            if message.lines().any(|it| it == line) {
                return message.lines().map(str::to_owned).collect();
            }
            seen.push(message);
        }
        panic!("no {line}: {seen:?}");
    }

    /// Nothing more is heard of the process's life, but for what is on its way.
    #[track_caller]
    fn hears_nothing(&self) {
        while self.next(Duration::from_millis(1)).is_some() {}
        let end = Instant::now() + Duration::from_secs(2);
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let heard = self.next(left.max(Duration::from_millis(1)));
            assert_ne!(heard.as_deref(), Some("WATCHDOG=1"));
        }
    }

    fn master(&self) -> Master {
        Master::in_environment(&self.variables(), &[])
    }
}

/// A single thread of a process that goes nowhere until this is dropped.
pub(crate) struct Parked {
    strace: Child,
}

impl Parked {
    /// The thread with this name, wherever it is.
    pub(crate) fn thread(pid: u32, name: &str) -> Self {
        Self::at(pid, name, "all")
    }

    /// The thread with this name, once it makes one of these system calls.
    fn at(pid: u32, name: &str, calls: &str) -> Self {
        let thread = thread_of(pid, name);
        let delay = format!("inject={calls}:delay_enter={HELD_MICROS}");
        let mut strace = Command::new("strace")
            .args(["-o", "/dev/null", "-p", &thread, "-e"])
            .arg(format!("trace={calls}"))
            .args(["-e", &delay])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is here: ci/deps.sh installs it");
        let said = BufReader::new(strace.stderr.take().expect("piped"));
        let mut lines = said.lines().map_while(Result::ok);
        let attached = lines.find(|it| it.contains("attached"));
        assert!(attached.is_some(), "strace could not attach");
        thread::spawn(move || lines.for_each(drop));
        Self { strace }
    }
}

impl Drop for Parked {
    /// Lets the thread go on without it: a killed tracer might not.
    fn drop(&mut self) {
        let pid = self.strace.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let _ = self.strace.wait();
    }
}

fn thread_of(pid: u32, name: &str) -> String {
    let all = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut all = all.map(|it| it.unwrap());
    let found = all.find(|it| {
        let comm = fs::read_to_string(it.path().join("comm"));
        comm.is_ok_and(|it| it.trim() == name)
    });
    let found = found.unwrap_or_else(|| panic!("no thread {name}"));
    found.file_name().into_string().unwrap()
}

/// `GET /health`, as a probe without a key sees it.
fn health(master: &Master) -> (u16, Value) {
    let answer = master.request("GET", "/health", &[], b"");
    (answer.status, answer.json())
}

#[track_caller]
fn is_alive(master: &Master) {
    let (status, body) = health(master);
    assert_eq!((status, &body["status"]), (200, &json!("ok")), "{body}");
    assert!(body.get("stalled").is_none(), "{body}");
}

/// A parked thread of the master, seen by a probe and by a service manager, until it goes
/// on.
fn a_parked_thread_is_seen(thread: &str, name: &str) {
    if !root_or_skip("stopping one thread of another process") {
        return;
    }
    let manager = Manager::new();
    let master = manager.master();
    manager.until("WATCHDOG=1");
    is_alive(&master);
    let parked = Parked::thread(master.pid(), thread);
    let body = until("the probe fails", Duration::from_secs(10), || {
        let (status, body) = health(&master);
        (status == 503).then_some(body)
    });
    assert_eq!(body["status"], "failed", "{body}");
    assert_eq!(body["stalled"], json!([name]), "{body}");
    manager.until(&format!("STATUS=stalled: {name}"));
    manager.hears_nothing();
    let stalled = master.event(|it| it["event"] == "loop_stalled");
    assert_eq!(stalled["loop_name"], name, "{stalled}");
    assert_eq!(stalled["level"], "error", "{stalled}");

    drop(parked);
    let resumed = master.event(|it| it["event"] == "loop_resumed");
    assert_eq!(resumed["loop_name"], name, "{resumed}");
    is_alive(&master);
    manager.until("WATCHDOG=1");
    // And it works as before.
    let job = master.ended(&master.run("echo done"));
    assert_eq!(job["status"], "success", "{job}");
}

#[test]
fn a_parked_scheduler_fails_the_probe_and_starves_the_service_manager_until_it_goes_on() {
    a_parked_thread_is_seen("scheduler", "scheduler");
}

#[test]
fn a_parked_writer_of_the_store_does_too() {
    a_parked_thread_is_seen("danube-store", "store_writer");
}

#[test]
fn a_parked_watchdog_is_seen_by_the_loop_that_accepts_connections() {
    a_parked_thread_is_seen("watchdog", "watchdog");
}

#[test]
fn a_write_lock_that_another_process_holds_is_no_stall() {
    let manager = Manager::new();
    let master = manager.master();
    manager.until("WATCHDOG=1");
    // The test's process is another one to the master's.
    let other = Connection::open(master.dir.join("danube.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        // Somebody waits for the writer all the while, and it for the lock.
        scope.spawn(|| {
            let body = one_step("true");
            let refused = master.call("POST", "/api/v1/jobs", Some(&body));
            assert_eq!(refused.status, 503, "{}", refused.text());
        });
        for _ in 0..FEEDS_LONG {
            manager.until("WATCHDOG=1");
            is_alive(&master);
        }
    });
    other.execute_batch("ROLLBACK").unwrap();
    assert!(stalls(&master).is_empty());
}

#[test]
fn a_sync_that_hangs_is_no_stall() {
    if !root_or_skip("holding a system call of another process") {
        return;
    }
    let manager = Manager::new();
    let master = manager.master();
    manager.until("WATCHDOG=1");
    let held = Parked::at(master.pid(), "danube-store", "fdatasync,fsync");
    thread::scope(|scope| {
        // The writer is in the sync of this, and the scheduler waits for the claim of it.
        let accepted = scope.spawn(|| master.run("echo done"));
        for _ in 0..FEEDS_LONG {
            manager.until("WATCHDOG=1");
            is_alive(&master);
        }
        assert!(!accepted.is_finished(), "nothing hung");
        drop(held);
        let job = master.ended(&accepted.join().unwrap());
        assert_eq!(job["status"], "success", "{job}");
    });
    assert!(stalls(&master).is_empty());
}

#[test]
fn a_process_that_was_stopped_as_a_whole_is_well_when_it_goes_on() {
    let manager = Manager::new();
    let master = manager.master();
    manager.until("WATCHDOG=1");
    master.signal("STOP");
    while manager.next(Duration::from_secs(8)).is_some() {}
    master.signal("CONT");
    for _ in 0..FEEDS_LONG {
        is_alive(&master);
        manager.until("WATCHDOG=1");
    }
    assert!(stalls(&master).is_empty());
}

fn stalls(master: &Master) -> Vec<String> {
    let lines = master.log_lines().into_iter();
    lines.filter(|it| it.contains("loop_stalled")).collect()
}

#[test]
fn a_service_manager_hears_of_the_whole_life_of_a_master() {
    let manager = Manager::nameless();
    let mut master = Master::in_environment(&manager.variables(), &["--grace", "20"]);
    let ready = manager.until("READY=1");
    assert_eq!(ready[1], format!("STATUS=serving {}", master.address));
    is_alive(&master);
    manager.until("WATCHDOG=1");

    master.signal("HUP");
    let reloading = manager.until("RELOADING=1");
    let at = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let age = now.tv_sec * 1_000_000 - at.parse::<i64>().unwrap();
    assert!((-1_000_000..60_000_000).contains(&age), "{age} µs ago");
    manager.until("READY=1");
    manager.until("WATCHDOG=1");

    // What its jobs have of the manager: nothing.
    let job = master.run("env; echo fine");
    assert_eq!(master.ended(&job)["status"], "success");
    let seen = String::from_utf8(master.log(&job)).unwrap();
    assert!(
        !seen.contains("NOTIFY") && !seen.contains("WATCHDOG"),
        "{seen}"
    );

    let held = master.run(HELD);
    master.until_log(&held, "begin");
    master.signal("TERM");
    let stopping = manager.until("STOPPING=1");
    assert_eq!(stopping[1], "STATUS=stopping, 1 jobs are running");
    // It asks for more time, again and again.
    for _ in 0..2 {
        manager.until("EXTEND_TIMEOUT_USEC=30000000");
    }
    release(&held);
    assert!(master.wait().success());
}

#[test]
fn a_service_manager_hears_of_the_life_of_a_worker_too() {
    let manager = Manager::new();
    let master = Master::with(&["--jobs-at-once", "0"]);
    let mut worker = Elsewhere::in_environment(&master, "far", &manager.variables());
    manager.until(&format!("STATUS=waiting for {}", master.address));
    let ready = manager.until("READY=1");
    let status = format!("STATUS=works for {} as far", master.address);
    assert_eq!(ready[1], status);
    manager.until("WATCHDOG=1");
    worker.signal("TERM");
    manager.until("STOPPING=1");
    assert!(worker.wait().success());
}

#[test]
fn a_process_without_a_manager_or_with_one_that_is_gone_serves_all_the_same() {
    for socket in ["", "/nowhere/notify", "vsock:2:1"] {
        let master = Master::in_environment(&[("NOTIFY_SOCKET", socket)], &[]);
        is_alive(&master);
    }
    // Other commands aren't the service.
    let manager = Manager::new();
    let said = Command::new(DANUBE)
        .arg("version")
        .envs(manager.variables())
        .output()
        .unwrap();
    assert!(said.status.success());
    assert_eq!(manager.next(Duration::from_millis(100)), None);
}

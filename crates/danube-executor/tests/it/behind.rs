//! Steps that are started by a process of another unit, behind a socket.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use danube_executor::{
    Control, Controller, End, ExecutorError, Isolation, Limits, Nursery, UID_BASE_DEFAULT,
    probe_by, run_step,
};

use crate::support::{Collect, Job, eventually, isolations, processes_with, run_with};

/// Uid of nobody, mostly.
const ANOTHER: u32 = 65_534;

/// A service manager with a socket: whoever connects gets a nursery of its own, whose
/// standard input the connection is.
struct Unit {
    dir: tempfile::TempDir,
    started: Arc<Mutex<Vec<u32>>>,
}

impl Unit {
    fn start(uid: Option<u32>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        let started = Arc::default();
        let unit = Self {
            dir,
            started: Arc::clone(&started),
        };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command
                    .arg("--danube-become-nursery")
                    .stdin(Stdio::from(OwnedFd::from(stream.unwrap())))
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                if let Some(uid) = uid {
                    command.uid(uid);
                }
                let mut child = command.spawn().unwrap();
                started.lock().unwrap().push(child.id());
                thread::spawn(move || child.wait());
            }
        });
        unit
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    fn nursery(&self) -> Nursery {
        Nursery::Behind(self.socket())
    }

    fn last(&self) -> u32 {
        *self.started.lock().unwrap().last().unwrap()
    }
}

fn is_below(mut process: PathBuf, ancestor: u32) -> bool {
    let ancestor = format!("/proc/{ancestor}");
    while process != Path::new("/proc/1") && process != Path::new("/proc/0") {
        if process == Path::new(&ancestor) {
            return true;
        }
        process = crate::leftovers::parent(&process);
    }
    false
}

#[test]
fn a_step_runs_below_whoever_answers_at_the_socket() {
    let unit = Unit::start(None);
    let nursery = unit.nursery();
    nursery.check().unwrap();
    let found = probe_by(&nursery, None, Some(UID_BASE_DEFAULT)).unwrap();
    for isolation in isolations() {
        let job = Job::with(isolation);
        let mark = job.dir.path().display().to_string();
        let gate = job.fifo("gate");
        let mut plan = job.sh("echo out; echo err >&2; read line <gate; exit 3");
        plan.env.push(("MARK".into(), mark.clone()));
        plan.sandbox.nursery = nursery.clone();
        let output = Collect::on_first(|| {
            let steps = processes_with("environ", &mark);
            assert!(!steps.is_empty());
            for step in steps {
                assert!(is_below(step, unit.last()));
            }
            fs::write(&gate, "looked\n").unwrap();
        });
        let ran = run_with(&plan, &Control::new().unwrap(), output).unwrap();
        assert_eq!(ran.outcome.end, End::Exit(3));
        assert_eq!((&*ran.stdout, &*ran.stderr), ("out\n", "err\n"));
    }
    let strongest = *isolations().last().unwrap();
    let is_same = |a, b| std::mem::discriminant::<Isolation>(a) == std::mem::discriminant(b);
    assert!(is_same(&found.isolation, &strongest), "{found:?}");
    assert_eq!(unit.started.lock().unwrap().len(), 1, "one for all steps");
}

#[test]
fn its_death_ends_no_step_and_the_next_step_connects_anew() {
    let unit = Unit::start(None);
    let job = Job::new();
    job.fifo("gate");
    let mut plan = job.sh("echo ready; read line <gate; echo $line");
    plan.sandbox.nursery = unit.nursery();
    let name = format!("danube-test-behind-{}", std::process::id());
    let cgroup = unit.nursery().open_cgroup(&name).unwrap();
    plan.sandbox.cgroup = cgroup.clone();
    plan.sandbox.limits.processes = Some(50);
    let output = Collect::on_first(|| {
        let nursery = unit.last().to_string();
        let mut kill = Command::new("kill");
        let sent = kill.args(["-KILL", &nursery]).status();
        assert!(sent.unwrap().success());
        eventually("it is dead", || {
            fs::read_to_string(format!("/proc/{nursery}/stat")).is_err()
        });
        // Another step, by another nursery, in the same cgroup: it clears nothing away.
        let mut next = job.sh("echo next");
        next.sandbox = plan.sandbox.clone();
        assert_eq!(job.run(next).unwrap().stdout, "next\n");
        assert_ne!(unit.last().to_string(), nursery);
        fs::write(job.workspace.path().join("gate"), "still here\n").unwrap();
    });
    let ran = run_with(&plan, &Control::new().unwrap(), output).unwrap();
    assert_eq!(ran.stdout, "ready\nstill here\n");
    if let Some(cgroup) = cgroup {
        cgroup.remove().unwrap();
    }
}

#[test]
fn limits_hold_by_cgroups_that_are_made_over_there() {
    let unit = Unit::start(None);
    let nursery = unit.nursery();
    let name = format!("danube-test-far-{}", std::process::id());
    let Some(parent) = nursery.open_cgroup(&name).unwrap() else {
        eprintln!("skipped: no cgroup controller");
        return;
    };
    let has = |wanted| parent.controllers().iter().any(|(it, _)| *it == wanted);
    let job = Job::new();
    let mut plan = job.sh("head -c 300000000 /dev/zero | tail -c 300000000 >/dev/null");
    plan.sandbox.nursery = nursery.clone();
    plan.sandbox.cgroup = Some(parent.clone());
    plan.sandbox.limits = Limits {
        memory_bytes: Some(32 << 20),
        processes: Some(50),
        ..Limits::default()
    };
    if has(Controller::Memory) {
        assert!(job.run(plan.clone()).unwrap().outcome.oom_killed);
    }
    plan.command = job.sh("grep -c danube-test-far /proc/self/cgroup").command;
    let ran = job.run(plan).unwrap();
    assert!(!ran.outcome.oom_killed);
    assert!(ran.stdout.trim().parse::<u32>().unwrap() > 0, "{ran:?}");
    parent.remove().unwrap();
}

#[test]
fn what_jobs_left_behind_is_found_and_killed_over_there() {
    let unit = Unit::start(None);
    let job = Job::new();
    let value = job.dir.path().display().to_string();
    let mut sleeper = Command::new("sleep")
        .arg("1000")
        .env("DANUBE_JOB_ID", &value)
        .spawn()
        .unwrap();
    eventually("it runs", || !processes_with("environ", &value).is_empty());
    let mark = format!("DANUBE_JOB_ID={value}");
    assert_eq!(unit.nursery().kill_leftovers(&mark).unwrap(), 1);
    assert!(!sleeper.wait().unwrap().success());
}

fn refusal(nursery: &Nursery) -> String {
    let checked = nursery.check().unwrap_err().to_string();
    let job = Job::new();
    let mut plan = job.sh("true");
    plan.sandbox.nursery = nursery.clone();
    let ran = run_step(&plan, &Control::new().unwrap(), &mut Collect::default());
    let Err(ExecutorError::Start(error)) = ran else {
        panic!("{ran:?}");
    };
    assert_eq!(error.to_string(), checked);
    checked
}

#[test]
fn where_nobody_is_it_is_said_what_is_missing_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let said = refusal(&Nursery::Behind(path.clone()));
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    assert!(said.contains("No such file"), "{said}");
    assert!(
        said.contains("systemctl start danube-jobs.socket"),
        "{said}"
    );
    // Somebody was there.
    drop(UnixListener::bind(&path).unwrap());
    let said = refusal(&Nursery::Behind(path));
    assert!(said.contains("Connection refused"), "{said}");
    assert!(
        said.contains("systemctl start danube-jobs.socket"),
        "{said}"
    );
}

#[test]
fn one_that_says_nothing_or_nonsense_is_left_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let accepted = thread::spawn(move || {
        // The first connection is left waiting, the second is closed.
        let first = listener.accept().unwrap();
        drop(listener.accept().unwrap());
        first
    });
    let nursery = Nursery::Behind(path);
    let said = nursery.check().unwrap_err();
    assert!(
        said.to_string().contains("doesn't answer in time"),
        "{said}"
    );
    let said = nursery.check().unwrap_err();
    assert!(said.to_string().contains("takes no orders"), "{said}");
    accepted.join().unwrap();
}

#[test]
fn orders_of_another_user_are_refused_and_those_of_root_are_not() {
    if !crate::support::is_root() {
        eprintln!("skipped: only root can be another user");
        return;
    }
    // Root gives orders to anybody.
    let unit = Unit::start(Some(ANOTHER));
    unit.nursery().check().unwrap();
    // Nobody else gives any to root.
    let unit = Unit::start(None);
    let anybody = fs::Permissions::from_mode(0o777);
    fs::set_permissions(unit.dir.path(), anybody.clone()).unwrap();
    fs::set_permissions(unit.socket(), anybody).unwrap();
    let said = as_another(&unit.socket());
    assert!(said.contains("takes no orders from us"), "{said}");
    // And nobody takes them to somebody else who listens there.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(
        dir.path(),
        fs::metadata(unit.dir.path()).unwrap().permissions(),
    )
    .unwrap();
    let path = dir.path().join("socket");
    let listening = helper(&path, "listen", Some(ANOTHER - 1));
    eventually("it listens", || path.exists());
    let said = as_another(&path);
    let why = format!("uid {} listens there", ANOTHER - 1);
    assert!(said.contains(&why), "{said}");
    drop(listening);
}

const HELPER: &str = "DANUBE_TEST_HELPER_SOCKET";

/// What a caller of another user is told.
fn as_another(socket: &Path) -> String {
    let output = helper(socket, "ask", Some(ANOTHER)).0.take().unwrap();
    let output = output.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// This test program, as somebody else.
fn helper(socket: &Path, what: &str, uid: Option<u32>) -> Helper {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["behind::helper_at_a_socket", "--exact", "--nocapture"])
        .env(HELPER, socket)
        .env("DANUBE_TEST_HELPER_DOES", what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if let Some(uid) = uid {
        command.uid(uid);
    }
    Helper(Some(command.spawn().unwrap()))
}

/// Ends with its input.
struct Helper(Option<std::process::Child>);

impl Drop for Helper {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

#[test]
fn helper_at_a_socket() {
    let Some(path) = std::env::var_os(HELPER) else {
        return;
    };
    match &*std::env::var("DANUBE_TEST_HELPER_DOES").unwrap() {
        "ask" => {
            let said = Nursery::Behind(path.into()).check().unwrap_err();
            println!("{said}");
        }
        _ => {
            let _listener = UnixListener::bind(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
            let _ = io::stdin().read_line(&mut String::new());
        }
    }
}

//! Faults that strace injects into the system calls of a master.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::master::{DANUBE, Master};

/// What is injected: system calls, and what happens to them, as strace says it.
pub(crate) struct Inject<'a> {
    /// Their names, with commas between them.
    pub(crate) calls: &'a str,
    /// Such as `error=EIO`.
    pub(crate) what: &'a str,
    /// Only into calls on these files; into all where there are none.
    pub(crate) files: &'a [PathBuf],
    /// Where each call is written down; nowhere otherwise.
    pub(crate) noted: Option<&'a Path>,
}

/// Injects for as long as it lives.
pub(crate) struct Strace {
    child: Child,
}

impl Inject<'_> {
    /// From now on, into all threads of the master. A `what` of nothing only looks.
    pub(crate) fn into(self, master: &Master) -> Strace {
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &master.pid().to_string()]);
        let noted = self.noted.unwrap_or(Path::new("/dev/null"));
        command.arg("-o").arg(noted);
        command.args(["-e", &format!("trace={}", self.calls)]);
        if !self.what.is_empty() {
            command.args(["-e", &format!("inject={}:{}", self.calls, self.what)]);
        }
        for file in self.files {
            command.arg("-P").arg(file);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is here: ci/deps.sh installs it");
        let said = BufReader::new(child.stderr.take().expect("piped"));
        let mut lines = said.lines().map_while(Result::ok);
        let attached = lines.find(|it| it.contains("attached"));
        assert!(attached.is_some(), "strace could not attach");
        // It tells of each new thread, and would end if nobody listened.
        thread::spawn(move || lines.for_each(drop));
        Strace { child }
    }
}

impl Drop for Strace {
    /// Lets the process go on without it: a killed tracer might not.
    fn drop(&mut self) {
        signal(self.child.id(), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Sends a signal to a child of this process that may have ended.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // A child keeps its number until it is waited for.
    let _ = kill_process(pid.expect("a process"), signal);
}

/// How often a process is looked at that stops or goes on.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// How long all threads have to stand still to have been stopped, and not only to stand
/// before strace.
const STILL: Duration = Duration::from_millis(2);

/// How long a process may take to go on.
const GOES_ON_WITHIN: Duration = Duration::from_millis(200);

/// Goes through the fsyncs of a master one by one, and kills it at one of them. strace
/// counts calls by thread; here they are counted as they come, whichever thread makes them:
/// each stops the whole process, right behind the call.
pub(crate) struct Stepper {
    kill_at: u64,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Stepped>,
}

#[derive(Default)]
struct Stepped {
    fsyncs: AtomicU64,
    killed: AtomicBool,
    over: AtomicBool,
}

/// The words that start a master so.
pub(crate) const STEPS: [&str; 11] = [
    "strace",
    // The master stays the child of whoever starts it.
    "-D",
    "-f",
    "-qq",
    "-o",
    "/dev/null",
    "-e",
    "trace=fsync,fdatasync",
    "-e",
    "inject=fsync,fdatasync:signal=STOP",
    DANUBE,
];

impl Stepper {
    /// Kills at this fsync, counted from 1.
    pub(crate) fn new(kill_at: u64) -> Self {
        Self {
            kill_at,
            thread: None,
            shared: Arc::default(),
        }
    }

    /// The process is there.
    pub(crate) fn watch(&mut self, pid: u32) {
        let (shared, kill_at) = (Arc::clone(&self.shared), self.kill_at);
        self.thread = Some(thread::spawn(move || shared.step(pid, kill_at)));
    }

    /// The process has ended. How many fsyncs it made, and whether it was killed.
    pub(crate) fn end(mut self) -> (u64, bool) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it only looks");
        }
        (
            self.shared.fsyncs.load(Ordering::Relaxed),
            self.shared.killed.load(Ordering::Relaxed),
        )
    }
}

impl Stepped {
    fn step(&self, pid: u32, kill_at: u64) {
        let pause = |time| {
            // tidy: allow(sleep): nobody announces that a process was stopped
            thread::sleep(time);
        };
        while !self.over.load(Ordering::Relaxed) {
            let before = still(pid);
            if before == 0 {
                pause(LOOK_EVERY);
                continue;
            }
            pause(STILL);
            if still(pid) != before {
                continue;
            }
            let fsyncs = self.fsyncs.fetch_add(1, Ordering::Relaxed) + 1;
            if fsyncs == kill_at {
                self.killed.store(true, Ordering::Relaxed);
                signal(pid, Signal::KILL);
                return;
            }
            signal(pid, Signal::CONT);
            let since = Instant::now();
            while still(pid) > 0 && since.elapsed() < GOES_ON_WITHIN {
                pause(LOOK_EVERY);
            }
        }
    }
}

/// How many threads the process has, if all of them stand still; else 0.
pub(crate) fn still(pid: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let states: Vec<Option<char>> = tasks
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|it| fs::read_to_string(it.path().join("stat")).ok())
        .map(|it| it.rsplit_once(") ")?.1.chars().next())
        .collect();
    let all = states.iter().all(|it| matches!(it, Some('T' | 't')));
    if all { states.len() } else { 0 }
}

/// Lines of what strace has noted that are whole calls of this name.
pub(crate) fn calls(noted: &Path, name: &str) -> usize {
    let lines = BufReader::new(File::open(noted).expect("strace wrote it")).lines();
    let begins = |line: &str| {
        let call = line.split_once(' ').map_or(line, |(_, call)| call);
        call.trim_start().starts_with(&format!("{name}("))
    };
    lines.map_while(Result::ok).filter(|it| begins(it)).count()
}

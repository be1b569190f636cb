//! A real Redis in a process of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::master::DEADLINE;
use crate::peers::find;
use crate::processes::until;

/// Free ports that are tried: another process may take one in between.
const PORTS_TRIED: usize = 5;

/// A running Redis that keeps nothing on disk. Killed when dropped.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Redis {
    /// One on a free port.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..PORTS_TRIED {
            // It can't be told to choose one itself.
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            let mut child = launch(port, &dir);
            if answers(&mut child, port) {
                return Self { child, port, dir };
            }
        }
        panic!("Redis doesn't start; `make deps` installs it");
    }

    /// What `queue.url` is to say.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL, and the end of the process: everything in it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Another one at the same place, empty, after this one was killed.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        self.child = launch(self.port, &self.dir);
        assert!(answers(&mut self.child, self.port), "Redis starts again");
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Asks it something as a person would.
    #[track_caller]
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let said = ask(self.port, words);
        said.unwrap_or_else(|| panic!("Redis doesn't answer {words:?}"))
    }

    /// Whole name of the key that ends like this.
    #[track_caller]
    pub(crate) fn key(&self, end: &str) -> String {
        until(&format!("a key *{end}"), DEADLINE, || {
            let keys = self.ask(&["KEYS", &format!("*{end}")]);
            let key = keys.lines().next().unwrap_or_default();
            (!key.is_empty()).then(|| key.to_owned())
        })
    }

    /// How many entries a queue's stream has.
    #[track_caller]
    pub(crate) fn entries(&self, queue: &str) -> u64 {
        let key = self.key(&format!(":queue:{queue}"));
        self.ask(&["XLEN", &key]).trim().parse().unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A stopped process is killed as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(port: u16, dir: &TempDir) -> Child {
    let program: PathBuf = find(&["redis-server", "valkey-server"]);
    Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether it serves; `false` when it ended before.
fn answers(child: &mut Child, port: u16) -> bool {
    until("Redis answers or ends", DEADLINE, || {
        if child.try_wait().unwrap().is_some() {
            return Some(false);
        }
        ask(port, &["PING"]).map(|it| it.trim() == "PONG")
    })
}

fn ask(port: u16, words: &[&str]) -> Option<String> {
    let program = find(&["redis-cli", "valkey-cli"]);
    let output = Command::new(program)
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_refused = said.contains("Could not connect") || !output.status.success();
    (!is_refused).then_some(said)
}

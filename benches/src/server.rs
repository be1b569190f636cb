//! A release master in a process of its own, for as long as a figure takes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a figure waits after the files of the one before were removed: ext4
/// reuses no inode within five seconds of its end and looks at each one anew,
/// which a server that keeps its logs never meets.
const SETTLE: Duration = Duration::from_secs(6);

/// How long a server may take until it answers.
const READY_MAX: Duration = Duration::from_secs(30);

/// Lets the file system forget what was removed.
pub fn settle() {
    std::thread::sleep(SETTLE);
}

/// A running master.
pub struct Server {
    child: Child,
    /// `127.0.0.1:PORT`
    pub address: String,
    /// The admin key.
    pub key: String,
    /// From spawn to ready.
    pub started_in: Duration,
    /// Its data directory.
    pub dir: PathBuf,
    _own: Option<TempDir>,
}

impl Server {
    /// A master in a fresh directory. `wrapper` is put before the program.
    pub fn start(program: &Path, arguments: &[&str], wrapper: &[&str]) -> Self {
        // Not in `/tmp`: each step has one of its own, and a server below it costs
        // directories that no real server pays for.
        let own = tempfile::tempdir_in("target").expect("run this where `target` is");
        let dir = own.path().join("data");
        let mut server = Self::start_in(program, &dir, arguments, wrapper);
        server._own = Some(own);
        server
    }

    /// A master in this directory.
    pub fn start_in(program: &Path, dir: &Path, arguments: &[&str], wrapper: &[&str]) -> Self {
        let began = Instant::now();
        let mut command = match wrapper {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command
            .args([
                "master",
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "--data-dir",
            ])
            .arg(dir)
            .args(arguments);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the master");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("\"master_ready\"") {
            line.clear();
            assert!(
                out.read_line(&mut line).expect("read the server log") > 0,
                "the master ended early"
            );
        }
        let started_in = began.elapsed();
        // Nobody reads the rest, but the pipe must not fill.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        let event: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
        let address = event["address"].as_str().expect("an address").to_owned();
        Self {
            child,
            address,
            key: admin_key(dir),
            started_in,
            dir: dir.to_owned(),
            _own: None,
        }
    }

    /// A master whose log says nothing, or goes to a file: the port is chosen beforehand
    /// and `/health` asked until it answers. `settings` are environment variables.
    pub fn start_quiet(
        program: &Path,
        dir: &Path,
        log: fs::File,
        settings: &[(&str, &str)],
    ) -> Self {
        let began = Instant::now();
        // Somebody else could take the port before the server does, which would end the
        // bench and spoil nothing.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let address = free.expect("a free port").to_string();
        let mut child = Command::new(program)
            .args(["master", "--listen", &address, "--data-dir"])
            .arg(dir)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("start the master");
        while !answers(&address) {
            let ended = child.try_wait().expect("watch the master");
            assert!(ended.is_none(), "the master ended early");
            assert!(began.elapsed() < READY_MAX, "the master doesn't answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self {
            child,
            address,
            key: admin_key(dir),
            started_in: began.elapsed(),
            dir: dir.to_owned(),
            _own: None,
        }
    }

    /// The server's process: the child, or what a wrapper started.
    pub fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.dir.join("master.lock")).unwrap_or_default();
        text.split_whitespace()
            .nth(1)
            .and_then(|it| it.parse().ok())
            .unwrap_or_else(|| self.child.id())
    }

    /// Stops it and waits; `true` when it ended well.
    pub fn stop(mut self) -> bool {
        let _ = Command::new("kill")
            .args(["-s", "TERM", &self.pid().to_string()])
            .status();
        self.child.wait().is_ok_and(|it| it.success())
    }
}

fn admin_key(dir: &Path) -> String {
    let key = fs::read_to_string(dir.join("admin.key"));
    key.expect("the admin key").trim().to_owned()
}

/// Whether a server is ready there.
fn answers(address: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(READY_MAX))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: danube\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

impl Drop for Server {
    fn drop(&mut self) {
        // The child may be `perf`, which would leave the master behind.
        let _ = Command::new("kill")
            .args(["-s", "KILL", &self.pid().to_string()])
            .stderr(Stdio::null())
            .status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A worker in a process of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use danube_bench::client::Client;
use danube_bench::server::Server;
use tempfile::TempDir;

/// A running worker. Killed when dropped.
pub(crate) struct Worker {
    child: Child,
    _own: TempDir,
}

impl Worker {
    /// A worker of this name, connected.
    pub(crate) fn start(program: &Path, server: &Server, name: &str, arguments: &[String]) -> Self {
        let body = serde_json::json!({ "name": name }).to_string();
        let (status, body) = Client::new(server).post("/api/v1/workers", &body);
        assert_eq!(status, 201, "{body}");
        let made: serde_json::Value = serde_json::from_str(&body).expect("a worker");
        let own = tempfile::tempdir_in("target").expect("run this where `target` is");
        let token = own.path().join("token");
        fs::write(&token, made["token"].as_str().expect("a token")).expect("write the token");
        let mut child = Command::new(program)
            .args(["worker", "--server", &format!("http://{}", server.address)])
            .arg("--token-file")
            .arg(&token)
            .arg("--data-dir")
            .arg(own.path().join("data"))
            .args(arguments)
            .env("DANUBE_OBSERVABILITY_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("start a worker");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("\"worker_connected\"") {
            line.clear();
            let read = out.read_line(&mut line).expect("read the worker's log");
            assert!(read > 0, "the worker ended early");
        }
        // Nobody reads the rest, but the pipe must not fill.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Self { child, _own: own }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-s", "TERM", &self.pid().to_string()])
            .status();
        let _ = self.child.wait();
    }
}

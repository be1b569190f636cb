//! The command line: help, errors, exit codes, and what happens on bad days.
//!
//! Commands that need a server talk to a [`responder::Responder`] that plays a
//! script: this is about the client alone.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is tests; clippy sees only the functions marked so"
)]

mod client;
mod doctor;
mod follow;
mod help;
mod messages;
mod playbook;
pub(crate) mod responder;
mod signals;
pub(crate) mod terminal;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory of its own for one test, and a `danube` that knows of nothing else.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A settings file of this machine must not reach the test.
        std::fs::write(dir.path().join("danube.toml"), "").unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file into the directory.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// `danube ARGS…` in this directory, in an environment without anything.
    pub(crate) fn danube(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_danube"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.path())
            .env("DANUBE_CONFIG", self.path().join("danube.toml"))
            .env("DANUBE_SERVER_DATA_DIR", self.path().join("data"))
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// The same as a client of the server at `url`.
    pub(crate) fn client(&self, url: &str, args: &[&str]) -> Command {
        let mut command = self.danube(args);
        command
            .env("DANUBE_SERVER", url)
            .env("DANUBE_API_KEY", "dnb_key_of_this_test");
        command
    }
}

/// Exit code, standard output, standard error.
pub(crate) fn seen(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A job as a server shows it.
pub(crate) fn job(status: &str, changes: &Value) -> Value {
    let mut job = json!({
        "id": "0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6", "short_id": "pb1x9sfp", "kind": "pipeline",
        "pipeline": "frontend-build", "status": status, "trigger_type": "api", "trigger_ref": "main",
        "submitted_by": "admin", "attempt": 1, "created_at": "2026-01-10T12:34:56.000Z",
        "started_at": "2026-01-10T12:34:57.000Z", "finished_at": null, "duration_seconds": null,
        "exit_code": null, "reason": null, "cancel_requested": false, "worker_id": "here-1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c", "log_bytes": 0, "log_complete": null,
    });
    for (name, value) in changes.as_object().unwrap() {
        job[name] = value.clone();
    }
    job
}

//! The certified provider, as `ci/oidc/provider.mjs` starts it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A running provider. Killed when dropped.
pub(crate) struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) issuer: String,
}

impl Peer {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| root.join("target"), PathBuf::from);
        let installed = target.join("oidc").canonicalize();
        let installed = installed.expect("target/oidc: `make deps` installs it");
        let mut child = Command::new("node")
            .arg(root.join("ci/oidc/provider.mjs"))
            .arg(installed)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node: `make deps` installs it");
        let orders = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let issuer = line(&mut answers);
        Self {
            child,
            orders,
            answers,
            issuer,
        }
    }

    /// Changes what it is; it has new keys then.
    #[track_caller]
    pub(crate) fn order(&mut self, order: &Value) {
        writeln!(self.orders, "{order}").unwrap();
        assert_eq!(line(&mut self.answers), "done");
    }
}

#[track_caller]
fn line(answers: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    assert!(line.ends_with('\n'), "the provider ended: {line}");
    line.trim().to_owned()
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

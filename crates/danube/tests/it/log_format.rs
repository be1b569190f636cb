//! The server's log is text on a terminal and JSON elsewhere, unless one is forced.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::cli::terminal::terminal;
use crate::master::DANUBE;

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The line with which a master says that it is ready.
fn ready(on_terminal: bool, variables: &[(&str, &str)]) -> String {
    let own = tempfile::tempdir().unwrap();
    let mut command = Command::new(DANUBE);
    command
        .args(["master", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(own.path().join("data"))
        .env_remove("NO_COLOR")
        .env_remove("DANUBE_LOG_FORMAT")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let (out, _running): (Box<dyn Read>, Running) = if on_terminal {
        let (ours, theirs) = terminal(200);
        let running = Running(command.stdout(theirs).spawn().unwrap());
        // With the command goes our copy of the terminal's other end.
        drop(command);
        (Box::new(File::from(ours)), running)
    } else {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        (Box::new(child.stdout.take().unwrap()), Running(child))
    };
    let mut lines = BufReader::new(out).lines().map_while(Result::ok);
    let line = lines.find(|it| it.contains("master_ready"));
    line.expect("it says that it is ready")
        .trim_end()
        .to_owned()
}

#[track_caller]
fn is_json(line: &str) {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(event["event"], "master_ready");
}

#[track_caller]
fn is_text(line: &str) {
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{line}");
    assert!(
        rest.starts_with("INFO    danube.master master_ready address=127.0.0.1:"),
        "{line}"
    );
}

#[test]
fn a_pipe_gets_json_and_a_terminal_text_in_colours() {
    is_json(&ready(false, &[]));
    let line = ready(true, &[]);
    assert!(line.starts_with("\u{1b}[2m20"), "{line:?}");
    assert!(
        line.contains("\u{1b}[32mINFO   \u{1b}[0m danube.master"),
        "{line:?}"
    );
    is_text(&ready(true, &[("NO_COLOR", "1")]));
}

#[test]
fn a_variable_forces_either() {
    is_json(&ready(true, &[("DANUBE_LOG_FORMAT", "json")]));
    is_text(&ready(false, &[("DANUBE_LOG_FORMAT", "text")]));
}

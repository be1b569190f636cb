//! Programs that are not ours: found, started in a directory of their own, and
//! ended with the test.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::master::DEADLINE;
use crate::processes::until;

/// How much of a program's output is shown when its test fails: the end says why,
/// the whole may be a megabyte.
const LAST_WORDS_LINES: usize = 60;

/// The first of `names` that is on the `PATH`: systems name some programs
/// differently.
#[track_caller]
pub(crate) fn find(names: &[&str]) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = env::split_paths(&path).collect();
    let found = names
        .iter()
        .flat_map(|name| dirs.iter().map(move |dir| dir.join(name)))
        .find(|it| it.is_file());
    found.unwrap_or_else(|| panic!("{} is not here; `make deps` installs it", names[0]))
}

/// A program that runs until it is dropped.
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    dir: TempDir,
}

impl Program {
    /// Starts `program` with its files in `dir`, which is its working directory and
    /// goes with it.
    #[track_caller]
    pub(crate) fn start(
        name: &'static str,
        program: &Path,
        arguments: &[&str],
        dir: TempDir,
    ) -> Self {
        let output = File::create(output_of(dir.path())).expect("make the file of its output");
        let child = Command::new(program)
            .args(arguments)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("the same file twice"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("start {name}: {error}"));
        Self { name, child, dir }
    }

    /// What it wrote so far, standard output and error together.
    pub(crate) fn output(&self) -> String {
        let bytes = fs::read(output_of(self.dir.path())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("look for a child's end")
            .is_some()
    }

    /// Waits until `look` sees something; fails when the program ends before.
    #[track_caller]
    pub(crate) fn wait<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let name = self.name;
        until(&format!("{name}: {what}"), DEADLINE, || {
            let ended = self.has_ended();
            let seen = look(self);
            let failed = ended && seen.is_none();
            assert!(!failed, "{name} ended before: {what}\n{}", self.output());
            seen
        })
    }

    /// The address that it says it listens at; for programs whose port the system
    /// chose.
    #[track_caller]
    pub(crate) fn listens_at(&mut self) -> String {
        self.wait("it says where it listens", |it| {
            let output = it.output();
            let line = output.lines().find(|it| it.contains("\"Listening on\""))?;
            let (_, address) = line.split_once(" address=")?;
            Some(address.split(' ').next().unwrap_or_default().to_owned())
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_WORDS_LINES)..];
            eprintln!("--- {} said last:\n{}", self.name, last.join("\n"));
        }
    }
}

fn output_of(dir: &Path) -> PathBuf {
    dir.join("output.txt")
}

/// What a program that ran to its end has left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `command` to its end with `input` as its standard input.
#[track_caller]
pub(crate) fn finish(command: Command, input: &[u8]) -> Finished {
    finish_within(command, input, DEADLINE)
}

/// The same of one that may take longer.
#[track_caller]
pub(crate) fn finish_within(mut command: Command, input: &[u8], deadline: Duration) -> Finished {
    // Files in place of pipes: nobody has to read while somebody writes.
    let dir = tempfile::tempdir().expect("make a directory");
    let file = |name: &str| dir.path().join(name);
    fs::write(file("in"), input).expect("write the input");
    let open = |name: &str| File::create(file(name)).expect("make a file of output");
    let mut child = command
        .stdin(File::open(file("in")).expect("open the input"))
        .stdout(open("out"))
        .stderr(open("err"))
        .spawn()
        .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let mut running = Running(&mut child);
    let status = until(&format!("{command:?} ends"), deadline, || running.status());
    let read = |name: &str| {
        String::from_utf8_lossy(&fs::read(file(name)).expect("read the output")).into_owned()
    };
    Finished {
        status,
        stdout: read("out"),
        stderr: read("err"),
    }
}

/// Ends the child when nobody waits for it any more.
struct Running<'a>(&'a mut Child);

impl Running<'_> {
    fn status(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("look for a child's end")
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.status().is_none() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

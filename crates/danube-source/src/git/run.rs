//! Runs git as a group of processes that ends when the wait for it does.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use danube_model::playbook::source::without_secrets;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use super::access::Access;
use super::mirror::Mirror;
use crate::error::SourceError;
use crate::fetch::Watch;
use crate::limits::{FETCH_BYTES_MAX, GIT_OUTPUT_BYTES_MAX, LOOK_EVERY};
use crate::tether::{NO_PROGRAM, tied};

/// How often the growth of a mirror is looked at during a fetch.
const MEASURE_EVERY: Duration = Duration::from_millis(500);

/// What can't be done without it.
const NO_GIT: &str = "start git (is it installed?)";

/// Bytes that git may write to its files here before it is ended: a server can
/// make it repeat what the server says, without end.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Lines that are kept of what git said, for a message: it explains in one or two.
const SAID_LINES: usize = 3;

/// Lines with which git ends what it says of ssh, whatever ssh itself said before.
const SAID_ALWAYS: [&str; 2] = [
    "Please make sure you have the correct access rights",
    "and the repository exists.",
];

/// Characters of the same: a message is read, not searched.
const SAID_CHARS_MAX: usize = 500;

/// What came of one git command.
pub(super) struct Output {
    pub(super) success: bool,
    /// What it wrote, cut.
    pub(super) out: String,
    /// Its complaint, without secrets and control characters.
    pub(super) said: String,
}

/// A process and all that it starts; they end with it, whatever they wait for.
struct Group(Child);

impl Group {
    fn start(mut command: Command) -> Result<Self, SourceError> {
        // A group of its own: helpers and ssh are killed along.
        command.process_group(0).stdin(Stdio::null());
        let child = command.spawn().map_err(SourceError::io(NO_GIT))?;
        Ok(Self(child))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Its end was not waited for yet or is known: either way the number
            // of the group can't be another's while one of it is there.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

fn command(args: &[&str], access: &Access, mirror: Option<&Mirror>) -> Command {
    let mut command = tied("git");
    command.envs(access.variables().iter().cloned());
    if let Some(mirror) = mirror {
        command
            .arg("--git-dir")
            .arg(mirror.path())
            .current_dir(mirror.path());
    }
    command.args(args);
    command
}

/// Runs one git command to its end, or to the end of the wait.
pub(super) fn git(
    args: &[&str],
    access: &Access,
    mirror: Option<&Mirror>,
    watch: &Watch<'_>,
) -> Result<Output, SourceError> {
    let file = || tempfile::tempfile().map_err(SourceError::io("make a file for what git says"));
    let (mut out, mut said) = (file()?, file()?);
    let twin = |file: &File| {
        let twin = file.try_clone();
        twin.map_err(SourceError::io("share a file with git"))
    };
    let mut command = command(args, access, mirror);
    command.stdout(twin(&out)?).stderr(twin(&said)?);
    let mut group = Group::start(command)?;
    let mut pause = Duration::from_millis(1);
    let mut measured = Instant::now();
    let status = loop {
        let ended = group
            .0
            .try_wait()
            .map_err(SourceError::io("wait for git"))?;
        if let Some(status) = ended {
            break status;
        }
        watch.check("git")?;
        for file in [&out, &said] {
            if file.metadata().is_ok_and(|it| it.len() > FILE_BYTES_MAX) {
                return Err(SourceError::TooLarge("what git says has no end".to_owned()));
            }
        }
        if measured.elapsed() > MEASURE_EVERY {
            measured = Instant::now();
            if mirror.is_some_and(|it| it.bytes() > FETCH_BYTES_MAX) {
                let what = format!("git fetched more than {FETCH_BYTES_MAX} bytes");
                return Err(SourceError::TooLarge(what));
            }
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LOOK_EVERY);
    };
    if status.code() == Some(NO_PROGRAM) {
        return Err(SourceError::io(NO_GIT)(io::ErrorKind::NotFound.into()));
    }
    Ok(Output {
        success: status.success(),
        out: tail(&mut out).unwrap_or_default(),
        said: complaint(&tail(&mut said).unwrap_or_default()),
    })
}

fn tail(file: &mut File) -> io::Result<String> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(
        length.saturating_sub(GIT_OUTPUT_BYTES_MAX as u64),
    ))?;
    let mut bytes = Vec::new();
    file.take(GIT_OUTPUT_BYTES_MAX as u64)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines that say why, fit for a message.
fn complaint(said: &str) -> String {
    let lines: Vec<&str> = said
        .lines()
        .filter(|it| !it.trim().is_empty() && !it.starts_with("hint:"))
        .filter(|it| !SAID_ALWAYS.contains(&it.trim_end()))
        .collect();
    let last = &lines[lines.len().saturating_sub(SAID_LINES)..];
    let words = last.join("; ");
    let words = words.split(' ').map(|word| {
        if word.contains("://") {
            // git quotes addresses as they were given.
            let quote = if word.contains('\'') { "'" } else { "" };
            let address = word.trim_matches(|it| matches!(it, '\'' | ':' | ';'));
            format!("{quote}{}{quote}", without_secrets(address))
        } else {
            word.to_owned()
        }
    });
    let words: Vec<String> = words.collect();
    let text = words.join(" ");
    text.chars()
        .filter(|it| !it.is_control())
        .take(SAID_CHARS_MAX)
        .collect()
}

/// A git command whose output is read while it runs.
pub(super) struct Stream<'w> {
    group: Group,
    out: ChildStdout,
    watch: &'w Watch<'w>,
}

/// Starts a git command whose output is read while it runs.
pub(super) fn stream<'w>(
    args: &[&str],
    access: &Access,
    mirror: &Mirror,
    watch: &'w Watch<'w>,
) -> Result<Stream<'w>, SourceError> {
    let mut command = command(args, access, Some(mirror));
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut group = Group::start(command)?;
    let out = group.0.stdout.take().expect("it was asked for");
    Ok(Stream { group, out, watch })
}

impl Stream<'_> {
    /// Whether git ended well, once its output did.
    pub(super) fn end(mut self) -> Result<bool, SourceError> {
        loop {
            let ended = self.group.0.try_wait();
            if let Some(status) = ended.map_err(SourceError::io("wait for git"))? {
                return Ok(status.success());
            }
            self.watch.check("git")?;
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pause = Timespec::try_from(LOOK_EVERY).map_err(io::Error::other)?;
        loop {
            let mut ready = [PollFd::new(&self.out, PollFlags::IN)];
            match poll(&mut ready, Some(&pause)) {
                // A signal, such as one of a profile, says nothing of the pipe.
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return self.out.read(buffer),
                Err(error) => return Err(error.into()),
            }
            // Whoever unpacks looks again, and says it in our words.
            let over = self.watch.check("git").err();
            if let Some(over) = over {
                return Err(io::Error::new(io::ErrorKind::TimedOut, over.to_string()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_short_and_holds_no_secret() {
        let said =
            "hint: x\nfatal: unable to access 'https://u:hunter2@e.org/a?hunter2': gone\u{1b}[0m\n";
        assert_eq!(
            complaint(said),
            "fatal: unable to access 'https://e.org/a' gone[0m"
        );
        let said = "warning: x\nme@e.org: Permission denied (publickey).\r\nfatal: Could not read from remote repository.\n\n\
                    Please make sure you have the correct access rights\nand the repository exists.\n";
        assert_eq!(
            complaint(said),
            "warning: x; me@e.org: Permission denied (publickey).; fatal: Could not read from remote repository."
        );
        assert_eq!(complaint(""), "");
    }
}

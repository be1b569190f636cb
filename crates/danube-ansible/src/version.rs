//! Whether Ansible is there, and new enough.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The oldest ansible-core that runs: 2.12 is the first that takes passwords from files.
pub const VERSION_MIN: Version = Version(2, 12);

/// How long `ansible-playbook --version` may take: half a second on an idle machine.
const ASK_WAIT_MAX: Duration = Duration::from_secs(30);

/// Bytes of its answer that are looked at.
const ANSWER_BYTES_MAX: u64 = 4 * 1024;

/// A version of ansible-core: major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}", self.0, self.1)
    }
}

/// There is no Ansible that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnsible {
    /// It isn't installed.
    #[error(
        "ansible-playbook isn't in the PATH of jobs: install ansible-core {VERSION_MIN} or newer"
    )]
    Missing,
    /// It is too old.
    #[error("ansible-core {0} is too old: install {VERSION_MIN} or newer")]
    TooOld(Version),
    /// It doesn't answer, or not in a way that is understood.
    #[error("ansible-playbook --version gives no answer: {0}")]
    Silent(String),
}

/// Asks the `ansible-playbook` of this `PATH` for its version.
///
/// # Errors
/// [`NoAnsible`] says what to do.
pub fn find(path: &str) -> Result<Version, NoAnsible> {
    let directories = std::env::split_paths(path);
    let mut files = directories.map(|it| it.join("ansible-playbook"));
    let program = files.find(|it| it.is_file()).ok_or(NoAnsible::Missing)?;
    let silent = |error: std::io::Error| NoAnsible::Silent(error.to_string());
    // It makes directories in its home, also to say its version, and ours may be read-only.
    let home = tempfile::tempdir().map_err(silent)?;
    let mut child = Command::new(program)
        .arg("--version")
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", path)
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(silent)?;
    let stdout = child.stdout.take().expect("it is piped");
    let (sender, answer) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut text = String::new();
        let _ = stdout.take(ANSWER_BYTES_MAX).read_to_string(&mut text);
        // Nobody may wait any more.
        let _ = sender.send(text);
    });
    let answer = answer.recv_timeout(ASK_WAIT_MAX);
    // It has said what it had to say, or had its time.
    let _ = child.kill();
    let _ = child.wait();
    let text = answer.map_err(|_| NoAnsible::Silent("it took too long".to_owned()))?;
    let version = parse(&text).ok_or_else(|| NoAnsible::Silent("it says no version".to_owned()))?;
    if version < VERSION_MIN {
        return Err(NoAnsible::TooOld(version));
    }
    Ok(version)
}

/// `ansible-playbook [core 2.14.18]`, or `ansible-playbook 2.9.27` of old ones.
fn parse(text: &str) -> Option<Version> {
    let rest = text.strip_prefix("ansible-playbook ")?;
    let rest = rest.strip_prefix("[core ").unwrap_or(rest);
    let mut parts = rest.split(|it: char| !it.is_ascii_digit());
    let mut next = || parts.next()?.parse().ok();
    Some(Version(next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_times_are_read() {
        let new = "ansible-playbook [core 2.14.18]\n  config file = None\n";
        assert_eq!(parse(new), Some(Version(2, 14)));
        assert_eq!(parse("ansible-playbook 2.9.27\n"), Some(Version(2, 9)));
        assert_eq!(parse("command not found"), None);
        assert!(Version(2, 9) < VERSION_MIN && Version(2, 19) > VERSION_MIN);
    }

    #[test]
    fn where_there_is_none_it_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        assert_eq!(find(path), Err(NoAnsible::Missing));
    }
}

//! What the end of `ansible-playbook` means. Decides only.

use danube_model::playbook::{HostStatus, Progress};

/// Bytes of the last output on stderr that are looked at for the reason of an end.
pub const LAST_WORDS_BYTES: usize = 8 * 1024;

/// Why a playbook failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A task failed on a host.
    TaskFailed,
    /// A host couldn't be reached.
    Unreachable,
    /// The playbook or the inventory can't be read, or no host matches.
    Invalid,
    /// A password of the vault is missing or wrong.
    Vault,
    /// Anything else.
    Other,
}

/// A failed run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// In one word.
    pub why: Why,
    /// In a sentence; not redacted yet.
    pub reason: String,
}

/// Exit codes are bits (`ansible.executor.task_queue_manager`).
const FAILED_HOSTS: i32 = 2;
const UNREACHABLE_HOSTS: i32 = 4;

/// Why a run with this exit code failed; none for 0. `last_words` is the end of stderr.
#[must_use]
pub fn failed(exit_code: i32, progress: &Progress, last_words: &str) -> Option<Failed> {
    if exit_code == 0 {
        return None;
    }
    let error = error_line(last_words);
    // The codes 4 and 1 also say that nothing could be read at all; then no host did
    // anything.
    if let Some(first) = &progress.first_failure {
        let why = match first.status {
            HostStatus::Unreachable => Why::Unreachable,
            _ => Why::TaskFailed,
        };
        return Some(Failed {
            why,
            reason: of_hosts(why, progress),
        });
    }
    let text = error.as_deref().unwrap_or_default();
    let lower = text.to_lowercase();
    let why = if lower.contains("vault") || lower.contains("decryption failed") {
        Why::Vault
    } else if matches!(exit_code, 1 | FAILED_HOSTS | UNREACHABLE_HOSTS | 5) && error.is_some() {
        Why::Invalid
    } else {
        Why::Other
    };
    let reason = match error {
        Some(error) => format!("ansible: {error}"),
        None => format!("ansible-playbook ended with exit code {exit_code}"),
    };
    Some(Failed { why, reason })
}

fn of_hosts(why: Why, progress: &Progress) -> String {
    let Some(first) = &progress.first_failure else {
        return String::new();
    };
    let mut reason = match why {
        Why::Unreachable => format!("host `{}` can't be reached", first.host),
        _ => format!("task `{}` failed on host `{}`", first.task, first.host),
    };
    if let Some(message) = &first.message {
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        reason.push_str(&format!(": {message}"));
    }
    let bad = progress.hosts_by_status(HostStatus::Failed)
        + progress.hosts_by_status(HostStatus::Unreachable);
    match bad.saturating_sub(1) {
        0 => {}
        1 => reason.push_str(" (and one host more)"),
        others => reason.push_str(&format!(" (and {others} hosts more)")),
    }
    reason
}

/// What Ansible says went wrong, without colours: the first error of the last words.
fn error_line(last_words: &str) -> Option<String> {
    let plain = without_colours(last_words);
    for mark in ["ERROR! ", "[ERROR]: "] {
        if let Some((_, rest)) = plain.split_once(mark) {
            let line = rest.lines().map(str::trim).find(|it| !it.is_empty());
            return line.map(str::to_owned);
        }
    }
    // As argparse says it.
    let line = plain
        .lines()
        .rev()
        .find_map(|it| it.split_once(": error: "));
    line.map(|(_, rest)| rest.trim().to_owned())
}

/// Takes colours (`ESC [ … m`) out.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.find('m').map_or("", |end| &after[end + 1..]);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use danube_model::playbook::RunEvent;

    use super::*;

    fn progress(results: &[(&str, HostStatus)]) -> Progress {
        let mut progress = Progress::default();
        for (host, status) in results {
            progress.add(&RunEvent::HostResult {
                task: 0,
                host: (*host).to_owned(),
                status: *status,
                name: Some("install".to_owned()),
                message: Some("No\npackage".to_owned()),
            });
        }
        progress
    }

    fn check(exit_code: i32, results: &[(&str, HostStatus)], said: &str, expected: (Why, &str)) {
        let failed = failed(exit_code, &progress(results), said).expect("it failed");
        assert_eq!((failed.why, &*failed.reason), expected);
    }

    #[test]
    fn the_first_failure_is_named() {
        use HostStatus::{Failed, Ok, Unreachable};
        let task = "task `install` failed on host `b`: No package";
        check(2, &[("a", Ok), ("b", Failed)], "", (Why::TaskFailed, task));
        let more = format!("{task} (and one host more)");
        let both = [("b", Failed), ("c", Unreachable)];
        check(6, &both, "", (Why::TaskFailed, &more));
        let host = "host `c` can't be reached: No package";
        check(4, &[("c", Unreachable)], "", (Why::Unreachable, host));
        assert_eq!(super::failed(0, &progress(&[]), ""), None);
    }

    #[test]
    fn what_ansible_refuses_is_told_in_its_own_words() {
        let syntax = "\u{1b}[0;31mERROR! 'hots' is not a valid attribute for a Play\u{1b}[0m\n\nThe error appears…";
        let said = "ansible: 'hots' is not a valid attribute for a Play";
        check(4, &[], syntax, (Why::Invalid, said));
        let vault = "ERROR! Attempting to decrypt but no vault secrets found\n";
        let said = "ansible: Attempting to decrypt but no vault secrets found";
        check(1, &[], vault, (Why::Vault, said));
        let argparse = "usage: …\nansible-playbook: error: argument -f: invalid int value\n";
        let said = "ansible: argument -f: invalid int value";
        check(2, &[], argparse, (Why::Invalid, said));
        let said = "ansible-playbook ended with exit code 250";
        check(250, &[], "Traceback", (Why::Other, said));
    }
}

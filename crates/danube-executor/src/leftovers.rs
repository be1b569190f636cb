//! Finding processes by reading `/proc`: only where no namespace and no cgroup
//! does it better.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;

use crate::sys;

/// How often [`kill_leftovers`] looks again for processes that were being
/// forked meanwhile. Each round kills all that it sees, so a few are enough.
const ROUNDS_MAX: u32 = 20;

/// Kills every process whose environment holds exactly `marker_env`, for
/// example `DANUBE_JOB_ID=0190…`, and returns how many. For jobs that ran
/// without a PID namespace when their master was killed. A process can wipe its
/// environment, so this is a second line, not the first.
pub fn kill_leftovers(marker_env: &str) -> io::Result<u32> {
    let mut killed = HashSet::new();
    for _ in 0..ROUNDS_MAX {
        let mut found = false;
        for pid in processes()? {
            let is_meant = || is_marked(pid, marker_env.as_bytes());
            if pid > 1 && pid.cast_unsigned() != std::process::id() && is_meant() {
                // A process of another user is not ours to kill.
                let dead = sys::kill_exact(pid, is_meant).unwrap_or(false);
                found |= dead && killed.insert(pid);
            }
        }
        if !found {
            break;
        }
    }
    Ok(u32::try_from(killed.len()).unwrap_or(u32::MAX))
}

fn is_marked(pid: i32, marker: &[u8]) -> bool {
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|env| env.split(|byte| *byte == 0).any(|entry| entry == marker))
}

/// All processes below this one, in no order.
pub(crate) fn descendants() -> io::Result<Vec<i32>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for pid in processes()? {
        // One that just ended has nothing to read.
        if let Some(parent) = stat_field(pid, 4) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut all = Vec::new();
    let mut parents = vec![std::process::id().cast_signed()];
    while let Some(parent) = parents.pop() {
        let of_it = children.remove(&parent).unwrap_or_default();
        parents.extend(&of_it);
        all.extend(of_it);
    }
    Ok(all)
}

/// Threads of our own uid on this machine, as the kernel's limit counts them.
pub(crate) fn own_threads() -> u64 {
    let (uid, _) = sys::user_and_group();
    let pids = processes().unwrap_or_default();
    let own = pids.into_iter().filter(|pid| {
        std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|found| found.uid() == uid)
    });
    own.filter_map(|pid| u64::try_from(stat_field(pid, 20)?).ok())
        .sum()
}

fn processes() -> io::Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc")?;
    Ok(entries
        .filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

/// A field of `/proc/PID/stat` by its number in proc(5), which counts from 1.
fn stat_field(pid: i32, number: usize) -> Option<i32> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat_field(&text, number)
}

/// The name, field 2, may hold spaces and parentheses itself.
fn parse_stat_field(text: &[u8], number: usize) -> Option<i32> {
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&text[name_end + 1..]).ok()?;
    rest.split_whitespace()
        .nth(number.checked_sub(3)?)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_cannot_fake_its_parent() {
        let text = b"42 (a) S 1 (b) S 7 42 42 0 -1";
        assert_eq!(parse_stat_field(text, 4), Some(7));
        assert_eq!(parse_stat_field(b"42", 4), None);
    }

    #[test]
    fn a_child_is_a_descendant() {
        let mut child = std::process::Command::new("cat");
        let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let found = descendants().unwrap().contains(&child.id().cast_signed());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
        assert!(own_threads() > 0);
    }
}

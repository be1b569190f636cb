//! What the kernel says of a process.

use std::fs;

/// A line of `/proc/PID/status` in bytes, as `VmRSS` or `VmHWM`.
pub(crate) fn status_bytes(pid: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|it| it.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("the kernel tells of memory") * 1024
}

/// The peak of this process's memory is counted from now on.
pub(crate) fn forget_peak() {
    // 5 means the peak, see proc(5).
    fs::write("/proc/self/clear_refs", "5").expect("reset the peak");
}

//! Whether somebody else had the machine meanwhile.

use std::fs;

/// Milliseconds of a tick of `/proc` (`USER_HZ`, the same on every Linux).
const TICK_MILLIS: f64 = 10.0;

/// Processor time of all cores, whoever had it, in milliseconds.
pub(crate) fn all_millis() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line
        .split_whitespace()
        .filter_map(|it| it.parse().ok())
        .collect();
    // user, nice, system; then idle and waiting; then interrupts and what the host took.
    let had = [0, 1, 2, 5, 6, 7].map(|it| ticks.get(it).copied().unwrap_or(0.0));
    had.iter().sum::<f64>() * TICK_MILLIS
}

/// Processor time of a process, in milliseconds.
pub(crate) fn millis_of(pid: u32) -> f64 {
    let fields = stat(pid);
    // utime and stime are fields 14 and 15 of the line.
    sum(&fields, [11, 12])
}

/// Processor time of this process and of those that it has waited for.
pub(crate) fn own_millis() -> f64 {
    let fields = stat(std::process::id());
    sum(&fields, [11, 12]) + sum(&fields, [13, 14])
}

/// The fields behind the name, which may hold spaces.
fn stat(pid: u32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().map(str::to_owned).collect()
}

fn sum(fields: &[String], at: [usize; 2]) -> f64 {
    let ticks = at.map(|it| fields.get(it).and_then(|it| it.parse().ok()).unwrap_or(0.0));
    ticks.iter().sum::<f64>() * TICK_MILLIS
}

//! What it costs to be there: start, memory, processor, size.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::{Size, row};
use danube_bench::client::Client;
use danube_bench::server::Server;

/// Clock ticks a second of `/proc/PID/stat` (`USER_HZ`, the same on every Linux).
const TICKS_A_SECOND: f64 = 100.0;

/// Starts of which the median counts.
const STARTS: usize = 7;

pub(crate) fn start_and_idle(program: &Path, size: Size) {
    let mut fresh: Vec<f64> = (0..STARTS)
        .map(|_| millis(Server::start(program, &[], &[]).started_in))
        .collect();
    fresh.sort_by(f64::total_cmp);
    row(
        "cold start, empty directory, median",
        fresh[STARTS / 2],
        "ms",
        None,
    );

    let server = Server::start(program, &[], &[]);
    let pid = server.pid();
    Client::new(&server).get("/health");
    let (before, calls) = (ticks(pid), written(pid));
    // Watching an idle process takes time, nothing else.
    std::thread::sleep(Duration::from_secs(size.idle_seconds));
    #[expect(clippy::cast_precision_loss, reason = "seconds of a benchmark")]
    let seconds = size.idle_seconds as f64;
    row("idle memory (RSS)", resident_mib(pid), "MiB", None);
    row(
        "idle processor, percent of a core",
        (ticks(pid) - before) / TICKS_A_SECOND / seconds * 100.0,
        "%",
        None,
    );
    row(
        "idle bytes written to disk a minute",
        (written(pid) - calls) / seconds * 60.0,
        "B",
        None,
    );
    server.stop();

    let bytes = fs::metadata(program).map_or(0, |it| it.len());
    #[expect(clippy::cast_precision_loss, reason = "a size in MiB")]
    row("binary size", bytes as f64 / 1_048_576.0, "MiB", None);
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn ticks(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<f64> = after_name
        .split_whitespace()
        .filter_map(|it| it.parse().ok())
        .collect();
    // utime and stime are fields 14 and 15 of the line; the state isn't a number.
    fields.get(10).copied().unwrap_or(0.0) + fields.get(11).copied().unwrap_or(0.0)
}

fn written(pid: u32) -> f64 {
    number(&format!("/proc/{pid}/io"), "write_bytes:")
}

fn resident_mib(pid: u32) -> f64 {
    number(&format!("/proc/{pid}/status"), "VmRSS:") / 1_024.0
}

fn number(file: &str, name: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|it| it.strip_prefix(name))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|it| it.parse().ok())
        .unwrap_or(0.0)
}

//! Prints the figures of the whole way, each beside its floor.
//!
//! `cargo run --release -p danube-bench -- PATH-TO-DANUBE [--quick]`

mod backlog;
mod backup;
mod floor;
mod latency;
mod load;
mod probes;
mod reaper;
mod rest;

use std::path::PathBuf;
use std::process::ExitCode;

/// How much of everything is done.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Submits of the enqueue figure.
    pub(crate) submits: usize,
    /// Jobs of the throughput figure.
    pub(crate) jobs: usize,
    /// Jobs of the latency figures, one after the other.
    pub(crate) latencies: usize,
    /// Jobs that wait in the figure of a backlog.
    pub(crate) backlog: usize,
    /// Seconds over which an idle server is watched.
    pub(crate) idle_seconds: u64,
}

const FULL: Size = Size {
    submits: 20_000,
    jobs: 2_000,
    latencies: 400,
    backlog: 100_000,
    idle_seconds: 30,
};
const QUICK: Size = Size {
    submits: 2_000,
    jobs: 200,
    latencies: 50,
    backlog: 10_000,
    idle_seconds: 3,
};

/// Clients at once of the saturated figures.
pub(crate) const CLIENTS: usize = 64;

fn main() -> ExitCode {
    let mut size = FULL;
    let mut program = None;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => size = QUICK,
            _ => program = Some(PathBuf::from(argument)),
        }
    }
    let Some(program) = program else {
        eprintln!("usage: danube-bench PATH-TO-DANUBE [--quick]");
        return ExitCode::from(2);
    };
    println!(
        "{:<58} {:>12} {:>12} {:>8}",
        "figure", "danube", "floor", "ratio"
    );
    load::enqueue(&program, size);
    load::jobs(&program, size);
    backlog::backlog(&program, size);
    load::fsyncs(&program, size);
    latency::both(&program, size);
    probes::storm(&program, size);
    reaper::beside_submits(&program, size);
    backup::beside_submits(&program, size);
    backup::whole(&program, size);
    rest::start_and_idle(&program, size);
    ExitCode::SUCCESS
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One row; `floor` and the ratio are left out where there is none.
pub(crate) fn row(figure: &str, value: f64, unit: &str, floor: Option<f64>) {
    let cell = |it: f64| {
        format!(
            "{it:.precision$} {unit}",
            precision = if it < 10.0 { 2 } else { 0 }
        )
    };
    let ratio = floor.map_or_else(String::new, |it| format!("{:.2}", value / it));
    let floor = floor.map_or_else(|| "-".to_owned(), cell);
    println!("{figure:<58} {:>12} {floor:>12} {ratio:>8}", cell(value));
}

//! Prints what Redis costs a submit and gives a job's way to a worker, each beside the bare
//! command.
//!
//! `cargo run --release -p danube-bench --bin danube-bench-queue -- PATH-TO-DANUBE [--quick]`

mod ways;

use std::path::PathBuf;
use std::process::ExitCode;

/// How much of everything is done.
#[derive(Clone, Copy)]
struct Size {
    /// Submits, and entries of the floor.
    submits: usize,
    /// Jobs from submit to done.
    jobs: usize,
    /// Jobs one after the other.
    latencies: usize,
    /// Times that all of it is measured.
    rounds: usize,
}

const FULL: Size = Size {
    submits: 10_000,
    jobs: 400,
    latencies: 60,
    rounds: 3,
};

const QUICK: Size = Size {
    submits: 500,
    jobs: 50,
    latencies: 10,
    rounds: 1,
};

/// Clients at once of the saturated figures.
const CLIENTS: usize = 64;

/// Worker processes, and jobs that each runs at once.
const WORKERS: usize = 4;

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
        eprintln!("usage: danube-bench-queue PATH-TO-DANUBE [--quick]");
        return ExitCode::from(2);
    };
    println!(
        "{:<58} {:>10} {:>10} {:>10}",
        "figure, of {} rounds".replace("{}", &size.rounds.to_string()),
        "median",
        "least",
        "most"
    );
    ways::submits(&program, size);
    ways::jobs(&program, size);
    ExitCode::SUCCESS
}

/// One row.
fn row(figure: &str, mut values: Vec<f64>, unit: &str) {
    values.sort_by(f64::total_cmp);
    let cell = |it: f64| {
        let precision = if it < 10.0 { 2 } else { 0 };
        format!("{it:.precision$} {unit}")
    };
    println!(
        "{figure:<58} {:>10} {:>10} {:>10}",
        cell(values[values.len() / 2]),
        cell(values[0]),
        cell(values[values.len() - 1])
    );
}

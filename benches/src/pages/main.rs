//! Prints what the pages cost: how long the server takes for each, with a thousand jobs and with a million,
//! and how many bytes it sends; and the same of a log of ten million lines.
//!
//! `cargo run --release -p danube-bench --bin danube-bench-pages -- PATH-TO-DANUBE [--quick]`

mod history;
mod log;
mod weight;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use danube_bench::client::Client;
use danube_bench::server::Server;

/// How much of everything is done.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Jobs that there were.
    pub(crate) jobs: usize,
    /// Requests of each page.
    pub(crate) requests: usize,
    /// Lines of the log.
    pub(crate) lines: usize,
}

const FULL: Size = Size {
    jobs: 1_000_000,
    requests: 300,
    lines: 10_000_000,
};

const QUICK: Size = Size {
    jobs: 10_000,
    requests: 20,
    lines: 100_000,
};

/// Jobs of the server beside which the large one stands.
const FEW_JOBS: usize = 1_000;

/// What a browser says that it takes.
pub(crate) const AS_A_BROWSER: &str = "accept: text/html\r\naccept-encoding: gzip\r\n";

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
        eprintln!("usage: danube-bench-pages PATH-TO-DANUBE [--quick]");
        return ExitCode::from(2);
    };
    pages(&program, size);
    log::windows(&program, size);
    ExitCode::SUCCESS
}

/// Each page of a server with many jobs, beside one with few: in turns, request by request.
fn pages(program: &Path, size: Size) {
    let own = tempfile::tempdir_in("target").expect("run this where `target` is");
    let start = |name: &str, jobs: usize| {
        let dir = own.path().join(name);
        let shown = history::fill(program, &dir, jobs);
        (Server::start_in(program, &dir, &[], &[]), shown)
    };
    let (few, of_few) = start("few", FEW_JOBS);
    let (many, of_many) = start("many", size.jobs);
    weight::first_load(&many);
    println!(
        "\n{:<26} {:>10} {:>10} {:>12} {:>12} {:>10} {:>10}",
        format!("page, {} jobs", size.jobs),
        "p50 ms",
        "p99 ms",
        format!("p50, {FEW_JOBS}"),
        format!("p99, {FEW_JOBS}"),
        "bytes",
        "packed"
    );
    let (mut many_client, mut few_client) = (Client::new(&many), Client::new(&few));
    for (name, path) in history::PAGES {
        let of = |job: &str| path.replace("{job}", job);
        let (large, small) = (of(&of_many), of(&of_few));
        let (mut times, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..size.requests {
            times.push(timed(&mut many_client, &large));
            beside.push(timed(&mut few_client, &small));
        }
        let plain = many_client.get_bytes(&large, "accept: text/html\r\n").1;
        let packed = many_client.get_bytes(&large, AS_A_BROWSER).1;
        println!(
            "{name:<26} {:>10.2} {:>10.2} {:>12.2} {:>12.2} {:>10} {:>10}",
            percentile(&mut times, 50),
            percentile(&mut times, 99),
            percentile(&mut beside, 50),
            percentile(&mut beside, 99),
            plain.len(),
            packed.len()
        );
    }
}

/// Milliseconds until the whole answer is here.
pub(crate) fn timed(client: &mut Client, path: &str) -> f64 {
    let began = Instant::now();
    let (status, _) = client.get_bytes(path, AS_A_BROWSER);
    assert_eq!(status, 200, "{path}");
    began.elapsed().as_secs_f64() * 1_000.0
}

/// The value below or at which so many of a hundred are: the nearest rank.
pub(crate) fn percentile(values: &mut [f64], of_hundred: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * of_hundred).div_ceil(100).max(1);
    values[rank - 1]
}

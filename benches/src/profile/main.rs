//! Prints what a profile costs a server while it is taken: submits and whole jobs a second, in turns with
//! the same server when nothing profiles it.
//!
//! `cargo run --release -p danube-bench --bin danube-bench-profile -- PATH-TO-DANUBE [--quick]`

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use danube_bench::jobs::{drained, submit};
use danube_bench::redis::per_second;
use danube_bench::server::{Server, settle};

/// How much of everything is done.
#[derive(Clone, Copy)]
struct Size {
    /// Submits in each turn.
    submits: usize,
    /// Jobs from submit to done in each turn.
    jobs: usize,
    /// Turns of each way.
    rounds: usize,
}

const FULL: Size = Size {
    submits: 40_000,
    jobs: 600,
    rounds: 7,
};

const QUICK: Size = Size {
    submits: 300,
    jobs: 20,
    rounds: 1,
};

/// Clients at once: enough to keep the server busy.
const CLIENTS: usize = 64;

/// How long the end of the profile before is waited for: its server notices that nobody reads.
const FREE_MAX: Duration = Duration::from_secs(10);

/// What goes on beside the load. Each turn ends before the profile does.
const WAYS: [(&str, Option<&str>); 4] = [
    ("nothing", None),
    ("processor, 99 Hz", Some("/debug/pprof/profile?seconds=60")),
    (
        "processor, 999 Hz",
        Some("/debug/pprof/profile?seconds=60&hz=999"),
    ),
    ("memory", Some("/debug/pprof/heap?seconds=60")),
];

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
        eprintln!("usage: danube-bench-profile PATH-TO-DANUBE [--quick]");
        return ExitCode::from(2);
    };
    println!(
        "{:<44} {:>10} {:>10} {:>10}   : nothing, median (least to most)",
        format!("figure, of {} turns", size.rounds),
        "median",
        "least",
        "most"
    );
    submits(&program, size);
    jobs(&program, size);
    ExitCode::SUCCESS
}

fn submits(program: &Path, size: Size) {
    let server = Server::start(program, &["--jobs-at-once", "0"], &[]);
    submit(&server, size.submits, CLIENTS);
    in_turns("submits/s", size.rounds, &server, || {
        let began = Instant::now();
        submit(&server, size.submits, CLIENTS);
        per_second(size.submits, began)
    });
}

fn jobs(program: &Path, size: Size) {
    settle();
    let server = Server::start(program, &[], &[]);
    submit(&server, size.jobs, CLIENTS);
    drained(&server);
    in_turns("no-op jobs/s, submit to done", size.rounds, &server, || {
        let began = Instant::now();
        submit(&server, size.jobs, CLIENTS);
        drained(&server);
        per_second(size.jobs, began)
    });
}

/// Measures each way once a round, so that what changes over time changes for all.
fn in_turns(figure: &str, rounds: usize, server: &Server, measure: impl Fn() -> f64) {
    let mut values = WAYS.map(|_| Vec::new());
    for _ in 0..rounds {
        for ((_, path), values) in WAYS.iter().zip(&mut values) {
            let profile = path.map(|it| profiled(server, it));
            values.push(measure());
            drop(profile);
        }
    }
    let alone = values[0].clone();
    for ((way, _), values) in WAYS.iter().zip(values) {
        let ratios: Vec<f64> = values.iter().zip(&alone).map(|(a, b)| a / b).collect();
        let [middle, least, most] = spread(values);
        let [ratio, lowest, highest] = spread(ratios);
        println!(
            "{:<44} {middle:>10.0} {least:>10.0} {most:>10.0}   {ratio:.3} ({lowest:.3} to {highest:.3})",
            format!("{figure}; beside: {way}")
        );
    }
}

/// Median, least and most.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [
        values[values.len() / 2],
        values[0],
        values[values.len() - 1],
    ]
}

/// Begins a profile, which ends with the connection.
fn profiled(server: &Server, path: &str) -> TcpStream {
    let until = Instant::now() + FREE_MAX;
    loop {
        let mut stream = TcpStream::connect(&server.address).expect("connect");
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
            server.key
        );
        stream.write_all(head.as_bytes()).expect("send");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("read");
        if answer.ends_with(b"200") {
            return stream;
        }
        assert!(
            Instant::now() < until,
            "{path} is refused: {}",
            String::from_utf8_lossy(&answer)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

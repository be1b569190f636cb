//! Prints the figures of telemetry, each beside its floor and what others take.
//!
//! `make bench-telemetry`, or `cargo run --release -p danube-bench --features peers
//! --bin danube-bench-telemetry -- [OPTIONS]`. `benches/README.md` says what the
//! figures mean.

mod allocations;
mod child;
mod clock;
mod counter;
mod exposition;
mod field;
mod histogram;
mod keys;
mod line;
mod options;
#[cfg_attr(not(feature = "peers"), path = "no_peers.rs")]
mod peers;
mod sink;
mod spans;
mod tree;
mod whole;

use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &arguments[..]
        && let Some((_, body)) = BODIES.iter().find(|it| it.0 == first)
    {
        body(rest);
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|it| it == "--help") {
        println!("{}", options::USAGE);
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("{wrong}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    if cfg!(not(feature = "peers")) {
        println!("built without `--features peers`: the rows of others are left out");
    }
    for (name, run) in SECTIONS {
        if options.wants(name) {
            run(&options);
        }
    }
    ExitCode::SUCCESS
}

/// What runs in a process of its own, and the option that asks for it.
type Body = (&'static str, fn(&[String]));

const BODIES: &[Body] = &[(line::BODY, line::body), (spans::BODY, spans::body)];

/// A part of the output, and what prints it.
type Section = (&'static str, fn(&Options));

const SECTIONS: &[Section] = &[
    ("counter", counter::run),
    ("histogram", histogram::run),
    ("scrape", exposition::run),
    ("line", line::run),
    ("span", spans::run),
    ("tree", tree::run),
    ("whole", whole::run),
];

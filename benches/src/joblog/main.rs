//! Prints the figures of the job log's path, each beside its floor.
//!
//! `cargo run --release -p danube-bench --bin danube-bench-joblog -- [OPTIONS]`,
//! or `make bench-joblog`. `benches/README.md` says what the figures mean.

mod contender;
mod corpus;
mod field;
mod naive;
mod options;
mod rng;
mod shapes;
mod values;

use std::process::ExitCode;

use danube_redact::Rules;

use contender::{Claim, Contender, READ_BYTES, Redaction};
use corpus::Kind;
use field::{Entry, Goal};
use options::Options;

/// As much of a log as a slow contender gets.
const NAIVE_BYTES: usize = 16 << 20;
const PYTHON_BYTES: usize = 4 << 20;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("{wrong}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    options.pin();
    for kind in [Kind::Sparse, Kind::Dense, Kind::EscapeInside] {
        redaction(kind, &options);
    }
    ExitCode::SUCCESS
}

/// Redaction alone, on one kind of log.
fn redaction(kind: Kind, options: &Options) {
    let title = |name: &str| format!("{}: {name}", kind.name());
    let mut entries = entries(kind);
    entries.retain(|it| options.wants(&title(&it.name)));
    if entries.is_empty() {
        return;
    }
    let corpus = corpus::make(kind, options.bytes);
    corpus.describe();
    field::run(&corpus, &mut entries, options.rounds);
}

fn entries(kind: Kind) -> Vec<Entry> {
    let mut all = vec![
        floor(
            "memcpy of 64 KiB blocks to a hot buffer",
            contender::HotMemcpy,
        ),
        floor("newline count, memchr", contender::Newlines),
    ];
    let escape = kind == Kind::EscapeInside;
    if !escape {
        all.extend([0, 20, 500].map(naive));
        for values in [20, 500] {
            match naive::Python::new(values) {
                Some(it) => all.push(Entry {
                    bytes_max: PYTHON_BYTES,
                    claim: Claim::Values,
                    values,
                    ..floor(&format!("Python re scrubber, {values} values"), it)
                }),
                None => println!("Python re scrubber: not there, python3 is missing"),
            }
        }
    }
    for values in [0, 20, 500] {
        let goals = match (kind, values) {
            (Kind::Sparse, 20) => vec![Goal::Memcpy(0.18), Goal::Naive(15.0)],
            (Kind::Sparse | Kind::Dense, 20 | 500) => vec![Goal::Memcpy(0.12)],
            _ => Vec::new(),
        };
        all.push(redactor("redactor", values, READ_BYTES, goals));
    }
    if escape {
        return all;
    }
    all.push(redactor("redactor, 4 KiB writes", 20, 4096, Vec::new()));
    let goals = vec![Goal::Memcpy(0.08)];
    all.push(redactor("redactor, 200 B writes", 20, 200, goals));
    if contender::without_simd(false) {
        let it = Redaction::new(20, READ_BYTES, Rules::builtin());
        all.push(Entry {
            claim: Claim::Forms,
            values: 20,
            group: Some("20".to_owned()),
            goals: vec![Goal::Memcpy(0.05)],
            ..floor("redactor, no SIMD, 20 values", contender::Scalar(it))
        });
    } else {
        println!("redactor, no SIMD: not there, the library offers no choice");
    }
    let rules = Rules::builtin().with_email();
    all.push(Entry {
        claim: Claim::Forms,
        values: 20,
        ..floor(
            "redactor, 20 values and e-mail",
            Redaction::new(20, READ_BYTES, rules),
        )
    });
    all
}

fn floor(name: &str, contender: impl Contender + 'static) -> Entry {
    Entry {
        name: name.to_owned(),
        contender: Box::new(contender),
        bytes_max: usize::MAX,
        claim: Claim::Nothing,
        values: usize::MAX,
        group: None,
        goals: Vec::new(),
        naive: false,
    }
}

fn naive(values: usize) -> Entry {
    Entry {
        bytes_max: NAIVE_BYTES,
        claim: if values == 0 {
            Claim::Patterns
        } else {
            Claim::Values
        },
        values,
        naive: true,
        ..floor(
            &format!("naive loop of regex, {values} values"),
            naive::Naive::new(values),
        )
    }
}

fn redactor(name: &str, values: usize, chunk: usize, goals: Vec<Goal>) -> Entry {
    Entry {
        claim: if values == 0 {
            Claim::Patterns
        } else {
            Claim::Forms
        },
        values,
        group: Some(values.to_string()),
        goals,
        ..floor(
            &format!("{name}, {values} values"),
            Redaction::new(values, chunk, Rules::builtin()),
        )
    }
}

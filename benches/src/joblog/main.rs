//! Prints the figures of the job log's path, each beside its floor.
//!
//! `cargo run --release -p danube-bench --bin danube-bench-joblog -- [OPTIONS]`,
//! or `make bench-joblog`. `benches/README.md` says what the figures mean.

mod callgrind;
mod contender;
mod corpus;
mod field;
mod followers;
mod naive;
mod options;
mod proc;
mod shapes;
mod values;
mod whole;

use std::process::ExitCode;

use danube_redact::{Rules, Simd};

use contender::{Claim, Contender, READ_BYTES, Redaction};
use corpus::Kind;
use field::{Entry, Goal};
use options::Options;

/// As much of a log as a slow contender gets.
const NAIVE_BYTES: usize = 16 << 20;
const PYTHON_BYTES: usize = 4 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [first, rest @ ..] if first == callgrind::BODY => {
            callgrind::body(rest);
            return ExitCode::SUCCESS;
        }
        [first, rest @ ..] if first == whole::MEMORY_BODY => {
            whole::memory_body(rest);
            return ExitCode::SUCCESS;
        }
        _ => {}
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
    options.pin();
    for kind in [Kind::Sparse, Kind::Dense, Kind::EscapeInside] {
        redaction(kind, &options);
    }
    path(&options);
    served(&options);
    ExitCode::SUCCESS
}

/// What a real server does with it.
fn served(options: &Options) {
    let wanted = ["followers: HTTP", "followers: memory"].map(|it| options.wants(it));
    if !wanted.contains(&true) {
        return;
    }
    if !options.danube.exists() {
        println!(
            "\nfollowers of a server: not there, build {} first",
            options.danube.display()
        );
        return;
    }
    options.unpin();
    if wanted[0] {
        followers::over_http(&options.danube);
    }
    if wanted[1] {
        followers::memory(&options.danube);
    }
}

/// What takes the redactor's output on.
fn path(options: &Options) {
    let wanted = ["whole path", "memory", "followers: latency"].map(|it| options.wants(it));
    if wanted.contains(&true) {
        let corpus = corpus::make(Kind::Sparse, options.bytes);
        if wanted[0] {
            let total = options.whole_bytes;
            whole::run(&corpus, total, options.rounds, &options.dir);
        }
        if wanted[1] {
            whole::memory(options.bytes, options.whole_bytes, &options.dir);
        }
        if wanted[2] {
            options.unpin();
            followers::latency(&corpus, &options.dir);
            options.pin();
        }
    }
    if options.wants("instructions") {
        callgrind::run();
    }
}

/// Redaction alone, on one kind of log.
fn redaction(kind: Kind, options: &Options) {
    let title = |name: &str| format!("{}: {name}", kind.name());
    let (mut entries, missing) = entries(kind);
    entries.retain(|it| options.wants(&title(&it.name)));
    for (name, why) in missing {
        if options.wants(&title(&name)) {
            println!("{}: not there, {why}", title(&name));
        }
    }
    if entries.is_empty() {
        return;
    }
    let corpus = corpus::make(kind, options.bytes);
    corpus.describe();
    field::run(&corpus, &mut entries, options.rounds);
}

/// All that can take part, and what can't and why.
fn entries(kind: Kind) -> (Vec<Entry>, Vec<(String, &'static str)>) {
    let mut missing = Vec::new();
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
            let name = format!("Python re scrubber, {values} values");
            match naive::Python::new(values) {
                Some(it) => all.push(Entry {
                    bytes_max: PYTHON_BYTES,
                    claim: Claim::Values,
                    values,
                    ..floor(&name, it)
                }),
                None => missing.push((name, "python3 is missing")),
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
        return (all, missing);
    }
    all.push(redactor("redactor, 4 KiB writes", 20, 4096, Vec::new()));
    let goals = vec![Goal::Memcpy(0.08)];
    all.push(redactor("redactor, 200 B writes", 20, 200, goals));
    for simd in Simd::available() {
        // The quickest is the one of all other rows.
        let goals = match simd {
            Simd::Scalar => vec![Goal::Memcpy(0.05)],
            other if other == Simd::best() => continue,
            _ => Vec::new(),
        };
        all.push(Entry {
            claim: Claim::Forms,
            values: 20,
            group: Some("20".to_owned()),
            goals,
            ..floor(
                &format!("redactor, {simd:?} engine, 20 values"),
                Redaction::on(simd, 20),
            )
        });
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
    (all, missing)
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

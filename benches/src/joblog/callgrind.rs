//! Counts instructions, which do not depend on the machine's mood.
//!
//! This very program runs under valgrind once with one pass and once with two;
//! the difference is one pass with everything made and warm.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use danube_redact::{Rules, Simd};

use crate::contender::{self, Contender, READ_BYTES};
use crate::corpus::{self, Corpus, Kind};
use crate::naive::Naive;
use danube_bench::figures::digits;

/// The option that makes this program the one that is counted.
pub(crate) const BODY: &str = "--callgrind-body";

/// The log of this figure; small, for valgrind is slow.
const LOG_BYTES: usize = 4 << 20;

/// The cases, and as much of the log as each gets.
const CASES: &[(&str, usize)] = &[
    ("memcpy", LOG_BYTES),
    ("newlines", LOG_BYTES),
    ("redactor 0", LOG_BYTES),
    ("redactor 20", LOG_BYTES),
    ("redactor 500", LOG_BYTES),
    ("scalar 20", LOG_BYTES),
    ("naive 0", 1 << 20),
    ("naive 20", 1 << 20),
    ("naive 500", 128 << 10),
];

/// Prints instructions a byte.
pub(crate) fn run() {
    let there = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !there.is_ok_and(|it| it.success()) {
        println!("\ninstructions a byte: not there, valgrind is missing");
        return;
    }
    println!(
        "\ninstructions a byte, counted by callgrind. Valgrind hides AVX-512 from the program, so that this is the AVX2 path"
    );
    for kind in [Kind::Sparse, Kind::Dense] {
        let corpus = corpus::make(kind, LOG_BYTES);
        for (case, bytes) in CASES {
            if let Some(count) = counted(&corpus, case, *bytes) {
                let name = format!("{}: {case}", kind.name());
                println!("  {name:<30} {:>10}", digits(count));
            }
        }
    }
}

fn counted(corpus: &Corpus, case: &str, bytes: usize) -> Option<f64> {
    contender(case)?;
    let dir = tempfile::tempdir().expect("make a directory");
    let log = dir.path().join("log");
    fs::write(&log, &corpus.bytes[..bytes]).expect("write a file");
    let [once, twice] = ["1", "2"].map(|passes| instructions(case, &log, passes));
    let bytes = u64::try_from(bytes).expect("64 bits are enough");
    #[expect(clippy::cast_precision_loss, reason = "three digits count")]
    let each = twice?.saturating_sub(once?) as f64 / bytes as f64;
    Some(each)
}

fn instructions(case: &str, log: &Path, passes: &str) -> Option<u64> {
    let own = std::env::current_exe().expect("it has a path");
    let done = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args([BODY, case])
        .arg(log)
        .arg(passes)
        .stdin(Stdio::null())
        .output()
        .expect("start valgrind");
    let text = String::from_utf8_lossy(&done.stderr);
    let line = text.lines().find_map(|it| it.split_once("Collected :"));
    let count = line.and_then(|it| it.1.trim().parse().ok());
    if count.is_none() || !done.status.success() {
        println!("  {case}: valgrind gave no count: {text}");
        return None;
    }
    count
}

/// What runs under valgrind: a case, a file and a number of passes.
pub(crate) fn body(arguments: &[String]) {
    let [case, log, passes] = arguments else {
        panic!("give a case, a file and a number of passes");
    };
    let input = fs::read(log).expect("read the log");
    let mut contender = contender(case).expect("there is such a case");
    for _ in 0..passes.parse().expect("a number of passes") {
        contender.pass(&input);
    }
}

/// The contender of a case; none when there is no such case.
fn contender(case: &str) -> Option<Box<dyn Contender>> {
    let (name, values) = case.split_once(' ').unwrap_or((case, "0"));
    let values = values.parse().expect("a number of values");
    let redaction = || contender::Redaction::new(values, READ_BYTES, Rules::builtin());
    Some(match name {
        "memcpy" => Box::new(contender::Memcpy::default()),
        "newlines" => Box::new(contender::Newlines),
        "redactor" => Box::new(redaction()),
        "scalar" => Box::new(contender::Redaction::on(Simd::Scalar, values)),
        "naive" => Box::new(Naive::new(values)),
        _ => return None,
    })
}

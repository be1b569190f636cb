//! What contributors and CI run, beside cargo itself. See `HELP`.
//!
//! Uses only the standard library and `serde_json`: it is built first, from
//! nothing, on every CI run.

mod cargo;
mod ci;
mod deps_report;
mod export;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask COMMAND

  ci           everything CI runs: fmt, clippy, tidy, doc, test
  lint         the part of ci that runs no test
  tidy         the rules of the house that no compiler knows
  export       writes docs/signals.md and deploy/ from the declared signals
  deps-report  what the binary is made of: budget, licences, duplicates, prices";

/// An error is a sentence for the person at the terminal.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = root().and_then(|root| match words.as_slice() {
        ["ci"] => ci::run(&root, ci::CI),
        ["lint"] => ci::run(&root, ci::LINT),
        ["tidy"] => tidy::run(&root),
        ["export"] => export::run(&root),
        ["deps-report"] => deps_report::run(&root),
        ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => Err(format!("unknown command\n{HELP}")),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root, wherever in it the command was typed.
fn root() -> Result<PathBuf> {
    let package = std::env::var("CARGO_MANIFEST_DIR")
        .map_err(|_| "find the repository: run this as `cargo xtask`".to_owned())?;
    Path::new(&package)
        .parent()
        .map(Path::to_owned)
        .ok_or_else(|| format!("find the repository: {package} has no parent"))
}

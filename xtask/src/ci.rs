//! Runs the stages of CI one after the other and says how long each took.
//!
//! Every stage runs even when an earlier one failed: whoever reads the result
//! wants all that is wrong, not the first of it. Nothing is captured, so the
//! output of `cargo test` is read as cargo wrote it, and it comes last.

use std::io::IsTerminal;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Result, cargo, tidy};

pub(crate) struct Stage {
    name: &'static str,
    run: fn(&Path) -> Result<()>,
}

const FMT: Stage = Stage {
    name: "fmt",
    run: fmt,
};
const CLIPPY: Stage = Stage {
    name: "clippy",
    run: clippy,
};
const TIDY: Stage = Stage {
    name: "tidy",
    run: tidy::run,
};
const DOC: Stage = Stage {
    name: "doc",
    run: doc,
};
const TEST: Stage = Stage {
    name: "test",
    run: test,
};

pub(crate) const CI: &[Stage] = &[FMT, CLIPPY, TIDY, DOC, TEST];
pub(crate) const LINT: &[Stage] = &[FMT, CLIPPY, TIDY, DOC];

/// Runs `stages`; the error names those that failed.
pub(crate) fn run(root: &Path, stages: &[Stage]) -> Result<()> {
    let begun = Instant::now();
    let mut outcomes = Vec::new();
    for Stage { name, run } in stages {
        eprintln!("ci: {name}");
        let begun = Instant::now();
        let outcome = run(root);
        if let Err(why) = &outcome {
            eprintln!("ci: {name}: {why}");
        }
        outcomes.push((*name, outcome.is_ok(), begun.elapsed()));
    }
    eprintln!("{}", summary(&outcomes, begun.elapsed()));
    let failed: Vec<&str> = outcomes.iter().filter(|it| !it.1).map(|it| it.0).collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")))
    }
}

fn summary(outcomes: &[(&str, bool, Duration)], total: Duration) -> String {
    let stages = outcomes.iter().map(|(name, ok, took)| {
        let verdict = if *ok { "ok" } else { "FAILED" };
        format!("{name} {verdict} {:.1} s", took.as_secs_f64())
    });
    let stages: Vec<String> = stages.collect();
    format!(
        "ci: {} (together {:.1} s)",
        stages.join(", "),
        total.as_secs_f64()
    )
}

fn fmt(root: &Path) -> Result<()> {
    component(root, "fmt", "rustfmt")?;
    finish(cargo(root).args(["fmt", "--all", "--check"]))
        .map_err(|why| format!("{why}; `cargo fmt --all` repairs it"))
}

fn clippy(root: &Path) -> Result<()> {
    component(root, "clippy", "clippy")?;
    let what = [
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    finish(cargo(root).args(what))
}

/// Broken links and bad markup in doc comments; no page of a dependency.
fn doc(root: &Path) -> Result<()> {
    let what = [
        "doc",
        "--locked",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ];
    finish(cargo(root).args(what).env("RUSTDOCFLAGS", "-D warnings"))
}

fn test(root: &Path) -> Result<()> {
    // Without this cargo stops at the first test binary that fails.
    finish(cargo(root).args(["test", "--locked", "--workspace", "--no-fail-fast"]))
}

/// A toolchain may come without its formatter and linter. Leaving those stages
/// out would call unchecked code checked, so that is an error.
fn component(root: &Path, subcommand: &str, name: &str) -> Result<()> {
    let found = cargo(root).args([subcommand, "--version"]).output();
    if found.is_ok_and(|it| it.status.success()) {
        return Ok(());
    }
    Err(format!(
        "`cargo {subcommand}` is missing; `rustup component add {name}` installs it"
    ))
}

fn cargo(root: &Path) -> Command {
    let mut command = cargo::command(root);
    // A log file is searched for "test result: ok"; colour codes would hide it.
    let chosen = std::env::var_os("CARGO_TERM_COLOR").is_some();
    if !chosen && !std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "never");
    }
    command
}

fn finish(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .map_err(|why| format!("start cargo: {why}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("cargo ended with {status}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(_: &Path) -> Result<()> {
        Ok(())
    }

    fn bad(_: &Path) -> Result<()> {
        Err("it broke".into())
    }

    #[test]
    fn every_stage_runs_and_the_error_names_those_that_failed() {
        let stages = [
            Stage {
                name: "one",
                run: bad,
            },
            Stage {
                name: "two",
                run: good,
            },
            Stage {
                name: "three",
                run: bad,
            },
        ];
        assert_eq!(
            run(Path::new("."), &stages),
            Err("failed: one, three".into())
        );
        assert_eq!(run(Path::new("."), &stages[1..2]), Ok(()));
    }

    #[test]
    fn a_missing_component_is_an_error_that_says_what_to_install() {
        let here = Path::new(".");
        let why = component(here, "no-such-subcommand", "clippy").unwrap_err();
        assert!(why.contains("rustup component add clippy"), "{why}");
        assert_eq!(component(here, "tree", "cargo"), Ok(()));
    }

    #[test]
    fn the_summary_is_one_line_with_the_time_of_each_stage() {
        let outcomes = [
            ("fmt", true, Duration::from_millis(1500)),
            ("test", false, Duration::from_secs(60)),
        ];
        let line = summary(&outcomes, Duration::from_secs(62));
        assert_eq!(
            line,
            "ci: fmt ok 1.5 s, test FAILED 60.0 s (together 62.0 s)"
        );
    }
}

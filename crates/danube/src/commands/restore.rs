//! `danube restore`: makes a data directory of a backup, or says whether it could be.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use danube_backup::{Found, Report, RestoreError, Restored, examine, restore};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Progress, Screen, Table, clean};

/// Bytes of a file of sealing keys: 32 a key.
const KEYS_BYTES_MAX: u64 = 4 * 1024;

pub(super) fn command() -> Command {
    Command::new("restore")
        .about("Make a data directory of a backup, or check one")
        .long_about(
            "Make a data directory of a backup. Everything is checked first; the directory must be \
             empty or not there, and appears whole or not at all.\n\n\
             With --verify: check everything and restore nothing.",
        )
        .after_help(
            "Jobs that ran when the backup was taken are taken back as after a crash. What waited \
             goes on, and says that it may have run since; what may run once at most doesn't. Run \
             it as the user that runs the master.",
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The backup; - is standard input"),
        )
        .arg(
            Arg::new("data-dir")
                .long("data-dir")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .required_unless_present("verify")
                .conflicts_with("verify")
                .help("The data directory to make"),
        )
        .arg(
            Arg::new("verify")
                .long("verify")
                .action(ArgAction::SetTrue)
                .help("Only check it: every file, the database, the keys, and that every log is there"),
        )
        .arg(
            Arg::new("seal-key")
                .long("seal-key")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("The sealing keys (seal.key), for a backup that was taken without keys"),
        )
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let file: &PathBuf = matches.get_one("file").expect("clap requires it");
    let keys = match matches.get_one::<PathBuf>("seal-key") {
        Some(path) => Some(small_file(path)?),
        None => None,
    };
    let archive: Box<dyn Read> =
        if file == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let opened = File::open(file);
            Box::new(opened.map_err(|error| {
                Failure::usage(format!("open backup {}: {error}", file.display()))
            })?)
        };
    let mut progress = Progress::new(screen);
    let Some(dir) = matches.get_one::<PathBuf>("data-dir") else {
        progress.tick("checking the backup");
        let report = examine(archive, keys.as_deref(), &std::env::temp_dir());
        drop(progress);
        let report = report.map_err(|error| {
            let message = format!("check the backup: {error}");
            Failure::new(Exit::Failed, "restore_failed", message).hint(
                "its database is unpacked below the directory for temporary files; TMPDIR names another",
            )
        })?;
        return verified(&report, screen);
    };
    progress.tick("restoring the backup");
    let restored = restore(archive, keys.as_deref(), dir);
    drop(progress);
    match restored {
        Ok(restored) => told(&restored, dir, screen),
        Err(RestoreError::Unwell(report)) => {
            screen.error(&checks_as_table(&report).render(screen, true));
            Err(failed("the backup isn't well; nothing was restored")
                .hint("`danube restore --verify` shows the same; take another backup"))
        }
        Err(error) => Err(refused(&error)),
    }
}

fn verified(report: &Report, screen: &Screen) -> Result<ExitCode, Failure> {
    let is_well = report.is_well();
    if screen.is_json() {
        screen.json(&json!({
            "ok": is_well, "checks": checks_as_json(report),
            "about": report.about, "manifest": report.manifest,
        }))?;
    } else {
        if let Some(about) = &report.about {
            let (at, version) = (about.taken_at, clean(&about.program));
            screen.print(&format!("taken {at} by danube {version}\n"))?;
        }
        screen.print(&checks_as_table(report).render(screen, true))?;
    }
    Ok(if is_well { Exit::Ok } else { Exit::Failed }.into())
}

fn told(restored: &Restored, dir: &Path, screen: &Screen) -> Result<ExitCode, Failure> {
    let Restored { report, jobs } = restored;
    if screen.is_json() {
        screen.json(&json!({
            "data_dir": dir, "checks": checks_as_json(report), "manifest": report.manifest,
            "jobs_that_go_on": jobs.go_on, "jobs_given_up": jobs.given_up,
        }))?;
        return Ok(Exit::Ok.into());
    }
    screen.print(&checks_as_table(report).render(screen, true))?;
    let mut text = format!("{} is restored", dir.display());
    if jobs.go_on > 0 {
        text.push_str(&format!("; {} jobs hadn't ended and go on", jobs.go_on));
    }
    if jobs.given_up > 0 {
        text.push_str(&format!(
            "; {} that may run once at most are failures now, for they may have run since",
            jobs.given_up
        ));
    }
    let dir = dir.display();
    screen.print(&format!(
        "{text}\nstart it with `danube master --data-dir {dir}`\n"
    ))?;
    Ok(Exit::Ok.into())
}

fn refused(error: &RestoreError) -> Failure {
    let message = error.to_string();
    match error {
        RestoreError::Occupied(_) => {
            let message = format!("restore the backup: {message}");
            Failure::new(Exit::Conflict, "data_dir_in_use", message)
                .hint("name a directory that is empty or not there; nothing was changed")
        }
        RestoreError::NoKeys => failed(&message)
            .hint("give them with `--seal-key FILE`: seal.key of the directory that was backed up"),
        _ => failed(&message),
    }
}

fn failed(why: &str) -> Failure {
    let message = format!("restore the backup: {why}");
    Failure::new(Exit::Failed, "restore_failed", message)
}

fn small_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|it| it.take(KEYS_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| Failure::usage(format!("read key file {}: {error}", path.display())))?;
    Ok(bytes)
}

/// A line a check.
pub(super) fn checks_as_table(report: &Report) -> Table {
    let mut table = Table::new(&["CHECK", "STATUS", "DETAIL"], &[2]);
    for check in &report.checks {
        table.row(vec![
            Cell::new(check.name),
            Cell::status(word(check.found)),
            Cell::new(&clean(&check.detail)),
        ]);
    }
    table
}

/// The same for programs.
pub(super) fn checks_as_json(report: &Report) -> Vec<Value> {
    let checks = report.checks.iter();
    checks
        .map(|it| json!({"check": it.name, "status": word(it.found), "detail": it.detail}))
        .collect()
}

fn word(found: Found) -> &'static str {
    match found {
        Found::Ok => "ok",
        Found::Failed => "failed",
        Found::Skipped => "skipped",
    }
}

//! `danube signals list|explain|export`: what Danube tells, and the files made of it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use danube_signals::{Expected, ExportFile, ExportOptions, Signal, State};
use serde_json::{Value, json};

use crate::config::{self, Sources};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::nearest::several_nearest;
use crate::terminal::{Cell, Screen, Table};

mod explain;

pub(super) fn command() -> Command {
    Command::new("signals")
        .about("List and explain what Danube tells; export files for Prometheus and Grafana")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(list_command())
        .subcommand(explain::command())
        .subcommand(export_command())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    match matches.subcommand() {
        Some(("list", matches)) => list(matches, screen)?,
        Some(("explain", matches)) => explain::perform(matches, screen)?,
        Some((_, matches)) => export(matches, screen)?,
        None => unreachable!("clap requires a subcommand"),
    }
    Ok(Exit::Ok.into())
}

fn list_command() -> Command {
    Command::new("list")
        .about("List log events, metrics, panels and alerts")
        .arg(
            Arg::new("kind")
                .long("kind")
                .value_name("KIND")
                .value_parser(PossibleValuesParser::new(Signal::KINDS))
                .help("Only these"),
        )
        .arg(
            Arg::new("state")
                .long("state")
                .value_name("STATE")
                .value_parser(PossibleValuesParser::new(["live", "not-yet"]))
                .help("Only those that can be seen already, or only those that can't"),
        )
}

fn list(matches: &ArgMatches, screen: &Screen) -> Result<(), Failure> {
    let said = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let (kind, state) = (said("kind"), said("state"));
    let asked = danube_signals::catalogue().filter(|it| {
        kind.is_none_or(|kind| kind == it.kind())
            && state.is_none_or(|state| state == state_word(it.state()))
    });
    let asked: Vec<Signal> = asked.collect();
    if screen.is_json() {
        let all: Vec<Value> = asked.iter().map(summary).collect();
        return screen.json(&json!({ "signals": all }));
    }
    let mut table = Table::new(&["KIND", "NAME", "STATE", "SAYS"], &[3, 1]);
    for signal in &asked {
        table.row(vec![
            Cell::new(signal.kind()),
            Cell::new(signal.name()),
            Cell::new(state_word(signal.state())),
            Cell::new(signal.about()),
        ]);
    }
    screen.print(&table.render(screen, true))
}

/// What the list says of one.
fn summary(signal: &Signal) -> Value {
    let mut all = json!({
        "kind": signal.kind(),
        "name": signal.name(),
        "state": state_word(signal.state()),
        "about": signal.about(),
    });
    if let Some(name) = signal.other_name() {
        all["other_name"] = name.into();
    }
    if let State::NotYet(part) = signal.state() {
        all["comes_with"] = part.into();
    }
    all
}

const fn state_word(state: State) -> &'static str {
    match state {
        State::Live => "live",
        State::NotYet(_) => "not-yet",
    }
}

fn export_command() -> Command {
    Command::new("export")
        .about("Write docs/signals.md, and deploy/ with files for Prometheus, Grafana and others")
        .after_help(
            "Writes only files that differ, and deletes none. With --check it exits 1 when some do.",
        )
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .default_value(".")
                .value_parser(value_parser!(PathBuf))
                .help("Where docs/ and deploy/ are, or will be"),
        )
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Write nothing; say which files differ"),
        )
        .arg(
            Arg::new("workers-expected")
                .long("workers-expected")
                .value_name("NUMBER")
                .value_parser(value_parser!(u32))
                .help(
                    "Workers below which an alert is raised [default: what the settings of the server say, else 1]",
                ),
        )
        .arg(
            Arg::new("runbooks")
                .long("runbooks")
                .value_name("URL")
                .help("Where the pages of docs/runbooks are served, for the links in alerts"),
        )
}

fn export(matches: &ArgMatches, screen: &Screen) -> Result<(), Failure> {
    let options = ExportOptions {
        expected: Expected {
            workers: workers_expected(matches)?,
        },
        runbooks: matches.get_one::<String>("runbooks").cloned(),
    };
    let dir = matches.get_one::<PathBuf>("dir").expect("it has a default");
    let files = danube_signals::export(&options);
    let differ = differing(&files, dir)?;
    let names: Vec<&str> = differ.iter().map(|it| it.path.as_str()).collect();
    if matches.get_flag("check") {
        return check(&files, &names, screen);
    }
    for file in &differ {
        write(file, dir)?;
    }
    if screen.is_json() {
        return screen.json(&json!({ "written": names, "unchanged": files.len() - names.len() }));
    }
    let mut text = String::new();
    for name in &names {
        let _ = writeln!(text, "wrote {}", dir.join(name).display());
    }
    let unchanged = files.len() - names.len();
    if unchanged > 0 {
        let _ = writeln!(text, "{unchanged} files are as they should be");
    }
    screen.print(&text)
}

/// Said by the flag, or by what the server would start with here.
fn workers_expected(matches: &ArgMatches) -> Result<u32, Failure> {
    if let Some(workers) = matches.get_one::<u32>("workers-expected") {
        return Ok(*workers);
    }
    Ok(config::load(&Sources::here())?
        .settings
        .watch
        .workers_expected)
}

/// Those whose file isn't there or holds something else.
fn differing<'a>(files: &'a [ExportFile], dir: &Path) -> Result<Vec<&'a ExportFile>, Failure> {
    let mut found = Vec::new();
    for file in files {
        let path = dir.join(&file.path);
        match fs::read(&path) {
            Ok(bytes) if bytes == file.text.as_bytes() => {}
            Ok(_) => found.push(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => found.push(file),
            Err(error) => return Err(not_done("read", &path, &error)),
        }
    }
    Ok(found)
}

fn check(files: &[ExportFile], differ: &[&str], screen: &Screen) -> Result<(), Failure> {
    if differ.is_empty() {
        return if screen.is_json() {
            screen.json(&json!({ "written": [], "unchanged": files.len() }))
        } else {
            screen.print(&format!("{} files are as they should be\n", files.len()))
        };
    }
    let message = format!("these files differ: {}", differ.join(", "));
    Err(Failure::new(Exit::Failed, "differ", message)
        .hint("`danube signals export` with the same arguments and without --check writes them"))
}

fn write(file: &ExportFile, dir: &Path) -> Result<(), Failure> {
    let path = dir.join(&file.path);
    let parent = path.parent().expect("a file is in a directory");
    fs::create_dir_all(parent).map_err(|error| not_done("make", parent, &error))?;
    fs::write(&path, &file.text).map_err(|error| not_done("write", &path, &error))
}

fn not_done(doing: &str, path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("{doing} {}: {error}", path.display());
    Failure::new(Exit::Failed, "file", message)
}

/// There is no signal of this name; those that it may have been, the nearest first.
fn unknown(name: &str) -> Failure {
    let mut names: Vec<String> = Vec::new();
    for signal in danube_signals::catalogue() {
        names.push(signal.name().to_owned());
        names.extend(signal.other_name());
    }
    let near = several_nearest(name, names.iter().map(String::as_str));
    let message = format!("there is no signal `{name}`");
    let failure = Failure::new(Exit::NotFound, "not_found", message);
    if near.is_empty() {
        return failure.hint("`danube signals list` lists all of them");
    }
    let near: Vec<String> = near.iter().map(|it| format!("`{it}`")).collect();
    failure.hint(format!("did you mean {}?", near.join(", ")))
}

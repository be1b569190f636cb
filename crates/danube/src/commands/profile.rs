//! `danube profile cpu|heap|tasks`: looks into a live server.

use std::fs;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use danube_api::client::{Client, ClientError};
use danube_api::{TaskList, TaskView};

use crate::cli::FORMATS;
use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table};

pub(super) fn command() -> Command {
    Command::new("profile")
        .about("See what a live server's processor and memory are used for")
        .after_help(
            "`danube profile cpu --seconds 30 -o cpu.svg --format svg` draws a flame graph for a browser; without \
             --format, `go tool pprof cpu.pb.gz` reads the file.\n\n\
             One profile is taken at a time, and only for administrators. `DANUBE_PROFILE=1 danube master` profiles a \
             whole run.",
        )
        .subcommand_required(true)
        .subcommand(
            profile("cpu", "What uses the processor, for some seconds")
                .arg(
                    Arg::new("hz")
                        .long("hz")
                        .value_name("NUMBER")
                        .value_parser(value_parser!(u32).range(1..=999))
                        .help("Samples a second of processor time [default: 99]"),
                )
                .args(args()),
        )
        .subcommand(
            profile("heap", "Who holds the memory that is allocated within some seconds").args(args()),
        )
        .subcommand(
            Command::new("tasks")
                .about("What each loop and thread of the server does right now")
                .args(args()),
        )
}

fn profile(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .arg(
            Arg::new("seconds")
                .long("seconds")
                .value_name("NUMBER")
                .value_parser(value_parser!(u64).range(1..=60))
                .help("How long, 1 to 60 [default: 10]"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .value_parser(["pprof", "svg", "folded"])
                .default_value("pprof")
                .help("`pprof` for tools, `svg` for a browser, `folded` for one line a stack"),
        )
        // The one command whose output is a file: its `-o` takes the place of everybody's.
        .arg(
            Arg::new("output")
                .long("output")
                .short('o')
                .value_name("FILE")
                .help("Where to write it; without, to standard output, unless that is a terminal. `text` and `json` say how to tell what went wrong, as everywhere"),
        )
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    match matches.subcommand() {
        Some(("tasks", matches)) => tasks(matches, screen),
        Some((kind, matches)) => take(kind == "heap", matches, screen),
        None => unreachable!("one is required"),
    }
}

fn take(is_heap: bool, matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let file = file(matches);
    let format = matches.get_one::<String>("format").map(String::as_str);
    if file.is_none() && format != Some("folded") && std::io::stdout().is_terminal() {
        return Err(Failure::usage("a profile is nothing to read on a terminal")
            .hint("name a file with -o, or have it as text with --format folded"));
    }
    let client = connect(matches, true)?;
    let profile = asked(&client, is_heap, matches);
    let profile = profile.map_err(|error| Failure::call("profile the server", &error))?;
    let Some(file) = file else {
        screen.bytes(&profile)?;
        return Ok(Exit::Ok.into());
    };
    fs::write(&file, &profile).map_err(|error| {
        let message = format!("write {}: {error}", file.display());
        Failure::new(Exit::Failed, "write", message)
    })?;
    screen.note(&format!("{} bytes in {}", profile.len(), file.display()));
    Ok(Exit::Ok.into())
}

/// The file that `-o` names. What it means to every other command stands there too, where
/// nobody named one.
fn file(matches: &ArgMatches) -> Option<PathBuf> {
    let named = matches.get_one::<String>("output");
    named
        .filter(|it| !FORMATS.contains(&it.as_str()))
        .map(PathBuf::from)
}

fn asked(client: &Client, is_heap: bool, matches: &ArgMatches) -> Result<Vec<u8>, ClientError> {
    let seconds = matches.get_one::<u64>("seconds").map(u64::to_string);
    let format = matches.get_one::<String>("format").map(String::as_str);
    let query = [("seconds", seconds.as_deref()), ("format", format)];
    if is_heap {
        return client.heap_profile(&query);
    }
    let hz = matches.get_one::<u32>("hz").map(u32::to_string);
    client.cpu_profile(&[query[0], query[1], ("hz", hz.as_deref())])
}

fn tasks(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    let list = client.tasks();
    let list = list.map_err(|error| Failure::call("list the server's tasks", &error))?;
    if screen.is_json() {
        screen.json(&list)?;
        return Ok(Exit::Ok.into());
    }
    screen.print(&loops(&list).render(screen, true))?;
    screen.print("\n")?;
    screen.print(&threads(&list).render(screen, true))?;
    let runtime = &list.runtime;
    screen.print(&format!(
        "\n{} tasks on {} threads, {} of them wait for one\n",
        runtime.alive_tasks, runtime.workers, runtime.queued_tasks
    ))?;
    Ok(Exit::Ok.into())
}

fn loops(list: &TaskList) -> Table {
    let mut table = Table::new(
        &["TASK", "KIND", "STATE", "FOR", "ROUNDS", "LAST", "LONGEST"],
        &[],
    );
    for it in &list.tasks {
        let TaskView {
            name,
            kind,
            state,
            for_seconds,
            age_seconds: _,
            rounds,
            last_round_seconds,
            longest_round_seconds,
        } = it;
        table.row(vec![
            Cell::new(name),
            Cell::new(kind),
            Cell::new(state),
            Cell::new(&time(Some(*for_seconds))),
            Cell::new(&rounds.to_string()),
            Cell::new(&time(*last_round_seconds)),
            Cell::new(&time(*longest_round_seconds)),
        ]);
    }
    table
}

fn threads(list: &TaskList) -> Table {
    let mut table = Table::new(&["THREADS", "COUNT", "RUNNING", "CPU"], &[]);
    for it in &list.threads {
        table.row(vec![
            Cell::new(&it.name),
            Cell::new(&it.count.to_string()),
            Cell::new(&it.running.to_string()),
            Cell::new(&time(Some(it.cpu_seconds))),
        ]);
    }
    table
}

/// A time with three digits that say something: polls take microseconds, waits hours.
fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => String::new(),
        Some(it) if it < 0.001 => format!("{:.0} µs", it * 1e6),
        Some(it) if it < 1.0 => format!("{:.1} ms", it * 1e3),
        Some(it) if it < 600.0 => format!("{it:.1} s"),
        Some(it) => format!("{:.0} min", it / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (seconds, text) in [
            (None, ""),
            (Some(0.000_012), "12 µs"),
            (Some(0.25), "250.0 ms"),
            (Some(59.96), "60.0 s"),
            (Some(7_200.0), "120 min"),
        ] {
            assert_eq!(time(seconds), text);
        }
    }
}

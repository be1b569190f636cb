//! `danube trace --slow`: what took the time of a pipeline over its latest runs.

use clap::{Arg, ArgMatches, value_parser};
use danube_api::client::Client;
use danube_api::{PartTiming, PipelineTiming, TimingList};
use danube_model::limits::{TIMED_RUNS_DEFAULT, TIMED_RUNS_MAX};

use crate::failure::Failure;
use crate::terminal::waterfall::brief;
use crate::terminal::{Cell, Colour, Screen, Table};

/// A smaller change is none: runs are never quite the same.
const CHANGE_SHOWN_PERCENT: f64 = 10.0;

/// The arguments of `danube trace` that are about pipelines.
pub(super) fn slow_args() -> [Arg; 2] {
    [
        Arg::new("slow")
            .long("slow")
            .value_name("PIPELINE")
            .num_args(0..=1)
            .conflicts_with_all(["id", "all", "ids", "format"])
            .help(
                "Show what took the time of a pipeline over its latest runs, against those before; \
                 of every pipeline when none is named",
            ),
        Arg::new("runs")
            .long("runs")
            .value_name("NUMBER")
            .requires("slow")
            .value_parser(value_parser!(u64).range(1..=TIMED_RUNS_MAX as u64))
            .help(format!(
                "With --slow: the latest so many runs [default: {TIMED_RUNS_DEFAULT}]"
            )),
    ]
}

/// Whether this is about pipelines.
pub(super) fn is_wanted(matches: &ArgMatches) -> bool {
    matches.contains_id("slow")
}

/// Shows it.
pub(super) fn show(client: &Client, matches: &ArgMatches, screen: &Screen) -> Result<(), Failure> {
    let runs = matches.get_one::<u64>("runs");
    let runs = runs.map_or(TIMED_RUNS_DEFAULT, |it| {
        usize::try_from(*it).unwrap_or(TIMED_RUNS_MAX)
    });
    match matches.get_one::<String>("slow") {
        Some(pipeline) => one(client, pipeline, runs, screen),
        None => all(client, runs, screen),
    }
}

fn one(client: &Client, pipeline: &str, runs: usize, screen: &Screen) -> Result<(), Failure> {
    let timing = client
        .timing(pipeline, runs)
        .map_err(|error| Failure::call("read the times of the pipeline", &error))?;
    if screen.is_json() {
        return screen.json(&timing);
    }
    if timing.runs == 0 {
        screen.note("no run has ended by itself yet");
        return Ok(());
    }
    screen.print(&(head(&timing) + &parts(&timing.parts, screen)))?;
    note_cut(timing.is_cut, "older runs", screen);
    Ok(())
}

fn all(client: &Client, runs: usize, screen: &Screen) -> Result<(), Failure> {
    let list = client
        .timings(runs)
        .map_err(|error| Failure::call("read the times of the pipelines", &error))?;
    if screen.is_json() {
        return screen.json(&list);
    }
    let rows = pipelines(&list, screen);
    if rows.is_empty() {
        screen.note("no run has ended by itself yet");
        return Ok(());
    }
    screen.print(&rows)?;
    let is_cut = list.pipelines.iter().any(|it| it.is_cut);
    note_cut(is_cut, "older runs", screen);
    note_cut(list.is_cut, "other pipelines", screen);
    Ok(())
}

fn note_cut(is_cut: bool, what: &str, screen: &Screen) {
    if is_cut {
        screen.note(&format!("{what} were left out: there are too many to read"));
    }
}

fn head(of: &PipelineTiming) -> String {
    let runs = |number: usize| match number {
        1 => "1 run".to_owned(),
        number => format!("{number} runs"),
    };
    let before = match of.runs_before {
        0 => "none before them".to_owned(),
        number => format!("against the {} before", runs(number)),
    };
    format!("the latest {}, {before}\n", runs(of.runs))
}

/// A row a part.
fn parts(parts: &[PartTiming], screen: &Screen) -> String {
    let heads = [
        "PART", "NAME", "RUNS", "P50", "P95", "SHARE", "BEFORE", "CHANGE",
    ];
    let mut table = Table::new(&heads, &[1]);
    for it in parts {
        let name = Cell::new(&it.name);
        let name = match it.kind.as_str() {
            "queue" => name.coloured(Colour::Yellow),
            "stage" => name.coloured(Colour::Dim),
            _ => name,
        };
        table.row(vec![
            Cell::new(&it.kind).coloured(Colour::Dim),
            name,
            Cell::number(&it.runs.to_string()),
            time(Some(it.p50_seconds)),
            time(Some(it.p95_seconds)),
            percent(it.share),
            time(it.p50_before_seconds).coloured(Colour::Dim),
            change(it.change_percent),
        ]);
    }
    table.render(screen, true)
}

/// A row a pipeline that has run; empty when none has.
fn pipelines(list: &TimingList, screen: &Screen) -> String {
    let heads = [
        "PIPELINE", "RUNS", "P50", "P95", "BEFORE", "CHANGE", "QUEUED", "SHARE",
    ];
    let mut table = Table::new(&heads, &[0]);
    let mut is_empty = true;
    for it in &list.pipelines {
        let part = |kind: &str| it.parts.iter().find(|it| it.kind == kind);
        let Some(whole) = part("whole") else { continue };
        let queue = part("queue");
        is_empty = false;
        table.row(vec![
            Cell::new(&it.pipeline),
            Cell::number(&whole.runs.to_string()),
            time(Some(whole.p50_seconds)),
            time(Some(whole.p95_seconds)),
            time(whole.p50_before_seconds).coloured(Colour::Dim),
            change(whole.change_percent),
            time(queue.map(|it| it.p50_seconds)).coloured(Colour::Yellow),
            queue.map_or_else(|| Cell::number(""), |it| percent(it.share)),
        ]);
    }
    if is_empty {
        return String::new();
    }
    table.render(screen, true)
}

/// What the store knows to the millisecond.
fn time(seconds: Option<f64>) -> Cell {
    let time = seconds.and_then(|it| std::time::Duration::try_from_secs_f64(it).ok());
    let text = time.map(|it| match it.as_millis() {
        // Its last digit would be made up.
        millis @ 0..10 => format!("{millis} ms"),
        _ => brief(u64::try_from(it.as_nanos()).unwrap_or(u64::MAX)),
    });
    Cell::number(&text.unwrap_or_default())
}

fn percent(share: f64) -> Cell {
    Cell::number(&format!("{:.0}%", share * 100.0))
}

/// With its sign; what grew is red and what shrank is green, as far as that says something.
fn change(percent: Option<f64>) -> Cell {
    let Some(percent) = percent else {
        return Cell::number("");
    };
    let colour = match percent {
        it if it >= CHANGE_SHOWN_PERCENT => Colour::Red,
        it if it <= -CHANGE_SHOWN_PERCENT => Colour::Green,
        _ => Colour::Dim,
    };
    // Rounding must not leave a minus before nothing.
    let whole = percent.round() + 0.0;
    let text = if whole == 0.0 {
        "0%".to_owned()
    } else {
        format!("{whole:+.0}%")
    };
    Cell::number(&text).coloured(colour)
}

//! `danube trace --slow`: what took the time of a pipeline over its latest runs.

use clap::{Arg, ArgMatches, value_parser};
use danube_api::client::Client;
use danube_api::{PartTiming, PipelineTiming, TimingList};
use danube_model::limits::{TIMED_RUNS_DEFAULT, TIMED_RUNS_MAX};

use crate::failure::Failure;
use crate::terminal::waterfall::brief;
use crate::terminal::{Cell, Colour, Screen, Table, clean};

/// A smaller change has no colour: runs are never quite the same.
const CHANGE_PERCENT_MIN: f64 = 10.0;

/// Nor has one of less than this part of the whole, however often it is what it was.
const CHANGE_OF_WHOLE_MIN: f64 = 0.01;

/// A larger change needs no number.
const CHANGE_PERCENT_MAX: f64 = 999.0;

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
            // Nothing is required of what conflicts with something that is there.
            .conflicts_with("id")
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
    } else {
        let table = table_of_parts(&timing.parts).render(screen, true);
        screen.print(&(head(&timing) + &table))?;
    }
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
    let name = clean(&of.pipeline);
    format!("{name}: the latest {}, {before}\n", runs(of.runs))
}

/// A row a part.
fn table_of_parts(parts: &[PartTiming]) -> Table {
    let heads = [
        "PART", "NAME", "RUNS", "P50", "P95", "SHARE", "BEFORE", "CHANGE",
    ];
    let mut table = Table::new(&heads, &[1]);
    let whole = parts.iter().find(|it| it.kind == "whole");
    let whole = whole.map_or(0.0, |it| it.p50_seconds);
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
            change(it, whole),
        ]);
    }
    table
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
            change(whole, whole.p50_seconds),
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

/// With its sign; what grew is red and what shrank is green, if that makes a difference to
/// the whole.
fn change(of: &PartTiming, whole_seconds: f64) -> Cell {
    let Some(percent) = of.change_percent else {
        return Cell::number("");
    };
    let before = of.p50_before_seconds.unwrap_or(of.p50_seconds);
    let difference = (of.p50_seconds - before).abs();
    let counts =
        percent.abs() >= CHANGE_PERCENT_MIN && difference >= CHANGE_OF_WHOLE_MIN * whole_seconds;
    let colour = match (counts, percent > 0.0) {
        (false, _) => Colour::Dim,
        (true, true) => Colour::Red,
        (true, false) => Colour::Green,
    };
    let text = if percent.round() == 0.0 {
        "0%".to_owned()
    } else if percent > CHANGE_PERCENT_MAX {
        format!(">+{CHANGE_PERCENT_MAX}%")
    } else {
        format!("{percent:+.0}%")
    };
    Cell::number(&text).coloured(colour)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: &str, name: &str, (before, now): (Option<f64>, f64)) -> PartTiming {
        PartTiming {
            kind: kind.to_owned(),
            name: name.to_owned(),
            runs: 50,
            p50_seconds: now,
            p95_seconds: 2.0 * now,
            share: now / 1_000.0,
            p50_before_seconds: before,
            change_percent: before.map(|it| (now - it) / it * 100.0),
        }
    }

    #[test]
    fn changes_are_told_with_their_sign_and_those_that_count_are_coloured() {
        for (before, now, text, colour) in [
            (100.0, 150.0, "+50%", Colour::Red),
            (100.0, 50.0, "-50%", Colour::Green),
            (100.0, 109.0, "+9%", Colour::Dim),
            (100.0, 99.9, "0%", Colour::Dim),
            (0.001, 9.0, ">+999%", Colour::Dim),
        ] {
            let cell = change(&part("step", "a", (Some(before), now)), 1_000.0);
            let expected = Cell::number(text).coloured(colour);
            assert_eq!(format!("{cell:?}"), format!("{expected:?}"));
        }
    }

    #[test]
    fn the_longest_times_and_names_fit_eighty_columns() {
        let longest = (Some(2_500_000.0), 2_592_000.0);
        let parts = [
            part("whole", "whole", longest),
            part("stage", &"x".repeat(100), longest),
        ];
        let table = table_of_parts(&parts);
        let widest = table.widths(Some(80)).iter().sum::<usize>() + 2 * 7;
        assert!(widest <= 80, "{widest}");
    }
}

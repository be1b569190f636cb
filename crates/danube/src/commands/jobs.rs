//! `danube jobs`: the list.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use danube_api::client::{Client, ListQuery};
use danube_api::{JobList, JobView};
use danube_model::limits::{PAGE_JOBS_DEFAULT, PAGE_JOBS_MAX};
use danube_model::{State, Timestamp};

use crate::client::{args, connect, duration, moment};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table};

pub(super) fn command() -> Command {
    let statuses = State::ALL.iter().map(|it| it.as_str()).chain(["failed"]);
    Command::new("jobs")
        .about("List jobs, the newest first")
        .arg(
            Arg::new("status")
                .long("status")
                .value_name("STATUS")
                .value_parser(PossibleValuesParser::new(statuses))
                .help("Only jobs with this status"),
        )
        .arg(
            Arg::new("pipeline")
                .long("pipeline")
                .value_name("NAME")
                .help("Only jobs of this pipeline"),
        )
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("NUMBER")
                .value_parser(value_parser!(u64).range(1..=1_000_000))
                .help(format!("At most so many [default: {PAGE_JOBS_DEFAULT}]")),
        )
        .arg(
            Arg::new("all")
                .long("all")
                .action(ArgAction::SetTrue)
                .conflicts_with("limit")
                .help("All of them"),
        )
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    let limit = matches
        .get_one::<u64>("limit")
        .map(|it| usize::try_from(*it).unwrap_or(usize::MAX));
    let wanted = match (matches.get_flag("all"), limit) {
        (true, _) => usize::MAX,
        (false, limit) => limit.unwrap_or(PAGE_JOBS_DEFAULT),
    };
    let text = |id: &str| matches.get_one::<String>(id).cloned();
    let query = ListQuery {
        status: text("status"),
        pipeline: text("pipeline"),
        ..ListQuery::default()
    };
    if screen.is_json() {
        as_json(&client, query, wanted, screen)?;
    } else {
        as_table(&client, query, wanted, screen)?;
    }
    Ok(Exit::Ok.into())
}

/// Page by page, so that a list of any length needs the memory of one page.
fn pages(
    client: &Client,
    mut query: ListQuery,
    mut wanted: usize,
    mut page: impl FnMut(JobList) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        query.limit = Some(wanted.min(PAGE_JOBS_MAX));
        let list = client
            .jobs(&query)
            .map_err(|error| Failure::call("list jobs", &error))?;
        wanted = wanted.saturating_sub(list.jobs.len());
        query.cursor.clone_from(&list.next_cursor);
        // A page without jobs can't bring us further.
        let is_last = wanted == 0 || query.cursor.is_none() || list.jobs.is_empty();
        page(list)?;
        if is_last {
            return Ok(());
        }
    }
}

fn as_table(
    client: &Client,
    query: ListQuery,
    wanted: usize,
    screen: &Screen,
) -> Result<(), Failure> {
    let now = Timestamp::now();
    let (mut shown, mut more) = (0, false);
    pages(client, query, wanted, |list| {
        let is_first = shown == 0;
        let mut table = Table::new(
            &["ID", "STATUS", "NAME", "STARTED", "DURATION", "REF"],
            &[5, 2],
        );
        for job in &list.jobs {
            table.row(row(job, now, screen));
        }
        shown += list.jobs.len();
        more = list.next_cursor.is_some();
        if shown == 0 {
            return Ok(());
        }
        screen.print(&table.render(screen, is_first))
    })?;
    if shown == 0 {
        screen.note("no jobs");
    } else if more && screen.err_is_terminal {
        screen.note("there are more; --all shows them");
    }
    Ok(())
}

fn row(job: &JobView, now: Timestamp, screen: &Screen) -> Vec<Cell> {
    let running = job.started_at.filter(|_| job.finished_at.is_none());
    let seconds = job
        .duration_seconds
        .or_else(|| running.map(|it| now.seconds_since(it)));
    vec![
        Cell::new(&job.short_id),
        Cell::status(&job.status),
        Cell::new(&name(job)),
        Cell::new(&moment(job.started_at, now, screen)),
        Cell::new(&duration(seconds)),
        Cell::new(job.trigger_ref.as_deref().unwrap_or_default()),
    ]
}

/// The pipeline's name; of a playbook, that it is one and where it comes from.
fn name(job: &JobView) -> String {
    match (&job.source, job.source_type.as_deref()) {
        // Its type begins it.
        (Some(source), Some("playbook")) => source.clone(),
        (Some(source), _) => format!("playbook {source}"),
        (None, _) => job.pipeline.clone(),
    }
}

/// One object like the server's, however many pages it took.
fn as_json(
    client: &Client,
    query: ListQuery,
    wanted: usize,
    screen: &Screen,
) -> Result<(), Failure> {
    let (mut separator, mut cursor) = ("{\"jobs\":[", None);
    pages(client, query, wanted, |list| {
        let mut text = String::new();
        for job in &list.jobs {
            text.push_str(separator);
            text.push_str(
                &serde_json::to_string(job).expect("a job has text keys and finite numbers"),
            );
            separator = ",";
        }
        cursor = list.next_cursor;
        screen.print(&text)
    })?;
    let begin = if separator == "," { "" } else { separator };
    let cursor = serde_json::to_string(&cursor).expect("a text is JSON");
    screen.print(&format!("{begin}],\"next_cursor\":{cursor}}}\n"))
}

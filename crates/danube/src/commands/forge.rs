//! `danube forge statuses|replay`: what forges don't know yet of the jobs that they asked for.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, value_parser};
use danube_api::ForgeStatus;
use danube_api::client::Client;
use danube_model::limits::{PAGE_JOBS_DEFAULT, PAGE_JOBS_MAX};

use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table, clean};

/// Characters of a commit that are shown: as many as forges show.
const COMMIT_CHARS: usize = 10;

pub(super) fn command() -> Command {
    Command::new("forge")
        .about("See which statuses of commits forges weren't told, and tell them again")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(statuses_command())
        .subcommand(
            Command::new("replay")
                .about("Tell a forge again, at once, how a job stands")
                .arg(
                    Arg::new("id")
                        .value_name("JOB")
                        .required(true)
                        .help("The job: its id, or the short one"),
                )
                .args(args()),
        )
}

fn statuses_command() -> Command {
    let limit_max = u64::try_from(PAGE_JOBS_MAX).expect("a few thousand");
    Command::new("statuses")
        .about(
            "List statuses of commits that their forge doesn't know, that of the newest job first",
        )
        .arg(
            Arg::new("status")
                .long("status")
                .value_name("STATUS")
                .value_parser(PossibleValuesParser::new(["pending", "failed"]))
                .help("Only those that are to be told (pending), or that were given up (failed)"),
        )
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("NUMBER")
                .value_parser(value_parser!(u64).range(1..=limit_max))
                .help(format!("At most so many [default: {PAGE_JOBS_DEFAULT}]")),
        )
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let (verb, matches) = matches.subcommand().expect("clap requires one");
    let client = connect(matches, true)?;
    match verb {
        "statuses" => statuses(&client, matches, screen)?,
        _ => {
            let id = matches.get_one::<String>("id").expect("clap requires it");
            replay(&client, id, screen)?;
        }
    }
    Ok(Exit::Ok.into())
}

fn statuses(client: &Client, matches: &ArgMatches, screen: &Screen) -> Result<(), Failure> {
    let limit = matches.get_one::<u64>("limit").map(u64::to_string);
    let status = matches.get_one::<String>("status").map(String::as_str);
    let list = client
        .forge_statuses(&[("status", status), ("limit", limit.as_deref())])
        .map_err(|error| Failure::call("list statuses of commits", &error))?;
    if screen.is_json() {
        return screen.json(&list);
    }
    if list.statuses.is_empty() {
        screen.note("the forges know how all jobs stand");
        return Ok(());
    }
    let mut table = Table::new(
        &[
            "JOB", "PIPELINE", "FORGE", "COMMIT", "STATUS", "ATTEMPTS", "NEXT", "ERROR",
        ],
        &[7],
    );
    for it in &list.statuses {
        table.row(row(it));
    }
    screen.print(&table.render(screen, true))
}

fn row(it: &ForgeStatus) -> Vec<Cell> {
    let next = it.next_attempt_at.map(|it| it.to_string());
    let commit: String = it.commit.chars().take(COMMIT_CHARS).collect();
    vec![
        Cell::new(&it.job_id),
        Cell::new(&clean(&it.pipeline)),
        Cell::new(&clean(&it.name)),
        Cell::new(&clean(&commit)),
        Cell::new(&clean(&it.status)),
        Cell::new(&it.attempts.to_string()),
        Cell::new(&next.unwrap_or_default()),
        Cell::new(&clean(it.error.as_deref().unwrap_or_default())),
    ]
}

fn replay(client: &Client, id: &str, screen: &Screen) -> Result<(), Failure> {
    let it = client
        .replay_forge_status(id)
        .map_err(|error| Failure::call(&format!("tell the forge of job {id} again"), &error))?;
    if screen.is_json() {
        return screen.json(&it);
    }
    let name = clean(&it.name);
    screen.print(&format!(
        "{name} is told now; `danube forge statuses` shows it as long as it isn't\n"
    ))
}

//! `danube webhooks list|show|replay|secret`: what was told of ended jobs, and to whom.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, value_parser};
use danube_api::client::Client;
use danube_api::{DeliveryAttempt, DeliveryView};
use danube_model::limits::{PAGE_JOBS_DEFAULT, PAGE_JOBS_MAX};

use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table, clean};

pub(super) fn command() -> Command {
    let id = || {
        Arg::new("id")
            .value_name("JOB")
            .required(true)
            .help("The job: its id, or the short one; or the id of its webhook")
    };
    Command::new("webhooks")
        .about("See what was told of ended jobs, and send it again")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(list_command())
        .subcommand(
            Command::new("show")
                .about("Show the webhook of a job and every attempt to deliver it")
                .arg(id())
                .args(args()),
        )
        .subcommand(
            Command::new("replay")
                .about("Send the webhook of a job again, at once")
                .arg(id())
                .args(args()),
        )
        .subcommand(
            Command::new("secret")
                .about("Print the secret that signs the webhooks of your key's jobs, this once")
                .after_help(
                    "The first time it prints the secret that there is. After that it makes another; \
                     each one that is replaced signs for 24 hours more, four of them at most.",
                )
                .args(args()),
        )
}

fn list_command() -> Command {
    let limit_max = u64::try_from(PAGE_JOBS_MAX).expect("a few thousand");
    Command::new("list")
        .about("List webhooks, that of the newest job first")
        .arg(
            Arg::new("status")
                .long("status")
                .value_name("STATUS")
                .value_parser(PossibleValuesParser::new([
                    "pending",
                    "delivered",
                    "failed",
                ]))
                .help("Only webhooks with this status"),
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
    let id = || matches.get_one::<String>("id").expect("clap requires it");
    match verb {
        "list" => list(&client, matches, screen)?,
        "show" => show(&client, id(), screen)?,
        "replay" => replay(&client, id(), screen)?,
        _ => secret(&client, screen)?,
    }
    Ok(Exit::Ok.into())
}

fn list(client: &Client, matches: &ArgMatches, screen: &Screen) -> Result<(), Failure> {
    let limit = matches.get_one::<u64>("limit").map(u64::to_string);
    let query = [
        (
            "status",
            matches.get_one::<String>("status").map(String::as_str),
        ),
        ("limit", limit.as_deref()),
    ];
    let list = client
        .webhooks(&query)
        .map_err(|error| Failure::call("list webhooks", &error))?;
    if screen.is_json() {
        return screen.json(&list);
    }
    if list.deliveries.is_empty() {
        screen.note("no webhooks");
        return Ok(());
    }
    let mut table = Table::new(
        &["JOB", "STATUS", "ATTEMPTS", "ENDED", "NEXT", "ADDRESS"],
        &[5],
    );
    for it in &list.deliveries {
        table.row(row(it));
    }
    screen.print(&table.render(screen, true))
}

fn row(it: &DeliveryView) -> Vec<Cell> {
    let next = it.next_attempt_at.map(|it| it.to_string());
    vec![
        Cell::new(&it.job_id),
        Cell::new(&it.status),
        Cell::new(&it.attempts.to_string()),
        Cell::new(&it.created_at.to_string()),
        Cell::new(&next.unwrap_or_default()),
        Cell::new(&it.callback_url),
    ]
}

fn show(client: &Client, id: &str, screen: &Screen) -> Result<(), Failure> {
    let it = client
        .webhook(id)
        .map_err(|error| Failure::call(&format!("show the webhook of job {id}"), &error))?;
    if screen.is_json() {
        return screen.json(&it);
    }
    let next = it.next_attempt_at.map(|it| format!(", next at {it}"));
    screen.print(&format!(
        "webhook {}\njob     {}\naddress {}\nstatus  {}{}\n",
        clean(&it.id),
        clean(&it.job_id),
        clean(&it.callback_url),
        clean(&it.status),
        next.unwrap_or_default(),
    ))?;
    let attempts = it.log.unwrap_or_default();
    if attempts.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["ATTEMPT", "AT", "MS", "STATUS", "ERROR"], &[4]);
    for attempt in &attempts {
        table.row(attempt_row(attempt));
    }
    screen.print(&format!("\n{}", table.render(screen, true)))
}

fn attempt_row(it: &DeliveryAttempt) -> Vec<Cell> {
    let status = it.status_code.map(|it| it.to_string());
    vec![
        Cell::new(&it.number.to_string()),
        Cell::new(&it.at.to_string()),
        Cell::new(&it.duration_ms.to_string()),
        Cell::new(&status.unwrap_or_default()),
        Cell::new(it.error.as_deref().unwrap_or_default()),
    ]
}

fn replay(client: &Client, id: &str, screen: &Screen) -> Result<(), Failure> {
    let it = client
        .replay_webhook(id)
        .map_err(|error| Failure::call(&format!("send the webhook of job {id} again"), &error))?;
    if screen.is_json() {
        return screen.json(&it);
    }
    let job = clean(&it.job_id);
    screen.print(&format!(
        "it is sent now; `danube webhooks show {job}` shows how that went\n"
    ))
}

fn secret(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let it = client
        .webhook_secret()
        .map_err(|error| Failure::call("show the signing secret", &error))?;
    if screen.is_json() {
        return screen.json(&it);
    }
    // The secret alone on standard output, for `> file`.
    screen.print(&format!("{}\n", clean(&it.secret)))?;
    screen.note("this is the only time that this secret is shown");
    if let Some(until) = it.previous_valid_until {
        screen.note(&format!("the one before signs too until {until}"));
    }
    Ok(())
}

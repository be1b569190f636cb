//! `danube worker`: a worker for a master on another machine; `create|list|revoke` ask
//! the master.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use danube_api::NewWorker;
use danube_api::client::Client;

use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table, clean};
use crate::worker::{self, WorkerArgs};

pub(super) fn command() -> Command {
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    Command::new("worker")
        .about("Run jobs of a master on another machine")
        .after_help(
            "Make a token with `danube worker create NAME` first. What a step gets and may use, and what is \
             taken out of logs, are the settings of this machine: /etc/danube/danube.toml and variables.",
        )
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .disable_help_subcommand(true)
        .arg(
            Arg::new("server")
                .long("server")
                .value_name("URL")
                .required(true)
                .help("The master: https://host[:port], or http:// on this machine"),
        )
        .arg(file("token-file", "File with the worker's token").required(true))
        .arg(file("ca-file", "Certificates (PEM) to trust beside the system's"))
        .arg(
            Arg::new("jobs")
                .long("jobs")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..=4_096))
                .help("Jobs at once [default: queue.jobs_at_once, twice the number of processors]"),
        )
        .arg(
            Arg::new("queues")
                .long("queues")
                .value_name("NAME,…")
                .value_delimiter(',')
                .action(ArgAction::Append)
                .help("Take jobs of these queues alone [default: all]"),
        )
        .arg(
            Arg::new("data-dir")
                .long("data-dir")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("The worker's own directory [default: `worker` in the usual data directory]"),
        )
        .arg(
            Arg::new("insecure-http")
                .long("insecure-http")
                .action(ArgAction::SetTrue)
                .help("Allow http:// to another machine, although jobs and secrets then travel in clear"),
        )
        .subcommands(keepers())
}

/// Commands that ask the master about its workers.
fn keepers() -> [Command; 3] {
    let name = |help: &'static str| {
        Arg::new("name")
            .value_name("NAME")
            .required(true)
            .help(help)
    };
    [
        Command::new("create")
            .about("Make a worker and print its token, this once")
            .arg(name("Its name, shown wherever the worker did something"))
            .args(args()),
        Command::new("list")
            .about("List the workers; their tokens are not kept")
            .args(args()),
        Command::new("revoke")
            .about("Make a worker's token worthless, at once")
            .arg(name("Its name"))
            .args(args()),
    ]
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let Some((verb, matches)) = matches.subcommand() else {
        let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
        return worker::work(&WorkerArgs {
            server: matches
                .get_one::<String>("server")
                .cloned()
                .expect("clap requires it"),
            token_file: path("token-file").expect("clap requires it"),
            ca_file: path("ca-file"),
            jobs: matches.get_one::<u64>("jobs").copied(),
            queues: matches
                .get_many::<String>("queues")
                .map(|it| it.cloned().collect()),
            data_dir: path("data-dir"),
            insecure_http: matches.get_flag("insecure-http"),
        });
    };
    let client = connect(matches, true)?;
    let name = || {
        matches
            .get_one::<String>("name")
            .expect("clap requires it")
            .as_str()
    };
    match verb {
        "create" => create(&client, name(), screen)?,
        "revoke" => {
            let worker = client.revoke_worker(name()).map_err(|error| {
                Failure::call(&format!("revoke worker {}", clean(name())), &error)
            })?;
            if screen.is_json() {
                screen.json(&worker)?;
            } else {
                screen.print(&format!("worker {} is revoked\n", clean(&worker.name)))?;
            }
        }
        _ => list(&client, screen)?,
    }
    Ok(Exit::Ok.into())
}

fn create(client: &Client, name: &str, screen: &Screen) -> Result<(), Failure> {
    let new = NewWorker {
        name: name.to_owned(),
    };
    let made = client
        .create_worker(&new)
        .map_err(|error| Failure::call("make a worker", &error))?;
    if screen.is_json() {
        return screen.json(&made);
    }
    // The token alone on standard output, for `> file`.
    screen.print(&format!("{}\n", clean(&made.token)))?;
    screen.note(&format!(
        "this is the only time that the token of {} is shown",
        clean(&made.about.name)
    ));
    Ok(())
}

fn list(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let list = client
        .workers()
        .map_err(|error| Failure::call("list workers", &error))?;
    if screen.is_json() {
        return screen.json(&list);
    }
    let mut table = Table::new(
        &[
            "NAME",
            "CONNECTED",
            "JOBS",
            "PREFIX",
            "CREATED",
            "REVOKED",
            "LAST SEEN",
        ],
        &[0],
    );
    for worker in &list.workers {
        let time = |it: Option<danube_model::Timestamp>| it.map(|it| it.to_string());
        table.row(vec![
            Cell::new(&worker.name),
            Cell::new(if worker.is_connected { "yes" } else { "no" }),
            Cell::new(&worker.jobs.to_string()),
            Cell::new(&worker.prefix),
            Cell::new(&worker.created_at.to_string()),
            Cell::new(&time(worker.revoked_at).unwrap_or_default()),
            Cell::new(&time(worker.last_seen_at).unwrap_or_default()),
        ]);
    }
    screen.print(&table.render(screen, true))
}

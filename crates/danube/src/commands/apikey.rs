//! `danube apikey create|list|revoke`

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use danube_api::client::Client;
use danube_api::{KeyView, NewKey};

use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table, clean};

pub(super) fn command() -> Command {
    let name = |help: &'static str| {
        Arg::new("name")
            .value_name("NAME")
            .required(true)
            .help(help)
    };
    Command::new("apikey")
        .about("Make, list and revoke API keys")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("create")
                .about("Make a key and print it, this once")
                .arg(name("Its name, shown wherever the key did something"))
                .arg(
                    Arg::new("role")
                        .long("role")
                        .value_name("ROLE")
                        .required(true)
                        .value_parser(PossibleValuesParser::new(["viewer", "member", "admin"]))
                        .help(
                            "viewer reads, member submits and cancels too, admin does everything",
                        ),
                )
                .args(args()),
        )
        .subcommand(
            Command::new("list")
                .about("List the keys; the keys themselves are not kept")
                .args(args()),
        )
        .subcommand(
            Command::new("revoke")
                .about("Make a key worthless, at once")
                .arg(name("Its name or id"))
                .args(args()),
        )
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let (verb, matches) = matches.subcommand().expect("clap requires one");
    let client = connect(matches, true)?;
    let name = || {
        matches
            .get_one::<String>("name")
            .expect("clap requires it")
            .as_str()
    };
    match verb {
        "create" => create(&client, name(), matches, screen)?,
        "revoke" => {
            let key = client.revoke_key(name());
            let key =
                key.map_err(|error| Failure::call(&format!("revoke key {}", name()), &error))?;
            if screen.is_json() {
                screen.json(&key)?;
            } else {
                screen.print(&format!("key {} is revoked\n", clean(&key.name)))?;
            }
        }
        _ => list(&client, screen)?,
    }
    Ok(Exit::Ok.into())
}

fn create(
    client: &Client,
    name: &str,
    matches: &ArgMatches,
    screen: &Screen,
) -> Result<(), Failure> {
    let role = matches.get_one::<String>("role").expect("clap requires it");
    let new = NewKey {
        name: name.to_owned(),
        role: role.clone(),
    };
    let made = client
        .create_key(&new)
        .map_err(|error| Failure::call("make a key", &error))?;
    if screen.is_json() {
        return screen.json(&made);
    }
    // The key alone on standard output, for `> file`.
    screen.print(&format!("{}\n", clean(&made.key)))?;
    screen.note(&format!(
        "this is the only time that the key of {} ({}) is shown",
        clean(&made.about.name),
        clean(&made.about.role)
    ));
    Ok(())
}

fn list(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let list = client
        .keys()
        .map_err(|error| Failure::call("list keys", &error))?;
    if screen.is_json() {
        return screen.json(&list);
    }
    let mut table = Table::new(
        &["NAME", "ROLE", "PREFIX", "CREATED", "REVOKED", "ID"],
        &[0],
    );
    for key in &list.keys {
        table.row(row(key));
    }
    screen.print(&table.render(screen, true))
}

fn row(key: &KeyView) -> Vec<Cell> {
    vec![
        Cell::new(&key.name),
        Cell::new(&key.role),
        Cell::new(&key.prefix),
        Cell::new(&key.created_at.to_string()),
        Cell::new(&key.revoked_at.map(|it| it.to_string()).unwrap_or_default()),
        Cell::new(&key.id),
    ]
}

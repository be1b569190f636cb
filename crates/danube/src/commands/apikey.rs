//! `danube apikey create|list|revoke`

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use danube_api::client::Client;
use danube_api::{KeyView, NewKey};
use danube_model::Timestamp;

use super::log_level::seconds;
use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table, clean};

/// The end of the year 9999, the last that RFC 3339 can write.
const LATEST_MILLIS: i64 = 253_402_300_799_999;

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
                .arg(
                    Arg::new("expires")
                        .long("expires")
                        .value_name("TIME")
                        .value_parser(seconds)
                        .help("How long it is good: 12h, 30d; for ever when left out"),
                )
                .arg(
                    Arg::new("pipeline")
                        .long("pipeline")
                        .value_name("PATTERN")
                        .action(ArgAction::Append)
                        .help(
                            "A pipeline that it reaches, `web-*` for several; may be repeated. \
                             Nothing else is there for such a key",
                        ),
                )
                .arg(Arg::new("account").long("account").value_name("NAME").help(
                    "The service account in whose name it acts; it is the same with the \
                             next key",
                ))
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
        expires_at: matches.get_one("expires").map(|&it| from_now(it)),
        account: matches.get_one::<String>("account").cloned(),
        pipelines: matches
            .get_many::<String>("pipeline")
            .map(|all| all.cloned().collect()),
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
    if let Some(at) = made.about.expires_at {
        screen.note(&format!("it is good until {at}"));
    }
    Ok(())
}

/// The time so many seconds from now, as far as there is one.
fn from_now(seconds: u64) -> Timestamp {
    let later = i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let now = Timestamp::now().as_millis();
    Timestamp::from_millis(now.saturating_add(later).min(LATEST_MILLIS))
}

fn list(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let list = client
        .keys()
        .map_err(|error| Failure::call("list keys", &error))?;
    if screen.is_json() {
        return screen.json(&list);
    }
    let mut table = Table::new(
        &[
            "NAME",
            "ACCOUNT",
            "ROLE",
            "PIPELINES",
            "PREFIX",
            "CREATED",
            "STATE",
            "ID",
        ],
        &[0],
    );
    for key in &list.keys {
        table.row(row(key));
    }
    screen.print(&table.render(screen, true))
}

fn state(key: &KeyView) -> String {
    match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) if key.is_expired => format!("expired {at}"),
        (None, Some(at)) => format!("until {at}"),
        (None, None) => "good".to_owned(),
    }
}

fn row(key: &KeyView) -> Vec<Cell> {
    vec![
        Cell::new(&key.name),
        Cell::new(key.account.as_deref().unwrap_or_default()),
        Cell::new(&key.role),
        Cell::new(
            &key.pipelines
                .as_ref()
                .map_or_else(|| "all".to_owned(), |it| it.join(", ")),
        ),
        Cell::new(&key.prefix),
        Cell::new(&key.created_at.to_string()),
        Cell::new(&state(key)),
        Cell::new(&key.id),
    ]
}

//! `danube registry list`: what lies in the registry.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use danube_api::{ImageView, RegistryView};

use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table, clean};

/// Images of one answer, as the server has it.
const LIMIT_MAX: i64 = 10_000;

/// Characters of a digest that are shown: algorithm and twelve digits.
const DIGEST_CHARS: usize = 19;

pub(super) fn command() -> Command {
    Command::new("registry")
        .about("Show what lies in the Docker registry")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("list")
                .about(
                    "List its images as the server saw them last: size, last use, and when they go",
                )
                .arg(
                    Arg::new("repository")
                        .long("repository")
                        .value_name("NAME")
                        .help("Those of this repository alone, such as team/app"),
                )
                .arg(
                    Arg::new("limit")
                        .long("limit")
                        .value_name("NUMBER")
                        .value_parser(value_parser!(u32).range(1..=LIMIT_MAX))
                        .help("Images at most, 1 to 10000 [default: 1000]"),
                )
                .args(args()),
        )
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let (_, matches) = matches.subcommand().expect("clap requires it");
    let client = connect(matches, true)?;
    let repository = matches.get_one::<String>("repository").map(String::as_str);
    let view = client
        .registry_images(repository, matches.get_one::<u32>("limit").copied())
        .map_err(|error| Failure::call("list images", &error))?;
    if screen.is_json() {
        screen.json(&view)?;
        return Ok(Exit::Ok.into());
    }
    if let Some(why) = &view.error {
        screen.note(&format!(
            "the last look at the registry went wrong: {}",
            clean(why)
        ));
    }
    if view.looked_at.is_none() {
        screen.print(unseen(&view))?;
        return Ok(Exit::Ok.into());
    }
    screen.print(&table(&view.images).render(screen, true))?;
    let hidden = view.count.saturating_sub(view.images.len() as u64);
    if hidden > 0 {
        screen.print(&format!(
            "and {hidden} more; see --limit and --repository\n"
        ))?;
    }
    Ok(Exit::Ok.into())
}

fn unseen(view: &RegistryView) -> &'static str {
    match view.url {
        None => "no registry is configured; see registry.url\n",
        Some(_) => "the registry wasn't seen yet\n",
    }
}

fn table(images: &[ImageView]) -> Table {
    let heads = [
        "REPOSITORY",
        "TAGS",
        "DIGEST",
        "BYTES",
        "LAST USED",
        "EXPIRES",
    ];
    let mut table = Table::new(&heads, &[0, 1]);
    for one in images {
        let digest: String = one.digest.chars().take(DIGEST_CHARS).collect();
        let expires = one.expires_at.map(|it| it.to_string());
        table.row(vec![
            Cell::new(&one.repository),
            Cell::new(&one.tags.join(",")),
            Cell::new(&digest),
            Cell::new(&one.bytes.to_string()),
            Cell::new(&one.last_used_at.to_string()),
            Cell::new(expires.as_deref().unwrap_or("never")),
        ]);
    }
    table
}

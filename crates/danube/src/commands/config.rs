//! `danube config show|default`: what a server would start with here, or runs with.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::client::{args, connect};
use crate::config::{self, Sources};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::Screen;

pub(super) fn command() -> Command {
    Command::new("config")
        .about("Show the settings of the server, and who said them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("show")
                .about("Print the settings that `danube master` would start with here")
                .after_help(
                    "Here means: with this environment, this \
                     file and these flags. What it prints can be used as a file. A blueprint makes \
                     some settings while a server runs: --server shows those of a running one.",
                )
                .arg(
                    Arg::new("origin")
                        .long("origin")
                        .action(ArgAction::SetTrue)
                        .help("Say where each one comes from"),
                )
                .arg(
                    Arg::new("server")
                        .long("server")
                        .value_name("URL")
                        .num_args(0..=1)
                        .help(
                            "Show what a running server uses, and who said it: the one at URL, in DANUBE_SERVER, or on \
                             this machine",
                        ),
                )
                .args(args().into_iter().filter(|it| it.get_id() == "key-file"))
                .args(config::flags().into_iter().map(|it| {
                    // A server that runs had its flags; its data directory says where it is.
                    match it.get_id() == "server.data_dir" {
                        true => it,
                        false => it.conflicts_with("server"),
                    }
                })),
        )
        .subcommand(
            Command::new("default")
                .about("Print a settings file with every option and its default"),
        )
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let Some(("show", matches)) = matches.subcommand() else {
        screen.print(&config::as_default_file())?;
        return Ok(Exit::Ok.into());
    };
    if matches.contains_id("server") {
        return running(matches, screen);
    }
    let (_, resolved) = config::load_with_origins(&Sources::with_flags(matches))?;
    if screen.is_json() {
        screen.json(&config::as_view(&resolved))?;
    } else {
        screen.print(&config::as_text(
            &resolved,
            matches.get_flag("origin"),
            screen,
        ))?;
    }
    Ok(Exit::Ok.into())
}

fn running(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let view = connect(matches, true)?
        .config()
        .map_err(|error| Failure::call("show the settings", &error))?;
    if screen.is_json() {
        screen.json(&view)?;
    } else {
        screen.print(&config::running_as_text(&view, screen))?;
    }
    Ok(Exit::Ok.into())
}

//! `danube config show|default`

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

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
                     file and these flags. What it prints can be used as a file.",
                )
                .arg(
                    Arg::new("origin")
                        .long("origin")
                        .action(ArgAction::SetTrue)
                        .help("Say where each one comes from"),
                )
                .args(config::flags()),
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
    let (_, resolved) = config::load_with_origins(&Sources::with_flags(matches))?;
    if screen.is_json() {
        screen.json(&config::as_json(&resolved))?;
    } else {
        screen.print(&config::as_text(
            &resolved,
            matches.get_flag("origin"),
            screen,
        ))?;
    }
    Ok(Exit::Ok.into())
}

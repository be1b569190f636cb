//! `danube master`: its flags are the table of options.

use clap::{Arg, ArgAction, Command};

use crate::config;

pub(super) fn command() -> Command {
    Command::new("master")
        .about("Start the server")
        .after_help(
            "Without any settings it listens on loopback, makes its data directory and an admin key, and \
             runs jobs. docs/configuration.md tells of every option.",
        )
        .args(config::flags())
        .arg(
            Arg::new("demo")
                .long("demo")
                .action(ArgAction::SetTrue)
                .help("Make a repository with an example pipeline and run it"),
        )
}

//! `danube completions SHELL`

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::{Shell, generate};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::Screen;

pub(super) fn command() -> Command {
    Command::new("completions")
        .about("Print a script that completes the command line")
        .after_help(
            "For bash:\n\n  \
             danube completions bash > ~/.local/share/bash-completion/completions/danube",
        )
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(value_parser!(Shell)),
        )
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let shell = *matches.get_one::<Shell>("shell").expect("clap requires it");
    // Into memory first: a reader who leaves must not end in a panic.
    let mut script = Vec::new();
    generate(shell, &mut crate::cli::command(), "danube", &mut script);
    screen.bytes(&script)?;
    Ok(Exit::Ok.into())
}

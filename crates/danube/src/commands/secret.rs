//! `danube secret get|mask|set|list|delete`: values that pipelines use and logs don't show.

mod get;
mod manage;
mod mask;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::failure::Failure;
use crate::terminal::Screen;

pub(super) fn command() -> Command {
    Command::new("secret")
        .about("Keep secrets for pipelines, and values out of a job's log")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommands(manage::commands())
        .subcommand(get::command())
        .subcommand(mask::command())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let (verb, matches) = matches.subcommand().expect("clap requires one");
    match verb {
        "get" => get::perform(matches, screen),
        "mask" => mask::perform(matches, screen),
        _ => manage::perform(verb, matches, screen),
    }
}

//! `danube playbook run|submit`: Ansible playbooks, right here or on a server.

mod asked;
mod file;
mod ini;
mod inventory;
mod run;
mod secrets;
mod source;
mod submit;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::failure::Failure;
use crate::terminal::Screen;

pub(super) fn command() -> Command {
    Command::new("playbook")
        .about("Run Ansible playbooks, here or on a server")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(run::command())
        .subcommand(submit::command())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    match matches.subcommand().expect("clap requires one") {
        ("submit", matches) => submit::perform(matches, screen),
        (_, matches) => run::perform(matches, screen),
    }
}

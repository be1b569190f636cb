//! `danube retry ID`: runs an ended job again, as a new one.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::job::{id, id_arg};
use super::{follow, submit};
use crate::client::{LogAsked, args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Screen, clean};

pub(super) fn command() -> Command {
    Command::new("retry")
        .about("Run an ended job again, as a new one")
        .arg(id_arg())
        .args(follow::args())
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    let id = id(matches);
    let job = client.retry(id);
    let job = job.map_err(|error| Failure::call(&format!("retry job {id}"), &error))?;
    if !matches.get_flag("follow") {
        submit::print_id(&job, screen)?;
        return Ok(Exit::Ok.into());
    }
    screen.note(&format!("submitted job {}", clean(&job.short_id)));
    let asked = LogAsked {
        id: job.id,
        follow: true,
        ..LogAsked::default()
    };
    follow::follow(&client, asked, matches, screen, true)
}

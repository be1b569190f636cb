//! `danube approve ID`: runs an ended job of a fork's commit again, with secrets.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::job::{id, id_arg};
use super::{follow, submit};
use crate::client::{LogAsked, args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Screen, clean};

pub(super) fn command() -> Command {
    Command::new("approve")
        .about("Run an ended job of a fork's commit again, with the secrets of its pipeline")
        .after_help(
            "Look at the commit first: `danube job ID` shows which it is. It is run again as it is, whatever the fork has \
             become since; a later commit of the fork has to be approved anew.",
        )
        .arg(id_arg())
        .args(follow::args())
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    let id = id(matches);
    let job = client.approve(id);
    let job = job.map_err(|error| Failure::call(&format!("approve job {id}"), &error))?;
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

//! `danube cancel ID`: stops a job.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use danube_api::JobView;

use super::job::{id, id_arg};
use crate::client::{args, connect, wait_for_end};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt;
use crate::terminal::{Screen, clean};

/// How long to wait for the end: far longer than any grace that one would give
/// a job between TERM and KILL.
const WAIT_MAX: Duration = Duration::from_secs(600);

pub(super) fn command() -> Command {
    Command::new("cancel")
        .about("Stop a job")
        .arg(id_arg())
        .arg(
            Arg::new("wait")
                .long("wait")
                .action(ArgAction::SetTrue)
                .help("Wait until it has ended"),
        )
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    let id = id(matches);
    let asked = client.cancel(id);
    let asked = asked.map_err(|error| Failure::call(&format!("cancel job {id}"), &error))?;
    if !matches.get_flag("wait") {
        return told(&asked, screen);
    }
    let shown = clean(id);
    interrupt::says(
        screen,
        format!("interrupted; job {shown} is being stopped all the same"),
        format!("`danube job {shown}` shows its state"),
    )?;
    let job = wait_for_end(&client, &asked.id, WAIT_MAX, screen)?;
    let exit = told(&job, screen)?;
    if job.status == "cancelled" {
        return Ok(exit);
    }
    let message = format!("cancel job {id}: it ended before that, with {}", job.status);
    Err(Failure::new(Exit::Conflict, "wrong_state", message))
}

fn told(job: &JobView, screen: &Screen) -> Result<ExitCode, Failure> {
    if screen.is_json() {
        screen.json(job)?;
    } else {
        let state = if job.cancel_requested {
            "is being stopped".to_owned()
        } else {
            format!("ended: {}", clean(&job.status))
        };
        screen.print(&format!("job {} {state}\n", clean(&job.short_id)))?;
    }
    Ok(Exit::Ok.into())
}

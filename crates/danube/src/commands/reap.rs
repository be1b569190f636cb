//! `danube reap`: deletes now what is kept no longer.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::Screen;

pub(super) fn command() -> Command {
    Command::new("reap")
        .about("Delete now what the settings under `retention` don't keep, which happens at 03:00 UTC by itself")
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Only say how many logs, artifacts and images would go"),
        )
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    let reaped = client.reap(matches.get_flag("dry-run"));
    let it = reaped.map_err(|error| Failure::call("delete what is kept no longer", &error))?;
    if screen.is_json() {
        screen.json(&it)?;
        return Ok(Exit::Ok.into());
    }
    let done = if it.dry_run { "would be" } else { "were" };
    screen.print(&format!(
        "{} logs, {} traces, {} workspaces, {} artifacts and {} images {done} deleted, {} bytes freed\n",
        it.logs_deleted,
        it.traces_deleted,
        it.workspaces_deleted,
        it.artifacts_deleted,
        it.images_deleted,
        it.bytes_freed
    ))?;
    Ok(Exit::Ok.into())
}

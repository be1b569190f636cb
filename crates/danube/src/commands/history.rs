//! `danube history ID`: what happened to a job, and why.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::job::{id, id_arg};
use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table};

pub(super) fn command() -> Command {
    Command::new("history")
        .about("Show what happened to a job, and why")
        .arg(id_arg())
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    let id = id(matches);
    let history = client.history(id);
    let history =
        history.map_err(|error| Failure::call(&format!("read the history of job {id}"), &error))?;
    if screen.is_json() {
        screen.json(&history)?;
        return Ok(Exit::Ok.into());
    }
    let mut table = Table::new(
        &["TIME", "FROM", "TO", "CAUSE", "ATTEMPT", "BY", "DETAIL"],
        &[6, 5],
    );
    for it in &history.transitions {
        table.row(vec![
            Cell::new(&it.at.to_string()),
            Cell::new(it.from.as_deref().unwrap_or_default()),
            Cell::status(&it.to),
            Cell::new(&it.cause),
            Cell::new(&it.attempt.to_string()),
            Cell::new(&it.by),
            Cell::new(it.detail.as_deref().unwrap_or_default()),
        ]);
    }
    screen.print(&table.render(screen, true))?;
    Ok(Exit::Ok.into())
}

//! `danube alerts`: what fires, or is about to.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table};

pub(super) fn command() -> Command {
    Command::new("alerts")
        .about("Show the alerts that fire or are about to")
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    let list = client.alerts();
    let list = list.map_err(|error| Failure::call("list the alerts", &error))?;
    if screen.is_json() {
        screen.json(&list)?;
        return Ok(Exit::Ok.into());
    }
    if list.alerts.is_empty() {
        screen.print("no alert fires\n")?;
        return Ok(Exit::Ok.into());
    }
    let mut table = Table::new(
        &[
            "STATE", "SEVERITY", "ALERT", "SINCE", "VALUE", "SUMMARY", "LABELS",
        ],
        &[5, 6],
    );
    for it in &list.alerts {
        let labels: Vec<String> = it
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let value = it.value.map(|it| it.to_string());
        table.row(vec![
            Cell::new(&it.state),
            Cell::new(&it.severity),
            Cell::new(&it.name),
            Cell::new(&it.since),
            Cell::new(value.as_deref().unwrap_or_default()),
            Cell::new(&it.summary),
            Cell::new(&labels.join(",")),
        ]);
    }
    screen.print(&table.render(screen, true))?;
    Ok(Exit::Ok.into())
}

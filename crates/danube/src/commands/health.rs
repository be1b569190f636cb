//! `danube health`: whether the server is ready, and what is missing.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use serde_json::Value;

use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Colour, Screen, Table, clean};

/// Answers 200 when the server is ready and 503 when it isn't.
const PATH: &str = "/health/ready";

pub(super) fn command() -> Command {
    Command::new("health")
        .about("Ask the server whether it is ready, and what is missing")
        .after_help("Exits 1 when it isn't ready.")
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    // A probe needs no key; one that we have may show more.
    let client = connect(matches, false)?;
    let answer = client.raw(PATH);
    let (status, body) = answer.map_err(|error| Failure::call("ask for health", &error))?;
    let said = body.get("status").and_then(Value::as_str);
    let Some(said) = said.filter(|_| status == 200 || status == 503) else {
        let message = format!(
            "ask for health: {} answers with status {status}",
            client.server()
        );
        return Err(Failure::new(Exit::Failed, "answer", message).hint("is this a Danube server?"));
    };
    if screen.is_json() {
        screen.json(&body)?;
    } else {
        let word = screen.paint(Colour::of_status(said), &clean(said));
        screen.print(&format!("{} is {word}\n", client.server()))?;
        screen.print(&checks(&body).render(screen, false))?;
    }
    Ok(if status == 200 {
        Exit::Ok
    } else {
        Exit::Failed
    }
    .into())
}

fn checks(body: &Value) -> Table {
    let mut table = Table::new(&["CHECK", "STATUS", "DETAIL"], &[2]);
    for (name, check) in body
        .get("checks")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        // A word, or an object with more.
        let text = |field: &str| check.get(field).and_then(Value::as_str).unwrap_or_default();
        let status = check.as_str().unwrap_or_else(|| text("status"));
        let detail = [text("detail"), text("error"), text("message")];
        let detail = detail
            .into_iter()
            .find(|it| !it.is_empty())
            .unwrap_or_default();
        table.row(vec![
            Cell::new(name),
            Cell::status(status),
            Cell::new(detail),
        ]);
    }
    table
}

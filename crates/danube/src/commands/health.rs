//! `danube health`: whether the server is ready, what is missing, and what was tried.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use danube_api::client::Client;
use danube_api::{CheckView, HEALTH_PATH, HealthReport};
use serde_json::Value;

use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Colour, Screen, Table, clean};

/// Answers 200 when the server is ready and 503 when it isn't, whoever asks.
const PROBE: &str = "/health/ready";

pub(super) fn command() -> Command {
    Command::new("health")
        .about("Ask the server whether it is ready, what is missing and what was tried")
        .after_help("Exits 1 when it isn't ready. Without a key it says less.")
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    if let Ok(client) = connect(matches, true)
        && let Ok((200, body)) = client.raw(HEALTH_PATH)
        && let Ok(report) = serde_json::from_value::<HealthReport>(body)
    {
        return show(&client, &report, screen);
    }
    probe(&connect(matches, false)?, screen)
}

fn show(client: &Client, report: &HealthReport, screen: &Screen) -> Result<ExitCode, Failure> {
    if screen.is_json() {
        screen.json(report)?;
    } else {
        say(client, &report.status, screen)?;
        screen.print(&table(&report.checks).render(screen, true))?;
    }
    Ok(exit(report.status == "ready"))
}

fn say(client: &Client, status: &str, screen: &Screen) -> Result<(), Failure> {
    let word = screen.paint(Colour::of_status(status), &clean(status));
    screen.print(&format!("{} is {word}\n", client.server()))
}

fn exit(is_ready: bool) -> ExitCode {
    if is_ready { Exit::Ok } else { Exit::Failed }.into()
}

fn table(checks: &[CheckView]) -> Table {
    let header = [
        "CHECK", "STATUS", "AGE", "TOOK", "FAILURES", "MESSAGE", "HEALING",
    ];
    let mut table = Table::new(&header, &[5, 6]);
    for it in checks {
        let age = it.age_seconds.map(|it| format!("{it:.0} s"));
        let took = it.duration_seconds.map(|it| format!("{:.0} ms", it * 1e3));
        table.row(vec![
            Cell::new(&it.name),
            Cell::status(&it.status),
            Cell::new(age.as_deref().unwrap_or_default()),
            Cell::new(took.as_deref().unwrap_or_default()),
            Cell::new(&it.consecutive_failures.to_string()),
            Cell::new(&it.message),
            Cell::new(&healing(it)),
        ]);
    }
    table
}

/// What was tried last; nothing while nothing had to be.
fn healing(check: &CheckView) -> String {
    let Some(heal) = &check.healing else {
        return String::new();
    };
    match (&heal.last_result, &heal.last_detail) {
        (Some(result), detail) => {
            let detail = detail.as_deref().unwrap_or_default();
            format!("{}: {result}: {detail}", heal.action)
        }
        (None, _) if heal.hands_off => format!("{}: hands off", heal.action),
        (None, _) => String::new(),
    }
}

/// Without a key: what a probe sees.
fn probe(client: &Client, screen: &Screen) -> Result<ExitCode, Failure> {
    let answer = client.raw(PROBE);
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
        say(client, said, screen)?;
        screen.print(&words(&body).render(screen, false))?;
    }
    Ok(exit(status == 200))
}

fn words(body: &Value) -> Table {
    let mut table = Table::new(&["CHECK", "STATUS"], &[]);
    let checks = body.get("checks").and_then(Value::as_object);
    for (name, status) in checks.into_iter().flatten() {
        table.row(vec![
            Cell::new(name),
            Cell::status(status.as_str().unwrap_or_default()),
        ]);
    }
    table
}

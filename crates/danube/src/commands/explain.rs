//! `danube explain CODE`: what an error or exit code means, and what to do.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use danube_api::Code;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::nearest::nearest;
use crate::terminal::{Cell, Screen, Table};

pub(super) fn command() -> Command {
    Command::new("explain")
        .about("Explain an error code or an exit code")
        .arg(
            Arg::new("code")
                .value_name("CODE")
                .help("Such as not_found, or 3; without it, all of them"),
        )
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    match matches.get_one::<String>("code") {
        None => all(screen)?,
        Some(asked) => one(asked, screen)?,
    }
    Ok(Exit::Ok.into())
}

fn one(asked: &str, screen: &Screen) -> Result<(), Failure> {
    let exit = Exit::ALL.iter().find(|it| it.number().to_string() == asked);
    if let Some(exit) = exit {
        if screen.is_json() {
            return screen.json(&exit_json(*exit));
        }
        return screen.print(&format!(
            "exit code {}\n\n{}\n",
            exit.number(),
            exit.meaning()
        ));
    }
    let Some(code) = Code::ALL.iter().find(|it| it.as_str() == asked) else {
        let names = Code::ALL.iter().map(|it| it.as_str());
        let failure = Failure::new(
            Exit::NotFound,
            "not_found",
            format!("there is no code `{asked}`"),
        );
        return Err(failure.hint(match nearest(asked, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`danube explain` lists all of them".to_owned(),
        }));
    };
    if screen.is_json() {
        return screen.json(&code_json(*code));
    }
    screen.print(&format!(
        "{}: {}\n\n{}\n\nHTTP status {}, exit code {}.\n",
        code.as_str(),
        code.title(),
        code.help(),
        code.status(),
        Exit::of_code(*code).number()
    ))
}

fn all(screen: &Screen) -> Result<(), Failure> {
    if screen.is_json() {
        let codes: Vec<_> = Code::ALL.iter().map(|it| code_json(*it)).collect();
        let exits: Vec<_> = Exit::ALL.iter().map(|it| exit_json(*it)).collect();
        return screen.json(&json!({ "codes": codes, "exit_codes": exits }));
    }
    let mut codes = Table::new(&["CODE", "EXIT", "MEANING"], &[2]);
    for code in Code::ALL {
        let exit = Exit::of_code(*code).number().to_string();
        codes.row(vec![
            Cell::new(code.as_str()),
            Cell::new(&exit),
            Cell::new(code.title()),
        ]);
    }
    let mut exits = Table::new(&["EXIT", "MEANING"], &[]);
    for exit in Exit::ALL {
        exits.row(vec![
            Cell::new(&exit.number().to_string()),
            Cell::new(exit.meaning()),
        ]);
    }
    screen.print(&format!(
        "{}\n{}",
        codes.render(screen, true),
        exits.render(screen, true)
    ))
}

fn code_json(code: Code) -> serde_json::Value {
    json!({
        "code": code.as_str(),
        "status": code.status(),
        "exit_code": Exit::of_code(code).number(),
        "title": code.title(),
        "help": code.help(),
    })
}

fn exit_json(exit: Exit) -> serde_json::Value {
    json!({ "exit_code": exit.number(), "meaning": exit.meaning() })
}

//! `danube version`

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::Screen;

/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn command() -> Command {
    Command::new("version").about("Print the version")
}

pub(super) fn perform(_: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    if screen.is_json() {
        screen.json(&json!({ "name": "danube", "version": VERSION }))?;
    } else {
        screen.print(&format!("danube {VERSION}\n"))?;
    }
    Ok(Exit::Ok.into())
}

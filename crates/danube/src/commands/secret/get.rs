//! `danube secret get NAME`: a secret of its pipeline, for the job's own program.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use danube_api::rpc::{GET_SECRET_PATH, SecretGiven};
use serde_json::json;

use crate::client::connect_by_environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Screen, clean};

pub(super) fn command() -> Command {
    Command::new("get")
        .about("Get a secret: inside a job, from the pipeline's `script`")
        .after_help(
            "The pipeline names it in `secrets`, and its job's log masks the value before it is given. It is written as \
             it is, without an end of line: `TOKEN=$(danube secret get deploy)`.",
        )
        .arg(
            Arg::new("name")
                .value_name("NAME")
                .required(true)
                .help("Which"),
        )
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let name = matches.get_one::<String>("name").expect("clap requires it");
    let calls = connect_by_environment("only a job's own program gets secrets")?;
    let given: SecretGiven = calls
        .call(GET_SECRET_PATH, &json!({"name": name}))
        .map_err(|error| Failure::call(&format!("get secret {}", clean(name)), &error))?;
    if screen.is_json() {
        screen.json(&given)?;
    } else {
        screen.print(&given.value)?;
    }
    Ok(Exit::Ok.into())
}

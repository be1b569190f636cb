//! `danube secret mask [JOB]`: keeps a value out of a job's log from now on.
//!
//! The value comes from standard input: an argument can be read by every user of
//! the machine. Inside a job no name is needed: its environment says which job
//! it is, where the server is, and what to show there.

use std::io::{self, IsTerminal, Read};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use danube_api::rpc::mask_path;
use danube_api::{MaskValue, Masked};
use danube_model::limits::MASK_BYTES_MAX;

use crate::client::{args, connect, connect_by_environment};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Screen, clean};

pub(super) fn command() -> Command {
    Command::new("mask")
        .about("Mask a value from now on, and blank the stored lines that hold it")
        .after_help(
            "The value is read from standard input and loses the white space at its ends. Inside a job \
             `printf %s \"$VALUE\" | danube secret mask` is enough; print the value only after that.",
        )
        .arg(
            Arg::new("id")
                .value_name("JOB")
                .help("The job: its id, or the short one [default: the job that this runs in]"),
        )
        .arg(
            Arg::new("allow-short")
                .long("allow-short")
                .action(ArgAction::SetTrue)
                .help("Take a value of 6 or 7 characters too; it will hide other text"),
        )
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let (masked, id) = match matches.get_one::<String>("id") {
        Some(id) => {
            let client = connect(matches, true)?;
            (client.mask(id, &asked(matches)?), id.clone())
        }
        None => {
            let calls = connect_by_environment("elsewhere name the job: `danube secret mask JOB`")?;
            let id = calls.job().to_owned();
            (calls.call(&mask_path(&id), &asked(matches)?), id)
        }
    };
    let masked: Masked =
        masked.map_err(|error| Failure::call(&format!("mask a value in job {id}"), &error))?;
    if screen.is_json() {
        screen.json(&masked)?;
        return Ok(Exit::Ok.into());
    }
    for warning in &masked.warnings {
        screen.note(&format!("warning: {}", clean(warning)));
    }
    let stored = match (masked.lines_blanked, masked.bytes_blanked) {
        (0, _) => "no stored line held it".to_owned(),
        (1, bytes) => format!("1 stored line that held it is blank now ({bytes} bytes)"),
        (lines, bytes) => {
            format!("{lines} stored lines that held it are blank now ({bytes} bytes)")
        }
    };
    screen.print(&format!("masked; {stored}\n"))?;
    Ok(Exit::Ok.into())
}

fn asked(matches: &ArgMatches) -> Result<MaskValue, Failure> {
    Ok(MaskValue {
        value: value()?,
        allow_short: matches.get_flag("allow-short"),
    })
}

fn value() -> Result<String, Failure> {
    let input = io::stdin();
    let hint = "`printf %s \"$VALUE\" | danube secret mask` gives it without showing it";
    if input.is_terminal() {
        let message = "the value comes from standard input, which is a terminal that would show it";
        return Err(Failure::usage(message).hint(hint));
    }
    let mut bytes = Vec::new();
    // One byte more: then the server says that it is too long.
    let mut bounded = input.lock().take(MASK_BYTES_MAX as u64 + 1);
    bounded
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("read the value: {error}")))?;
    let text =
        String::from_utf8(bytes).map_err(|_| Failure::usage("the value isn't valid UTF-8"))?;
    if text.trim().is_empty() {
        return Err(Failure::usage("standard input holds no value").hint(hint));
    }
    Ok(text.trim().to_owned())
}

//! `danube log-level [LEVEL]`: shows or changes the level of the server's log.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use danube_api::NewLogLevel;

use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Screen, clean};

pub(super) fn command() -> Command {
    Command::new("log-level")
        .about("Show or change the level of the server's log while it runs")
        .after_help(
            "`danube log-level info,danube.store=debug --for 10m` shows every SQL statement for ten minutes; \
             then the configured level comes back.",
        )
        .arg(Arg::new("level").value_name("LEVEL").help(
            "off, error, warning, info, debug or trace, also by logger: info,danube.store=debug",
        ))
        .arg(
            Arg::new("for")
                .long("for")
                .value_name("TIME")
                .requires("level")
                .value_parser(seconds)
                .help("Bring the configured level back after this time: 90s, 10m, 2h, at most 24h"),
        )
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    let view = match matches.get_one::<String>("level") {
        None => client
            .log_level()
            .map_err(|error| Failure::call("ask for the log level", &error))?,
        Some(level) => client
            .set_log_level(&NewLogLevel {
                level: level.clone(),
                for_seconds: matches.get_one("for").copied(),
            })
            .map_err(|error| Failure::call("change the log level", &error))?,
    };
    if screen.is_json() {
        screen.json(&view)?;
        return Ok(Exit::Ok.into());
    }
    screen.print(&format!("{}\n", clean(&view.level)))?;
    let configured = clean(&view.configured);
    match view.until {
        Some(until) => screen.note(&format!("the configured {configured} comes back at {until}")),
        None if view.level != view.configured => screen.note(&format!(
            "configured is {configured}; this level holds until it is changed or the server starts again"
        )),
        None => {}
    }
    Ok(Exit::Ok.into())
}

/// `90s`, `10m`, `2h`, `30d`: a number and its unit. How much is allowed, the server says.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let wrong =
        || "must be a number of seconds, minutes, hours or days: 90s, 10m, 2h, 30d".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let number = text[..text.len() - 1].parse::<u64>().ok();
    let seconds = number.and_then(|it| it.checked_mul(unit));
    seconds.filter(|it| *it > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        for (text, read) in [
            ("90s", Some(90)),
            ("10m", Some(600)),
            ("2h", Some(7200)),
            ("30d", Some(2_592_000)),
            ("0s", None),
            ("10", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1é", None),
            ("99999999999999999999h", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(seconds(text).ok(), read, "{text}");
        }
    }
}

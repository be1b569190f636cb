//! `danube logs`: a job's log, live or whole.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use danube_api::client::Client;
use danube_model::Timestamp;

use super::job::{id, id_arg};
use super::{follow, search};
use crate::client::{Follow, LogAsked, args, connect, size};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Screen, clean};

pub(super) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("logs")
        .about("Show a job's log, with -f until the job ends")
        .after_help(
            "In a pipe every byte is as it was stored; on a \
             terminal colours pass and nothing else that could steer it. With --output json there is one object \
             a line, and with -f the last one is the job.\n\n\
             --search takes a regular expression without look-around and searches what a terminal would show; \
             it exits with 0 whether it finds something or not.",
        )
        .arg(id_arg())
        .args(follow::args())
        .arg(flag("timestamps").help("A time before every line"))
        .arg(flag("strip-ansi").help("Without colours and other control sequences"))
        .arg(Arg::new("step").long("step").value_name("NAME").help("Only the output of this step"))
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("OFFSET")
                .value_parser(value_parser!(u64))
                .conflicts_with_all(["timestamps", "strip-ansi", "step"])
                .help("Begin at this byte of the log"),
        )
        .arg(
            Arg::new("from-line")
                .long("from-line")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .conflicts_with_all(["from", "step", "since"])
                .help("Begin with this line, counted from 1"),
        )
        .arg(
            Arg::new("lines")
                .long("lines")
                .value_name("M")
                .value_parser(value_parser!(u64).range(1..))
                .conflicts_with_all(["from", "step", "follow"])
                .help("So many lines"),
        )
        .arg(
            Arg::new("since")
                .long("since")
                .value_name("TIME")
                .value_parser(time)
                .conflicts_with_all(["from", "step"])
                .help("Begin with the first line written at or after this time (2026-01-31T12:00:00Z)"),
        )
        .arg(
            Arg::new("around")
                .long("around")
                .value_name("SPAN")
                .conflicts_with_all(["from", "step", "from-line", "lines", "since", "follow"])
                .help("What was written while this span was: its id in `danube trace JOB --ids`, or the first digits of it"),
        )
        .args(search::options())
        .arg(
            flag("delete")
                .conflicts_with_all([
                    "follow", "timestamps", "strip-ansi", "step", "from", "from-line", "lines", "since", "around", "search",
                ])
                .help("Delete the log of an ended job, for ever; the job itself stays"),
        )
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    if matches.get_flag("delete") {
        return delete(&client, id(matches), screen);
    }
    if let Some(pattern) = matches.get_one::<String>("search") {
        return search::perform(&client, pattern, matches, screen);
    }
    let number = |name: &str| matches.get_one::<u64>(name).copied();
    let asked = LogAsked {
        id: id(matches).to_owned(),
        follow: matches.get_flag("follow"),
        timestamps: matches.get_flag("timestamps"),
        strip_ansi: matches.get_flag("strip-ansi"),
        step: matches.get_one::<String>("step").cloned(),
        from: number("from").unwrap_or(0),
        from_line: number("from-line").map(|it| it.to_string()),
        lines: number("lines").map(|it| it.to_string()),
        since: matches.get_one::<String>("since").cloned(),
        around: matches.get_one::<String>("around").cloned(),
    };
    if asked.follow {
        return follow::follow(&client, asked, matches, screen, false);
    }
    Follow::new(&client, screen, asked, false).run()?;
    Ok(Exit::Ok.into())
}

fn time(text: &str) -> Result<String, String> {
    let parsed = Timestamp::parse(text);
    let parsed = parsed.ok_or("not a time as in RFC 3339, such as 2026-01-31T12:00:00Z")?;
    Ok(parsed.to_string())
}

fn delete(client: &Client, id: &str, screen: &Screen) -> Result<ExitCode, Failure> {
    let deleted = client.delete_log(id);
    let deleted =
        deleted.map_err(|error| Failure::call(&format!("delete the log of job {id}"), &error))?;
    if screen.is_json() {
        screen.json(&deleted)?;
    } else {
        let freed = size(deleted.bytes_freed);
        screen.print(&format!(
            "the log of job {} is deleted ({freed})\n",
            clean(id)
        ))?;
    }
    Ok(Exit::Ok.into())
}

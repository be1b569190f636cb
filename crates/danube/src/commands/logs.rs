//! `danube logs`: a job's log, live or whole.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::follow;
use super::job::{id, id_arg};
use crate::client::{Follow, LogAsked, args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::Screen;

pub(super) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("logs")
        .about("Show a job's log, with -f until the job ends")
        .after_help(
            "In a pipe every byte is as it was stored; on a \
             terminal colours pass and nothing else that could steer it. With --output json there is one object \
             a line, and with -f the last one is the job.",
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
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    let asked = LogAsked {
        id: id(matches).to_owned(),
        follow: matches.get_flag("follow"),
        timestamps: matches.get_flag("timestamps"),
        strip_ansi: matches.get_flag("strip-ansi"),
        step: matches.get_one::<String>("step").cloned(),
        from: matches.get_one::<u64>("from").copied().unwrap_or(0),
    };
    if asked.follow {
        return follow::follow(&client, asked, matches, screen, false);
    }
    Follow::new(&client, screen, asked, false).run()?;
    Ok(Exit::Ok.into())
}

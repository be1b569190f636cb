//! `danube run`: what it is asked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use danube_model::limits::DURATION_SECONDS_MAX;
use danube_model::spec::Pipeline;

use super::work;
use crate::failure::Failure;
use crate::terminal::Screen;

/// Everything that `danube run` was asked, checked. No `Debug`: it holds values
/// to keep out of every output.
pub(crate) struct RunArgs {
    /// What to run: the file's pipeline, or the command as one of one step.
    /// `--timeout` is in its `max_duration_seconds` already.
    pub(crate) pipeline: Pipeline,
    /// Variables of every step, over the pipeline's own.
    pub(crate) env: Vec<(String, String)>,
    /// Values to keep out of the output.
    pub(crate) masks: Vec<String>,
    /// Among them may be ones of 6 and 7 characters.
    pub(crate) allow_short_masks: bool,
    /// Parameters as they were given.
    pub(crate) parameters: BTreeMap<String, String>,
    /// Where the log is kept; nowhere when not said.
    pub(crate) log_dir: Option<PathBuf>,
    /// Where the output goes, and how.
    pub(crate) screen: Screen,
}

pub(super) fn command() -> Command {
    let [param, mask, short] = work::args();
    Command::new("run")
        .about("Run a job right here, without a server")
        .after_help(
            "With the same isolation, the same redaction and the same log as on a server. Exits with the job's \
             own exit code.",
        )
        .override_usage("danube run [OPTIONS] FILE\n       danube run [OPTIONS] -- CMD...")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Pipeline file (YAML or JSON)"),
        )
        .arg(work::command_arg())
        .group(ArgGroup::new("what").args(["file", "command"]).required(true))
        .arg(
            Arg::new("env")
                .long("env")
                .value_name("NAME[=VALUE]")
                .action(ArgAction::Append)
                .help("Variable for every step; NAME alone takes its value from this environment"),
        )
        .args([mask, short, param])
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64).range(1..=DURATION_SECONDS_MAX))
                .help("Stop the job after so many seconds"),
        )
        .arg(
            Arg::new("log-dir")
                .long("log-dir")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Keep the log in this directory"),
        )
}

impl RunArgs {
    /// Reads the arguments, and the file when one is named.
    pub(crate) fn read(matches: &ArgMatches, screen: &Screen) -> Result<Self, Failure> {
        let mut pipeline = match (work::command_words(matches), work::path(matches, "file")) {
            (Some(words), _) => work::pipeline_of(&words?),
            (None, Some(path)) => work::pipeline_in(&path)?,
            (None, None) => return Err(Failure::usage("name a file or a command to run")),
        };
        let timeout = matches.get_one::<u64>("timeout").copied();
        pipeline.max_duration_seconds = timeout.unwrap_or(pipeline.max_duration_seconds);
        Ok(Self {
            pipeline,
            env: work::assignments(matches, "env")?,
            masks: work::masks(matches)?,
            allow_short_masks: matches.get_flag("allow-short-masks"),
            parameters: work::parameters(matches)?,
            log_dir: work::path(matches, "log-dir"),
            screen: screen.clone(),
        })
    }
}

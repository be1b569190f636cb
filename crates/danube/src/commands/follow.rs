//! `--follow` and `--exit-code`, as `submit`, `retry` and `logs` have them.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches};
use danube_api::JobView;
use danube_api::client::Client;

use crate::client::{Follow, LogAsked, duration, size};
use crate::exit::of_job;
use crate::failure::Failure;
use crate::interrupt;
use crate::terminal::{Screen, clean};

/// `--follow` and `--exit-code`
pub(super) fn args() -> [Arg; 2] {
    [
        Arg::new("follow")
            .long("follow")
            .short('f')
            .action(ArgAction::SetTrue)
            .help("Show the log until the job ends; exit 3 when it fails"),
        Arg::new("exit-code")
            .long("exit-code")
            .action(ArgAction::SetTrue)
            .requires("follow")
            .help("With --follow: exit with the job's own exit code"),
    ]
}

/// Follows a log to the end of its job. `reached`: the server has just answered.
pub(super) fn follow(
    client: &Client,
    asked: LogAsked,
    matches: &ArgMatches,
    screen: &Screen,
    reached: bool,
) -> Result<ExitCode, Failure> {
    let id = clean(&asked.id);
    interrupt::says(
        screen,
        format!("interrupted; job {id} goes on"),
        format!("`danube logs -f {id}` follows it again, `danube cancel {id}` stops it"),
    )?;
    let ended = Follow::new(client, screen, asked, reached).run()?;
    let job = ended.expect("following ends with the job's end");
    if screen.is_json() {
        screen.json(&job)?;
    } else {
        screen.note(&ending(&job));
    }
    Ok(of_job(
        &job.status,
        job.exit_code,
        matches.get_flag("exit-code"),
    ))
}

/// How the job ended, in one line.
fn ending(job: &JobView) -> String {
    let mut text = format!("job {} ended: {}", clean(&job.short_id), clean(&job.status));
    if let Some(code) = job.exit_code.filter(|it| *it != 0) {
        text.push_str(&format!(", exit code {code}"));
    }
    if job.duration_seconds.is_some() {
        text.push_str(&format!(" after {}", duration(job.duration_seconds)));
    }
    if let Some(reason) = job.reason.as_deref().filter(|_| job.status != "success") {
        text.push_str(&format!(" ({})", clean(reason)));
    }
    if job.log_complete == Some(false) {
        text.push_str("; ");
        text.push_str(&incomplete(job.log_missing_bytes));
    }
    text
}

/// What is said of a log that misses something; after a crash nobody knows how much.
pub(super) fn incomplete(missing_bytes: u64) -> String {
    match missing_bytes {
        0 => "its log isn't complete".to_owned(),
        bytes => format!("{} of its log are missing", size(bytes)),
    }
}

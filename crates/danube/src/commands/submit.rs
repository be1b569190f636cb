//! `danube submit`: hands a job to a server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{Arg, ArgGroup, ArgMatches, Command, value_parser};
use danube_api::client::{Client, ClientError};
use danube_api::{JobView, Submit};
use danube_model::JobId;
use danube_model::spec::Pipeline;

use super::{follow, work};
use crate::client::{LogAsked, args as connection_args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Screen, clean};

/// Tries when the server doesn't answer. They carry one idempotency key, so
/// there is one job however many of them arrive.
const TRIES: u32 = 3;

/// Pause before the second try; twice as long before the third.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) fn command() -> Command {
    let [param, mask, short] = work::args();
    Command::new("submit")
        .about("Hand a job to the server")
        .after_help(
            "Prints the job's id; the job is durable when the id is there. A connection that is lost on the way \
             makes no second job.",
        )
        .override_usage(
            "danube submit [OPTIONS] PIPELINE\n       danube submit [OPTIONS] --file FILE\n       \
             danube submit [OPTIONS] -- CMD...",
        )
        .arg(Arg::new("pipeline").value_name("PIPELINE").help("Name of a pipeline that the server knows"))
        .arg(
            Arg::new("file")
                .long("file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Pipeline file (YAML or JSON), checked here first"),
        )
        .arg(work::command_arg())
        .group(ArgGroup::new("what").args(["pipeline", "file", "command"]).required(true))
        .arg(Arg::new("ref").long("ref").value_name("REF").help("Branch, tag or commit to run"))
        .args([param, mask, short])
        .args(args())
        .args(follow::args())
        .args(connection_args())
}

/// `--queue`, `--callback-url` and `--idempotency-key`
pub(super) fn args() -> [Arg; 3] {
    let one = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    [
        one("queue", "NAME").help("Queue to wait in [default: default]"),
        one("callback-url", "URL")
            .help("Address to which the job's end is told; an argument can be seen by others, so keep tokens out of it"),
        one("idempotency-key", "KEY")
            .help("The same key with the same request makes one job, however often it is sent"),
    ]
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let submit = Submit {
        pipeline: matches.get_one::<String>("pipeline").cloned(),
        spec: spec(matches)?,
        git_ref: matches.get_one::<String>("ref").cloned(),
        parameters: work::parameters(matches)?,
        mask: work::masks(matches)?,
        allow_short_masks: matches.get_flag("allow-short-masks").then_some(true),
        ..Submit::default()
    };
    hand_in(submit, matches, screen)
}

/// Hands a job in, and follows it when asked to; the flags of [`args`] and
/// [`follow::args`] say how.
pub(super) fn hand_in(
    mut submit: Submit,
    matches: &ArgMatches,
    screen: &Screen,
) -> Result<ExitCode, Failure> {
    submit.queue = matches.get_one::<String>("queue").cloned();
    submit.callback_url = matches.get_one::<String>("callback-url").cloned();
    let client = connect(matches, true)?;
    let own = matches.get_one::<String>("idempotency-key").cloned();
    let key = own.unwrap_or_else(|| JobId::new().to_string());
    let job =
        send(&client, &submit, &key).map_err(|error| Failure::call("submit the job", &error))?;
    for warning in &job.warnings {
        screen.note(&format!("warning: {}", clean(warning)));
    }
    let short = clean(&job.short_id);
    if !matches.get_flag("follow") {
        print_id(&job, screen)?;
        if screen.err_is_terminal {
            screen.note(&format!("submitted; `danube logs -f {short}` follows it"));
        }
        return Ok(Exit::Ok.into());
    }
    if !screen.is_json() {
        screen.note(&format!("submitted job {short}"));
    }
    let asked = LogAsked {
        id: job.id,
        follow: true,
        ..LogAsked::default()
    };
    follow::follow(&client, asked, matches, screen, true)
}

/// The id alone, so that `$(danube submit …)` is an id; as JSON the whole job.
pub(super) fn print_id(job: &JobView, screen: &Screen) -> Result<(), Failure> {
    if screen.is_json() {
        screen.json(job)
    } else {
        screen.print(&format!("{}\n", clean(&job.id)))
    }
}

fn spec(matches: &ArgMatches) -> Result<Option<serde_json::Value>, Failure> {
    let pipeline: Pipeline = match (work::command_words(matches), work::path(matches, "file")) {
        (Some(words), _) => work::pipeline_of(&words?),
        (None, Some(path)) => work::pipeline_in(&path)?,
        (None, None) => return Ok(None),
    };
    let json = serde_json::to_value(pipeline);
    Ok(Some(json.expect(
        "a checked pipeline has text keys and finite numbers",
    )))
}

fn send(client: &Client, submit: &Submit, key: &str) -> Result<JobView, ClientError> {
    let mut tries = 1;
    loop {
        match client.submit(submit, Some(key)) {
            Err(ClientError::Away { .. }) if tries < TRIES => {
                thread::sleep(PAUSE * tries);
                tries += 1;
            }
            answer => return answer,
        }
    }
}

//! `danube step run|report`: what a pipeline's own program has done while it runs.
//!
//! Inside a job nothing else is needed: the environment says where the server is and what to
//! show there.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use danube_api::rpc::{Noted, REPORT_STATUS_PATH, RUN_STEP_PATH, StepRun};
use danube_model::StepStatus;
use danube_model::limits::{CALL_BYTES_MAX, DURATION_SECONDS_MAX};
use serde_json::{Map, Value, json};

use crate::client::connect_by_environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Screen, clean};

/// The exit code for a step that was stopped for its time, as `timeout(1)` has it.
const TIMED_OUT: u8 = 124;

/// Random bytes of a request's id.
const REQUEST_ID_BYTES: usize = 16;

/// What to do outside of a job.
const ELSEWHERE: &str = "only the `script` of a pipeline has steps run";

pub(super) fn command() -> Command {
    Command::new("step")
        .about("Have steps run: inside a job, from the pipeline's `script`")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(run_command())
        .subcommand(
            Command::new("report")
                .about("Say in the job's log how it goes")
                .arg(
                    Arg::new("status")
                        .long("status")
                        .value_name("STATUS")
                        .value_parser(["running", "success", "failure"])
                        .default_value("running")
                        .help("With `failure` the job is one, and MESSAGE its reason"),
                )
                .arg(
                    Arg::new("message")
                        .value_name("MESSAGE")
                        .required(true)
                        .help("A sentence or two"),
                ),
        )
}

fn run_command() -> Command {
    let many = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .action(ArgAction::Append)
            .help(help)
    };
    Command::new("run")
        .about("Run a step to its end, in a sandbox of its own")
        .after_help(
            "Ends with the step's exit code, with 124 when it took longer than --timeout. A call whose connection breaks \
             is made again for 30 seconds, and the step runs once.",
        )
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .required_unless_present("request")
                .help("What it is called; each step of a job has a name of its own"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64).range(1..=DURATION_SECONDS_MAX))
                .help("How long it may take [default: as long as the job]"),
        )
        .arg(many("env", "NAME=VALUE", "A variable; it stands in the list of this program's arguments"))
        .arg(many("secret", "[VARIABLE=]NAME", "A secret of the pipeline, and the variable that holds it"))
        .arg(
            Arg::new("capture")
                .long("capture")
                .action(ArgAction::SetTrue)
                .help("Write what it writes to standard output here, too; at most 1 MiB"),
        )
        .arg(
            Arg::new("request")
                .long("request")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["name", "timeout", "env", "secret", "capture", "command"])
                .help("Read all of it from standard input, as JSON"),
        )
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .num_args(1..)
                .last(true)
                .required_unless_present("request")
                .help("The program and its arguments"),
        )
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let (verb, matches) = matches.subcommand().expect("clap requires one");
    match verb {
        "run" => run(matches, screen),
        _ => report(matches),
    }
}

fn run(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let mut request = if matches.get_flag("request") {
        from_input()?
    } else {
        from_arguments(matches)?
    };
    request
        .entry("request_id")
        .or_insert_with(|| json!(request_id()));
    let capture = matches.get_flag("capture");
    let calls = connect_by_environment(ELSEWHERE)?;
    let name = request.get("name").and_then(Value::as_str);
    let doing = format!("run step {}", clean(name.unwrap_or("?")));
    let ran: StepRun = calls
        .call(RUN_STEP_PATH, &request)
        .map_err(|error| Failure::call(&doing, &error))?;
    if screen.is_json() {
        screen.json(&ran)?;
    } else if let Some(output) = ran.stdout_base64.as_ref().filter(|_| capture) {
        let bytes = STANDARD.decode(output).unwrap_or_default();
        let mut out = io::stdout().lock();
        let written = out.write_all(&bytes).and_then(|()| out.flush());
        written.map_err(|error| Failure::output(&error))?;
    }
    Ok(exit(&ran))
}

/// As the step ended.
fn exit(ran: &StepRun) -> ExitCode {
    match (ran.exit_code, ran.status) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX).into(),
        (None, StepStatus::Timeout) => TIMED_OUT.into(),
        (None, _) => Exit::Failed.into(),
    }
}

fn from_arguments(matches: &ArgMatches) -> Result<Map<String, Value>, Failure> {
    let all = |name: &str| matches.get_many::<String>(name).into_iter().flatten();
    let (mut env, mut secrets) = (Map::new(), Map::new());
    for pair in all("env") {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Failure::usage("--env takes NAME=VALUE"));
        };
        env.insert(name.to_owned(), json!(value));
    }
    for pair in all("secret") {
        let (variable, name) = pair.split_once('=').unwrap_or((pair, pair));
        secrets.insert(variable.to_owned(), json!(name));
    }
    let mut request = Map::new();
    request.insert("name".to_owned(), json!(matches.get_one::<String>("name")));
    request.insert(
        "command".to_owned(),
        json!(all("command").collect::<Vec<_>>()),
    );
    request.insert("env".to_owned(), Value::Object(env));
    request.insert("secrets".to_owned(), Value::Object(secrets));
    request.insert("capture".to_owned(), json!(matches.get_flag("capture")));
    if let Some(seconds) = matches.get_one::<u64>("timeout") {
        request.insert("timeout_seconds".to_owned(), json!(seconds));
    }
    Ok(request)
}

fn from_input() -> Result<Map<String, Value>, Failure> {
    let mut bytes = Vec::new();
    // One byte more: then the server says that it is too long.
    let mut bounded = io::stdin().lock().take(CALL_BYTES_MAX as u64 + 1);
    bounded
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("read the request: {error}")))?;
    serde_json::from_slice(&bytes)
        .map_err(|_| Failure::usage("standard input holds no JSON object"))
}

fn request_id() -> String {
    let mut bytes = [0; REQUEST_ID_BYTES];
    getrandom::fill(&mut bytes).expect("Linux gives random bytes to every process since 3.17");
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

fn report(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let text = |name: &str| matches.get_one::<String>(name).expect("clap requires it");
    let calls = connect_by_environment(ELSEWHERE)?;
    let report = json!({
        "request_id": request_id(),
        "status": text("status"),
        "message": text("message"),
    });
    let noted: Result<Noted, _> = calls.call(REPORT_STATUS_PATH, &report);
    noted.map_err(|error| Failure::call("report how it goes", &error))?;
    Ok(Exit::Ok.into())
}

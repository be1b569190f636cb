//! `danube trace JOB`: where the time of a job went. With `--slow`: of a pipeline, over its
//! latest runs.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use danube_telemetry::trace::hex;
use danube_telemetry::trace::proto::{Span, TracesData};
use serde_json::Value;

use super::job::{id, id_arg};
use super::slow;
use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Screen, waterfall};

pub(super) fn command() -> Command {
    Command::new("trace")
        .about("Show where the time of a job or a pipeline went")
        .long_about(
            "Show where the time of a job went: a line a span, from the request that submitted it to \
             what the tools in its steps sent.\n\n\
             A `*` marks the spans that its end waited for, a `!` what failed.\n\n\
             With --slow: what took the time of a pipeline over its latest runs that ended by \
             themselves. P50 and P95 are what half and 95 of 100 of them stayed below or at; SHARE \
             is of the time of all of them together; BEFORE and CHANGE are P50 over as many runs \
             before.",
        )
        .override_usage("danube trace [OPTIONS] <ID>\n       danube trace --slow [PIPELINE] [--runs NUMBER]")
        .arg(id_arg().required(false).required_unless_present("slow"))
        .arg(
            Arg::new("all")
                .long("all")
                .action(ArgAction::SetTrue)
                .help("Show every span; else a long trace is folded to what took most"),
        )
        .arg(
            Arg::new("ids")
                .long("ids")
                .action(ArgAction::SetTrue)
                .help("Show the id of each span, for `danube logs JOB --around SPAN`"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .value_parser(["waterfall", "otlp", "jaeger"])
                .default_value("waterfall")
                .help("`otlp` and `jaeger` are JSON: the standard's, and what Jaeger's UI opens"),
        )
        .args(slow::slow_args())
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    if slow::is_wanted(matches) {
        slow::show(&client, matches, screen)?;
        return Ok(Exit::Ok.into());
    }
    let id = id(matches);
    let format = matches.get_one::<String>("format").map(String::as_str);
    let is_jaeger = format == Some("jaeger");
    let trace = client
        .trace(id, is_jaeger)
        .map_err(|error| Failure::call(&format!("read the trace of job {id}"), &error))?;
    if screen.is_json() || format != Some("waterfall") {
        screen.json(&trace)?;
        return Ok(Exit::Ok.into());
    }
    let spans = spans(trace)?;
    let Some(first) = spans.first() else {
        screen.note(&format!("job {id} has no spans yet"));
        return Ok(Exit::Ok.into());
    };
    let head = format!("trace {}, {} spans\n", hex(&first.trace_id), spans.len());
    let wish = waterfall::Wish {
        all: matches.get_flag("all"),
        ids: matches.get_flag("ids"),
    };
    screen.print(&(head + &waterfall::render(&spans, wish, screen)))?;
    Ok(Exit::Ok.into())
}

fn spans(trace: Value) -> Result<Vec<Span>, Failure> {
    let read: Result<TracesData, _> = serde_json::from_value(trace);
    let read = read.map_err(|error| {
        let why = format!("the server's answer isn't OTLP JSON: {error}");
        Failure::new(Exit::Failed, "answer", why)
    })?;
    let scopes = read
        .resource_spans
        .into_iter()
        .flat_map(|it| it.scope_spans);
    Ok(scopes.flat_map(|it| it.spans).collect())
}

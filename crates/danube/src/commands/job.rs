//! `danube job ID`: one job and its steps.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use danube_api::{JobView, StepView};
use danube_model::Timestamp;

use super::follow::incomplete;
use crate::client::{args, connect, duration, moment, size};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Colour, Screen, Table, clean};

/// The argument that names a job.
pub(super) fn id_arg() -> Arg {
    Arg::new("id")
        .value_name("ID")
        .required(true)
        .help("The job: its id, or the short one of eight characters")
}

/// The job that was named.
pub(super) fn id(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("id").expect("clap requires it")
}

pub(super) fn command() -> Command {
    Command::new("job")
        .about("Show one job and its steps")
        .arg(id_arg())
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    let id = id(matches);
    let job = client
        .job(id)
        .map_err(|error| Failure::call(&format!("read job {id}"), &error))?;
    if screen.is_json() {
        screen.json(&job)?;
    } else {
        screen.print(&text(&job, Timestamp::now(), screen))?;
    }
    Ok(Exit::Ok.into())
}

fn text(job: &JobView, now: Timestamp, screen: &Screen) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("{name:<10} {value}\n"));
        }
    };
    let status = screen.paint(Colour::of_status(&job.status), &clean(&job.status));
    let code = job
        .exit_code
        .map(|it| format!(", exit code {it}"))
        .unwrap_or_default();
    let asked = if job.cancel_requested {
        ", cancel asked"
    } else {
        ""
    };
    line(
        "job",
        &format!("{}  {}", clean(&job.short_id), clean(&job.id)),
    );
    line("pipeline", &clean(&job.pipeline));
    line("status", &format!("{status}{code}{asked}"));
    line("reason", &clean(job.reason.as_deref().unwrap_or_default()));
    line(
        "ref",
        &clean(job.trigger_ref.as_deref().unwrap_or_default()),
    );
    line(
        "by",
        &format!(
            "{} ({})",
            clean(&job.submitted_by),
            clean(&job.trigger_type)
        ),
    );
    line(
        "retry of",
        &clean(job.retry_of.as_deref().unwrap_or_default()),
    );
    line("created", &moment(Some(job.created_at), now, screen));
    line("started", &moment(job.started_at, now, screen));
    line("finished", &moment(job.finished_at, now, screen));
    line("duration", &duration(job.duration_seconds));
    if job.attempt > 1 {
        line("attempt", &job.attempt.to_string());
    }
    line(
        "worker",
        &clean(job.worker_id.as_deref().unwrap_or_default()),
    );
    let deleted = job
        .log_deleted_at
        .map(|at| format!("; deleted {}", moment(Some(at), now, screen)));
    let missing = match job.log_complete {
        Some(false) => format!("; {}", incomplete(job.log_missing_bytes)),
        _ => String::new(),
    };
    let deleted = deleted.unwrap_or_default();
    line("log", &format!("{}{missing}{deleted}", size(job.log_bytes)));
    line("trace", &clean(&job.trace_id));
    let steps = job.steps.as_deref().unwrap_or_default();
    if !steps.is_empty() {
        text.push('\n');
        text.push_str(&steps_table(steps).render(screen, true));
    }
    text
}

fn steps_table(steps: &[StepView]) -> Table {
    let mut table = Table::new(
        &["STEP", "STATUS", "EXIT", "DURATION", "CPU", "MEMORY"],
        &[0],
    );
    for step in steps {
        let seconds = step
            .finished_at
            .zip(step.started_at)
            .map(|(end, begin)| end.seconds_since(begin));
        table.row(vec![
            Cell::new(&step.name),
            Cell::status(&step.status),
            Cell::new(&step.exit_code.map(|it| it.to_string()).unwrap_or_default()),
            Cell::new(&duration(seconds)),
            Cell::new(&duration(step.cpu_seconds)),
            Cell::new(&step.max_rss_bytes.map(size).unwrap_or_default()),
        ]);
    }
    table
}

//! `danube job ID`: one job, its steps, and what a playbook does on its hosts.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use danube_api::{ForgeView, JobView, ProgressView, StepView};
use danube_model::{QUEUE_DEFAULT, Timestamp};

use super::follow::incomplete;
use super::hosts;
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
        .about("Show one job and its steps, and the hosts of a playbook")
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
    let mut all = what(job, screen);
    all.extend(when(job, now, screen));
    if let Some(progress) = &job.progress {
        all.extend(at(progress, job.status == "success"));
    }
    let lines = all.iter().filter(|(_, value)| !value.is_empty());
    let mut text: String = lines
        .map(|(name, value)| format!("{name:<10} {value}\n"))
        .collect();
    let hosts = job.hosts.as_deref().unwrap_or_default();
    if !hosts.is_empty() {
        text.push('\n');
        text.push_str(&hosts::table(hosts).render(screen, true));
    }
    let steps = job.steps.as_deref().unwrap_or_default();
    if !steps.is_empty() {
        text.push('\n');
        text.push_str(&steps_table(steps).render(screen, true));
    }
    text
}

/// A line: its name, and what it says, safe for a terminal.
type Line = (&'static str, String);

/// Which job it is, and how it is.
fn what(job: &JobView, screen: &Screen) -> Vec<Line> {
    let text = |it: &Option<String>| clean(it.as_deref().unwrap_or_default());
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
    let mut all = vec![(
        "job",
        format!("{}  {}", clean(&job.short_id), clean(&job.id)),
    )];
    if job.source.is_some() {
        all.push(("kind", clean(&job.kind)));
        all.push(("source", text(&job.source)));
        all.push(("commit", text(&job.source_commit)));
    } else {
        all.push(("pipeline", clean(&job.pipeline)));
    }
    all.extend(job.forge.iter().flat_map(came_from));
    // What every job has is no news.
    let queue = Some(clean(&job.queue)).filter(|it| it != QUEUE_DEFAULT);
    let queue = queue.unwrap_or_default();
    let (by, trigger) = (clean(&job.submitted_by), clean(&job.trigger_type));
    all.extend([
        ("status", format!("{status}{code}{asked}")),
        ("reason", text(&job.reason)),
        ("ref", text(&job.trigger_ref)),
        ("by", format!("{by} ({trigger})")),
        ("retry of", text(&job.retry_of)),
        ("queue", queue),
    ]);
    all
}

/// Which commit a forge asked for, and what may not be had for it.
fn came_from(forge: &ForgeView) -> Vec<Line> {
    let request = forge
        .request
        .map(|it| format!(" #{it}"))
        .unwrap_or_default();
    let fork = match (&forge.approved_by, forge.is_fork) {
        (Some(by), _) => format!("approved by {}", clean(by)),
        (None, true) => "runs without secrets until it is approved (danube approve)".to_owned(),
        (None, false) => String::new(),
    };
    let repository = format!(
        "{}{request} at {}",
        clean(&forge.repository),
        clean(&forge.name)
    );
    let untold = forge.status_error.as_deref().unwrap_or_default();
    vec![
        ("repository", repository),
        ("commit", clean(&forge.commit)),
        ("fork", fork),
        ("untold", clean(untold)),
    ]
}

/// When it ran and where, and what is left of it.
fn when(job: &JobView, now: Timestamp, screen: &Screen) -> Vec<Line> {
    let deleted = job
        .log_deleted_at
        .map(|at| format!("; deleted {}", moment(Some(at), now, screen)));
    let missing = match job.log_complete {
        Some(false) => format!("; {}", incomplete(job.log_missing_bytes)),
        _ => String::new(),
    };
    let deleted = deleted.unwrap_or_default();
    let again = Some(job.attempt).filter(|it| *it > 1);
    vec![
        ("created", moment(Some(job.created_at), now, screen)),
        ("started", moment(job.started_at, now, screen)),
        ("finished", moment(job.finished_at, now, screen)),
        ("duration", duration(job.duration_seconds)),
        (
            "attempt",
            again.map(|it| it.to_string()).unwrap_or_default(),
        ),
        (
            "worker",
            clean(job.worker_id.as_deref().unwrap_or_default()),
        ),
        ("log", format!("{}{missing}{deleted}", size(job.log_bytes))),
        ("trace", clean(&job.trace_id)),
    ]
}

/// How far a playbook is: where it is, and how its hosts do. Where one that went well was
/// at last says nothing.
fn at(progress: &ProgressView, went_well: bool) -> Vec<Line> {
    let text = |it: &Option<String>| clean(it.as_deref().unwrap_or_default());
    let hosts = ("hosts", hosts::totals(&progress.hosts));
    if went_well {
        return vec![hosts];
    }
    let task = format!("{} (task {})", text(&progress.current_task), progress.tasks);
    let task = Some(task).filter(|_| progress.tasks > 0);
    vec![
        ("play", text(&progress.current_play)),
        ("task", task.unwrap_or_default()),
        hosts,
    ]
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

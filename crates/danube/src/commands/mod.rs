//! The commands: each file defines one and performs it.

mod alerts;
mod apikey;
mod approve;
mod artifact;
mod audit;
mod backup;
mod blueprint;
mod cancel;
mod completions;
mod config;
mod credential;
mod doctor;
mod explain;
mod follow;
mod forge;
mod health;
mod history;
pub(crate) mod hosts;
mod job;
mod jobs;
mod log_level;
mod login;
mod logs;
mod master;
mod pipelines;
mod playbook;
mod profile;
mod provenance;
mod reap;
mod registry;
mod restore;
mod retry;
pub(crate) mod run;
mod search;
mod secret;
mod signals;
mod slow;
mod step;
mod submit;
mod trace;
mod version;
mod webhooks;
mod work;
mod worker;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::failure::Failure;
use crate::terminal::Screen;

/// Performs a command; the exit code when nothing stood in its way.
pub(crate) type Perform = fn(&ArgMatches, &Screen) -> Result<ExitCode, Failure>;

/// What a command does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    /// Becomes the server.
    Master,
    /// Runs a job in this process.
    Run,
    /// Asks a server, or needs none.
    Client(Perform),
}

/// One command.
pub(crate) struct Verb {
    /// What it is for, one of [`GROUPS`].
    pub(crate) group: &'static str,
    /// Its name, help and arguments.
    pub(crate) command: fn() -> Command,
    /// What it does.
    pub(crate) task: Task,
}

const JOBS: &str = "Jobs";
const SERVER: &str = "Server";
const HELP: &str = "Help";

/// The groups of `danube --help`, in their order.
pub(crate) const GROUPS: &[&str] = &[JOBS, SERVER, HELP];

/// Every command, in the order of `danube --help`.
pub(crate) const VERBS: &[Verb] = &[
    Verb {
        group: JOBS,
        command: run::command,
        task: Task::Run,
    },
    Verb {
        group: JOBS,
        command: playbook::command,
        task: Task::Client(playbook::perform),
    },
    Verb {
        group: JOBS,
        command: submit::command,
        task: Task::Client(submit::perform),
    },
    Verb {
        group: JOBS,
        command: jobs::command,
        task: Task::Client(jobs::perform),
    },
    Verb {
        group: JOBS,
        command: job::command,
        task: Task::Client(job::perform),
    },
    Verb {
        group: JOBS,
        command: logs::command,
        task: Task::Client(logs::perform),
    },
    Verb {
        group: JOBS,
        command: history::command,
        task: Task::Client(history::perform),
    },
    Verb {
        group: JOBS,
        command: trace::command,
        task: Task::Client(trace::perform),
    },
    Verb {
        group: JOBS,
        command: cancel::command,
        task: Task::Client(cancel::perform),
    },
    Verb {
        group: JOBS,
        command: retry::command,
        task: Task::Client(retry::perform),
    },
    Verb {
        group: JOBS,
        command: approve::command,
        task: Task::Client(approve::perform),
    },
    Verb {
        group: JOBS,
        command: artifact::command,
        task: Task::Client(artifact::perform),
    },
    Verb {
        group: JOBS,
        command: provenance::command,
        task: Task::Client(provenance::perform),
    },
    Verb {
        group: JOBS,
        command: step::command,
        task: Task::Client(step::perform),
    },
    Verb {
        group: JOBS,
        command: secret::command,
        task: Task::Client(secret::perform),
    },
    Verb {
        group: SERVER,
        command: master::command,
        task: Task::Master,
    },
    Verb {
        group: SERVER,
        command: worker::command,
        task: Task::Client(worker::perform),
    },
    Verb {
        group: SERVER,
        command: health::command,
        task: Task::Client(health::perform),
    },
    Verb {
        group: SERVER,
        command: reap::command,
        task: Task::Client(reap::perform),
    },
    Verb {
        group: SERVER,
        command: doctor::command,
        task: Task::Client(doctor::perform),
    },
    Verb {
        group: SERVER,
        command: backup::command,
        task: Task::Client(backup::perform),
    },
    Verb {
        group: SERVER,
        command: restore::command,
        task: Task::Client(restore::perform),
    },
    Verb {
        group: SERVER,
        command: alerts::command,
        task: Task::Client(alerts::perform),
    },
    Verb {
        group: SERVER,
        command: login::command,
        task: Task::Client(login::perform),
    },
    Verb {
        group: SERVER,
        command: login::logout_command,
        task: Task::Client(login::log_out),
    },
    Verb {
        group: SERVER,
        command: apikey::command,
        task: Task::Client(apikey::perform),
    },
    Verb {
        group: SERVER,
        command: audit::command,
        task: Task::Client(audit::perform),
    },
    Verb {
        group: SERVER,
        command: credential::command,
        task: Task::Client(credential::perform),
    },
    Verb {
        group: SERVER,
        command: registry::command,
        task: Task::Client(registry::perform),
    },
    Verb {
        group: SERVER,
        command: forge::command,
        task: Task::Client(forge::perform),
    },
    Verb {
        group: SERVER,
        command: webhooks::command,
        task: Task::Client(webhooks::perform),
    },
    Verb {
        group: SERVER,
        command: log_level::command,
        task: Task::Client(log_level::perform),
    },
    Verb {
        group: SERVER,
        command: profile::command,
        task: Task::Client(profile::perform),
    },
    Verb {
        group: SERVER,
        command: config::command,
        task: Task::Client(config::perform),
    },
    Verb {
        group: SERVER,
        command: pipelines::command,
        task: Task::Client(pipelines::perform),
    },
    Verb {
        group: SERVER,
        command: blueprint::command,
        task: Task::Client(blueprint::perform),
    },
    Verb {
        group: SERVER,
        command: signals::command,
        task: Task::Client(signals::perform),
    },
    Verb {
        group: HELP,
        command: explain::command,
        task: Task::Client(explain::perform),
    },
    Verb {
        group: HELP,
        command: completions::command,
        task: Task::Client(completions::perform),
    },
    Verb {
        group: HELP,
        command: version::command,
        task: Task::Client(version::perform),
    },
];

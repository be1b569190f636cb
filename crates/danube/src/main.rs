//! The `danube` command: the server, its client, and jobs without a server.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;
mod cli;
mod client;
mod commands;
mod config;
mod exit;
mod export;
mod failure;
#[cfg(test)]
#[path = "../tests/it/golden.rs"]
mod golden;
mod interrupt;
mod log_secrets;
mod nearest;
mod run;
mod serve;
mod telemetry;
mod terminal;
mod worker;

use std::process::ExitCode;

use cli::Asked;
use commands::{Task, run::RunArgs};
use config::Sources;
use failure::Failure;

fn main() -> ExitCode {
    // A step's sandbox is this very program started again; it doesn't come back from here.
    danube_executor::sandbox_main_if_asked();
    // Neither does what is tied to the server's life, such as a registry.
    danube_master::tether_main_if_asked();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    allocator::make_known();
    let asked = match cli::parse(std::env::args_os()) {
        Ok(asked) => asked,
        // Help or the version was asked for, or the command line is wrong: all is said.
        Err(answered) => return answered,
    };
    match perform(&asked) {
        Ok(exit) => exit,
        Err(failure) => failure.tell(&asked.screen),
    }
}

fn perform(asked: &Asked) -> Result<ExitCode, Failure> {
    match asked.task {
        Task::Master => {
            let sources = Sources::with_flags(&asked.matches);
            let config = config::load(&sources)?;
            let telemetry = telemetry::start(&config)?;
            serve::serve(
                config.settings,
                &telemetry,
                Box::new(move || config::log_level(&sources)),
            )
        }
        Task::Run => run::run(RunArgs::read(&asked.matches, &asked.screen)?),
        Task::Client(perform) => perform(&asked.matches, &asked.screen),
    }
}

//! `danube doctor`: whether this machine has what a server or worker needs, and what to
//! do where it hasn't. Nothing is changed by looking.
//!
//! [`CHECKS`] is the list; each check is a function in the file of its subject.

mod address;
mod clock;
mod database;
mod directory;
mod disk;
mod forges;
mod found;
mod isolation;
mod keys;
mod limits;
mod neighbours;
mod oidc;
mod programs;
mod server;
mod settings;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::json;

use crate::config::{self, Config, Sources};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Colour, Screen, Table, clean};
use found::Found;

/// How long a check may take: Ansible has half a minute to say its version, and a file
/// system that answers nothing would hold whoever asks it for ever.
const DEADLINE: Duration = Duration::from_secs(45);

/// Looks at one thing.
#[derive(Clone, Copy)]
enum Look {
    /// That the settings say something of.
    With(fn(&Config) -> Found),
    /// Whatever they say.
    Here(fn() -> Found),
}

/// Everything that is looked at, in the order in which it is shown: another one is another
/// line here and a function.
const CHECKS: [(&str, Look); 20] = [
    ("directory", Look::With(directory::directory)),
    ("disk", Look::With(disk::space)),
    ("filesystem", Look::With(disk::kind)),
    ("keys", Look::With(keys::keys)),
    ("database", Look::With(database::database)),
    ("server", Look::With(server::server)),
    ("address", Look::With(address::address)),
    ("isolation", Look::With(isolation::walls)),
    ("limits", Look::With(isolation::limits)),
    ("open files", Look::Here(limits::open_files)),
    ("clock", Look::With(clock::clock)),
    ("ansible", Look::With(programs::ansible)),
    ("git", Look::Here(programs::git)),
    ("ssh", Look::Here(programs::ssh)),
    ("redis", Look::With(neighbours::redis)),
    ("registry", Look::With(neighbours::registry)),
    ("forges", Look::With(forges::forges)),
    ("oidc", Look::With(neighbours::oidc)),
    ("collector", Look::With(neighbours::collector)),
    ("alertmanager", Look::With(neighbours::alertmanager)),
];

pub(super) fn command() -> Command {
    Command::new("doctor")
        .about("Look whether this machine has what jobs need, and say what to do")
        .long_about(
            "Look whether this machine has what a server or worker needs, and say what to do where it \
             hasn't: its settings, data directory and disk, keys and database, address, walls around \
             jobs, clock, the programs that jobs use, and who else is to be reached.\n\n\
             `degraded` works, but not as it could; `disabled` is what nobody asked for.",
        )
        .after_help(
            "Run it as the user that runs the master. The settings are those that `danube master` would \
             start with here. Nothing is changed. Exits 1 when something failed.",
        )
        .args(settings_arguments())
        .subcommand(oidc::command(settings_arguments()))
}

/// What says which settings are meant.
fn settings_arguments() -> [Arg; 2] {
    let path = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .value_parser(value_parser!(PathBuf))
    };
    [
        path("config").value_name("FILE").help(
            "Settings file; without it DATA_DIR/danube.toml or /etc/danube/danube.toml, where there is one",
        ),
        path("data-dir").value_name("DIR").help("The data directory to look at"),
    ]
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    if let Some(("oidc", matches)) = matches.subcommand() {
        let (config, mistakes, file) = config::look(&sources(matches));
        let mut found = vec![("settings", settings::settings(&mistakes, file.as_deref()))];
        let email = matches.get_one::<String>("email");
        found.extend(
            config
                .iter()
                .flat_map(|it| oidc::look(it, email.map(String::as_str))),
        );
        return report(&found, screen);
    }
    let (config, mistakes, file) = config::look(&sources(matches));
    let config = config.map(Arc::new);
    let mut found = vec![("settings", settings::settings(&mistakes, file.as_deref()))];
    for (name, look) in &CHECKS {
        let one = match (*look, config.clone()) {
            (Look::Here(look), _) => in_time(look, DEADLINE),
            (Look::With(look), Some(config)) => in_time(move || look(&config), DEADLINE),
            (Look::With(_), None) => Found::unused("the settings can't be used"),
        };
        found.push((name, one));
    }
    report(&found, screen)
}

fn report(found: &[(&str, Found)], screen: &Screen) -> Result<ExitCode, Failure> {
    if screen.is_json() {
        let checks: Vec<_> = found
            .iter()
            .map(|(name, it)| {
                json!({"check": name, "status": it.status.word(), "detail": it.detail, "fix": it.fix})
            })
            .collect();
        screen.json(&json!({"checks": checks}))?;
    } else {
        screen.print(&table(found).render(screen, true))?;
    }
    let is_fine = !found
        .iter()
        .any(|(_, it)| it.status == found::Status::Failed);
    Ok(if is_fine { Exit::Ok } else { Exit::Failed }.into())
}

/// What a check found, or that it found nothing in time. One that hangs ends with us.
fn in_time(look: impl FnOnce() -> Found + Send + 'static, deadline: Duration) -> Found {
    let (sender, answer) = sync_channel(1);
    thread::spawn(move || sender.send(look()));
    answer.recv_timeout(deadline).unwrap_or_else(|_| {
        Found::wrong(
            format!("no answer within {} s", deadline.as_secs()),
            "whatever it asks hangs: look at the kernel's log and at network file systems",
        )
    })
}

/// This process's surroundings, and what the command line names.
fn sources(matches: &ArgMatches) -> Sources {
    let dir = matches.get_one::<PathBuf>("data-dir");
    let flags = dir.map(|dir| ("server.data_dir", vec![OsString::from(dir)]));
    Sources {
        flags: flags.into_iter().collect::<BTreeMap<_, _>>(),
        config: matches.get_one::<PathBuf>("config").cloned(),
        ..Sources::here()
    }
}

fn table(found: &[(&str, Found)]) -> Table {
    let mut table = Table::new(&["CHECK", "STATUS", "DETAIL", "WHAT TO DO"], &[2, 3]);
    for (name, it) in found {
        let word = it.status.word();
        table.row(vec![
            Cell::new(name),
            Cell::new(word).coloured(Colour::of_status(word)),
            Cell::new(&clean(&it.detail)),
            Cell::new(&clean(it.fix.as_deref().unwrap_or_default())),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_hangs_is_told_and_holds_up_no_other() {
        let long = Duration::from_secs(60);
        let found = in_time(|| Found::fine("here"), long);
        assert_eq!(found, Found::fine("here"));
        let hangs = || {
            thread::park();
            Found::fine("late")
        };
        let found = in_time(hangs, Duration::from_millis(20));
        assert_eq!(found.status, found::Status::Failed);
    }
}

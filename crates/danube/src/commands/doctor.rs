//! `danube doctor`: whether this machine has what jobs need, and what to do where it hasn't.

use std::process::{Command as Process, ExitCode, Stdio};

use clap::{ArgMatches, Command};
use danube_signals::{BuildInfo, Limits, Signals};
use serde_json::json;

use crate::config::{self, Config, Sources};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Colour, Screen, Table, clean};

/// What was found. Nothing is changed by looking.
enum Found {
    /// It is there; what.
    Fine(String),
    /// It isn't; why, and what to do.
    Wrong(String, &'static str),
    /// Nobody asked for it.
    Unused(&'static str),
}

/// One thing to look at: another one is another line here and a function below.
const CHECKS: [(&str, Look); 3] = [("ansible", ansible), ("git", git), ("redis", redis)];

/// Looks at one thing.
type Look = fn(&Config) -> Found;

pub(super) fn command() -> Command {
    Command::new("doctor")
        .about("Look whether this machine has what jobs need, and say what to do")
        .after_help(
            "For the machine of a master or of a worker: the settings are those of /etc/danube/danube.toml and \
             variables. Exits 1 when something is wrong.",
        )
}

pub(super) fn perform(_: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let config = config::load(&Sources::here())?;
    let found: Vec<(&str, Found)> = CHECKS
        .iter()
        .map(|(name, look)| (*name, look(&config)))
        .collect();
    let is_fine = !found.iter().any(|it| matches!(it.1, Found::Wrong(..)));
    if screen.is_json() {
        let checks: Vec<_> = found
            .iter()
            .map(|(name, it)| json!({"check": name, "status": it.word(), "detail": it.detail(), "fix": it.fix()}))
            .collect();
        screen.json(&json!({"checks": checks}))?;
    } else {
        screen.print(&table(&found).render(screen, true))?;
    }
    Ok(if is_fine { Exit::Ok } else { Exit::Failed }.into())
}

fn table(found: &[(&str, Found)]) -> Table {
    let mut table = Table::new(&["CHECK", "STATUS", "DETAIL", "WHAT TO DO"], &[2, 3]);
    for (name, it) in found {
        table.row(vec![
            Cell::new(name),
            Cell::new(it.word()).coloured(Colour::of_status(it.word())),
            Cell::new(&clean(&it.detail())),
            Cell::new(it.fix().unwrap_or_default()),
        ]);
    }
    table
}

impl Found {
    /// A word of the health checks.
    fn word(&self) -> &'static str {
        match self {
            Self::Fine(_) => "ok",
            Self::Wrong(..) => "failed",
            Self::Unused(_) => "disabled",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Fine(what) | Self::Wrong(what, _) => what.clone(),
            Self::Unused(why) => (*why).to_owned(),
        }
    }

    fn fix(&self) -> Option<&'static str> {
        match self {
            Self::Wrong(_, fix) => Some(fix),
            Self::Fine(_) | Self::Unused(_) => None,
        }
    }
}

/// Playbooks need it; pipelines don't.
fn ansible(config: &Config) -> Found {
    match danube_ansible::find(&config.settings.steps.path) {
        Ok(version) => Found::Fine(format!("ansible-core {version}")),
        Err(error) => Found::Wrong(
            error.to_string(),
            "install ansible-core, or name its directory in steps.path",
        ),
    }
}

/// The server's own, which clones with the keys of whoever it runs as.
fn git(_: &Config) -> Found {
    let asked = Process::new("git")
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    match asked {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Found::Fine(text.trim().to_owned())
        }
        Ok(output) => Found::Wrong(format!("git --version: {}", output.status), "install git"),
        Err(error) => Found::Wrong(format!("git can't be run: {error}"), "install git"),
    }
}

fn redis(config: &Config) -> Found {
    let Some(address) = &config.settings.queue_url else {
        return Found::Unused("queue.url names none");
    };
    let signals = Signals::new(BuildInfo::default(), Limits::default());
    match danube_queue::ping(address, &signals) {
        Ok(()) => Found::Fine(format!("{address} answers")),
        Err(error) => Found::Wrong(
            format!("{address}: {error}"),
            "start Redis, or mend queue.url; workers ask the master meanwhile",
        ),
    }
}

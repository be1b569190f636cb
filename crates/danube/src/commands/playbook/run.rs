//! `danube playbook run`: a playbook right here, without a server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use danube_model::playbook::{Options, Playbook, Source};
use danube_model::spec::Node;
use danube_model::{Mistake, Mistakes, Order, Task, Trace};
use serde_json::Value;

use super::{asked, inventory, secrets};
use crate::commands::work;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::run::{Here, perform as run_here};
use crate::terminal::Screen;

pub(super) fn command() -> Command {
    let [_, mask, short] = work::args();
    Command::new("run")
        .about("Run a playbook right here, without a server")
        .after_help(
            "With the same redaction and the same log as on a server: what the vault decrypts is in no output. Runs as \
             you, where you are, and exits with the code of ansible-playbook.",
        )
        .arg(
            Arg::new("playbook")
                .value_name("PLAYBOOK")
                .required(true)
                .help("The playbook"),
        )
        .args(asked::args("Inventory: a file, a directory, or hosts with commas (`web1,`)"))
        .args(secrets::args())
        .args([mask, short])
        .arg(
            asked::text("log-dir", "DIR", "Keep the log in this directory")
                .value_parser(value_parser!(PathBuf)),
        )
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let (uses, credentials) = secrets::credentials(matches)?;
    let here = std::env::current_dir().map_err(|error| {
        let why = format!("find the current directory: {error}");
        Failure::new(Exit::Failed, "directory", why)
    })?;
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let playbook = Playbook {
        source: Source::Local {
            path: here.to_string_lossy().into_owned(),
            playbook: text("playbook").unwrap_or_default(),
        },
        inventory: inventory::here(&text("inventory").unwrap_or_default())?,
        credentials: uses,
        extra_vars: asked::extra_vars(matches)?,
        options: checked(&asked::options(matches).into(), "", Options::read)?,
    };
    run_here(Here {
        order: Order {
            task: Task::Playbook(playbook),
            git_ref: None,
            parameters: BTreeMap::new(),
            masks: work::masks(matches)?,
            trace: Trace::default(),
            forge: None,
        },
        credentials,
        log_dir: work::path(matches, "log-dir"),
        screen: screen.clone(),
        is_pipeline: true,
    })
}

/// Checks a part as the server would.
pub(super) fn checked<T>(
    part: &Value,
    name: &str,
    read: impl Fn(Node, &str, &mut Vec<Mistake>) -> Option<T>,
) -> Result<T, Failure> {
    let mut list = Vec::new();
    let node = Node::from_json(part).map_err(|mistake| list.push(mistake));
    let found = node.ok().and_then(|node| read(node, name, &mut list));
    found.filter(|_| list.is_empty()).ok_or_else(|| {
        let mistakes = Mistakes { list, source: None };
        Failure::mistakes(Exit::Usage, mistakes.to_string(), vec![mistakes])
    })
}

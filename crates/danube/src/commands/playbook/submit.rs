//! `danube playbook submit`: hands a playbook to a server.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use danube_api::Submit;
use danube_model::playbook::Use;
use serde_json::{Map, Value};

use super::{asked, inventory, source};
use crate::client::args;
use crate::commands::{follow, submit, work};
use crate::failure::Failure;
use crate::terminal::Screen;

pub(super) fn command() -> Command {
    let [_, mask, short] = work::args();
    let [follow, exit_code] = follow::args();
    Command::new("submit")
        .about("Hand a playbook to the server")
        .after_help(
            "A PLAYBOOK without a source is a file here, and goes along in the request, alone: roles and files beside it \
             don't. With a source it is the playbook's path there, and so is INVENTORY.\n\nPrints the job's id; the job is \
             durable when the id is there. A connection that is lost on the way makes no second job. Secrets are credentials \
             of the server: `danube credential set` keeps one, --credential names it.",
        )
        .override_usage(
            "danube playbook submit [OPTIONS] -i INVENTORY PLAYBOOK\n       \
             danube playbook submit [OPTIONS] -i INVENTORY --repo URL PLAYBOOK\n       \
             danube playbook submit [OPTIONS] -i INVENTORY --role URL",
        )
        .arg(
            Arg::new("playbook")
                .value_name("PLAYBOOK")
                .help("The playbook: its path in the source, or a file here"),
        )
        .args(asked::args(
            "Inventory: its path in the source, hosts with commas (`web1,`), @FILE for a file here, or a URL",
        ))
        .arg(asked::text("inventory-repo", "URL", "Git repository in which INVENTORY is a path"))
        .arg(
            asked::text("inventory-ref", "REF", "Branch, tag or commit of it [default: its own]")
                .requires("inventory-repo"),
        )
        .arg(
            asked::text("inventory-sha256", "HEX", "Checksum that the inventory behind a URL must have")
                .conflicts_with("inventory-repo"),
        )
        .arg(
            asked::text(
                "credential",
                "USE=NAME",
                "Credential of the server, by what it is for: ssh, password, become, vault, git or nexus",
            )
            .action(ArgAction::Append),
        )
        .args([mask, short])
        .args(submit::args())
        // As `ansible-playbook` has it, `-f` says how many forks.
        .args([follow.short('F'), exit_code])
        .args(source::args())
        .args(args())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let (source, is_inline) = source::sent(matches)?;
    let filled = |map: Map<String, Value>| {
        Some(Value::Object(map)).filter(|it| it != &Value::Object(Map::new()))
    };
    let submit = Submit {
        source: Some(source),
        inventory: Some(inventory::sent(matches, is_inline)?),
        credentials: filled(credentials(matches)?),
        extra_vars: filled(asked::extra_vars(matches)?),
        options: filled(asked::options(matches)),
        mask: work::masks(matches)?,
        allow_short_masks: matches.get_flag("allow-short-masks").then_some(true),
        ..Submit::default()
    };
    submit::hand_in(submit, matches, screen)
}

/// The names of credentials by what each is for. What stands in a wrong one isn't repeated:
/// it may be the secret itself.
fn credentials(matches: &ArgMatches) -> Result<Map<String, Value>, Failure> {
    let mut all = Map::new();
    let mut vaults = Vec::new();
    let given = matches.get_many::<String>("credential");
    for given in given.into_iter().flatten() {
        let used = given.split_once('=').filter(|(_, name)| !name.is_empty());
        let found = used.and_then(|(word, name)| {
            let used_as = Use::ALL.into_iter().find(|it| it.as_str() == word)?;
            Some((used_as, name))
        });
        let Some((used_as, name)) = found else {
            let uses = Use::ALL.map(Use::as_str).join(", ");
            let why = format!("--credential takes USE=NAME; a use is one of {uses}");
            return Err(Failure::usage(why).hint("`danube credential list` shows the names"));
        };
        if used_as == Use::Vault {
            vaults.push(Value::from(name));
        } else if all
            .insert(used_as.as_str().to_owned(), name.into())
            .is_some()
        {
            let why = format!(
                "--credential {}=… is given twice; only `vault` may be",
                used_as.as_str()
            );
            return Err(Failure::usage(why));
        }
    }
    if !vaults.is_empty() {
        all.insert(Use::Vault.as_str().to_owned(), vaults.into());
    }
    Ok(all)
}

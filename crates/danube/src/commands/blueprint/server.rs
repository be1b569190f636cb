//! `danube blueprint show|sync`: what a server follows, and a look at it now.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use danube_api::{BlueprintChangeView, BlueprintSynced, BlueprintView};

use super::{LISTED_MAX, count};
use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Colour, Screen, clean};

/// Names of each kind that are listed for people.
const NAMES_MAX: usize = 50;

pub(super) fn commands() -> [Command; 2] {
    [
        Command::new("show")
            .about("Show what the server follows: what is in force, and what is wrong")
            .args(args()),
        Command::new("sync")
            .about("Have the server look at its blueprint now, and wait for what comes of it")
            .args(args()),
    ]
}

pub(super) fn show(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let view = connect(matches, true)?
        .blueprint()
        .map_err(|error| Failure::call("show the blueprint", &error))?;
    if screen.is_json() {
        screen.json(&view)?;
    } else {
        screen.print(&as_text(&view, screen))?;
    }
    Ok(Exit::Ok.into())
}

pub(super) fn sync(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let synced = connect(matches, true)?
        .sync_blueprint()
        .map_err(|error| Failure::call("sync the blueprint", &error))?;
    if screen.is_json() {
        screen.json(&synced)?;
    } else {
        screen.print(&synced_text(&synced, screen))?;
    }
    Ok(Exit::Ok.into())
}

fn as_text(view: &BlueprintView, screen: &Screen) -> String {
    let (Some(url), Some(branch)) = (&view.url, &view.branch) else {
        return "no blueprint is followed: blueprint.url isn't set\n".to_owned();
    };
    let mut text = format!("repository  {} (branch {})\n", clean(url), clean(branch));
    text.push_str(&match (&view.commit, view.synced_at) {
        (Some(commit), Some(at)) => format!("in force    {} since {at}\n", clean(commit)),
        _ => "in force    none was ever taken\n".to_owned(),
    });
    if let Some(at) = view.last_success {
        text.push_str(&format!("last well   {at}\n"));
    }
    if let Some(error) = &view.error {
        let head = format!("wrong       {} (since {})", clean(&error.message), error.at);
        text.push_str(&screen.paint(Colour::Red, &head));
        text.push('\n');
        for it in error.mistakes.iter().take(LISTED_MAX) {
            text.push_str(&format!(
                "  {}: {}\n",
                clean(&it.place()),
                clean(&it.message)
            ));
        }
        if error.mistakes.len() > LISTED_MAX {
            text.push_str(&format!(
                "  and {} more\n",
                error.mistakes.len() - LISTED_MAX
            ));
        }
    }
    for (what, names) in [
        ("pipelines", &view.pipelines),
        ("users", &view.users),
        ("teams", &view.teams),
    ] {
        text.push_str(&format!("{what:<12}{}\n", listed(names)));
    }
    for it in &view.settings {
        let note = match it.in_force {
            true => "",
            false => " (the server's own setting goes before)",
        };
        let line = format!("{} = {}", clean(&it.key), clean(&it.value.to_string()));
        text.push_str(&format!("setting     {line}{note}\n"));
    }
    text
}

fn listed(names: &[String]) -> String {
    let mut all: Vec<String> = names.iter().take(NAMES_MAX).map(|it| clean(it)).collect();
    if names.len() > NAMES_MAX {
        all.push(format!("and {} more", names.len() - NAMES_MAX));
    }
    match all.is_empty() {
        true => "none".to_owned(),
        false => all.join(", "),
    }
}

fn synced_text(synced: &BlueprintSynced, screen: &Screen) -> String {
    let mut text = format!(
        "{}  {}, {}, {} at commit {}\n",
        screen.paint(Colour::Green, "ok"),
        count(synced.pipelines, "pipeline"),
        count(synced.users, "user"),
        count(synced.teams, "team"),
        clean(&synced.commit),
    );
    if synced.changes.is_empty() {
        text.push_str("nothing changed\n");
    }
    for change in synced.changes.iter().take(LISTED_MAX) {
        text.push_str(&changed(change, screen));
    }
    if synced.changes.len() > LISTED_MAX {
        text.push_str(&format!("and {} more\n", synced.changes.len() - LISTED_MAX));
    }
    text
}

fn changed(change: &BlueprintChangeView, screen: &Screen) -> String {
    let (sign, colour) = match change.kind.as_str() {
        "added" => ("+", Colour::Green),
        "removed" => ("-", Colour::Red),
        _ => ("~", Colour::Yellow),
    };
    let line = format!("{sign} {} {}", clean(&change.part), clean(&change.name));
    format!("{}\n", screen.paint(colour, line.trim_end()))
}

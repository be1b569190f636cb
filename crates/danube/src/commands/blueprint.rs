//! `danube blueprint …`: what a git repository declares, checked without a server, and what
//! a server follows.

mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use danube_blueprint::{Blueprint, Change, ChangeKind, changes, read, schemas};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Colour, Screen, clean};

/// Changes that are listed for people; programs get all of them.
const LISTED_MAX: usize = 200;

pub(super) fn command() -> Command {
    let dir = |id: &'static str| {
        Arg::new(id)
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
    };
    Command::new("blueprint")
        .about("Check what a blueprint declares, and what a server follows")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("check")
                .about("Find every mistake of a blueprint, without a server")
                .arg(dir("dir").required(true).help("The top of the repository"))
                .arg(
                    dir("against")
                        .long("against")
                        .help("Also say what changes from the blueprint in this directory"),
                ),
        )
        .subcommand(
            Command::new("schema")
                .about("Write the JSON Schemas of a blueprint's files, for editors")
                .arg(
                    dir("dir")
                        .required(true)
                        .help("Where to; it is made if need be"),
                ),
        )
        .subcommands(server::commands())
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    match matches.subcommand().expect("clap requires one") {
        ("check", matches) => check(matches, screen),
        ("show", matches) => server::show(matches, screen),
        ("sync", matches) => server::sync(matches, screen),
        (_, matches) => write_schemas(given(matches, "dir"), screen),
    }
}

fn given<'a>(matches: &'a ArgMatches, name: &str) -> &'a Path {
    matches.get_one::<PathBuf>(name).expect("clap requires one")
}

fn check(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let new = read_dir(given(matches, "dir"), "the blueprint")?;
    let against = matches.contains_id("against");
    let old = match against {
        true => Some(read_dir(given(matches, "against"), "the other blueprint")?),
        false => None,
    };
    let changes = old.map(|old| changes(&old, &new));
    if screen.is_json() {
        let mut shown = json!({
            "pipelines": new.pipelines.keys().collect::<Vec<_>>(),
            "users": new.users.keys().collect::<Vec<_>>(),
            "teams": new.teams.keys().collect::<Vec<_>>(),
        });
        if let Some(changes) = &changes {
            shown["changes"] = json!(changes);
        }
        screen.json(&shown)?;
    } else {
        screen.print(&as_text(&new, changes.as_deref(), screen))?;
    }
    Ok(Exit::Ok.into())
}

fn read_dir(dir: &Path, what: &str) -> Result<Blueprint, Failure> {
    let is_dir = std::fs::metadata(dir).map(|it| it.is_dir());
    match is_dir {
        Ok(true) => {}
        Ok(false) => {
            let message = format!("{} isn't a directory", dir.display());
            return Err(Failure::usage(message).hint("name the top of the repository"));
        }
        Err(error) => return Err(Failure::usage(format!("read {}: {error}", dir.display()))),
    }
    read(dir).map_err(|wrong| {
        let message = match wrong.len() {
            1 => format!("{what} is wrong"),
            files => format!("{what} is wrong in {files} files"),
        };
        Failure::mistakes(Exit::Failed, message, wrong)
    })
}

/// How many there are of each, and what changes.
pub(super) fn as_text(new: &Blueprint, changes: Option<&[Change]>, screen: &Screen) -> String {
    let mut text = format!(
        "{}  {}, {}, {}\n",
        screen.paint(Colour::Green, "ok"),
        count(new.pipelines.len() as u64, "pipeline"),
        count(new.users.len() as u64, "user"),
        count(new.teams.len() as u64, "team"),
    );
    let Some(changes) = changes else {
        return text;
    };
    if changes.is_empty() {
        text.push_str("nothing changes\n");
    }
    for change in changes.iter().take(LISTED_MAX) {
        let (sign, colour) = match change.kind {
            ChangeKind::Added => ("+", Colour::Green),
            ChangeKind::Changed => ("~", Colour::Yellow),
            ChangeKind::Removed => ("-", Colour::Red),
        };
        let line = format!("{sign} {} {}", change.part.as_str(), clean(&change.name));
        text.push_str(&screen.paint(colour, line.trim_end()));
        text.push('\n');
    }
    if changes.len() > LISTED_MAX {
        text.push_str(&format!("and {} more\n", changes.len() - LISTED_MAX));
    }
    text
}

fn count(many: u64, one: &str) -> String {
    match many {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    }
}

fn write_schemas(dir: &Path, screen: &Screen) -> Result<ExitCode, Failure> {
    let failed = |error: std::io::Error| {
        let message = format!("write to {}: {error}", dir.display());
        Failure::new(Exit::Failed, "write", message)
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut files = Vec::new();
    for schema in schemas() {
        let path = dir.join(schema.file);
        std::fs::write(&path, format!("{:#}\n", schema.schema)).map_err(failed)?;
        files.push(path.display().to_string());
    }
    if screen.is_json() {
        screen.json(&json!({ "files": files }))?;
    } else {
        let lines: Vec<String> = files.iter().map(|it| format!("{}\n", clean(it))).collect();
        screen.print(&lines.concat())?;
    }
    Ok(Exit::Ok.into())
}

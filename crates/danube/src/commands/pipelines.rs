//! `danube pipelines list`: what can be submitted by name, and what each asks for. `danube pipelines
//! check`: finds the mistakes of pipeline files, without a server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use danube_api::ParameterView;
use danube_model::spec::{Pipeline, parse_file};
use danube_model::{Mistake, Mistakes, Source};
use serde_json::json;

use super::work::read_file;
use crate::client::{args, connect};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Colour, Screen, Table, clean};

/// Endings of pipeline files; the server reads the same.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

pub(super) fn command() -> Command {
    Command::new("pipelines")
        .about("List the pipelines of a server, check pipeline files")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("list")
                .about("List what can be submitted by name, with its parameters: `!` has to be given, `*` is secret")
                .args(args()),
        )
        .subcommand(
            Command::new("check")
                .about("Find every mistake of pipeline files, without a server")
                .arg(
                    Arg::new("path")
                        .value_name("FILE|DIR")
                        .required(true)
                        .num_args(1..)
                        .value_parser(value_parser!(PathBuf))
                        .help("Files, or directories of files (*.yaml, *.yml, *.json)"),
                ),
        )
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let (name, matches) = matches.subcommand().expect("clap requires one");
    if name == "list" {
        return list(matches, screen);
    }
    let given = matches
        .get_many::<PathBuf>("path")
        .expect("clap requires one");
    let mut files = Vec::new();
    for path in given {
        files.extend(files_at(path)?);
    }
    let mut check = Check::default();
    for file in &files {
        check.file(file);
    }
    if screen.is_json() {
        let good = check
            .good
            .iter()
            .map(|(file, it)| json!({"file": file, "pipeline": it.name, "steps": it.steps.len()}));
        screen.json(&json!({ "files": files.len(), "good": good.collect::<Vec<_>>() }))?;
    } else {
        screen.print(&check.as_text(screen))?;
    }
    if check.wrong.is_empty() {
        return Ok(Exit::Ok.into());
    }
    let message = match (check.wrong.len(), files.len()) {
        (1, 1) => "the file is wrong".to_owned(),
        (wrong, all) => format!("{wrong} of {all} files are wrong"),
    };
    Err(Failure::mistakes(Exit::Failed, message, check.wrong))
}

fn list(matches: &ArgMatches, screen: &Screen) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    let found = client.pipelines();
    let found = found.map_err(|error| Failure::call("list pipelines", &error))?;
    if screen.is_json() {
        screen.json(&found)?;
        return Ok(Exit::Ok.into());
    }
    let mut table = Table::new(&["PIPELINE", "FROM", "PARAMETERS"], &[1, 2]);
    for it in &found.pipelines {
        let declared = it.parameters.iter().flatten();
        let parameters: Vec<String> = declared.map(|(name, it)| shown(name, it)).collect();
        let parameters = match it.parameters {
            Some(_) => parameters.join(" "),
            None => "any".to_owned(),
        };
        table.row(vec![
            Cell::new(&it.name),
            Cell::new(&it.file),
            Cell::new(&parameters),
        ]);
    }
    screen.print(&table.render(screen, true))?;
    Ok(Exit::Ok.into())
}

/// `LEVEL=1`, `WHERE!=eu|us` where somebody has to say it, `TOKEN*!` where it is secret.
fn shown(name: &str, it: &ParameterView) -> String {
    let mut text = name.to_owned();
    if it.secret {
        text.push('*');
    }
    if it.required {
        text.push('!');
    }
    let of = match (&it.default, it.choices.as_slice(), &*it.kind) {
        (_, choices @ [_, ..], _) => choices.join("|"),
        (Some(default), ..) => default.clone(),
        (None, _, "text") => return text,
        (None, _, kind) => kind.to_owned(),
    };
    format!("{text}={of}")
}

/// A file itself, or the pipeline files of a directory in the order of their names.
fn files_at(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let read = |error: std::io::Error| Failure::usage(format!("read {}: {error}", path.display()));
    if !std::fs::metadata(path).map_err(read)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(read)?;
    let paths = entries
        .map(|it| it.map(|it| it.path()))
        .collect::<Result<Vec<_>, _>>();
    let mut files = paths.map_err(read)?;
    files.retain(|it| {
        it.extension()
            .is_some_and(|it| ENDINGS.iter().any(|known| it == *known))
    });
    files.sort();
    if files.is_empty() {
        let message = format!("there are no pipeline files in {}", path.display());
        return Err(Failure::usage(message).hint("their names end in .yaml, .yml or .json"));
    }
    Ok(files)
}

#[derive(Default)]
struct Check {
    good: Vec<(String, Pipeline)>,
    wrong: Vec<Mistakes>,
    /// Which file has a name.
    names: BTreeMap<String, String>,
}

impl Check {
    fn file(&mut self, path: &Path) {
        let name = path.display().to_string();
        let text = match read_file(path) {
            Ok(text) => text,
            Err(why) => {
                let source = Source {
                    name,
                    text: String::new(),
                };
                return self.refuse(source, "file.read", &why, None);
            }
        };
        let pipeline = match parse_file(&name, &text) {
            Ok(pipeline) => pipeline,
            Err(mistakes) => return self.wrong.push(mistakes),
        };
        if let Some(other) = self.names.insert(pipeline.name.clone(), name.clone()) {
            let message = format!(
                "`{}` is the name of the pipeline in {other} already",
                pipeline.name
            );
            let help = "the names of pipelines differ from each other";
            return self.refuse(
                Source { name, text },
                "pipeline.name_twice",
                &message,
                Some(help),
            );
        }
        self.good.push((name, pipeline));
    }

    fn refuse(&mut self, source: Source, code: &'static str, message: &str, help: Option<&str>) {
        let mistake = Mistake {
            code,
            pointer: String::new(),
            at: None,
            message: message.to_owned(),
            help: help.map(str::to_owned),
        };
        self.wrong.push(Mistakes {
            list: vec![mistake],
            source: Some(source),
        });
    }

    fn as_text(&self, screen: &Screen) -> String {
        let ok = screen.paint(Colour::Green, "ok");
        let line = |(file, it): &(String, Pipeline)| {
            let steps = match it.steps.len() {
                1 => "1 step".to_owned(),
                count => format!("{count} steps"),
            };
            format!("{ok}  {}  {}, {steps}\n", clean(file), clean(&it.name))
        };
        self.good.iter().map(line).collect()
    }
}

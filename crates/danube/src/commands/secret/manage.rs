//! `danube secret set|list|delete`: what pipelines may have.
//!
//! A value comes from a file or from standard input: an argument can be read by every user
//! of the machine.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use danube_api::client::Client;
use danube_api::{NewSecret, SecretView};

use crate::client::{args, connect};
use crate::commands::credential::value;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Cell, Screen, Table, clean};

pub(super) fn commands() -> [Command; 3] {
    let name = || Arg::new("name").value_name("NAME").required(true);
    let pipeline = |help: &'static str| {
        Arg::new("pipeline")
            .long("pipeline")
            .value_name("PIPELINE")
            .help(help)
    };
    [
        Command::new("set")
            .about("Make a secret, or give it another value")
            .after_help(
                "The value is read from standard input, or from a file; one of a single line loses the line ends behind it. \
                 A pipeline gets it by naming it: `secrets: [NAME]`, and in a step `secrets: {VARIABLE: NAME}`. What a job \
                 was given stays as it is until that job ends.",
            )
            .arg(name().help("Its name: letters, digits and `-_.`"))
            .arg(pipeline(
                "The only pipeline that may have it [default: every one that names it]",
            ))
            .arg(
                Arg::new("from-file")
                    .long("from-file")
                    .value_name("FILE")
                    .value_parser(value_parser!(PathBuf))
                    .help("Take the value from this file [default: standard input]"),
            )
            .args(args()),
        Command::new("list")
            .about("List the names of secrets; values never come back")
            .args(args()),
        Command::new("delete")
            .about("Forget a secret; a job that asks for it fails from now on")
            .arg(name().help("Its name"))
            .arg(pipeline("The pipeline that it was set for [default: all]"))
            .args(args()),
    ]
}

pub(super) fn perform(
    verb: &str,
    matches: &ArgMatches,
    screen: &Screen,
) -> Result<ExitCode, Failure> {
    let client = connect(matches, true)?;
    if verb == "list" {
        list(&client, screen)?;
        return Ok(Exit::Ok.into());
    }
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let name = text("name").expect("clap requires it");
    let pipeline = text("pipeline");
    let (done, what) = if verb == "set" {
        let value = match matches.get_one::<PathBuf>("from-file") {
            Some(path) => value::from_file(path)?,
            None => value::from_input("--from-file FILE takes it from a file")?,
        };
        let new = NewSecret {
            value: trimmed(value),
        };
        (client.put_secret(name, pipeline, &new), "set")
    } else {
        (client.delete_secret(name, pipeline), "deleted")
    };
    let view = done.map_err(|error| {
        let verb = if what == "set" { "set" } else { "delete" };
        Failure::call(&format!("{verb} secret {}", clean(name)), &error)
    })?;
    told(&view, what, screen)?;
    Ok(Exit::Ok.into())
}

/// Editors and `echo` leave a line end behind a password; the last one of a key belongs to it.
fn trimmed(text: String) -> String {
    let has_lines = text.trim_end_matches(['\n', '\r']).contains('\n');
    if has_lines {
        text
    } else {
        value::one_line(text)
    }
}

fn told(view: &SecretView, what: &str, screen: &Screen) -> Result<(), Failure> {
    if screen.is_json() {
        return screen.json(view);
    }
    let of = view.pipeline.as_ref();
    let of = of.map_or_else(
        || "all pipelines".to_owned(),
        |it| format!("pipeline {}", clean(it)),
    );
    let name = clean(&view.name);
    screen.print(&format!("{what} {name} ({of}), version {}\n", view.version))
}

fn list(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let list = client
        .secrets()
        .map_err(|error| Failure::call("list secrets", &error))?;
    if screen.is_json() {
        return screen.json(&list);
    }
    let mut table = Table::new(
        &["NAME", "PIPELINE", "VERSION", "UPDATED", "LAST USED"],
        &[0, 1],
    );
    for one in &list.secrets {
        let used = one.last_used_at.map(|it| it.to_string());
        table.row(vec![
            Cell::new(&one.name),
            Cell::new(one.pipeline.as_deref().unwrap_or("-")),
            Cell::new(&one.version.to_string()),
            Cell::new(&one.updated_at.to_string()),
            Cell::new(&used.unwrap_or_default()),
        ]);
    }
    screen.print(&table.render(screen, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_loses_its_line_end_and_a_key_keeps_it() {
        assert_eq!(trimmed("abc\r\n".into()), "abc");
        assert_eq!(trimmed("a\nb\n".into()), "a\nb\n");
    }
}

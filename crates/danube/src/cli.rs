//! The command line: which command was asked for, with which arguments.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command};

use crate::commands::{GROUPS, Task, VERBS};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Format, Screen};

/// Columns of help texts: longer lines are hard to read.
const HELP_COLUMNS_MAX: usize = 100;

/// Options of every command stand behind the command's own.
const OPTION_ORDER_LAST: usize = 900;

/// How every command can tell what it has to.
pub(crate) const FORMATS: [&str; 2] = ["text", "json"];

/// A command that can be performed.
pub(crate) struct Asked {
    /// What it does.
    pub(crate) task: Task,
    /// Its own arguments.
    pub(crate) matches: ArgMatches,
    /// Where it writes, and how.
    pub(crate) screen: Screen,
}

/// Understands the command line. Else says why not, or prints what was asked
/// for (help, version), and returns the exit code.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Asked, ExitCode> {
    let words: Vec<OsString> = words.into_iter().collect();
    let matches = match command().try_get_matches_from(&words) {
        Ok(matches) => matches,
        Err(error) => return Err(answer(&error, &Screen::new(asked_format(&words)))),
    };
    let json = matches
        .get_one::<String>("output")
        .is_some_and(|it| it == "json");
    let screen = Screen::new(if json { Format::Json } else { Format::Text });
    let (name, matches) = matches.subcommand().expect("clap requires a command");
    let verb = VERBS.iter().find(|it| (it.command)().get_name() == name);
    Ok(Asked {
        task: verb.expect("clap knows only our commands").task,
        matches: matches.clone(),
        screen,
    })
}

/// The whole command line.
pub(crate) fn command() -> Command {
    let output = Arg::new("output")
        .long("output")
        .short('o')
        .value_name("FORMAT")
        .value_parser(PossibleValuesParser::new(FORMATS))
        .default_value("text")
        .hide_default_value(true)
        .hide_possible_values(true)
        .global(true)
        .display_order(OPTION_ORDER_LAST)
        .help("text, or json for programs [default: text]");
    Command::new("danube")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Danube runs jobs and shows what they do.")
        .override_usage("danube [OPTIONS] COMMAND")
        .help_template("{about}\n\n{usage-heading} {usage}{after-help}\n\nOptions:\n{options}")
        .after_help(groups())
        .max_term_width(HELP_COLUMNS_MAX)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .arg(output)
        .subcommands(VERBS.iter().map(|verb| (verb.command)()))
}

/// The list of commands by what they are for.
fn groups() -> String {
    let commands: Vec<(&str, Command)> =
        VERBS.iter().map(|it| (it.group, (it.command)())).collect();
    let longest = commands
        .iter()
        .map(|(_, it)| it.get_name().len())
        .max()
        .unwrap_or(0);
    let groups = GROUPS.iter().map(|group| {
        let own = commands.iter().filter(|(of, _)| of == group);
        let lines = own.map(|(_, it)| {
            let about = it.get_about().map(ToString::to_string).unwrap_or_default();
            format!("  {:longest$}  {about}", it.get_name())
        });
        format!("{group}:\n{}", lines.collect::<Vec<_>>().join("\n"))
    });
    let list = groups.collect::<Vec<_>>().join("\n\n");
    format!("{list}\n\n`danube COMMAND --help` tells more.")
}

/// Prints what clap has to say.
fn answer(error: &clap::Error, screen: &Screen) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let colours = screen.out_is_terminal && screen.takes_colours();
            let printed = screen.print(&rendered(error, colours));
            printed.map_or_else(|failure| failure.tell(screen), |()| Exit::Ok.into())
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if screen.is_json() => {
            Failure::usage("a command is missing")
                .hint("`danube --help` lists them")
                .tell(screen)
        }
        _ if screen.is_json() => {
            let text = error.render().to_string();
            // The first paragraph; what follows is usage and advice.
            let said = text.lines().take_while(|line| !line.is_empty());
            let said = said.map(str::trim).collect::<Vec<_>>().join(" ");
            let message = said.strip_prefix("error: ").unwrap_or(&said);
            Failure::usage(message)
                .hint("`danube COMMAND --help` tells what there is")
                .tell(screen)
        }
        _ => {
            let text = rendered(error, screen.err_colours());
            // One word for the same thing in every message.
            screen.error(&text.replace("tip:", "hint:"));
            Exit::Usage.into()
        }
    }
}

fn rendered(error: &clap::Error, colours: bool) -> String {
    let text = error.render();
    if colours {
        text.ansi().to_string()
    } else {
        text.to_string()
    }
}

/// The format that a command line asks for which clap doesn't understand.
fn asked_format(words: &[OsString]) -> Format {
    let words: Vec<&str> = words
        .iter()
        .map_while(|it| it.to_str().filter(|it| *it != "--"))
        .collect();
    let is_json = words
        .windows(2)
        .any(|it| matches!(it[0], "--output" | "-o") && it[1] == "json")
        || words
            .iter()
            .any(|it| matches!(*it, "--output=json" | "-ojson" | "-o=json"));
    if is_json { Format::Json } else { Format::Text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        command().debug_assert();
        for verb in VERBS {
            assert!(GROUPS.contains(&verb.group));
        }
    }

    #[test]
    fn a_wrong_command_line_still_knows_who_reads_the_answer() {
        let format =
            |text: &str| asked_format(&text.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(format("danube jobz --output json"), Format::Json);
        assert_eq!(format("danube -o=json"), Format::Json);
        assert_eq!(format("danube run --bad -- x --output json"), Format::Text);
    }

    /// The `danube …` commands in a page, as words: in code, up to a pipe or a comment.
    fn commands_of(page: &str) -> Vec<Vec<String>> {
        let mut fenced = false;
        let mut found = Vec::new();
        for line in page.lines() {
            if line.starts_with("```") {
                fenced = !fenced;
            }
            // Every second piece between backticks is code.
            let code: Vec<&str> = if fenced {
                vec![line]
            } else {
                line.split('`').skip(1).step_by(2).collect()
            };
            for code in code.into_iter().filter(|it| it.starts_with("danube ")) {
                let mut quoted = code.split('\'').enumerate();
                let mut words: Vec<String> = Vec::new();
                // Every second piece between quotes is one word.
                for (at, piece) in quoted.by_ref() {
                    if at % 2 == 1 {
                        words.push(piece.to_owned());
                        continue;
                    }
                    let ended = piece.find(['|', '#', '&']);
                    let piece = &piece[..ended.unwrap_or(piece.len())];
                    words.extend(piece.split_whitespace().map(str::to_owned));
                    if ended.is_some() {
                        break;
                    }
                }
                found.push(words);
            }
        }
        found
    }

    #[test]
    fn every_command_in_an_alert_s_page_can_be_typed() {
        for alert in danube_signals::alerts(danube_signals::Expected::default()) {
            let commands = commands_of(alert.page());
            assert!(!commands.is_empty(), "{}", alert.name);
            for mut words in commands {
                // The only place holder that has to look like something.
                for word in words.iter_mut().filter(|it| *it == "TIME") {
                    "2026-01-31T12:00:00Z".clone_into(word);
                }
                let parsed = command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{}: {words:?}: {parsed:?}", alert.name);
            }
        }
    }

    #[test]
    fn commands_are_found_in_code_alone() {
        let page = "danube no\n`danube jobs` and `danube a`\n```sh\ndanube logs J --search 'a|b' -i | tail # x\n```\n";
        assert_eq!(
            commands_of(page),
            [
                vec!["danube", "jobs"],
                vec!["danube", "a"],
                vec!["danube", "logs", "J", "--search", "a|b", "-i"],
            ]
        );
    }
}

//! The options that `ansible-playbook` has, too: shared by `run` and `submit`.

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use danube_model::limits::DURATION_SECONDS_MAX;
use serde_json::{Map, Value, json};

use super::file;
use crate::commands::work;
use crate::failure::Failure;

/// An argument with a value.
pub(super) fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn flag(name: &'static str, short: char, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .short(short)
        .action(ArgAction::SetTrue)
        .help(help)
}

/// `-i`, `-e`, `-t` and their like, in this order.
pub(super) fn args(inventory: &'static str) -> [Arg; 10] {
    [
        text("inventory", "INVENTORY", inventory)
            .short('i')
            .required(true),
        text(
            "extra-vars",
            "NAME=VALUE",
            "Variable that wins over all others; NAME alone takes its value from this environment, @FILE and {…} are YAML or JSON",
        )
        .short('e')
        .action(ArgAction::Append),
        text("tags", "TAGS", "Only what has one of these tags")
            .short('t')
            .action(ArgAction::Append),
        text("skip-tags", "TAGS", "Not what has one of these tags").action(ArgAction::Append),
        text("limit", "PATTERN", "Only hosts that fit").short('l'),
        flag("check", 'C', "Change nothing; say what would change"),
        flag("diff", 'D', "Show what changes in files"),
        Arg::new("verbose")
            .short('v')
            .action(ArgAction::Count)
            .help("Say more; up to four times"),
        text("forks", "COUNT", "Hosts at once")
            .short('f')
            .value_parser(value_parser!(u32).range(1..)),
        text("timeout", "SECONDS", "Stop after so many seconds")
            .value_parser(value_parser!(u64).range(1..=DURATION_SECONDS_MAX)),
    ]
}

/// The `options` of a job; what wasn't given is left out.
pub(super) fn options(matches: &ArgMatches) -> Map<String, Value> {
    let all = json!({
        "tags": tags(matches, "tags"),
        "skip_tags": tags(matches, "skip-tags"),
        "limit": matches.get_one::<String>("limit"),
        "check": matches.get_flag("check").then_some(true),
        "diff": matches.get_flag("diff").then_some(true),
        "verbosity": Some(matches.get_count("verbose")).filter(|it| *it > 0),
        "forks": matches.get_one::<u32>("forks"),
        "timeout_seconds": matches.get_one::<u64>("timeout"),
    });
    without_nulls(all)
}

fn tags(matches: &ArgMatches, name: &str) -> Option<Vec<String>> {
    let all = matches.get_many::<String>(name)?;
    let words = all.flat_map(|it| it.split(','));
    Some(words.map(|it| it.trim().to_owned()).collect())
}

/// An object's fields that are there.
pub(super) fn without_nulls(object: Value) -> Map<String, Value> {
    let Value::Object(mut fields) = object else {
        unreachable!("it is written as one");
    };
    fields.retain(|_, value| !value.is_null());
    fields
}

/// All variables; of those with one name the last counts.
pub(super) fn extra_vars(matches: &ArgMatches) -> Result<Map<String, Value>, Failure> {
    let mut all = Map::new();
    let given = matches.get_many::<String>("extra-vars");
    for given in given.into_iter().flatten() {
        if let Some(path) = given.strip_prefix('@') {
            all.extend(file::variables(path.as_ref(), "--extra-vars")?);
        } else if given.trim_start().starts_with('{') {
            let name = "--extra-vars";
            let map = file::map(&file::parse(given, name)?, name, "a map of variables")?;
            all.extend(map);
        } else {
            let (name, value) = work::assignment(given, "extra-vars")?;
            all.insert(name, value.into());
        }
    }
    Ok(all)
}

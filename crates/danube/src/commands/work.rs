//! What a person asks to be run: a file or a command, with parameters, and
//! values to keep out of the output. Shared by `run` and `submit`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use danube_model::limits::FILE_BYTES_MAX;
use danube_model::spec::{
    Limits, Pipeline, Queueing, Shell, Step, is_name, is_variable_name, parse_file,
};

use crate::exit::Exit;
use crate::failure::Failure;

/// Seconds that a command may take: as long as any job may. Whoever gave a
/// command watches it, or says how long.
const COMMAND_SECONDS: u64 = danube_model::limits::JOB_DURATION_SECONDS_DEFAULT;

/// The name of a job whose command has no name that fits.
const COMMAND_NAME: &str = "command";

/// `-- CMD…`
pub(super) fn command_arg() -> Arg {
    Arg::new("command")
        .value_name("CMD")
        .help("A command and its arguments, run as a job of one step")
        .value_parser(value_parser!(OsString))
        .num_args(1..)
        .last(true)
}

/// `--param`, `--mask-env` and `--allow-short-masks`
pub(super) fn args() -> [Arg; 3] {
    let one = |name: &'static str| Arg::new(name).long(name).action(ArgAction::Append);
    [
        one("param")
            .value_name("NAME=VALUE")
            .help("Parameter, given to the steps as DANUBE_PARAM_NAME; NAME alone takes its value from this environment"),
        one("mask-env")
            .value_name("NAME")
            .help("Keep the value of this variable out of the output"),
        Arg::new("allow-short-masks")
            .long("allow-short-masks")
            .action(ArgAction::SetTrue)
            .requires("mask-env")
            .help("Take values of 6 and 7 characters too; they will hide other text"),
    ]
}

/// The parameters.
pub(super) fn parameters(matches: &ArgMatches) -> Result<BTreeMap<String, String>, Failure> {
    Ok(assignments(matches, "param")?.into_iter().collect())
}

/// `NAME=VALUE`, or `NAME` for what this environment says.
pub(super) fn assignments(
    matches: &ArgMatches,
    id: &str,
) -> Result<Vec<(String, String)>, Failure> {
    let given = matches.get_many::<String>(id).into_iter().flatten();
    given.map(|it| assignment(it, id)).collect()
}

/// One of them; `id` is the flag that it was given with.
pub(super) fn assignment(text: &str, id: &str) -> Result<(String, String), Failure> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => (text, variable(text, id)?),
    };
    if !is_variable_name(name) {
        let message = format!(
            "--{id}: `{}` can't be the name of a variable",
            name.escape_debug()
        );
        return Err(
            Failure::usage(message).hint("letters, digits and `_`, not beginning with a digit")
        );
    }
    Ok((name.to_owned(), value))
}

/// The values to keep out of the output. They come from the environment: an
/// argument can be read by every user of the machine.
pub(super) fn masks(matches: &ArgMatches) -> Result<Vec<String>, Failure> {
    let names = matches.get_many::<String>("mask-env").into_iter().flatten();
    names.map(|name| variable(name, "mask-env")).collect()
}

fn variable(name: &str, flag: &str) -> Result<String, Failure> {
    let refuse = |why: &str| Failure::usage(format!("--{flag} {}: {why}", name.escape_debug()));
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Err(refuse("the variable is empty")),
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => {
            Err(refuse("there is no such variable in this environment"))
        }
        Err(std::env::VarError::NotUnicode(_)) => Err(refuse("its value isn't valid UTF-8")),
    }
}

/// The pipeline in a file, or every mistake of the file.
pub(super) fn pipeline_in(path: &Path) -> Result<Pipeline, Failure> {
    let name = path.display().to_string();
    let text = read_file(path).map_err(|why| Failure::usage(format!("read {name}: {why}")))?;
    parse_file(&name, &text)
        .map_err(|mistakes| Failure::mistakes(Exit::Usage, mistakes.to_string(), vec![mistakes]))
}

/// A file's text; no more of it than a pipeline may have.
pub(super) fn read_file(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    // One byte more: then the parser says that it is too large.
    let mut bounded = file.take(FILE_BYTES_MAX as u64 + 1);
    bounded
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("it is larger than {FILE_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it isn't valid UTF-8".to_owned())
}

/// A path argument.
pub(super) fn path(matches: &ArgMatches, id: &str) -> Option<PathBuf> {
    matches.get_one::<PathBuf>(id).cloned()
}

/// The words of `-- CMD…`.
pub(super) fn command_words(matches: &ArgMatches) -> Option<Result<Vec<String>, Failure>> {
    let words = matches.get_many::<OsString>("command")?;
    let text = |word: &OsString| {
        word.to_str()
            .map(str::to_owned)
            .ok_or_else(|| Failure::usage(format!("`{}` isn't valid UTF-8", word.display())))
    };
    Some(words.map(text).collect())
}

/// A command as a pipeline of one step.
pub(super) fn pipeline_of(words: &[String]) -> Pipeline {
    let program = words.first().map_or("", String::as_str);
    let base = program.rsplit('/').next().unwrap_or_default();
    let name = if is_name(base) { base } else { COMMAND_NAME };
    let run: Vec<String> = words.iter().map(|it| quoted(it)).collect();
    Pipeline {
        name: name.to_owned(),
        repository: None,
        git_ref: None,
        max_duration_seconds: COMMAND_SECONDS,
        parameters: None,
        env: BTreeMap::new(),
        shell: Shell::Sh,
        retry_on_lost: true,
        limits: Limits::default(),
        secrets: BTreeSet::new(),
        queueing: Queueing::default(),
        steps: vec![Step {
            name: name.to_owned(),
            run: run.join(" "),
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            shell: None,
            timeout_seconds: None,
            continue_on_error: false,
            artifacts: Vec::new(),
            coordinates: false,
        }],
    }
}

/// A word as a POSIX shell reads it back; plain words stay as they are.
fn quoted(word: &str) -> String {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"_-./:,+@%".contains(&it);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use danube_model::spec::{Node, read_request};

    #[test]
    fn a_command_reaches_the_shell_word_by_word() {
        let words = ["/bin/echo", "a b", "it's", "$HOME", "", "x;y", "=z"].map(String::from);
        let pipeline = pipeline_of(&words);
        assert_eq!(pipeline.name, "echo");
        let output = std::process::Command::new("/bin/sh")
            .args([
                "-c",
                &pipeline.steps[0]
                    .run
                    .replacen("/bin/echo", "printf '%s|'", 1),
            ])
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "a b|it's|$HOME||x;y|=z|"
        );
        assert_eq!(pipeline_of(&["[".into()]).name, "command");
    }

    #[test]
    fn what_is_submitted_is_what_was_checked() {
        let text = "apiVersion: danube.dev/v1\nkind: Pipeline\nmetadata: {name: p}\nspec:\n  repository: file:///r\n  \
                    parameters: {A: b}\n  limits: {cpu_cores: 2, memory_bytes: 4096}\n  steps:\n    - {name: s, run: 'x', \
                    shell: bash, timeout_seconds: 4}\n";
        let pipelines = [
            parse_file("p", text).unwrap(),
            pipeline_of(&["true".into()]),
        ];
        for pipeline in pipelines {
            let json = serde_json::to_value(&pipeline).unwrap();
            let mut mistakes = Vec::new();
            let read = read_request(Node::from_json(&json).unwrap(), "/spec", &mut mistakes);
            assert_eq!(mistakes, []);
            assert_eq!(read, Some(pipeline));
        }
    }
}

//! The settings of the server: one table, four sources, one check.
//!
//! [`table::ROWS`] has one row an option. The flags of `danube master`, the
//! reader of `danube.toml`, the variables, `danube config show|default` and
//! `docs/configuration.md` are all made from it.
//!
//! ```text
//! flags ┐
//! environment ├─▶ sources::resolve ─▶ Resolved (as typed, with origins) ─▶ check::check ─▶ Config (can't be wrong)
//! file ┘
//! ```

mod check;
mod collector;
mod file;
mod print;
mod repository;
mod row;
mod rules;
mod sections;
mod size;
mod sources;
mod table;
mod value;

use std::path::PathBuf;
use std::time::Duration;

use danube_master::Settings;
use danube_model::{Mistake, Mistakes};
use danube_redact::Rules;
use danube_telemetry::otlp::Endpoint;

pub(crate) use print::{as_default_file, as_text, as_view, running_as_text};
pub(crate) use sources::{Resolved, Sources, data_dir, flags};
pub(crate) use value::url as server_url;

use crate::exit::Exit;
use crate::failure::Failure;

/// Checked settings: they can't be wrong any more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// What the master is told.
    pub(crate) settings: Settings,
    /// What is taken out of the server log, beside e-mail addresses.
    pub(crate) rules: Rules,
    /// Which events the server log has, as `danube_telemetry` reads it.
    pub(crate) log_level: String,
    /// What the server log looks like.
    pub(crate) log_format: LogFormat,
    /// What goes to a collector, if there is one.
    pub(crate) export: Option<Export>,
    /// What the settings hold that must not be seen.
    pub(crate) secrets: Vec<String>,
}

/// What goes to a collector.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Export {
    /// The collector.
    pub(crate) endpoint: Endpoint,
    /// The metrics, so often.
    pub(crate) metrics: Option<Duration>,
    /// The server's log.
    pub(crate) logs: bool,
    /// The logs of jobs.
    pub(crate) job_logs: bool,
    /// Spans.
    pub(crate) traces: bool,
}

/// What the server log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// JSON lines.
    Json,
    /// For people.
    Text,
}

/// Reads and checks all sources.
pub(crate) fn load(sources: &Sources) -> Result<Config, Failure> {
    Ok(load_with_origins(sources)?.0)
}

/// The level of the server's log as the sources say it now, which may be other files
/// than at the start; or in one line what is wrong with them.
pub(crate) fn log_level(sources: &Sources) -> Result<String, String> {
    let (resolved, mut mistakes) = sources::resolve(sources);
    let config = check::check(&resolved, sources.demo, &mut mistakes);
    match (config, mistakes.first()) {
        (Some(config), None) => Ok(config.log_level),
        (_, first) => Err(first.map_or_else(
            || "a setting is missing".to_owned(),
            |it| format!("{}: {}", it.pointer, it.message),
        )),
    }
}

/// The settings as far as they can be used, all mistakes in them, each in a line, and the
/// file that they came from: for whoever looks at more than the settings.
pub(crate) fn look(sources: &Sources) -> (Option<Config>, Vec<String>, Option<PathBuf>) {
    let (resolved, mut mistakes) = sources::resolve(sources);
    let config = check::check(&resolved, sources.demo, &mut mistakes);
    let said = mistakes.iter().map(|it| {
        let place = it.at.map(|at| format!("line {}", at.line));
        let place = place.unwrap_or_else(|| it.pointer.clone());
        let help = it.help.as_ref().map(|it| format!(" ({it})"));
        format!("{place}: {}{}", it.message, help.unwrap_or_default())
    });
    (config, said.collect(), resolved.file)
}

/// The same with what was found where, for `danube config show`.
pub(crate) fn load_with_origins(sources: &Sources) -> Result<(Config, Resolved), Failure> {
    let (resolved, mut mistakes) = sources::resolve(sources);
    let config = check::check(&resolved, sources.demo, &mut mistakes);
    match config {
        Some(config) if mistakes.is_empty() => Ok((config, resolved)),
        _ => Err(failure(mistakes, resolved)),
    }
}

/// What is taken out of the log of a job that runs here without a server: the
/// same as on a server with these sources. Of their mistakes only those count
/// that may have to do with it; a log with less taken out would be the worse
/// answer.
pub(crate) fn redaction(sources: &Sources) -> Result<Rules, Failure> {
    let (resolved, mut mistakes) = sources::resolve(sources);
    let said = ["redaction.", "/redaction", "DANUBE_REDACTION_"];
    mistakes.retain(|it| {
        it.code.starts_with("file.") || said.iter().any(|said| it.pointer.starts_with(said))
    });
    if mistakes.is_empty() {
        Ok(check::redaction(&resolved))
    } else {
        Err(failure(mistakes, resolved))
    }
}

fn failure(mut mistakes: Vec<Mistake>, resolved: Resolved) -> Failure {
    // Flags and variables first, then the file from top to bottom.
    mistakes.sort_by_key(|it| it.at.map_or(0, |at| at.offset + 1));
    let message = match mistakes.len() {
        1 => "the settings have a mistake".to_owned(),
        count => format!("the settings have {count} mistakes"),
    };
    let all = Mistakes {
        list: mistakes,
        source: resolved.source,
    };
    let failure = Failure::mistakes(Exit::Usage, message, vec![all]);
    failure.hint("`danube config default` prints every option with its default")
}

#[cfg(test)]
mod tests;

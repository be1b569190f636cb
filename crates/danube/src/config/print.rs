//! The table, printed: `danube config show|default` and the reference page.

use danube_api::{ConfigView, SettingOrigin, SettingView};

use super::sources::{Found, Resolved};
use super::table::{ROWS, Row, SECTIONS};
use crate::terminal::{Colour, Screen, clean};

/// Columns of comments in the default file.
const COMMENT_COLUMNS: usize = 78;

/// What holds now, as a file that could be used; with the origins as comments.
pub(crate) fn as_text(resolved: &Resolved, origins: bool, screen: &Screen) -> String {
    let mut text = String::new();
    for (section, _) in SECTIONS {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("[{section}]\n"));
        let rows = ROWS.iter().zip(&resolved.found);
        for (row, found) in rows.filter(|(row, _)| row.section() == *section) {
            text.push_str(&line(row, found));
            if origins {
                let comment = format!("  # {}", found.origin);
                text.push_str(&screen.paint(Colour::Dim, &comment));
            }
            text.push('\n');
        }
    }
    text
}

fn line(row: &Row, found: &Found) -> String {
    match &found.value {
        Some(value) => format!("{} = {}", row.name(), value.as_toml()),
        // TOML has no word for "off": the line is there, but says nothing.
        None => format!("# {} is not set", row.name()),
    }
}

/// The same for programs.
pub(crate) fn as_view(resolved: &Resolved) -> ConfigView {
    let options = ROWS.iter().zip(&resolved.found).map(|(row, found)| {
        let said = SettingView {
            value: found.value.as_ref().map(super::value::Value::as_json),
            origin: found.origin.view(),
        };
        (row.key.to_owned(), said)
    });
    ConfigView {
        file: resolved.file.as_ref().map(|it| it.display().to_string()),
        options: options.collect(),
    }
}

/// What a running server uses, in the same form, with the origins. What only a blueprint can
/// say stands at the end, as comments.
pub(crate) fn running_as_text(view: &ConfigView, screen: &Screen) -> String {
    let mut text = String::new();
    for (section, _) in SECTIONS {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("[{section}]\n"));
        for row in ROWS.iter().filter(|row| row.section() == *section) {
            let Some(said) = view.options.get(row.key) else {
                continue;
            };
            let line = match said.value.as_ref().map(as_toml) {
                Some(value) => format!("{} = {value}", row.name()),
                None => format!("# {} is not set", row.name()),
            };
            text.push_str(&with_origin(&line, said, screen));
        }
    }
    let is_option = |key: &str| ROWS.iter().any(|row| row.key == key);
    let others = view.options.iter().filter(|(key, _)| !is_option(key));
    for (at, (key, said)) in others.enumerate() {
        if at == 0 {
            text.push_str("\n# What only a blueprint says:\n");
        }
        let value = said.value.as_ref().map(ToString::to_string);
        let line = format!("# {key} = {}", value.unwrap_or_default());
        text.push_str(&with_origin(&line, said, screen));
    }
    text
}

fn with_origin(line: &str, said: &SettingView, screen: &Screen) -> String {
    let origin = match &said.origin {
        SettingOrigin::Flag { flag } => format!("flag {flag}"),
        SettingOrigin::Environment { variable } => format!("environment {variable}"),
        SettingOrigin::File { file, line } => format!("file {file}:{line}"),
        SettingOrigin::Blueprint { commit: Some(it) } => format!("blueprint, commit {it}"),
        SettingOrigin::Blueprint { commit: None } => "blueprint".to_owned(),
        SettingOrigin::Request => "danube log-level".to_owned(),
        SettingOrigin::Reload => "read again at SIGHUP".to_owned(),
        SettingOrigin::Default => "default".to_owned(),
    };
    let comment = screen.paint(Colour::Dim, &format!("  # {}", clean(&origin)));
    format!("{}{comment}\n", clean(line))
}

/// A value as a file would have it.
fn as_toml(value: &serde_json::Value) -> String {
    match toml::Value::try_from(value) {
        Ok(it) => it.to_string(),
        Err(_) => value.to_string(),
    }
}

/// `danube.toml` with every option commented out.
pub(crate) fn as_default_file() -> String {
    let mut text = String::from(
        "# Settings of `danube master`. Every line is commented out and shows the default,\n\
         # or an example where there is none. Flags and variables win over this file.\n",
    );
    for (section, about) in SECTIONS {
        text.push_str(&format!("\n# {about}.\n[{section}]\n"));
        for row in ROWS.iter().filter(|row| row.section() == *section) {
            text.push('\n');
            for line in wrap(&format!("{}. {}.", row.help, default_sentence(row))) {
                text.push_str(&format!("# {line}\n"));
            }
            text.push_str(&format!("# {} = {}\n", row.name(), shown_value(row)));
        }
    }
    text
}

fn default_sentence(row: &Row) -> String {
    match row.preset {
        super::table::Preset::Fixed(_) => format!("Takes {}", row.kind.expects()),
        _ => format!(
            "Takes {}. Default: {}",
            row.kind.expects(),
            row.preset_text()
        ),
    }
}

/// The default as the file writes it, or the example.
fn shown_value(row: &Row) -> String {
    let super::table::Preset::Fixed(text) = row.preset else {
        return row.example.to_owned();
    };
    let bare = text == "true" || text == "false" || text.bytes().all(|it| it.is_ascii_digit());
    if bare {
        text.to_owned()
    } else {
        format!("\"{text}\"")
    }
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.len() + 1 + word.len() > COMMENT_COLUMNS {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

/// `docs/configuration.md`.
#[cfg(test)]
pub(crate) fn as_page() -> String {
    let mut text = String::from(PAGE_HEAD);
    for (section, about) in SECTIONS {
        text.push_str(&format!("\n## `[{section}]`\n\n{about}.\n"));
        for row in ROWS.iter().filter(|row| row.section() == *section) {
            text.push_str(&format!("\n### `{}`\n\n{}.\n\n", row.key, row.help));
            let variables: Vec<String> =
                row.variables().iter().map(|it| format!("`{it}`")).collect();
            text.push_str("| | |\n| --- | --- |\n");
            for (what, value) in [
                ("takes", row.kind.expects()),
                ("default", row.preset_text().to_owned()),
                ("flag", format!("`--{}`", row.flag)),
                ("environment", variables.join(" or ")),
                ("example", format!("`{} = {}`", row.name(), row.example)),
            ] {
                text.push_str(&format!("| {what} | {value} |\n"));
            }
        }
    }
    text
}

#[cfg(test)]
const PAGE_HEAD: &str = "# Configuration

Generated from the table in `crates/danube/src/config/table.rs`; a test keeps this page equal to it.

Danube needs no configuration. What you do set comes from four places; the first that says something is heard:

1. a flag of `danube master`,
2. a variable of the environment (an empty one says nothing),
3. the file `danube.toml`,
4. the default.

A [blueprint](blueprint.md#settings) makes some of them while the server runs: after the file, before the default.

The file is the one that `--config` or `DANUBE_CONFIG` names, else `danube.toml` in the data directory, else
`/etc/danube/danube.toml`, where there is one. Paths in it are relative to its own directory; in flags and
variables, to the working directory. `danube config default > danube.toml` writes one to begin with, and
`danube config show --origin` tells what would hold and who said it, `danube config show --server` what holds in a
running server, also by its blueprint (for administrators; `GET /api/v1/admin/config` for programs).

All mistakes of all sources are reported at once, and nothing starts before they are corrected. An unknown
option is a mistake, and so is an unknown variable that begins like one of ours (`DANUBE_SERVER_…`).

Sizes are bytes, also with a unit (`10MiB`, `1GiB`, `500MB`); durations are whole seconds.
";

//! Reads `danube.toml`: every mistake at once, with line and column.

use std::ops::Range;
use std::path::Path;

use danube_model::{Mistake, Position};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::table::{ROWS, Row, SECTIONS, index};
use super::value::{Misfit, Value};
use crate::nearest::nearest;

/// Bytes of a settings file; a full one has a few thousand.
pub(crate) const FILE_BYTES_MAX: u64 = 256 * 1024;

/// What the file says of one option.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The option's place in the table.
    pub(crate) row: usize,
    /// Where its value stands.
    pub(crate) at: Position,
    /// The value; none when it doesn't fit.
    pub(crate) value: Option<Value>,
}

/// What was found in a file.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Of known options.
    pub(crate) entries: Vec<Entry>,
    /// The bytes of values that hold no secret.
    shown: Vec<Range<usize>>,
    /// The bytes of all others: those that are secrets, and those of which nobody knows.
    hidden: Vec<Range<usize>>,
    /// Where names begin.
    names: Vec<usize>,
}

impl Contents {
    /// Takes down what stands in the value of an option.
    fn take(&mut self, row: &Row, node: &Spanned<DeValue<'_>>) {
        match node.get_ref() {
            DeValue::Table(table) => self.each(table, |all, _, node| all.take(row, node)),
            DeValue::Array(all) => all.iter().for_each(|it| self.take(row, it)),
            _ => self.found(!row.kind.is_hidden()).push(node.span()),
        }
    }

    /// Takes down what stands below a name that isn't known, each under its own name.
    fn take_unknown(&mut self, name: &str, node: &Spanned<DeValue<'_>>) {
        match node.get_ref() {
            DeValue::Table(table) => self.each(table, Self::take_unknown),
            DeValue::Array(all) => all.iter().for_each(|it| self.take_unknown(name, it)),
            _ => {
                let is_open = meant(name).is_some_and(|row| !row.kind.is_hidden());
                self.found(is_open).push(node.span());
            }
        }
    }

    /// Takes down the names of a table, and what stands below each by `take`.
    fn each(&mut self, table: &DeTable<'_>, take: impl Fn(&mut Self, &str, &Spanned<DeValue<'_>>)) {
        for (name, node) in table {
            self.names.push(name.span().start);
            take(self, name.get_ref(), node);
        }
    }

    fn found(&mut self, is_open: bool) -> &mut Vec<Range<usize>> {
        if is_open {
            &mut self.shown
        } else {
            &mut self.hidden
        }
    }
}

/// The option of this name, or the one that it may be a slip of.
fn meant(name: &str) -> Option<&'static Row> {
    let row = |name: &str| ROWS.iter().find(|row| row.name() == name);
    row(name).or_else(|| row(nearest(name, ROWS.iter().map(Row::name))?))
}

/// Reads the file's text. Paths in it are relative to `dir`.
pub(crate) fn read(text: &str, dir: &Path, mistakes: &mut Vec<Mistake>) -> Contents {
    let (root, errors) = DeTable::parse_recoverable(text);
    let broken: Vec<Mistake> = errors.iter().map(|it| syntax(text, it)).collect();
    let mut found = Vec::new();
    let contents = check(text, root.get_ref(), dir, &mut found);
    // From the first line on that can't be read, the rest may be understood
    // wrongly (a lost `[section]`), and what seems a mistake may be none.
    let first = broken.iter().filter_map(|it| it.at).map(|at| at.line).min();
    found.retain(|it| {
        it.at
            .is_none_or(|at| first.is_none_or(|line| at.line < line))
    });
    mistakes.extend(broken);
    mistakes.extend(found);
    contents
}

/// The text with what may be a secret made unreadable, byte for byte, so that places
/// stay right: only values of options that hold none are shown. Where a line can't be
/// read, its beginning says whether it is one of those.
pub(crate) fn without_secrets(text: &str, contents: &Contents) -> String {
    let mut lines = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        let has_name = contents.names.iter().any(|it| (at..end).contains(it));
        lines.push(at + hidden_from(line, has_name)..end);
        at = end;
    }
    let is_shown = |at: usize| {
        let inside = |all: &[Range<usize>]| all.iter().any(|it| it.contains(&at));
        inside(&contents.shown) || !(inside(&contents.hidden) || inside(&lines))
    };
    let hide = |(at, c): (usize, char)| match c {
        c if c.is_whitespace() || "[]\"',".contains(c) || is_shown(at) => c.to_string(),
        c => "*".repeat(c.len_utf8()),
    };
    text.char_indices().map(hide).collect()
}

/// From which byte on a line may hold a secret, as far as the line alone tells, and
/// whether it is known to hold a name.
fn hidden_from(line: &str, has_name: bool) -> usize {
    let begins = line.trim_start();
    let is_section = begins.starts_with('[') && !begins.contains(['"', '\'']);
    if (is_section || begins.starts_with('#')) && !begins.contains('=') {
        return line.len();
    }
    let Some(equals) = line.find('=') else {
        // The middle of a value.
        return 0;
    };
    let key = line[..equals].trim();
    let bare = |key: &str| {
        let quoted = ['"', '\''].iter().find_map(|it| {
            let inner = key.strip_prefix(*it)?;
            inner.strip_suffix(*it)
        });
        quoted.unwrap_or(key).to_owned()
    };
    let meant = meant(&bare(key.rsplit('.').next().unwrap_or_default().trim()));
    if meant.is_some_and(|row| !row.kind.is_hidden()) {
        line.len()
    } else if (has_name || meant.is_some())
        && !key.contains(char::is_whitespace)
        && !key.starts_with(['"', '\''])
    {
        equals + 1
    } else {
        // What stands before a `=` may be the middle of a value too.
        0
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> Mistake {
    Mistake {
        code: "file.syntax",
        pointer: String::new(),
        at: error.span().map(|span| position(text, &span)),
        message: format!("not valid TOML: {}", error.message()),
        help: None,
    }
}

/// Compares what could be read with the table of options.
fn check(text: &str, root: &DeTable<'_>, dir: &Path, mistakes: &mut Vec<Mistake>) -> Contents {
    let mut contents = Contents::default();
    for (section, node) in root {
        let at = position(text, &section.span());
        let section = section.get_ref().as_ref();
        if !SECTIONS.iter().any(|(name, _)| *name == section) {
            mistakes.push(unknown_section(section, at));
            contents.take_unknown(section, node);
            continue;
        }
        let DeValue::Table(table) = node.get_ref() else {
            mistakes.push(Mistake {
                code: "setting.type",
                pointer: format!("/{section}"),
                at: Some(at),
                message: format!("`{section}` is a section"),
                help: Some(format!("write `[{section}]` on a line of its own")),
            });
            contents.take_unknown(section, node);
            continue;
        };
        for (name, value) in table {
            contents.names.push(name.span().start);
            let at = position(text, &name.span());
            let name = name.get_ref().as_ref();
            let Some(row) = index(&format!("{section}.{name}")) else {
                mistakes.push(unknown_option(section, name, at));
                contents.take_unknown(name, value);
                continue;
            };
            contents.take(&ROWS[row], value);
            let at = position(text, &value.span());
            let value = ROWS[row].kind.read_toml(value.get_ref(), dir);
            let value = value.map_err(|misfits| {
                let pointer = format!("/{section}/{name}");
                let told = misfits.into_iter().map(|it| misfit(text, &pointer, at, it));
                mistakes.extend(told);
            });
            contents.entries.push(Entry {
                row,
                at,
                value: value.ok(),
            });
        }
    }
    contents
}

/// A value that doesn't fit, or a part of one.
fn misfit(text: &str, pointer: &str, at: Position, misfit: Misfit) -> Mistake {
    let name = pointer.rsplit('/').next().unwrap_or_default();
    let (pointer, at, message) = match misfit.within {
        None => (pointer.to_owned(), at, format!("`{name}` {}", misfit.why)),
        Some(within) => (
            format!("{pointer}{}", within.pointer),
            position(text, &within.span),
            misfit.why,
        ),
    };
    Mistake {
        code: misfit.code,
        pointer,
        at: Some(at),
        message,
        help: misfit.help,
    }
}

fn unknown_section(section: &str, at: Position) -> Mistake {
    let names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
    let option = ROWS.iter().find(|row| row.name() == section);
    let help = match (option, nearest(section, names.iter().copied())) {
        (Some(row), _) => format!("`{section}` belongs below `[{}]`", row.section()),
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => format!("there are {}", names.join(", ")),
    };
    Mistake {
        code: "setting.unknown",
        pointer: format!("/{section}"),
        at: Some(at),
        message: format!("there is no section `{}`", section.escape_debug()),
        help: Some(help),
    }
}

fn unknown_option(section: &str, name: &str, at: Position) -> Mistake {
    let own = ROWS.iter().filter(|row| row.section() == section);
    let names: Vec<&str> = own.map(Row::name).collect();
    let elsewhere = ROWS.iter().find(|row| row.name() == name);
    let help = match (nearest(name, names.iter().copied()), elsewhere) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(row)) => format!("`{name}` belongs below `[{}]`", row.section()),
        (None, None) => format!("`[{section}]` has {}", names.join(", ")),
    };
    Mistake {
        code: "setting.unknown",
        pointer: format!("/{section}/{name}"),
        at: Some(at),
        message: format!(
            "there is no option `{}` in `[{section}]`",
            name.escape_debug()
        ),
        help: Some(help),
    }
}

/// Line and column of a stretch of bytes.
fn position(text: &str, span: &Range<usize>) -> Position {
    let offset = boundary(text, span.start);
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |it| it + 1);
    let end = boundary(text, span.end.max(offset));
    // A long value is marked at its first line only.
    let marked = text[offset..end].lines().next().unwrap_or_default();
    Position {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        offset,
        length: marked.len(),
    }
}

/// The start of the character at `offset`.
fn boundary(text: &str, offset: usize) -> usize {
    let inside = offset.min(text.len());
    (0..=inside)
        .rev()
        .find(|it| text.is_char_boundary(*it))
        .unwrap_or(0)
}

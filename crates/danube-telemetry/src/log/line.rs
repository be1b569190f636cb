//! One line of the log: the exact JSON schema, and the same for a person's eyes.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::SystemTime;

use tracing::Level;
use tracing::field::{Field, Visit};

use super::filter::level_name;
use super::ids::Ids;
use super::text::{Stamp, escape_json, plain};

/// Longest string value; the rest is cut and its length told. One runaway error
/// text must not push everything else out of the buffer.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Takes secrets out of a value: given the field's name and the value.
pub type Redact = dyn for<'a> Fn(&str, &'a str) -> Cow<'a, str> + Send + Sync;

/// Whether [`Redact`] might change a value that stands in this text as it is. `true`
/// costs time and nothing else, a wrong `false` a secret.
pub type Suspects = dyn Fn(&str) -> bool + Send + Sync;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// One JSON object.
    Json,
    /// For a person.
    Text {
        /// With terminal colours.
        colours: bool,
    },
}

/// Buffers of one line, kept by each thread so that a line allocates nothing.
#[derive(Default)]
pub(crate) struct Scratch {
    /// The line, newline included.
    pub(crate) line: String,
    ids: Ids,
    /// Some value doesn't stand in the line as it is: it was escaped or cut.
    pub(crate) altered: bool,
    /// Ids of the spans around the event.
    pub(crate) outer: Ids,
    rest: String,
    event: String,
    message: String,
    value: String,
    stamp: Stamp,
}

impl Scratch {
    /// Bytes that its buffers hold.
    pub(crate) fn capacity(&self) -> usize {
        let texts = [
            &self.line,
            &self.rest,
            &self.event,
            &self.message,
            &self.value,
        ];
        texts.iter().map(|it| it.capacity()).sum()
    }
}

/// Collects the fields of an event: the reserved ones aside, the others rendered in
/// their own order.
pub(crate) struct Fields<'s> {
    scratch: &'s mut Scratch,
    style: Style,
    redact: Option<&'s Redact>,
}

impl<'s> Fields<'s> {
    pub(crate) fn new(scratch: &'s mut Scratch, style: Style, redact: Option<&'s Redact>) -> Self {
        scratch.rest.clear();
        scratch.event.clear();
        scratch.message.clear();
        scratch.ids.clear();
        scratch.altered = false;
        Self {
            scratch,
            style,
            redact,
        }
    }

    /// The event's own ids, to be filled in from the spans around it.
    pub(crate) fn ids(&mut self) -> &mut Ids {
        &mut self.scratch.ids
    }

    /// Sets the name of the event, for a line that no event made.
    pub(crate) fn name(&mut self, event: &str) {
        self.scratch.event.push_str(event);
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.bare(name, itoa::Buffer::new().format(value));
    }

    fn string(&mut self, name: &str, value: &str) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let value = match self.redact {
            Some(redact) => redact(name, value),
            None => Cow::Borrowed(value),
        };
        let Scratch {
            event,
            message,
            ids,
            rest,
            altered,
            ..
        } = &mut *self.scratch;
        match name {
            "event" => event.push_str(&value),
            "message" => *altered |= push_cut(&value, message),
            _ => match ids.slot(name) {
                Some(slot) => {
                    slot.clear();
                    slot.push_str(&value);
                }
                None => {
                    key(self.style, name, rest);
                    *altered |= quoted(self.style, &value, rest);
                }
            },
        }
    }

    fn bare(&mut self, name: &str, value: &str) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        key(self.style, name, &mut self.scratch.rest);
        self.scratch.rest.push_str(value);
    }

    fn formatted(&mut self, name: &str, value: fmt::Arguments<'_>) {
        let mut text = std::mem::take(&mut self.scratch.value);
        text.clear();
        let _ = text.write_fmt(value);
        self.string(name, &text);
        self.scratch.value = text;
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field.name(), value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field.name(), itoa::Buffer::new().format(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field.name(), itoa::Buffer::new().format(value));
    }
    fn record_i128(&mut self, field: &Field, value: i128) {
        self.bare(field.name(), itoa::Buffer::new().format(value));
    }
    fn record_u128(&mut self, field: &Field, value: u128) {
        self.bare(field.name(), itoa::Buffer::new().format(value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field.name(), if value { "true" } else { "false" });
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field.name(), zmij::Buffer::new().format_finite(value));
        } else {
            self.bare(field.name(), "null");
        }
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.formatted(field.name(), format_args!("{value}"));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.formatted(field.name(), format_args!("{value:?}"));
    }
}

/// What a line says before its own fields.
pub(crate) struct Head<'a> {
    pub(crate) time: SystemTime,
    pub(crate) level: Level,
    pub(crate) logger: &'a str,
}

/// Writes the line, newline included, to `scratch.line`.
pub(crate) fn finish(fields: Fields<'_>, head: &Head<'_>) {
    let Fields {
        scratch,
        style,
        redact,
    } = fields;
    let Scratch {
        line,
        ids,
        altered,
        rest,
        event,
        message,
        stamp,
        ..
    } = scratch;
    // A library's event: its message is all there is.
    let event: &str = if event.is_empty() { "log" } else { event };
    line.clear();
    match style {
        Style::Json => {
            line.push_str("{\"timestamp\":\"");
            line.push_str(stamp.of(head.time));
            line.push_str("\",\"level\":\"");
            line.push_str(level_name(head.level));
            line.push('"');
            *altered |= pair(style, "logger", head.logger, line);
            *altered |= pair(style, "event", event, line);
            if !message.is_empty() {
                *altered |= pair(style, "message", message, line);
            }
        }
        Style::Text { colours } => {
            text_head((stamp.of(head.time), head), colours, line);
            line.push_str(on(colours, "\x1b[1m"));
            *altered |= plain(event, line);
            line.push_str(on(colours, "\x1b[0m"));
            if !message.is_empty() {
                line.push_str(": ");
                *altered |= plain(message, line);
            }
        }
    }
    for (name, id) in ids.pairs() {
        *altered |= match redact {
            Some(redact) => pair(style, name, &redact(name, id), line),
            None => pair(style, name, id, line),
        };
    }
    line.push_str(rest);
    line.push_str(if style == Style::Json { "}\n" } else { "\n" });
}

fn on(colours: bool, code: &'static str) -> &'static str {
    if colours { code } else { "" }
}

fn text_head((time, head): (&str, &Head<'_>), colours: bool, line: &mut String) {
    let (colour, name) = match head.level {
        Level::ERROR => ("\x1b[31m", "ERROR  "),
        Level::WARN => ("\x1b[33m", "WARNING"),
        Level::INFO => ("\x1b[32m", "INFO   "),
        Level::DEBUG => ("\x1b[34m", "DEBUG  "),
        Level::TRACE => ("\x1b[35m", "TRACE  "),
    };
    let _ = write!(
        line,
        "{}{time}{reset} {}{name}{reset} {} ",
        on(colours, "\x1b[2m"),
        on(colours, colour),
        head.logger,
        reset = on(colours, "\x1b[0m"),
    );
}

/// Writes a field of the schema, whose name needs no escape. Whether the value doesn't
/// stand in the line as it is.
fn pair(style: Style, name: &'static str, value: &str, out: &mut String) -> bool {
    let (before, after) = match style {
        Style::Json => (",\"", "\":"),
        Style::Text { .. } => (" ", "="),
    };
    out.push_str(before);
    out.push_str(name);
    out.push_str(after);
    quoted(style, value, out)
}

/// A key of the event's own; those of the schema are the schema's.
fn key(style: Style, name: &str, out: &mut String) {
    if matches!(name, "timestamp" | "level" | "logger") {
        write_key(style, &format!("field_{name}"), out);
    } else {
        write_key(style, name, out);
    }
}

fn write_key(style: Style, name: &str, out: &mut String) {
    match style {
        Style::Json => {
            out.push_str(",\"");
            escape_json(name, out);
            out.push_str("\":");
        }
        Style::Text { .. } => {
            out.push(' ');
            plain(name, out);
            out.push('=');
        }
    }
}

/// Whether the value doesn't stand in the line as it is.
fn quoted(style: Style, value: &str, out: &mut String) -> bool {
    if value.len() > VALUE_BYTES_MAX {
        let mut short = String::new();
        push_cut(value, &mut short);
        quoted_whole(style, &short, out);
        return true;
    }
    quoted_whole(style, value, out)
}

fn quoted_whole(style: Style, value: &str, out: &mut String) -> bool {
    let bare = matches!(style, Style::Text { .. })
        && !value.is_empty()
        && value
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"\\=".contains(&byte));
    if bare {
        out.push_str(value);
        return false;
    }
    out.push('"');
    let altered = escape_json(value, out);
    out.push('"');
    altered
}

/// Whether something was cut.
fn push_cut(value: &str, out: &mut String) -> bool {
    if value.len() <= VALUE_BYTES_MAX {
        out.push_str(value);
        return false;
    }
    let mut end = VALUE_BYTES_MAX;
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let _ = write!(out, "{}… ({} bytes cut)", &value[..end], value.len() - end);
    true
}

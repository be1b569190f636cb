//! One line of the log: the exact JSON schema, and the same for a person's eyes.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::Level;
use tracing::field::{Field, Visit};

use super::filter::level_name;

/// Longest string value; the rest is cut and its length told. One runaway error
/// text must not push everything else out of the buffer.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Takes secrets out of a value: given the field's name and the value.
pub type Redact = dyn for<'a> Fn(&str, &'a str) -> Cow<'a, str> + Send + Sync;

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

/// Ids that a line takes from the spans around it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) trace_id: Option<Box<str>>,
    pub(crate) span_id: Option<Box<str>>,
    pub(crate) request_id: Option<Box<str>>,
}

impl Ids {
    pub(crate) fn is_empty(&self) -> bool {
        self.trace_id.is_none() && self.span_id.is_none() && self.request_id.is_none()
    }

    /// Fills what is missing from a span further out.
    pub(crate) fn or(&mut self, outer: &Self) {
        let fill = |mine: &mut Option<Box<str>>, theirs: &Option<Box<str>>| {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        };
        // A span id says nothing without the trace it was given for.
        if self.trace_id.is_none() {
            fill(&mut self.span_id, &outer.span_id);
        }
        fill(&mut self.trace_id, &outer.trace_id);
        fill(&mut self.request_id, &outer.request_id);
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<Box<str>>> {
        match name {
            "trace_id" => Some(&mut self.trace_id),
            "span_id" => Some(&mut self.span_id),
            "request_id" => Some(&mut self.request_id),
            _ => None,
        }
    }
}

impl Visit for Ids {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(slot) = self.slot(field.name()) {
            *slot = Some(value.into());
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if let Some(slot) = self.slot(field.name()) {
            *slot = Some(format!("{value:?}").into());
        }
    }
}

/// Buffers of one line, kept by each thread so that a line allocates nothing.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) line: String,
    rest: String,
    event: String,
    message: String,
    value: String,
    ids: Ids,
}

/// Collects the fields of an event: the reserved ones aside, the others rendered in
/// their own order.
pub(crate) struct Fields<'s> {
    pub(crate) scratch: &'s mut Scratch,
    style: Style,
    redact: &'s Redact,
}

impl<'s> Fields<'s> {
    pub(crate) fn new(scratch: &'s mut Scratch, style: Style, redact: &'s Redact) -> Self {
        scratch.rest.clear();
        scratch.event.clear();
        scratch.message.clear();
        scratch.ids = Ids::default();
        Self {
            scratch,
            style,
            redact,
        }
    }

    /// Sets the name of the event, for a line that no event made.
    pub(crate) fn name(&mut self, event: &str) {
        self.scratch.event.push_str(event);
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.bare(name, format_args!("{value}"));
    }

    fn string(&mut self, name: &str, value: &str) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let value = (self.redact)(name, value);
        let scratch = &mut *self.scratch;
        match name {
            "event" => scratch.event.push_str(&value),
            "message" => push_cut(&value, &mut scratch.message),
            _ => match scratch.ids.slot(name) {
                Some(slot) => *slot = Some((*value).into()),
                None => {
                    key(self.style, name, &mut scratch.rest);
                    quoted(self.style, &value, &mut scratch.rest);
                }
            },
        }
    }

    fn bare(&mut self, name: &str, value: fmt::Arguments<'_>) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        key(self.style, name, &mut self.scratch.rest);
        let _ = self.scratch.rest.write_fmt(value);
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
        self.bare(field.name(), format_args!("{value}"));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field.name(), format_args!("{value}"));
    }
    fn record_i128(&mut self, field: &Field, value: i128) {
        self.bare(field.name(), format_args!("{value}"));
    }
    fn record_u128(&mut self, field: &Field, value: u128) {
        self.bare(field.name(), format_args!("{value}"));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field.name(), format_args!("{value}"));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field.name(), format_args!("{value:?}"));
        } else {
            self.bare(field.name(), format_args!("null"));
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
    /// From the spans around the event; its own ids win.
    pub(crate) outer: Ids,
}

/// Writes the line, newline included, to `scratch.line`.
pub(crate) fn finish(fields: Fields<'_>, head: &Head<'_>) {
    let Fields {
        scratch,
        style,
        redact,
    } = fields;
    scratch.ids.or(&head.outer);
    // A library's event: its message is all there is.
    let event = if scratch.event.is_empty() {
        "log"
    } else {
        &scratch.event
    };
    let line = &mut scratch.line;
    line.clear();
    match style {
        Style::Json => {
            line.push_str("{\"timestamp\":\"");
            timestamp(head.time, line);
            line.push_str("\",\"level\":\"");
            line.push_str(level_name(head.level));
            line.push('"');
            pair(style, "logger", head.logger, line);
            pair(style, "event", event, line);
            if !scratch.message.is_empty() {
                pair(style, "message", &scratch.message, line);
            }
        }
        Style::Text { colours } => text_head(head, colours, event, &scratch.message, line),
    }
    let ids = &scratch.ids;
    for (name, id) in [
        ("trace_id", &ids.trace_id),
        ("span_id", &ids.span_id),
        ("request_id", &ids.request_id),
    ] {
        if let Some(id) = id {
            pair(style, name, &redact(name, id), line);
        }
    }
    line.push_str(&scratch.rest);
    line.push_str(if style == Style::Json { "}\n" } else { "\n" });
}

fn text_head(head: &Head<'_>, colours: bool, event: &str, message: &str, line: &mut String) {
    let (colour, name) = match head.level {
        Level::ERROR => ("\x1b[31m", "ERROR  "),
        Level::WARN => ("\x1b[33m", "WARNING"),
        Level::INFO => ("\x1b[32m", "INFO   "),
        Level::DEBUG => ("\x1b[34m", "DEBUG  "),
        Level::TRACE => ("\x1b[35m", "TRACE  "),
    };
    let on = |code: &'static str| if colours { code } else { "" };
    line.push_str(on("\x1b[2m"));
    timestamp(head.time, line);
    line.push_str(on("\x1b[0m"));
    let _ = write!(
        line,
        " {}{name}{} {} ",
        on(colour),
        on("\x1b[0m"),
        head.logger
    );
    line.push_str(on("\x1b[1m"));
    plain(event, line);
    line.push_str(on("\x1b[0m"));
    if !message.is_empty() {
        line.push_str(": ");
        plain(message, line);
    }
}

fn pair(style: Style, name: &str, value: &str, out: &mut String) {
    write_key(style, name, out);
    quoted(style, value, out);
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

fn quoted(style: Style, value: &str, out: &mut String) {
    let mut short = String::new();
    let value = if value.len() > VALUE_BYTES_MAX {
        push_cut(value, &mut short);
        &short
    } else {
        value
    };
    let bare = matches!(style, Style::Text { .. })
        && !value.is_empty()
        && value
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"\\=".contains(&byte));
    if bare {
        out.push_str(value);
    } else {
        out.push('"');
        escape_json(value, out);
        out.push('"');
    }
}

fn push_cut(value: &str, out: &mut String) {
    if value.len() <= VALUE_BYTES_MAX {
        return out.push_str(value);
    }
    let mut end = VALUE_BYTES_MAX;
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let _ = write!(out, "{}… ({} bytes cut)", &value[..end], value.len() - end);
}

/// Whether a terminal or a reader of lines could act on it: the control characters
/// and Unicode's own line breaks.
fn is_active(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn escape_json(value: &str, out: &mut String) {
    let mut rest = value;
    while let Some(at) = rest.find(|c| c == '"' || c == '\\' || is_active(c)) {
        let (clean, from) = rest.split_at(at);
        out.push_str(clean);
        let c = from
            .chars()
            .next()
            .expect("`find` gave the place of a character");
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
        rest = &from[c.len_utf8()..];
    }
    out.push_str(rest);
}

/// Text that can't move the cursor or start a line of its own.
fn plain(value: &str, out: &mut String) {
    for c in value.chars() {
        if is_active(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

/// Seconds of a day.
const DAY_SECS: u64 = 24 * 60 * 60;

/// `2026-11-21T10:11:12.345Z`. Times before 1970 show as its start.
fn timestamp(time: SystemTime, out: &mut String) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / DAY_SECS);
    let second = since.as_secs() % DAY_SECS;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let milli = since.subsec_millis();
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"
    );
}

/// Year, month and day of a day since 1970-01-01, in years that begin in March, so
/// that the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timestamps_are_right_on_leap_days_and_at_the_turn_of_years() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
            (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, text) in cases {
            let mut out = String::new();
            timestamp(UNIX_EPOCH + Duration::from_millis(millis), &mut out);
            assert_eq!(out, text);
        }
    }
}

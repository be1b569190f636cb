//! What is written where: text or JSON, with colours on a terminal only.

pub(crate) mod mistakes;
mod progress;
mod sanitize;
mod table;
pub(crate) mod waterfall;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

pub(crate) use progress::Progress;
pub(crate) use sanitize::{Sanitizer, clean};
pub(crate) use table::{Cell, Table};

use crate::failure::Failure;

/// Columns when the terminal doesn't say, as on paper and in pipes.
const COLUMNS_DEFAULT: usize = 80;

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text.
    Text,
    /// JSON.
    Json,
}

/// Standard output and standard error, as this run finds them.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    /// What the output looks like.
    pub(crate) format: Format,
    /// Standard output is a terminal.
    pub(crate) out_is_terminal: bool,
    /// Standard error is a terminal.
    pub(crate) err_is_terminal: bool,
    colours: bool,
}

/// The colours that we use; numbers of SGR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Went well.
    Green,
    /// Went wrong.
    Red,
    /// Needs a look, or was stopped.
    Yellow,
    /// Is going on.
    Blue,
    /// Of less weight.
    Dim,
}

impl Colour {
    const fn sgr(self) -> &'static str {
        match self {
            Self::Green => "32",
            Self::Red => "31",
            Self::Yellow => "33",
            Self::Blue => "34",
            Self::Dim => "2",
        }
    }

    /// The colour of a job's, a step's or a host's status.
    pub(crate) fn of_status(status: &str) -> Self {
        match status {
            "success" | "ok" | "ready" => Self::Green,
            "failure" | "failed" | "unreachable" | "not_ready" => Self::Red,
            "timeout" | "cancelled" | "changed" | "degraded" | "stale" => Self::Yellow,
            "scheduling" | "running" => Self::Blue,
            _ => Self::Dim,
        }
    }
}

impl Screen {
    /// Looks at the terminal and at `NO_COLOR` (<https://no-color.org>).
    pub(crate) fn new(format: Format) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|it| it == "dumb");
        Self {
            format,
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
            colours: !unwanted && !dumb,
        }
    }

    /// No terminal, text, for tests.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self {
            format: Format::Text,
            out_is_terminal: false,
            err_is_terminal: false,
            colours: false,
        }
    }

    /// Whether the output is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Writes text to standard output as it is.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes to standard output, at once.
    #[expect(
        clippy::unused_self,
        reason = "whoever writes has a screen to write to"
    )]
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = out.write_all(bytes).and_then(|()| out.flush());
        written.map_err(|error| Failure::output(&error))
    }

    /// Writes one JSON value and a newline; easy to read on a terminal.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = if self.out_is_terminal {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        let mut text = text.expect("our own types have text keys and finite numbers");
        text.push('\n');
        self.print(&text)
    }

    /// A word beside the output, for the person who waits; not for programs.
    pub(crate) fn note(&self, text: &str) {
        if !self.is_json() {
            self.error(&format!("{text}\n"));
        }
    }

    /// Writes to standard error. Nobody can be told when that fails.
    #[expect(
        clippy::unused_self,
        reason = "whoever writes has a screen to write to"
    )]
    pub(crate) fn error(&self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Colours text for standard output.
    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        paint(self.colours && self.out_is_terminal, colour.sgr(), text)
    }

    pub(crate) fn paint_error(&self, text: &str) -> String {
        paint(self.err_colours(), "1;31", text)
    }

    pub(crate) fn paint_hint(&self, text: &str) -> String {
        paint(self.err_colours(), "1;36", text)
    }

    /// Whether colours are wanted, on whichever terminal.
    pub(crate) fn takes_colours(&self) -> bool {
        self.colours
    }

    /// Whether standard error takes colours.
    pub(crate) fn err_colours(&self) -> bool {
        self.colours && self.err_is_terminal
    }

    /// The width that a table may have; none where nobody looks at it.
    pub(crate) fn out_columns(&self) -> Option<usize> {
        self.out_is_terminal.then(|| columns(&io::stdout()))
    }

    /// The width of messages.
    pub(crate) fn err_columns(&self) -> usize {
        if self.err_is_terminal {
            columns(&io::stderr())
        } else {
            COLUMNS_DEFAULT
        }
    }
}

fn columns(of: &impl std::os::fd::AsFd) -> usize {
    let size = rustix::termios::tcgetwinsize(of);
    let said = size.map_or(0, |it| usize::from(it.ws_col));
    if said == 0 { COLUMNS_DEFAULT } else { said }
}

fn paint(wanted: bool, sgr: &str, text: &str) -> String {
    if wanted {
        format!("\x1b[{sgr}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

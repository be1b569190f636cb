//! What a terminal makes of a job's output, line by line.
//!
//! Colours become classes, `\r`, `\b`, tabs, moves within a line and erasing do what they do on a
//! terminal, one that is as wide as the line. All else that a terminal would obey is dropped, and
//! what can't be seen is named, so that nothing but text and names of classes comes out, whatever
//! a job writes.

use super::pen::Pen;
use super::row::{Row, Stream, group};
use super::screen::{COLUMNS_MAX, Screen};

/// Bytes of the parameters of one sequence. Nothing that is obeyed has as many.
const PARAMS_BYTES_MAX: usize = 128;

/// Columns from one tab stop to the next.
const TAB: usize = 8;

const ESC: char = '\u{1b}';
const BELL: char = '\u{7}';
/// The end of a command, as one character.
const STRING_END: char = '\u{9c}';

/// Shows one line after the other. How they are written goes on from one to the next.
#[derive(Debug, Default)]
pub struct Terminal {
    screen: Screen,
    pen: Pen,
    state: State,
    params: String,
    /// The first bytes of a character whose end hasn't come yet.
    rest: Vec<u8>,
}

/// What is known of a line before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineAt {
    /// Its number, from 1.
    pub line: u64,
    /// It goes on with the line before, after a gap in it.
    pub continues: bool,
    /// Logical offset of its first byte that is there.
    pub offset: u64,
    /// When it was begun (Unix time in microseconds), if known.
    pub time_us: Option<u64>,
    /// Where it came from.
    pub stream: Stream,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After `ESC`.
    Escape,
    /// After `ESC [`.
    Control,
    /// In a sequence that isn't obeyed.
    ControlPassed,
    /// After `ESC ]` and the like: to `BEL` or `ESC \`.
    Command,
    /// After an `ESC` inside a command.
    CommandEscape,
    /// After `ESC (` and the like: one more character.
    Charset,
}

impl Terminal {
    /// An empty line, plainly written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes plainly from here on: something else begins.
    pub fn reset(&mut self) {
        self.pen = Pen::default();
    }

    /// Takes bytes of the line. Any split of them gives the same line.
    pub fn push(&mut self, bytes: &[u8]) {
        let joined;
        let mut bytes = bytes;
        if !self.rest.is_empty() {
            joined = [std::mem::take(&mut self.rest).as_slice(), bytes].concat();
            bytes = &joined;
        }
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            for char in chunk.valid().chars() {
                self.char(char);
            }
            let wrong = chunk.invalid();
            let is_cut = std::str::from_utf8(wrong).is_err_and(|it| it.error_len().is_none());
            if is_cut && chunks.peek().is_none() {
                self.rest = wrong.to_vec();
            } else if !wrong.is_empty() {
                self.char(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    /// The line as it stands; the next one begins. Of `unread_bytes` nobody told this terminal.
    pub fn end_line(&mut self, of: LineAt, unread_bytes: u64) -> Row {
        if !std::mem::take(&mut self.rest).is_empty() {
            self.char(char::REPLACEMENT_CHARACTER);
        }
        self.state = State::Text;
        let LineAt {
            line,
            continues,
            offset,
            time_us,
            stream,
        } = of;
        let runs = self.screen.runs();
        let left_out_bytes = self.screen.left_out_bytes().saturating_add(unread_bytes);
        self.screen.clear();
        Row {
            line,
            continues,
            offset,
            time_us,
            stream,
            group: group(&runs),
            runs,
            left_out_bytes,
            gap: None,
        }
    }

    fn char(&mut self, char: char) {
        // A sequence that breaks off doesn't swallow what follows.
        if matches!(char, '\n' | '\r') {
            self.state = State::Text;
        }
        self.state = match (self.state, char) {
            (_, '\n') => State::Text,
            (State::Text, _) => return self.text(char),
            (State::Escape, '[') => {
                self.params.clear();
                State::Control
            }
            (State::Escape, ']' | 'P' | 'X' | '^' | '_') => State::Command,
            (State::Escape | State::Charset, ' '..='/') => State::Charset,
            (State::Control, '0'..=';') if self.params.len() < PARAMS_BYTES_MAX => {
                self.params.push(char);
                State::Control
            }
            // Private ones, and those with more in them than is known.
            (State::Control | State::ControlPassed, ' '..='?') => State::ControlPassed,
            (State::Control, '@'..='~') => {
                self.obey(char);
                State::Text
            }
            (State::Command, BELL | STRING_END) | (State::CommandEscape, '\\') => State::Text,
            (State::Command, ESC) => State::CommandEscape,
            (State::Command | State::CommandEscape, _) => State::Command,
            (_, ESC) => State::Escape,
            _ => State::Text,
        };
    }

    fn text(&mut self, char: char) {
        match char {
            ESC => self.state = State::Escape,
            '\r' => self.screen.go(0),
            '\u{8}' => self.screen.go(self.screen.column().saturating_sub(1)),
            '\t' => {
                let column = self.screen.column();
                // Past the last column there are none, and what is there goes on.
                if column < COLUMNS_MAX {
                    self.screen.go((column / TAB + 1) * TAB);
                }
            }
            char => self.screen.write(char, self.pen),
        }
    }

    /// Does what a sequence says that stays within the line.
    fn obey(&mut self, end: char) {
        let params = std::mem::take(&mut self.params);
        let first = params.split(';').next().unwrap_or_default();
        let number: usize = first.parse().unwrap_or(0);
        let column = self.screen.column();
        match (end, number) {
            ('m', _) => self.pen.select(&params),
            // To the end of the screen is, of this line, to its end.
            ('K' | 'J', 0) => self.screen.erase_after(),
            ('K' | 'J', 1) => self.screen.erase_before(),
            ('K' | 'J', 2) => self.screen.erase(),
            ('G' | '`', number) => self.screen.go(number.max(1) - 1),
            ('C', number) => self.screen.go(column.saturating_add(number.max(1))),
            ('D', number) => self.screen.go(column.saturating_sub(number.max(1))),
            _ => {}
        }
        self.params = params;
    }
}

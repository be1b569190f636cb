//! Strips terminal escape sequences from a stream.

pub(crate) const ESC: u8 = 0x1b;
const BELL: u8 = 0x07;

/// Takes colours, cursor moves, titles and links out of a stream. Any split of
/// the input gives the same output. A sequence that breaks off at the end of a
/// line does not swallow the next one.
#[derive(Clone, Debug, Default)]
pub struct AnsiStripper {
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Text,
    /// After `ESC`.
    Escape,
    /// After `ESC [`.
    Control,
    /// After `ESC ]` and the like: to `BEL` or `ESC \`.
    Command,
    /// After an `ESC` inside a command.
    CommandEscape,
    /// After `ESC (` and the like: one more byte.
    Charset,
}

impl AnsiStripper {
    /// A new stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the next byte belongs to a sequence.
    pub(crate) fn in_sequence(&self) -> bool {
        !matches!(self.state, State::Text)
    }

    /// Appends to `out` what is text in `input`.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while let Some(byte) = rest.first() {
            if matches!(self.state, State::Text) {
                let text = rest.iter().position(|b| *b == ESC).unwrap_or(rest.len());
                out.extend_from_slice(&rest[..text]);
                rest = &rest[text..];
                if !rest.is_empty() {
                    self.state = State::Escape;
                    rest = &rest[1..];
                }
                continue;
            }
            let byte = *byte;
            rest = &rest[1..];
            if matches!(byte, b'\n' | b'\r') {
                self.state = State::Text;
                out.push(byte);
                continue;
            }
            self.state = match (self.state, byte) {
                (State::Escape, b'[') => State::Control,
                (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::Command,
                (State::Escape | State::Charset, 0x20..=0x2f) => State::Charset,
                (State::Control, 0x20..=0x3f) => State::Control,
                (State::Command, BELL) | (State::CommandEscape, b'\\') => State::Text,
                (State::Command, ESC) => State::CommandEscape,
                (State::Command | State::CommandEscape, _) => State::Command,
                (_, ESC) => State::Escape,
                _ => State::Text,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_go_and_text_stays_at_any_split() {
        let input = b"\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]0;t\x07 \x1b(Bend\x1b[3\nnext\x1bc.\x1b]x\r\xff";
        let expected = b"red link end\nnext.\r\xff";
        for first in 0..=input.len() {
            let mut stripper = AnsiStripper::new();
            let mut out = Vec::new();
            stripper.push(&input[..first], &mut out);
            for byte in &input[first..] {
                stripper.push(&[*byte], &mut out);
            }
            assert_eq!(out, expected, "split at {first}");
        }
    }
}

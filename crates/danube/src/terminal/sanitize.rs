//! Takes out of a job's output what could steer the terminal it is shown on.
//!
//! Text, tabs, line ends, `\r` and colours (SGR) pass. Everything else that a
//! terminal obeys goes: titles, links and clipboard writes (OSC), cursor moves,
//! device strings, C1 controls. Only for terminals: a pipe gets every byte.

/// Bytes of one SGR sequence; real ones have a dozen.
const SGR_BYTES_MAX: usize = 64;

/// Bytes of a control string that are swallowed. A string without an end must
/// not hide the output that follows; a line end ends it too.
const STRING_BYTES_MAX: usize = 4096;

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Works on a stream: a sequence may be split anywhere.
#[derive(Debug, Default)]
pub(crate) struct Sanitizer {
    state: State,
    /// A colour was set and may still be on.
    coloured: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate byte.
    EscapeMore,
    /// After ESC `[`; the bytes so far.
    Csi(Vec<u8>),
    /// Inside a control string, this many bytes in.
    String(usize),
    /// In a character of more than one byte.
    Character {
        bytes: [u8; 4],
        have: usize,
        want: usize,
    },
}

impl Sanitizer {
    /// Appends what may be shown of `input` to `out`.
    pub(crate) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        for &byte in input {
            // A byte that ends one thing may begin the next; never more than twice.
            while !self.take(byte, out) {}
        }
    }

    /// Ends the stream: an unfinished character shows, colours go off.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if let State::Character { .. } = self.state {
            out.extend_from_slice(REPLACEMENT);
        }
        if std::mem::take(&mut self.coloured) {
            out.extend_from_slice(b"\x1b[0m");
        }
        self.state = State::Text;
    }

    /// Takes a byte; false when it ended the state and must be taken again.
    fn take(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        match &mut self.state {
            State::Text => {
                self.text(byte, out);
                true
            }
            State::Escape => self.escape(byte),
            State::EscapeMore => {
                let goes_on = (0x20..=0x2f).contains(&byte);
                if goes_on {
                    return true;
                }
                self.state = State::Text;
                (0x30..=0x7e).contains(&byte)
            }
            State::Csi(_) => self.csi(byte, out),
            State::String(length) => {
                *length += 1;
                let is_full = *length > STRING_BYTES_MAX;
                match byte {
                    0x1b => self.state = State::Escape,
                    b'\n' | b'\r' => {
                        self.state = State::Text;
                        return false;
                    }
                    // BEL, CAN and SUB, and the second byte of a C1 string terminator.
                    0x07 | 0x18 | 0x1a | 0x9c => self.state = State::Text,
                    _ if is_full => self.state = State::Text,
                    _ => {}
                }
                true
            }
            State::Character { .. } => self.character(byte, out),
        }
    }

    fn text(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b'\n' | b'\r' | b'\t' | 0x20..=0x7e => out.push(byte),
            0x1b => self.state = State::Escape,
            0xc2..=0xf4 => {
                let want = match byte {
                    0xc2..=0xdf => 2,
                    0xe0..=0xef => 3,
                    _ => 4,
                };
                self.state = State::Character {
                    bytes: [byte, 0, 0, 0],
                    have: 1,
                    want,
                };
            }
            0x80..=0xff => out.extend_from_slice(REPLACEMENT),
            _ => {}
        }
    }

    fn escape(&mut self, byte: u8) -> bool {
        self.state = match byte {
            b'[' => State::Csi(Vec::new()),
            b']' | b'P' | b'X' | b'^' | b'_' | b'k' => State::String(0),
            0x20..=0x2f => State::EscapeMore,
            0x1b => State::Escape,
            0x30..=0x7e => State::Text,
            _ => {
                self.state = State::Text;
                return false;
            }
        };
        true
    }

    fn csi(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        let State::Csi(bytes) = &mut self.state else {
            return false;
        };
        match byte {
            0x20..=0x3f => {
                // One byte too many stays in, as the mark of a sequence too long.
                if bytes.len() <= SGR_BYTES_MAX {
                    bytes.push(byte);
                }
                return true;
            }
            b'm' => {
                let plain = bytes
                    .iter()
                    .all(|it| matches!(it, b'0'..=b'9' | b';' | b':'));
                if plain && bytes.len() <= SGR_BYTES_MAX {
                    self.coloured = !matches!(bytes.as_slice(), b"" | b"0");
                    out.extend_from_slice(b"\x1b[");
                    out.extend_from_slice(bytes);
                    out.push(b'm');
                }
            }
            0x40..=0x7e => {}
            _ => {
                self.state = State::Text;
                return false;
            }
        }
        self.state = State::Text;
        true
    }

    fn character(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        let State::Character { bytes, have, want } = &mut self.state else {
            return false;
        };
        if !(0x80..=0xbf).contains(&byte) {
            out.extend_from_slice(REPLACEMENT);
            self.state = State::Text;
            return false;
        }
        bytes[*have] = byte;
        *have += 1;
        if have < want {
            return true;
        }
        let whole = &bytes[..*want];
        let (mut next, mut shown) = (State::Text, REPLACEMENT);
        if let Ok(text) = std::str::from_utf8(whole) {
            shown = whole;
            match text.chars().next() {
                Some('\u{9b}') => next = State::Csi(Vec::new()),
                Some('\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => {
                    next = State::String(0);
                }
                _ => {}
            }
            if text.chars().all(char::is_control) {
                shown = b"";
            }
        }
        out.extend_from_slice(shown);
        self.state = next;
        true
    }
}

/// One line of text from elsewhere, for a message or a table: every control
/// character becomes U+FFFD.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|it| if it.is_control() { '\u{fffd}' } else { it })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same whole, and cut at every place.
    fn check(input: &[u8], expected: &[u8]) {
        for cut in 0..=input.len() {
            let (mut it, mut out) = (Sanitizer::default(), Vec::new());
            it.push(&input[..cut], &mut out);
            it.push(&input[cut..], &mut out);
            it.finish(&mut out);
            let (seen, wanted) = (out.escape_ascii().to_string(), expected.escape_ascii());
            assert_eq!(seen, wanted.to_string(), "cut at {cut}");
        }
    }

    #[test]
    fn text_colours_and_progress_bars_pass() {
        let input = "plain\ttab\r 50 %\r100 % ä€😀\n\x1b[1;38;2;1;2;3mred\x1b[0m\x1b[m\n";
        check(input.as_bytes(), input.as_bytes());
    }

    #[test]
    fn a_colour_that_was_left_on_goes_off_at_the_end() {
        check(b"\x1b[31mred", b"\x1b[31mred\x1b[0m");
    }

    #[test]
    fn titles_links_and_the_clipboard_are_out_of_reach() {
        check(b"a\x1b]0;owned\x07b", b"ab");
        check(b"a\x1b]52;c;ZXZpbA==\x1b\\b", b"ab");
        check(b"a\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\b", b"alinkb");
        check("a\u{9d}0;owned\u{9c}b".as_bytes(), b"ab");
        check(b"a\x1bPq#0;2\x1b\\b\x1b_x\x1b\\c\x1bktitle\x1b\\d", b"abcd");
    }

    #[test]
    fn the_cursor_stays_where_it_is() {
        check(
            b"a\x1b[2J\x1b[H\x1b[10Ab\x1b[?25lc\x1b7\x1b8\x1bcd\x1b(0e",
            b"abcde",
        );
        check("a\u{9b}2Jb\u{85}c".as_bytes(), b"abc");
        check(b"a\x08\x08\x7f\x00\x0b\x0cb", b"ab");
    }

    #[test]
    fn what_only_looks_like_a_colour_goes() {
        check(b"\x1b[>4;1ma\x1b[?1mb\x1b[1 mc", b"abc");
        let mut long = b"\x1b[".to_vec();
        long.extend_from_slice(&b"1;".repeat(SGR_BYTES_MAX));
        long.extend_from_slice(b"mx");
        check(&long, b"x");
    }

    #[test]
    fn a_string_without_an_end_hides_no_other_line() {
        check(b"\x1b]0;hidden\nshown\n", b"\nshown\n");
        check(b"\x1b[12\nshown\n", b"\nshown\n");
        let mut long = b"\x1b]".to_vec();
        long.extend_from_slice(&vec![b'x'; STRING_BYTES_MAX + 1]);
        long.extend_from_slice(b"shown");
        check(&long, b"shown");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        check(b"a\xffb\x9bc\xc3", "a\u{fffd}b\u{fffd}c\u{fffd}".as_bytes());
        check(b"\xe2\x82x\xed\xa0\x80", "\u{fffd}x\u{fffd}".as_bytes());
    }

    #[test]
    fn a_line_from_elsewhere_stays_one_line() {
        assert_eq!(
            clean("a\nb\u{1b}[31m\u{9b}c"),
            "a\u{fffd}b\u{fffd}[31m\u{fffd}c"
        );
    }
}

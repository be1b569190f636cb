//! Where terminal escape sequences begin and end, so that a value with colour
//! codes inside is found in the text without them.

pub(crate) const ESC: u8 = 0x1b;

/// Longest control sequence (`ESC [ … m`) that is taken as one. Real ones stay
/// under 40 bytes; the bound keeps the hold-back small.
const CSI_BYTES_MAX: usize = if cfg!(any(test, fuzzing)) { 16 } else { 64 };

/// Longest command string (`ESC ] … BEL`: titles, links) that is taken as one.
/// Links carry a URL; 2 KiB is what terminals accept.
const OSC_BYTES_MAX: usize = if cfg!(any(test, fuzzing)) { 24 } else { 2048 };

/// What stands at an `ESC`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// A whole sequence of this many bytes.
    Whole(usize),
    /// No sequence: the `ESC` is a byte like any other.
    Not,
    /// Not known before more bytes come.
    Incomplete,
}

/// Longest colour sequence that [`colour_at`] knows.
pub(crate) const COLOUR_BYTES_MAX: usize = 16;

/// Whether `byte` may stand in a colour sequence before its `m`.
pub(crate) fn in_colour(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b';'
}

/// The length of the colour sequence (`ESC [ 1 ; 31 m`) at the beginning of
/// `bytes`: by far the most frequent kind, and known at a glance.
#[inline]
pub(crate) fn colour_at(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(&[ESC, b'['])?;
    let end = rest
        .iter()
        .take(COLOUR_BYTES_MAX - 2)
        .position(|it| !in_colour(*it))?;
    (rest[end] == b'm').then_some(end + 3)
}

/// Looks at `bytes`, which begin with `ESC`. With `eof` no more will come.
pub(crate) fn sequence_at(bytes: &[u8], eof: bool) -> Sequence {
    let found = match bytes.get(1) {
        None => Sequence::Incomplete,
        Some(b'[') => control(bytes),
        Some(b']' | b'P' | b'X' | b'^' | b'_') => command(bytes),
        Some(0x20..=0x2f) => intermediate(bytes),
        Some(0x30..=0x7e) => Sequence::Whole(2),
        Some(_) => Sequence::Not,
    };
    if eof && found == Sequence::Incomplete {
        return Sequence::Not;
    }
    found
}

fn control(bytes: &[u8]) -> Sequence {
    for (at, byte) in bytes.iter().enumerate().skip(2) {
        if at >= CSI_BYTES_MAX {
            return Sequence::Not;
        }
        match byte {
            0x20..=0x3f => {}
            0x40..=0x7e => return Sequence::Whole(at + 1),
            _ => return Sequence::Not,
        }
    }
    Sequence::Incomplete
}

fn command(bytes: &[u8]) -> Sequence {
    for (at, byte) in bytes.iter().enumerate().skip(2) {
        if at >= OSC_BYTES_MAX {
            return Sequence::Not;
        }
        match byte {
            0x07 => return Sequence::Whole(at + 1),
            b'\n' | b'\r' => return Sequence::Not,
            &ESC => {
                return match bytes.get(at + 1) {
                    None => Sequence::Incomplete,
                    Some(b'\\') => Sequence::Whole(at + 2),
                    Some(_) => Sequence::Not,
                };
            }
            _ => {}
        }
    }
    Sequence::Incomplete
}

fn intermediate(bytes: &[u8]) -> Sequence {
    for (at, byte) in bytes.iter().enumerate().skip(2) {
        match byte {
            0x20..=0x2f if at < 8 => {}
            0x30..=0x7e => return Sequence::Whole(at + 1),
            _ => return Sequence::Not,
        }
    }
    Sequence::Incomplete
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_recognised_and_broken_ones_are_not() {
        let check = |bytes: &[u8], expected: Sequence| {
            assert_eq!(sequence_at(bytes, false), expected, "{bytes:?}");
        };
        check(b"\x1b[31mred", Sequence::Whole(5));
        check(b"\x1b[0;1;38", Sequence::Incomplete);
        check(b"\x1b[3\nm", Sequence::Not);
        check(b"\x1b]0;title\x07x", Sequence::Whole(10));
        check(b"\x1b]8;;u\x1b\\x", Sequence::Whole(8));
        check(b"\x1b]8;;u\x1b", Sequence::Incomplete);
        check(b"\x1b]0;line\nend", Sequence::Not);
        check(
            b"\x1b]0;much too long for a test's limit\x07",
            Sequence::Not,
        );
        check(b"\x1b(Bx", Sequence::Whole(3));
        check(b"\x1bcx", Sequence::Whole(2));
        check(b"\x1b", Sequence::Incomplete);
        check(b"\x1b\x01", Sequence::Not);
        assert_eq!(sequence_at(b"\x1b[3", true), Sequence::Not);
        for (bytes, len) in [
            (&b"\x1b[31mred"[..], Some(5)),
            (b"\x1b[m", Some(3)),
            (b"\x1b[1;2K", None),
            (b"\x1b[1;2", None),
            (b"\x1bm", None),
        ] {
            assert_eq!(colour_at(bytes), len, "{bytes:?}");
            if let Some(len) = len {
                assert_eq!(sequence_at(bytes, false), Sequence::Whole(len));
            }
        }
    }
}

//! Where in a whole text something stands that would be masked, for those who
//! clean a text that is stored already.

use std::ops::Range;

use memchr::memchr;

use crate::Secrets;
use crate::ansi::ESC;
use crate::engine::{Engine, Scan};
use crate::matcher::Block;
use crate::visible::Visible;

impl Secrets {
    /// Every stretch of `whole` that the rules and values so far would mask, in
    /// order and without overlap: in the text as it came, and in what a terminal
    /// would show of it (escape sequences inside a match belong to the stretch).
    #[must_use]
    pub fn ranges(&self, whole: &[u8]) -> Vec<Range<usize>> {
        ranges(&self.engine().0, whole, &mut Scan::default())
    }

    /// The longest form of a value that is looked for: whoever looks at a text
    /// in blocks lets them overlap by this much. 0 without values.
    #[must_use]
    pub fn longest_value_bytes(&self) -> usize {
        self.engine().0.needle_bytes_max()
    }
}

/// As [`Secrets::ranges`]. `room` is room to work in.
pub(crate) fn ranges(engine: &Engine, whole: &[u8], room: &mut Scan) -> Vec<Range<usize>> {
    if engine.is_empty() {
        return Vec::new();
    }
    let block = Block {
        bytes: whole,
        eof: true,
    };
    room.clear();
    if memchr(ESC, whole).is_none() {
        engine.scan(block, 0, &[], room);
        return merged(&mut room.ranges);
    }
    let mut visible = Visible::default();
    visible.fill(engine.simd(), block, 0, &[]);
    engine.scan_sequences((block, 0), &visible.sequences, &[], room);
    let shown = Block {
        bytes: &visible.bytes,
        eof: true,
    };
    let mut in_shown = Scan::default();
    engine.scan(shown, visible.before, &[], &mut in_shown);
    for range in in_shown.ranges {
        visible.raw_ranges(range, None, &mut room.ranges);
    }
    merged(&mut room.ranges)
}

/// Sorts, and joins what overlaps or touches.
fn merged(found: &mut [(usize, usize)]) -> Vec<Range<usize>> {
    found.sort_unstable();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for &mut (from, to) in found {
        match ranges.last_mut() {
            _ if from >= to => {}
            Some(last) if from <= last.end => last.end = last.end.max(to),
            _ => ranges.push(from..to),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MASK, Rules};

    #[test]
    fn masking_the_ranges_gives_what_the_redactor_puts_out() {
        let secrets = Secrets::new(Rules::builtin());
        secrets.register(b"abcdefgh").unwrap();
        secrets.register(b"efghijkl").unwrap();
        let texts: [&[u8]; 5] = [
            b"nothing here",
            b"x abcdefghijkl y password=hunter2\nabcdefgh",
            b"\x1b[1mabcd\x1b[0mefgh z \x1b[31mtoken=\x1b[0mqwertz12\n",
            b"YWJjZGVmZ2g= 6162636465666768 \xff\x00",
            b"",
        ];
        for text in texts {
            let mut out = Vec::new();
            let mut at = 0;
            for range in secrets.ranges(text) {
                out.extend_from_slice(&text[at..range.start]);
                out.extend_from_slice(MASK.as_bytes());
                at = range.end;
            }
            out.extend_from_slice(&text[at..]);
            assert_eq!(
                String::from_utf8_lossy(&out),
                String::from_utf8_lossy(&secrets.redact_bytes(text))
            );
        }
    }

    #[test]
    fn the_longest_form_bounds_every_range_of_a_value() {
        let secrets = Secrets::new(Rules::none());
        assert_eq!(secrets.longest_value_bytes(), 0);
        assert!(secrets.ranges(b"abcdefgh").is_empty());
        secrets.register(b"abcdefgh").unwrap();
        // As hex, twice as long; nothing else is longer.
        assert_eq!(secrets.longest_value_bytes(), 16);
    }
}

//! The text of a block without its escape sequences, and the way back.

use memchr::memchr;

use crate::ansi::{self, ESC, Sequence};
use crate::matcher::{Block, LOOK_BEHIND_BYTES};
use crate::redactor::SEQUENCES_BYTES_MAX;

/// What a terminal would show of a block.
pub(crate) struct Visible {
    /// Context, then the visible bytes.
    pub(crate) bytes: Vec<u8>,
    /// How much of `bytes` is context.
    pub(crate) before: usize,
    /// The raw block is taken apart up to here; less than all of it when it
    /// ends inside a sequence.
    pub(crate) parsed: usize,
    start: usize,
    /// Raw position of each visible byte.
    raw: Vec<usize>,
    /// Raw ranges of the sequences.
    sequences: Vec<(usize, usize)>,
}

impl Visible {
    /// Takes `block` apart from `start` on, where no sequence is under way.
    pub(crate) fn new(block: Block<'_>, start: usize, before: &[u8]) -> Self {
        let mut it = Self {
            bytes: before.to_vec(),
            before: before.len(),
            parsed: start,
            start,
            raw: Vec::new(),
            sequences: Vec::new(),
        };
        while it.parsed < block.bytes.len() {
            let rest = &block.bytes[it.parsed..];
            let plain = memchr(ESC, rest).unwrap_or(rest.len());
            it.show(rest, plain);
            if plain == rest.len() {
                break;
            }
            match ansi::sequence_at(&rest[plain..], block.eof) {
                Sequence::Whole(len) => {
                    it.sequences.push((it.parsed, it.parsed + len));
                    it.parsed += len;
                }
                Sequence::Not => it.show(&rest[plain..], 1),
                Sequence::Incomplete => break,
            }
        }
        it
    }

    fn show(&mut self, bytes: &[u8], len: usize) {
        self.bytes.extend_from_slice(&bytes[..len]);
        self.raw.extend(self.parsed..self.parsed + len);
        self.parsed += len;
    }

    /// Raw position of a visible one; of its end, where the block was taken
    /// apart to.
    pub(crate) fn raw(&self, at: usize) -> usize {
        match at.checked_sub(self.before) {
            None => self.start,
            Some(it) => self.raw.get(it).copied().unwrap_or(self.parsed),
        }
    }

    /// Raw position right behind the visible byte before `at`.
    pub(crate) fn raw_end(&self, at: usize) -> usize {
        match at.checked_sub(self.before + 1) {
            None => self.start,
            Some(it) => self.raw[it] + 1,
        }
    }

    /// The first visible position that is not before the raw position `raw`.
    pub(crate) fn index_at_or_after(&self, raw: usize) -> usize {
        self.before + self.raw.partition_point(|it| *it < raw)
    }

    /// The raw ranges of a visible one: with the sequences inside, but in two
    /// where there are too many to wait for their end. `stood` is where a run
    /// from an earlier block stands.
    pub(crate) fn raw_ranges(
        &self,
        (from, to): (usize, usize),
        stood: Option<usize>,
        out: &mut Vec<(usize, usize)>,
    ) {
        if from >= to {
            return;
        }
        let inside = |at: usize| self.raw[at - self.before];
        let mut first = inside(from.max(self.before));
        if let Some(stood) = stood.filter(|it| first - it <= SEQUENCES_BYTES_MAX) {
            first = stood;
        }
        let last = inside(to - 1);
        let mut at = first;
        let gap_after = self.sequences.partition_point(|(_, end)| *end <= first);
        let mut gap: Option<(usize, usize)> = None;
        for &(from, to) in self.sequences[gap_after..]
            .iter()
            .take_while(|(it, _)| *it < last)
        {
            let (gap_from, gap_to) = match gap {
                Some((gap_from, gap_to)) if gap_to == from => (gap_from, to),
                _ => (from, to),
            };
            gap = Some((gap_from, gap_to));
            if gap_to - gap_from > SEQUENCES_BYTES_MAX && gap_from > at {
                out.push((at, gap_from));
            }
            if gap_to - gap_from > SEQUENCES_BYTES_MAX {
                at = gap_to;
            }
        }
        out.push((at, last + 1));
    }

    /// `raw`, or the beginning of the sequence that it lies in.
    pub(crate) fn not_inside_a_sequence(&self, raw: usize) -> usize {
        let at = self.sequences.partition_point(|(_, end)| *end <= raw);
        match self.sequences.get(at) {
            Some((from, _)) if *from < raw => *from,
            _ => raw,
        }
    }

    /// What is visible before the raw position `raw`, as far as rules look back.
    pub(crate) fn before_raw(&self, raw: usize) -> &[u8] {
        let end = self.index_at_or_after(raw);
        &self.bytes[end.saturating_sub(LOOK_BEHIND_BYTES)..end]
    }
}

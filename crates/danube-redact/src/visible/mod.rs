//! The text of a block without its escape sequences, and the way back.

mod copy;

use zeroize::Zeroizing;

use crate::ansi::{self, ESC, Sequence};
use crate::matcher::{Block, LOOK_BEHIND_BYTES};
use crate::prefilter::Simd;
use crate::redactor::SEQUENCES_BYTES_MAX;
use crate::wiped::reserve_wiped;

/// What a terminal would show of a block. Made once and filled again and again.
#[derive(Default)]
pub(crate) struct Visible {
    /// Context, then the visible bytes.
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    /// How much of `bytes` is context.
    pub(crate) before: usize,
    /// The raw block is taken apart up to here; less than all of it when it
    /// ends inside a sequence.
    pub(crate) parsed: usize,
    start: usize,
    /// Stretches of visible bytes that stand together in the raw block too: where
    /// each begins here and there.
    stretches: Vec<(usize, usize)>,
    /// The sequences.
    pub(crate) sequences: Vec<At>,
}

/// Where a sequence stands in the raw block.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Nothing but `ESC [`, digits, semicolons and an `m`.
    pub(crate) colour: bool,
}

impl Visible {
    /// Takes `block` apart from `start` on, where no sequence is under way.
    /// `before` is what is visible before.
    pub(crate) fn fill(&mut self, simd: Simd, block: Block<'_>, start: usize, before: &[u8]) {
        self.bytes.clear();
        self.stretches.clear();
        self.sequences.clear();
        let room = before.len() + block.bytes.len() - start + copy::ROOM_BYTES;
        reserve_wiped(&mut self.bytes, room);
        self.bytes.extend_from_slice(before);
        (self.before, self.start, self.parsed) = (before.len(), start, start);
        while self.parsed < block.bytes.len() {
            self.stretches.push((self.bytes.len(), self.parsed));
            self.parsed += copy::until(simd, ESC, &block.bytes[self.parsed..], &mut self.bytes);
            let rest = &block.bytes[self.parsed..];
            if rest.is_empty() {
                return;
            }
            let colour = ansi::colour_at(rest);
            let found = match colour {
                Some(len) => Sequence::Whole(len),
                None => ansi::sequence_at(rest, block.eof),
            };
            match found {
                Sequence::Whole(len) => {
                    self.sequences.push(At {
                        from: self.parsed,
                        to: self.parsed + len,
                        colour: colour.is_some(),
                    });
                    self.parsed += len;
                }
                Sequence::Not => {
                    self.stretches.push((self.bytes.len(), self.parsed));
                    self.bytes.push(ESC);
                    self.parsed += 1;
                }
                Sequence::Incomplete => return,
            }
        }
    }

    /// Raw position of a visible one; of its end, where the block was taken
    /// apart to.
    pub(crate) fn raw(&self, at: usize) -> usize {
        if at < self.before {
            return self.start;
        }
        if at >= self.bytes.len() {
            return self.parsed;
        }
        let stretch = self.stretches.partition_point(|it| it.0 <= at);
        let (here, raw) = self.stretches[stretch - 1];
        raw + (at - here)
    }

    /// Raw position right behind the visible byte before `at`.
    pub(crate) fn raw_end(&self, at: usize) -> usize {
        match at.checked_sub(self.before + 1) {
            None => self.start,
            Some(_) => self.raw(at - 1) + 1,
        }
    }

    /// The first visible position that is not before the raw position `raw`.
    pub(crate) fn index_at_or_after(&self, raw: usize) -> usize {
        let stretch = self.stretches.partition_point(|it| it.1 < raw);
        let Some((here, begin)) = stretch.checked_sub(1).map(|it| self.stretches[it]) else {
            return self.before;
        };
        let next = self.stretches.get(stretch);
        let end = next.map_or(self.bytes.len(), |it| it.0);
        (here + (raw - begin)).min(end)
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
        let mut first = self.raw(from.max(self.before));
        if let Some(stood) = stood.filter(|it| first - it <= SEQUENCES_BYTES_MAX) {
            first = stood;
        }
        let last = self.raw(to - 1);
        let mut at = first;
        let gap_after = self.sequences.partition_point(|it| it.to <= first);
        let mut gap: Option<(usize, usize)> = None;
        for &At { from, to, .. } in self.sequences[gap_after..]
            .iter()
            .take_while(|it| it.from < last)
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
        let at = self.sequences.partition_point(|it| it.to <= raw);
        match self.sequences.get(at) {
            Some(it) if it.from < raw => it.from,
            _ => raw,
        }
    }

    /// What is visible before the raw position `raw`, as far as rules look back.
    pub(crate) fn before_raw(&self, raw: usize) -> &[u8] {
        let end = self.index_at_or_after(raw);
        &self.bytes[end.saturating_sub(LOOK_BEHIND_BYTES)..end]
    }
}

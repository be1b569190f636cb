//! Finds registered values: one hashed probe of four bytes every few bytes, and
//! a comparison where a probe hits.
//!
//! Every needle is at least `stride + 3` bytes long and registered under the
//! `stride` windows at its tail (values often share a beginning, seldom an end),
//! so one of the probes falls on one of those windows wherever the needle stands.

use std::collections::HashMap;

use crate::encode::Needle;

const PROBE_BYTES: usize = 4;

/// Longest stride. Longer ones save little and need longer tails in the table.
const STRIDE_MAX: usize = 13;

/// Bits in the filter for each window in the table: one in 64 set keeps false
/// probes near 2 %.
const FILTER_BITS_EACH: usize = 64;

/// Smallest filter: 1 KiB, a corner of the first cache.
const FILTER_BITS_MIN: usize = 1 << 13;

/// Largest filter: 2 MiB, the second cache of a core.
const FILTER_BITS_MAX: usize = 1 << 24;

/// A set of byte strings to look for.
pub(crate) struct NeedleSet {
    /// Sorted, each once.
    needles: Vec<Needle>,
    stride: usize,
    filter: Vec<u64>,
    shift: u32,
    /// Four bytes → (needle, offset of the four bytes in it).
    table: HashMap<u32, Vec<(u32, u32)>>,
    /// Which two bytes a needle can begin with.
    starts: Vec<u64>,
    len_max: usize,
    multi_line_len_max: usize,
}

impl NeedleSet {
    /// `needles` are sorted, unique and at least six bytes long each.
    pub(crate) fn new(needles: Vec<Needle>) -> Self {
        let len_min = needles.iter().map(|it| it.len()).min().unwrap_or(0);
        debug_assert!(needles.is_empty() || len_min >= PROBE_BYTES);
        let stride = len_min.saturating_sub(PROBE_BYTES - 1).clamp(1, STRIDE_MAX);
        let bits = (needles.len() * stride * FILTER_BITS_EACH)
            .next_power_of_two()
            .clamp(FILTER_BITS_MIN, FILTER_BITS_MAX);
        let multi_line = |it: &&Needle| it.iter().any(|b| matches!(b, b'\n' | b'\r'));
        let mut set = Self {
            stride,
            filter: vec![0; bits / 64],
            shift: 32 - bits.trailing_zeros(),
            table: HashMap::new(),
            starts: vec![0; 65536 / 64],
            len_max: needles.iter().map(|it| it.len()).max().unwrap_or(0),
            multi_line_len_max: needles
                .iter()
                .filter(multi_line)
                .map(|it| it.len())
                .max()
                .unwrap_or(0),
            needles: Vec::new(),
        };
        for (index, needle) in needles.iter().enumerate() {
            set.enter(index, needle);
        }
        set.needles = needles;
        set
    }

    fn enter(&mut self, index: usize, needle: &[u8]) {
        let start = u16::from_le_bytes([needle[0], needle[1]]);
        set_bit(&mut self.starts, usize::from(start));
        let last = needle.len() - PROBE_BYTES;
        for offset in last + 1 - self.stride..=last {
            let gram = gram(needle, offset);
            let slot = self.slot(gram);
            set_bit(&mut self.filter, slot);
            let index = u32::try_from(index).expect("fewer than 2^32 needles");
            let offset = u32::try_from(offset).expect("needles are short");
            self.table.entry(gram).or_default().push((index, offset));
        }
    }

    fn slot(&self, gram: u32) -> usize {
        (gram.wrapping_mul(0x9e37_79b1) >> self.shift) as usize
    }

    pub(crate) fn len(&self) -> usize {
        self.needles.len()
    }

    /// Calls `found` with the range of every needle that begins at `start` or
    /// later, in no particular order.
    pub(crate) fn find(&self, bytes: &[u8], start: usize, mut found: impl FnMut(usize, usize)) {
        if self.needles.is_empty() {
            return;
        }
        let mut at = start;
        while at + PROBE_BYTES <= bytes.len() {
            let gram = gram(bytes, at);
            if bit(&self.filter, self.slot(gram)) {
                for &(index, offset) in self.table.get(&gram).into_iter().flatten() {
                    let needle = &self.needles[index as usize];
                    let Some(from) = at.checked_sub(offset as usize) else {
                        continue;
                    };
                    if from >= start && bytes[from..].starts_with(needle) {
                        found(from, from + needle.len());
                    }
                }
            }
            at += self.stride;
        }
    }

    /// The first position at or after `start` from which to the end of `bytes`
    /// stands the beginning of a needle that needs more bytes.
    pub(crate) fn first_unfinished(&self, bytes: &[u8], start: usize) -> Option<usize> {
        let len = bytes.len();
        let first = start.max((len + 1).saturating_sub(self.len_max));
        // Only a multi-line needle goes on behind an end of line.
        let behind_line = memchr::memrchr2(b'\n', b'\r', &bytes[first.min(len)..])
            .map_or(first, |it| first + it + 1);
        let multi_line = start.max((len + 1).saturating_sub(self.multi_line_len_max));
        let first = first.max(multi_line.min(behind_line));
        (first..len).find(|&at| self.begins(&bytes[at..]))
    }

    /// Whether `rest` is the beginning of a longer needle.
    fn begins(&self, rest: &[u8]) -> bool {
        if let [a, b, ..] = rest
            && !bit(&self.starts, usize::from(u16::from_le_bytes([*a, *b])))
        {
            return false;
        }
        let at = self.needles.partition_point(|it| &**it <= rest);
        self.needles.get(at).is_some_and(|it| it.starts_with(rest))
    }
}

fn gram(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn bit(bits: &[u64], at: usize) -> bool {
    bits[at / 64] >> (at % 64) & 1 == 1
}

fn set_bit(bits: &mut [u64], at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(needles: &[&str]) -> NeedleSet {
        let mut needles: Vec<Needle> = needles
            .iter()
            .map(|it| Needle::new(it.as_bytes()))
            .collect();
        needles.sort();
        NeedleSet::new(needles)
    }

    #[test]
    fn every_occurrence_is_found_at_every_offset() {
        let set = set(&["abcdefgh", "efghijkl", "abababab", "zz-longer-value-zz"]);
        let text = "abcdefghijklababababababzz-longer-value-zz";
        for pad in 0..20 {
            let bytes = format!("{}{text}", ".".repeat(pad)).into_bytes();
            let mut ranges = Vec::new();
            set.find(&bytes, 0, |from, to| ranges.push((from - pad, to - pad)));
            ranges.sort_unstable();
            ranges.dedup();
            assert_eq!(
                ranges,
                [(0, 8), (4, 12), (12, 20), (14, 22), (16, 24), (24, 42)],
                "pad {pad}"
            );
        }
    }

    #[test]
    fn an_unfinished_needle_is_seen_at_the_end() {
        let set = set(&["abcdefgh", "first\nsecond"]);
        let check = |text: &str, expected: Option<usize>| {
            assert_eq!(
                set.first_unfinished(text.as_bytes(), 0),
                expected,
                "{text:?}"
            );
        };
        check("xxabc", Some(2));
        check("xxabcdefgh", None);
        check("xxabcx", None);
        check("abca", Some(3));
        check("first\n", Some(0));
        check("first\nsec", Some(0));
        check("abcd\n", None);
        check("", None);
    }
}

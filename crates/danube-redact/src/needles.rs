//! Finds registered values: one hashed probe of four bytes every few bytes, and
//! a comparison where a probe hits.
//!
//! Every needle is at least `stride + 3` bytes long and registered under the
//! `stride` windows at its tail (values often share a beginning, seldom an end),
//! so one of the probes falls on one of those windows wherever the needle stands.

use std::ops::Range;
use std::sync::Arc;

use crate::ansi::ESC;
use crate::encode::Needle;
use crate::engine::Scan;
use crate::locked::Locked;
use crate::matcher::Block;
use crate::prefilter::Simd;

const PROBE_BYTES: usize = 4;

/// Longest stride. Longer ones save little and need longer tails in the table.
const STRIDE_MAX: usize = 13;

/// Bits in the filter for each window in the table: one in 128 set keeps false
/// probes under 1 %.
const FILTER_BITS_EACH: usize = 128;

/// Smallest filter: 1 KiB, a corner of the first cache.
const FILTER_BITS_MIN: usize = 1 << 13;

/// Largest filter: 2 MiB, the second cache of a core.
const FILTER_BITS_MAX: usize = 1 << 24;

/// Probes between two looks at what they found.
const PROBES_TOGETHER: usize = 8;

/// The texts of some needles: sorted, each once.
pub(crate) struct Needles {
    bytes: Locked,
    /// Where each begins; behind the last, where it ends.
    starts: Vec<u32>,
}

impl Needles {
    /// `needles` in order.
    pub(crate) fn new<'a>(needles: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let mut starts = vec![0];
        let mut end = 0;
        for needle in needles.clone() {
            end += needle.len();
            starts.push(u32::try_from(end).expect("values of less than 4 GiB"));
        }
        Self {
            bytes: Locked::new(needles),
            starts,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(crate) fn get(&self, index: usize) -> &[u8] {
        let range: Range<usize> = self.starts[index] as usize..self.starts[index + 1] as usize;
        &self.bytes.bytes()[range]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        (0..self.len()).map(|it| self.get(it))
    }

    /// These, and `more`.
    pub(crate) fn with(&self, more: &[Needle]) -> Self {
        let mut all: Vec<&[u8]> = self.iter().chain(more.iter().map(|it| &**it)).collect();
        all.sort_unstable();
        all.dedup();
        Self::new(all.into_iter())
    }
}

/// A needle that has some four bytes at an offset.
#[derive(Clone, Copy)]
struct Entry {
    needle: u32,
    offset: u32,
}

/// A set of byte strings to look for.
pub(crate) struct NeedleSet {
    needles: Arc<Needles>,
    stride: usize,
    /// By the hash of four bytes: whether any entry has them.
    filter: Vec<u64>,
    filter_shift: u32,
    /// By another part of the hash: where its entries begin; a last one says
    /// where all end. The four bytes stand nowhere but in the needles.
    heads: Vec<u32>,
    heads_shift: u32,
    entries: Vec<Entry>,
    /// Which two bytes a needle can begin with.
    starts: Vec<u64>,
    len_max: usize,
    multi_line_len_max: usize,
    any_with_escape: bool,
}

impl NeedleSet {
    /// `needles` are at least six bytes long each.
    pub(crate) fn new(needles: Arc<Needles>) -> Self {
        let longest = |of: &dyn Fn(&[u8]) -> bool| {
            let some = needles.iter().filter(|it| of(it));
            some.map(<[u8]>::len).max().unwrap_or(0)
        };
        let len_min = needles.iter().map(<[u8]>::len).min().unwrap_or(0);
        debug_assert!(needles.len() == 0 || len_min >= PROBE_BYTES);
        let stride = len_min.saturating_sub(PROBE_BYTES - 1).clamp(1, STRIDE_MAX);
        let windows = needles.len() * stride;
        let filter_bits = (windows * FILTER_BITS_EACH)
            .next_power_of_two()
            .clamp(FILTER_BITS_MIN, FILTER_BITS_MAX);
        let heads = (windows * 2).next_power_of_two().max(2);
        let mut set = Self {
            stride,
            filter: vec![0; filter_bits / 64],
            filter_shift: 32 - filter_bits.trailing_zeros(),
            heads: Vec::new(),
            heads_shift: 32 - heads.trailing_zeros(),
            entries: Vec::new(),
            starts: vec![0; 65536 / 64],
            len_max: longest(&|_| true),
            multi_line_len_max: longest(&|it| it.iter().any(|b| matches!(b, b'\n' | b'\r'))),
            any_with_escape: needles.iter().any(|it| it.contains(&ESC)),
            needles: Arc::clone(&needles),
        };
        let mut entries = Vec::with_capacity(windows);
        for (index, needle) in needles.iter().enumerate() {
            set.enter(index, needle, &mut entries);
        }
        set.index(entries, heads);
        set
    }

    fn enter(&mut self, index: usize, needle: &[u8], entries: &mut Vec<(usize, Entry)>) {
        let start = u16::from_le_bytes([needle[0], needle[1]]);
        set_bit(&mut self.starts, usize::from(start));
        let last = needle.len() - PROBE_BYTES;
        for offset in last + 1 - self.stride..=last {
            let hash = hash(needle, offset);
            set_bit(&mut self.filter, (hash >> self.filter_shift) as usize);
            let entry = Entry {
                needle: u32::try_from(index).expect("fewer than 2^32 needles"),
                offset: u32::try_from(offset).expect("needles are short"),
            };
            entries.push((self.head(hash), entry));
        }
    }

    /// Sorts the entries by head.
    fn index(&mut self, mut entries: Vec<(usize, Entry)>, heads: usize) {
        entries.sort_by_key(|it| it.0);
        let mut next = 0;
        for head in 0..heads {
            self.heads.push(u32::try_from(next).expect("as above"));
            while entries.get(next).is_some_and(|it| it.0 == head) {
                next += 1;
            }
        }
        self.heads.push(u32::try_from(next).expect("as above"));
        self.entries = entries.into_iter().map(|it| it.1).collect();
    }

    /// Uses the bits that the filter's slot weighs least.
    fn head(&self, hash: u32) -> usize {
        (hash.wrapping_mul(0x85eb_ca6b) >> self.heads_shift) as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.needles.len() == 0
    }

    pub(crate) fn len_max(&self) -> usize {
        self.len_max
    }

    /// Whether a needle holds an `ESC`, so that it isn't in a text without escape
    /// sequences.
    pub(crate) fn any_with_escape(&self) -> bool {
        self.any_with_escape
    }

    /// Finds every needle that begins at `start` or later, in no particular
    /// order, some of them more than once.
    pub(crate) fn find(&self, _simd: Simd, bytes: &[u8], start: usize, scan: &mut Scan) {
        if self.is_empty() {
            return;
        }
        match self.stride {
            1 => self.probe::<1>(bytes, start, scan),
            2 => self.probe::<2>(bytes, start, scan),
            3 => self.probe::<3>(bytes, start, scan),
            4 => self.probe::<4>(bytes, start, scan),
            5 => self.probe::<5>(bytes, start, scan),
            6 => self.probe::<6>(bytes, start, scan),
            7 => self.probe::<7>(bytes, start, scan),
            8 => self.probe::<8>(bytes, start, scan),
            9 => self.probe::<9>(bytes, start, scan),
            10 => self.probe::<10>(bytes, start, scan),
            11 => self.probe::<11>(bytes, start, scan),
            12 => self.probe::<12>(bytes, start, scan),
            _ => self.probe::<STRIDE_MAX>(bytes, start, scan),
        }
    }

    /// Probes every `S` bytes. The stride is a constant, so that the addresses
    /// of a group of probes are.
    fn probe<const S: usize>(&self, bytes: &[u8], start: usize, scan: &mut Scan) {
        let mut at = start;
        let group = (PROBES_TOGETHER - 1) * S + PROBE_BYTES;
        while let Some(window) = bytes.get(at..at + group) {
            let mut hits = 0;
            for probe in 0..PROBES_TOGETHER {
                let slot = hash(window, probe * S) >> self.filter_shift;
                hits |= u32::from(bit(&self.filter, slot as usize)) << probe;
            }
            while hits != 0 {
                let probe = hits.trailing_zeros() as usize;
                self.compare(bytes, start, at + probe * S, scan);
                hits &= hits - 1;
            }
            at += PROBES_TOGETHER * S;
        }
        while at + PROBE_BYTES <= bytes.len() {
            if bit(&self.filter, (hash(bytes, at) >> self.filter_shift) as usize) {
                self.compare(bytes, start, at, scan);
            }
            at += S;
        }
    }

    /// Compares the needles that have the four bytes at `at` at an offset.
    #[inline(never)]
    fn compare(&self, bytes: &[u8], start: usize, at: usize, scan: &mut Scan) {
        let head = self.head(hash(bytes, at));
        let entries = self.heads[head] as usize..self.heads[head + 1] as usize;
        for entry in &self.entries[entries] {
            let Some(from) = at.checked_sub(entry.offset as usize) else {
                continue;
            };
            let needle = self.needles.get(entry.needle as usize);
            if from >= start && bytes[from..].starts_with(needle) {
                scan.value(from, from + needle.len());
            }
        }
    }

    /// Finds the needles that begin at `at`, and notes if one may go on behind
    /// the block.
    pub(crate) fn find_at(&self, block: Block<'_>, at: usize, scan: &mut Scan) {
        let rest = &block.bytes[at..];
        if self.is_empty() || !self.may_begin(rest) {
            return;
        }
        // Needles that begin alike stand together: a prefix of `rest` is the
        // last one not behind it, or a prefix of that.
        let mut behind = if rest.len() < 2 { 0 } else { self.behind(rest) };
        while let Some(index) = behind.checked_sub(1) {
            let needle = self.needles.get(index);
            if rest.starts_with(needle) {
                scan.value(at, at + needle.len());
            } else if needle[..2] != rest[..2] {
                break;
            }
            behind = index;
        }
        if !block.eof && self.begins(rest) {
            scan.hold_from(Some(at));
            scan.retry_from(at);
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
        let at = self.behind(rest);
        self.may_begin(rest) && at < self.needles.len() && self.needles.get(at).starts_with(rest)
    }

    /// Whether a needle may begin as `rest` does.
    fn may_begin(&self, rest: &[u8]) -> bool {
        match rest {
            [a, b, ..] => bit(&self.starts, usize::from(u16::from_le_bytes([*a, *b]))),
            _ => true,
        }
    }

    /// The number of the first needle that is greater than `rest`.
    fn behind(&self, rest: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.needles.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.needles.get(middle) <= rest {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

fn hash(bytes: &[u8], at: usize) -> u32 {
    let four = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    four.wrapping_mul(0x9e37_79b1)
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
        let mut needles = needles.to_vec();
        needles.sort_unstable();
        NeedleSet::new(Arc::new(Needles::new(needles.iter().map(|it| it.as_bytes()))))
    }

    #[test]
    fn every_occurrence_is_found_at_every_offset() {
        let set = set(&["abcdefgh", "efghijkl", "abababab", "zz-longer-value-zz"]);
        let text = "abcdefghijklababababababzz-longer-value-zz";
        for pad in 0..20 {
            let bytes = format!("{}{text}", ".".repeat(pad)).into_bytes();
            let mut scan = Scan::default();
            set.find(Simd::best(), &bytes, 0, &mut scan);
            let mut ranges: Vec<(usize, usize)> =
                scan.ranges.iter().map(|it| (it.0 - pad, it.1 - pad)).collect();
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

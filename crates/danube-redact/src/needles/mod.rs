//! Finds registered values.
//!
//! Needles are looked for by their tails (`tails`): one hashed probe of four
//! bytes every few bytes, and a comparison where a probe hits.

mod tails;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;
use std::sync::Arc;

use crate::ansi::{COLOUR_BYTES_MAX, ESC, in_colour};
use crate::encode::Needle;
use crate::engine::Scan;
use crate::locked::Locked;
use crate::matcher::Block;
use crate::prefilter::Simd;

use tails::{PROBE_BYTES, Tails, bit, hash, set_bit};

/// A needle of this length or more allows a longer stride. When there are many,
/// they are looked for apart from the shorter ones.
const LONG_BYTES_MIN: usize = 16;

/// Bits for each needle in the filter of beginnings.
const BEGIN_BITS_EACH: usize = 64;

/// Smallest filter of beginnings: 1 KiB.
const BEGIN_BITS_MIN: usize = 1 << 13;

/// Largest: 256 KiB.
const BEGIN_BITS_MAX: usize = 1 << 21;

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

/// A set of byte strings to look for.
pub(crate) struct NeedleSet {
    needles: Arc<Needles>,
    /// All needles together, or the short ones and the long ones.
    tails: Vec<Tails>,
    /// By the hash of four bytes: whether a needle begins with them.
    begins: Vec<u64>,
    begins_shift: u32,
    len_max: usize,
    multi_line_len_max: usize,
    any_with_escape: bool,
    /// By two bytes: whether a needle that a colour sequence may hold the beginning
    /// of begins with them.
    in_colour: Vec<u64>,
    any_in_colour: bool,
}

impl NeedleSet {
    /// `needles` are at least six bytes long each.
    pub(crate) fn new(needles: &Arc<Needles>) -> Self {
        let longest = |of: &dyn Fn(&[u8]) -> bool| {
            let some = needles.iter().filter(|it| of(it));
            some.map(<[u8]>::len).max().unwrap_or(0)
        };
        let bits = (needles.len() * BEGIN_BITS_EACH)
            .next_power_of_two()
            .clamp(BEGIN_BITS_MIN, BEGIN_BITS_MAX);
        let begins_shift = 32 - bits.trailing_zeros();
        let mut begins = vec![0; bits / 64];
        for needle in needles.iter() {
            set_bit(&mut begins, (hash(needle, 0) >> begins_shift) as usize);
        }
        Self {
            tails: tails(needles),
            begins,
            begins_shift,
            len_max: longest(&|_| true),
            multi_line_len_max: longest(&|it| it.iter().any(|b| matches!(b, b'\n' | b'\r'))),
            any_with_escape: needles.iter().any(|it| it.contains(&ESC)),
            in_colour: in_colour_pairs(needles),
            any_in_colour: needles.iter().any(begins_in_colour),
            needles: Arc::clone(needles),
        }
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

    /// As [`NeedleSet::find_at`] for each position inside the colour sequence at
    /// `from..to` but its `ESC`.
    #[inline]
    pub(crate) fn find_in_colour(
        &self,
        block: Block<'_>,
        (from, to): (usize, usize),
        scan: &mut Scan,
    ) {
        if self.is_empty() {
            return;
        }
        let before_end = if self.any_in_colour {
            from + 1..to - 1
        } else {
            0..0
        };
        for at in before_end {
            let pair = u16::from_le_bytes([block.bytes[at], block.bytes[at + 1]]);
            if bit(&self.in_colour, usize::from(pair)) {
                self.find_at(block, at, scan);
            }
        }
        // Any needle may begin with the `m`.
        self.find_at(block, to - 1, scan);
    }

    /// Finds every needle that begins at `start` or later, in no particular
    /// order, some of them more than once.
    pub(crate) fn find(&self, simd: Simd, bytes: &[u8], start: usize, scan: &mut Scan) {
        let mut hits = std::mem::take(&mut scan.candidates);
        for tails in &self.tails {
            hits.clear();
            tails.probe(simd, bytes, start, &mut hits);
            for &at in &hits {
                for entry in tails.entries(bytes, at) {
                    let Some(from) = at.checked_sub(entry.offset as usize) else {
                        continue;
                    };
                    let needle = self.needles.get(entry.needle as usize);
                    if from >= start && bytes[from..].starts_with(needle) {
                        scan.value(from, from + needle.len());
                    }
                }
            }
        }
        scan.candidates = hits;
    }

    /// Finds the needles that begin at `at`, and notes if one may go on behind
    /// the block.
    #[inline]
    pub(crate) fn find_at(&self, block: Block<'_>, at: usize, scan: &mut Scan) {
        let rest = &block.bytes[at..];
        if self.is_empty() || !self.may_begin(rest) {
            return;
        }
        // Needles that begin alike stand together: a prefix of `rest` is the
        // last one not behind it, or a prefix of that.
        let mut behind = if rest.len() < PROBE_BYTES {
            0
        } else {
            self.behind(rest)
        };
        while let Some(index) = behind.checked_sub(1) {
            let needle = self.needles.get(index);
            if rest.starts_with(needle) {
                scan.value(at, at + needle.len());
            } else if needle[..PROBE_BYTES] != rest[..PROBE_BYTES] {
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
        if !self.may_begin(rest) {
            return false;
        }
        let at = self.behind(rest);
        at < self.needles.len() && self.needles.get(at).starts_with(rest)
    }

    /// Whether a needle may begin as `rest` does.
    fn may_begin(&self, rest: &[u8]) -> bool {
        rest.len() < PROBE_BYTES || bit(&self.begins, (hash(rest, 0) >> self.begins_shift) as usize)
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

/// By two bytes: whether a needle for which [`begins_in_colour`] holds begins with
/// them.
fn in_colour_pairs(needles: &Needles) -> Vec<u64> {
    let mut pairs = vec![0; 65536 / 64];
    for needle in needles.iter().filter(|it| begins_in_colour(it)) {
        let pair = u16::from_le_bytes([needle[0], needle[1]]);
        set_bit(&mut pairs, usize::from(pair));
    }
    pairs
}

/// Whether a colour sequence may hold the beginning of `needle`, or all of it,
/// and not only in its `m`.
fn begins_in_colour(needle: &[u8]) -> bool {
    let rest = needle.strip_prefix(b"[").unwrap_or(needle);
    let digits = rest.iter().take_while(|it| in_colour(**it)).count();
    let begun = digits > 0 || rest.len() < needle.len();
    begun && digits <= COLOUR_BYTES_MAX && matches!(rest.get(digits), None | Some(b'm'))
}

/// All needles in one table while that is small; else those with a long stride
/// in one of their own.
fn tails(needles: &Needles) -> Vec<Tails> {
    let all: Vec<(usize, &[u8])> = needles.iter().enumerate().collect();
    if all.is_empty() {
        return Vec::new();
    }
    let together = Tails::new(&all);
    if together.is_small() {
        return vec![together];
    }
    let (long, short): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|it| it.1.len() >= LONG_BYTES_MIN);
    let some = [short, long].into_iter().filter(|it| !it.is_empty());
    some.map(|it| Tails::new(&it)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(needles: &[&str]) -> NeedleSet {
        let mut needles = needles.to_vec();
        needles.sort_unstable();
        NeedleSet::new(&Arc::new(Needles::new(
            needles.iter().map(|it| it.as_bytes()),
        )))
    }

    #[test]
    fn every_occurrence_is_found_at_every_offset() {
        let set = set(&["abcdefgh", "efghijkl", "abababab", "zz-longer-value-zz"]);
        let text = "abcdefghijklababababababzz-longer-value-zz";
        for pad in 0..20 {
            let bytes = format!("{}{text}", ".".repeat(pad)).into_bytes();
            let mut scan = Scan::default();
            set.find(Simd::best(), &bytes, 0, &mut scan);
            let mut ranges: Vec<(usize, usize)> = scan
                .ranges
                .iter()
                .map(|it| (it.0 - pad, it.1 - pad))
                .collect();
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

    #[test]
    fn each_of_thousands_of_values_is_found_by_each_engine_at_each_offset() {
        let text = |it: usize| format!("{:x}", it.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let needles: Vec<String> = (1..3_000)
            .map(|it| format!("{}{}", text(it), text(it + 9_999).repeat(it % 3)))
            .collect();
        let needles: Vec<&str> = needles
            .iter()
            .map(|it| &it[..it.len().min(8 + it.len() / 2)])
            .collect();
        let set = set(&needles);
        assert_eq!(set.tails.len(), 2, "short and long ones apart");
        for pad in 0..13 {
            let mut bytes = ".".repeat(pad);
            let mut expected = Vec::new();
            for needle in &needles {
                expected.push((bytes.len(), bytes.len() + needle.len()));
                bytes.push_str(needle);
                bytes.push_str(". - ");
            }
            for simd in Simd::available() {
                let mut scan = Scan::default();
                set.find(simd, bytes.as_bytes(), 0, &mut scan);
                scan.ranges.sort_unstable();
                for range in &expected {
                    assert!(scan.ranges.binary_search(range).is_ok(), "{simd:?} {pad}");
                }
            }
        }
    }
}

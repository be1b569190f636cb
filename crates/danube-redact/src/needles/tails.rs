//! Some needles by the four-byte windows at their tails.
//!
//! Every needle is at least `stride + 3` bytes long and known by the `stride`
//! windows at its end (values often share a beginning, seldom an end), so that of
//! probes `stride` bytes apart one falls on such a window wherever it stands.

use crate::prefilter::Simd;

pub(super) const PROBE_BYTES: usize = 4;

/// The strides there are, with the shortest needle for each.
const STRIDES: [usize; 4] = [3, 5, 8, 13];

/// Bits in a filter for each window, while the filter fits the first cache: one
/// in 128 set keeps false probes under 1 %.
const BITS_EACH: usize = 128;

/// A filter of this size (32 KiB) fits there.
const SMALL_BITS: usize = 1 << 18;

/// Bits for each window when it doesn't.
const BITS_EACH_LARGE: usize = 32;

/// Smallest filter: 1 KiB.
const BITS_MIN: usize = 1 << 13;

/// Largest filter: 2 MiB, the second cache of a core.
const BITS_MAX: usize = 1 << 24;

/// The second filter has this part of the first one's room: few positions get to it.
const SECOND_PART: usize = 4;

/// Probes between two looks at what they found.
const PROBES_TOGETHER: usize = 8;

/// A needle that has some four bytes at an offset.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) needle: u32,
    pub(super) offset: u32,
}

pub(super) struct Tails {
    pub(super) stride: usize,
    /// By the hash of four bytes: whether any entry has them.
    pub(super) filter: Vec<u64>,
    pub(super) shift: u32,
    /// The same for those four bytes together with the four before, where an entry
    /// has any: logs are full of four bytes that are in some value.
    second: Vec<u64>,
    /// By another part of the hash: where its entries begin; a last one says
    /// where all end. The four bytes stand nowhere but in the needles.
    heads: Vec<u32>,
    heads_shift: u32,
    entries: Vec<Entry>,
}

impl Tails {
    /// `needles` with their numbers; not none.
    pub(super) fn new(needles: &[(usize, &[u8])]) -> Self {
        let len_min = needles.iter().map(|it| it.1.len()).min().unwrap_or(0);
        let fits = |it: &&usize| **it + PROBE_BYTES - 1 <= len_min;
        let stride = STRIDES.iter().rfind(fits).copied();
        debug_assert!(stride.is_some(), "registration refuses what is shorter");
        let stride = stride.unwrap_or(1);
        let windows = needles.len() * stride;
        let bits = (windows * BITS_EACH)
            .min(SMALL_BITS)
            .max(windows * BITS_EACH_LARGE)
            .next_power_of_two()
            .clamp(BITS_MIN, BITS_MAX);
        let heads = (windows * 2).next_power_of_two();
        let mut tails = Self {
            stride,
            filter: vec![0; bits / 64],
            shift: 32 - bits.trailing_zeros(),
            second: vec![0; bits / 64 / SECOND_PART],
            heads: Vec::with_capacity(heads + 1),
            heads_shift: 32 - heads.trailing_zeros(),
            entries: Vec::new(),
        };
        let mut entries = Vec::with_capacity(windows);
        for (number, needle) in needles {
            let last = needle.len() - PROBE_BYTES;
            for offset in last + 1 - stride..=last {
                let hash = hash(needle, offset);
                set_bit(&mut tails.filter, (hash >> tails.shift) as usize);
                let slot = tails.second_slot(eight(needle, offset).unwrap_or(u64::from(hash)));
                set_bit(&mut tails.second, slot);
                let entry = Entry {
                    needle: u32::try_from(*number).expect("fewer than 2^32 needles"),
                    offset: u32::try_from(offset).expect("needles are short"),
                };
                entries.push((tails.head(hash), entry));
            }
        }
        tails.index(entries, heads);
        tails
    }

    /// Sorts the entries by head.
    fn index(&mut self, mut entries: Vec<(usize, Entry)>, heads: usize) {
        entries.sort_by_key(|it| it.0);
        let mut next = 0;
        for head in 0..=heads {
            self.heads.push(u32::try_from(next).expect("as above"));
            while entries.get(next).is_some_and(|it| it.0 == head) {
                next += 1;
            }
        }
        self.entries = entries.into_iter().map(|it| it.1).collect();
    }

    /// Of eight bytes, or of the hash of four.
    fn second_slot(&self, of: u64) -> usize {
        let high = of.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let bits = self.second.len() * 64;
        usize::try_from(high).unwrap_or(0) & (bits - 1)
    }

    /// Uses the bits that the filter's slot weighs least.
    fn head(&self, hash: u32) -> usize {
        (hash.wrapping_mul(0x85eb_ca6b) >> self.heads_shift) as usize
    }

    /// Whether the filter fits the first cache.
    pub(super) fn is_small(&self) -> bool {
        self.filter.len() * 64 <= SMALL_BITS
    }

    /// The needles that may have the four bytes at `at`, and where.
    pub(super) fn entries(&self, bytes: &[u8], at: usize) -> &[Entry] {
        let hash = hash(bytes, at);
        let known = |of: u64| bit(&self.second, self.second_slot(of));
        if !eight(bytes, at).is_some_and(known) && !known(u64::from(hash)) {
            return &[];
        }
        let head = self.head(hash);
        &self.entries[self.heads[head] as usize..self.heads[head + 1] as usize]
    }

    /// Adds to `hits` the probed positions from `start` on where some needle may
    /// have its tail.
    pub(super) fn probe(&self, simd: Simd, bytes: &[u8], start: usize, hits: &mut Vec<usize>) {
        let rest = match simd {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => super::x86::probe(self, bytes, start, hits),
            _ => start,
        };
        match self.stride {
            1 => self.probe_every::<1>(bytes, rest, hits),
            3 => self.probe_every::<3>(bytes, rest, hits),
            5 => self.probe_every::<5>(bytes, rest, hits),
            8 => self.probe_every::<8>(bytes, rest, hits),
            _ => self.probe_every::<13>(bytes, rest, hits),
        }
    }

    /// The stride is a constant, so that the addresses of a group of probes are.
    fn probe_every<const S: usize>(&self, bytes: &[u8], start: usize, hits: &mut Vec<usize>) {
        debug_assert_eq!(S, self.stride);
        let mut at = start;
        let group = (PROBES_TOGETHER - 1) * S + PROBE_BYTES;
        while let Some(window) = bytes.get(at..at + group) {
            let mut found = 0;
            for probe in 0..PROBES_TOGETHER {
                found |= u32::from(self.may_be(window, probe * S)) << probe;
            }
            while found != 0 {
                hits.push(at + found.trailing_zeros() as usize * S);
                found &= found - 1;
            }
            at += PROBES_TOGETHER * S;
        }
        while at + PROBE_BYTES <= bytes.len() {
            if self.may_be(bytes, at) {
                hits.push(at);
            }
            at += S;
        }
    }

    #[inline]
    fn may_be(&self, bytes: &[u8], at: usize) -> bool {
        bit(&self.filter, (hash(bytes, at) >> self.shift) as usize)
    }
}

/// [`hash`] multiplies four bytes by this.
pub(super) const HASH_FACTOR: u32 = 0x9e37_79b1;

pub(super) fn hash(bytes: &[u8], at: usize) -> u32 {
    let four = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    four.wrapping_mul(HASH_FACTOR)
}

/// The four bytes at `at` and the four before.
fn eight(bytes: &[u8], at: usize) -> Option<u64> {
    let begin = at.checked_sub(PROBE_BYTES)?;
    let eight = bytes.get(begin..)?.first_chunk()?;
    Some(u64::from_le_bytes(*eight))
}

pub(super) fn bit(bits: &[u64], at: usize) -> bool {
    bits[at / 64] >> (at % 64) & 1 == 1
}

pub(super) fn set_bit(bits: &mut [u64], at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}

//! 32 or 64 bytes at once on x86-64, as far as the processor can.
#![expect(
    unsafe_code,
    reason = "vector instructions; each block says why it is sound"
)]

use std::arch::x86_64::{
    __m256i, __m512i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16, _mm512_and_si512,
    _mm512_loadu_si512, _mm512_permutex2var_epi8, _mm512_test_epi8_mask,
};

use super::{GRAM_BYTES, Simd};

/// Bytes that the wider engine looks at together.
const WIDE: usize = 64;
const NARROW: usize = 32;

/// A gram that begins at the last byte of a vector ends so many behind it.
const BEHIND: usize = GRAM_BYTES - 1;

/// Room for the last bytes of a block, with nothing behind them.
const LAST_BYTES: usize = 2 * WIDE;

pub(super) fn available() -> Vec<Simd> {
    let mut all = Vec::new();
    if is_x86_feature_detected!("avx2") {
        all.push(Simd::Avx2);
        if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vbmi") {
            all.push(Simd::Avx512);
        }
    }
    all
}

/// The buckets of a byte at each place.
pub(super) struct Tables {
    /// By the byte's low and by its high half: a bucket allows a byte when both
    /// say so.
    low: [[u8; 16]; GRAM_BYTES],
    high: [[u8; 16]; GRAM_BYTES],
    /// By the byte's lower seven bits. A byte of 128 and more shares the entry of
    /// the one 128 below, with the buckets of both.
    seven: [[u8; 128]; GRAM_BYTES],
}

impl Tables {
    /// `whole` and `halves`: the buckets of bytes at each place, for engines that
    /// look up whole bytes and their halves.
    pub(super) fn new(whole: &[u32; 256], halves: &[u32; 256]) -> Self {
        let mut it = Self {
            low: Default::default(),
            high: Default::default(),
            seven: [[0; 128]; GRAM_BYTES],
        };
        for byte in 0..256 {
            for place in 0..GRAM_BYTES {
                let halves = halves[byte].to_le_bytes()[place];
                it.low[place][byte & 0xf] |= halves;
                it.high[place][byte >> 4] |= halves;
                it.seven[place][byte & 0x7f] |= whole[byte].to_le_bytes()[place];
            }
        }
        it
    }

    /// As [`super::Prefilter::find`].
    pub(super) fn find(&self, simd: Simd, bytes: &[u8], start: usize, out: &mut Vec<usize>) {
        let rest = self.whole_vectors(simd, bytes, start, out);
        // The last bytes come with zeros behind them, which no gram allows but at
        // a place where it allows all; those are dropped.
        let left = bytes.len().saturating_sub(rest);
        if left < GRAM_BYTES {
            return;
        }
        let mut last = [0; LAST_BYTES + WIDE];
        last[..left].copy_from_slice(&bytes[rest..]);
        let before = out.len();
        let padded = left.next_multiple_of(WIDE) + BEHIND;
        self.whole_vectors(simd, &last[..padded], 0, out);
        let end = left - BEHIND;
        let mut kept = before;
        for index in before..out.len() {
            if out[index] < end {
                out[kept] = out[index] + rest;
                kept += 1;
            }
        }
        out.truncate(kept);
    }

    /// Looks at whole vectors from `start` on; returns where the first position
    /// is that was not looked at.
    fn whole_vectors(&self, simd: Simd, bytes: &[u8], start: usize, out: &mut Vec<usize>) -> usize {
        if simd == Simd::Avx512 {
            in_rounds::<WIDE>(bytes, start, BEHIND, out, |bytes, masks| {
                // SAFETY: `Simd::or_scalar` let this engine through, so the
                // processor has AVX-512 F, BW and VBMI.
                unsafe { self.wide(bytes, masks) }
            })
        } else {
            in_rounds::<NARROW>(bytes, start, BEHIND, out, |bytes, masks| {
                // SAFETY: as above, with AVX2.
                unsafe { self.narrow(bytes, masks) }
            })
        }
    }

    /// For each whole vector of `bytes`: at which of its bytes a gram may begin.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn wide(&self, bytes: &[u8], masks: &mut [u64]) {
        let load = |bytes: &[u8; WIDE]| -> __m512i {
            // SAFETY: the array has the 64 bytes that are read; no alignment is
            // asked for.
            unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
        };
        let half = |place: usize, from: usize| {
            load(self.seven[place][from..].first_chunk().expect("64 of 128"))
        };
        let tables: [(__m512i, __m512i); GRAM_BYTES] =
            std::array::from_fn(|it| (half(it, 0), half(it, WIDE)));
        for (index, mask) in masks.iter_mut().enumerate() {
            let window: &[u8; WIDE + BEHIND] = window(bytes, index * WIDE);
            let allowed = |place: usize| {
                let shifted = load(window[place..].first_chunk().expect("64 and 3 behind"));
                _mm512_permutex2var_epi8(tables[place].0, shifted, tables[place].1)
            };
            let front = _mm512_and_si512(allowed(0), allowed(1));
            *mask = _mm512_test_epi8_mask(front, _mm512_and_si512(allowed(2), allowed(3)));
        }
    }

    /// As `wide`.
    #[target_feature(enable = "avx2")]
    fn narrow(&self, bytes: &[u8], masks: &mut [u64]) {
        let twice = |table: &[u8; 16]| -> __m256i {
            // SAFETY: the array has the 16 bytes that are read; no alignment is
            // asked for.
            _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
        };
        let low: [__m256i; GRAM_BYTES] = std::array::from_fn(|it| twice(&self.low[it]));
        let high: [__m256i; GRAM_BYTES] = std::array::from_fn(|it| twice(&self.high[it]));
        let half = _mm256_set1_epi8(0xf);
        for (index, mask) in masks.iter_mut().enumerate() {
            let window: &[u8; NARROW + BEHIND] = window(bytes, index * NARROW);
            let mut all = _mm256_set1_epi8(-1);
            for place in 0..GRAM_BYTES {
                let shifted: &[u8; NARROW] = window[place..].first_chunk().expect("32 and 3");
                // SAFETY: as above, with 32 bytes.
                let shifted = unsafe { _mm256_loadu_si256(shifted.as_ptr().cast()) };
                let by_low = _mm256_shuffle_epi8(low[place], _mm256_and_si256(shifted, half));
                let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(shifted), half);
                let by_high = _mm256_shuffle_epi8(high[place], upper);
                all = _mm256_and_si256(all, _mm256_and_si256(by_low, by_high));
            }
            let none = _mm256_movemask_epi8(_mm256_cmpeq_epi8(all, _mm256_setzero_si256()));
            *mask = u64::from(!none.cast_unsigned());
        }
    }
}

fn window<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    bytes[at..]
        .first_chunk()
        .expect("as many as there are masks")
}

/// Has `fill` make a mask for each vector of `N` bytes from `start` on (with
/// `behind` more bytes at least), some vectors at a time, and adds the positions of
/// the bits that are set to `out`; returns where the first byte is that was not
/// looked at.
fn in_rounds<const N: usize>(
    bytes: &[u8],
    start: usize,
    behind: usize,
    out: &mut Vec<usize>,
    fill: impl Fn(&[u8], &mut [u64]),
) -> usize {
    let mut left = bytes.len().saturating_sub(start + behind) / N;
    let mut at = start;
    let mut masks = [0; ROUND];
    while left > 0 {
        let round = left.min(ROUND);
        let masks = &mut masks[..round];
        fill(&bytes[at..at + round * N + behind], masks);
        for (index, mask) in masks.iter().enumerate() {
            let mut mask = *mask;
            while mask != 0 {
                out.push(at + index * N + mask.trailing_zeros() as usize);
                mask &= mask - 1;
            }
        }
        at += round * N;
        left -= round;
    }
    at
}

/// Vectors between two times of adding positions: a list that grows in between
/// would cost the engines their registers.
const ROUND: usize = 32;

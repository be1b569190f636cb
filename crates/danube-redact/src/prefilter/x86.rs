//! 32 or 64 bytes at once on x86-64, as far as the processor can.
#![expect(
    unsafe_code,
    reason = "vector instructions; each block says why it is sound"
)]

use std::arch::x86_64::{
    __m256i, __m512i, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
    _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_srli_epi16, _mm512_and_si512, _mm512_loadu_si512,
    _mm512_permutex2var_epi8, _mm512_test_epi8_mask, _mm_loadu_si128,
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
    pub(super) fn new(places: &[u32; 256]) -> Self {
        let mut it = Self {
            low: Default::default(),
            high: Default::default(),
            seven: [[0; 128]; GRAM_BYTES],
        };
        for (byte, buckets) in places.iter().enumerate() {
            for (place, buckets) in buckets.to_le_bytes().into_iter().enumerate() {
                it.low[place][byte & 0xf] |= buckets;
                it.high[place][byte >> 4] |= buckets;
                it.seven[place][byte & 0x7f] |= buckets;
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
    fn whole_vectors(
        &self,
        simd: Simd,
        bytes: &[u8],
        start: usize,
        out: &mut Vec<usize>,
    ) -> usize {
        if simd == Simd::Avx512 {
            // SAFETY: `Simd::or_scalar` let this engine through, so the processor
            // has AVX-512 F, BW and VBMI.
            unsafe { self.wide(bytes, start, out) }
        } else {
            // SAFETY: as above, with AVX2.
            unsafe { self.narrow(bytes, start, out) }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn wide(&self, bytes: &[u8], start: usize, out: &mut Vec<usize>) -> usize {
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
        let mut at = start;
        while let Some(window) = window::<{ WIDE + BEHIND }>(bytes, at) {
            let mut all = None;
            for (place, (first, second)) in tables.iter().enumerate() {
                let shifted = window[place..].first_chunk().expect("64 and 3 behind");
                let allowed = _mm512_permutex2var_epi8(*first, load(shifted), *second);
                all = Some(all.map_or(allowed, |it| _mm512_and_si512(it, allowed)));
            }
            if let Some(all) = all {
                report(_mm512_test_epi8_mask(all, all), at, out);
            }
            at += WIDE;
        }
        at
    }

    #[target_feature(enable = "avx2")]
    fn narrow(&self, bytes: &[u8], start: usize, out: &mut Vec<usize>) -> usize {
        let twice = |table: &[u8; 16]| -> __m256i {
            // SAFETY: the array has the 16 bytes that are read; no alignment is
            // asked for.
            _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
        };
        let load = |bytes: &[u8; NARROW]| -> __m256i {
            // SAFETY: as above, with 32 bytes.
            unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
        };
        let low: [__m256i; GRAM_BYTES] = std::array::from_fn(|it| twice(&self.low[it]));
        let high: [__m256i; GRAM_BYTES] = std::array::from_fn(|it| twice(&self.high[it]));
        let half = _mm256_set1_epi8(0xf);
        let mut at = start;
        while let Some(window) = window::<{ NARROW + BEHIND }>(bytes, at) {
            let mut all = _mm256_set1_epi8(-1);
            for place in 0..GRAM_BYTES {
                let shifted = load(window[place..].first_chunk().expect("32 and 3 behind"));
                let by_low = _mm256_shuffle_epi8(low[place], _mm256_and_si256(shifted, half));
                let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(shifted), half);
                let by_high = _mm256_shuffle_epi8(high[place], upper);
                all = _mm256_and_si256(all, _mm256_and_si256(by_low, by_high));
            }
            let none = _mm256_movemask_epi8(_mm256_cmpeq_epi8(all, _mm256_setzero_si256()));
            report(u64::from(!none.cast_unsigned()), at, out);
            at += NARROW;
        }
        at
    }
}

/// Adds to `out` where `byte` stands from `start` on, as long as there are whole
/// vectors; returns where the first byte is that was not looked at.
pub(super) fn positions(byte: u8, bytes: &[u8], start: usize, out: &mut Vec<usize>) -> usize {
    // SAFETY: asked for only by engines that have more than AVX2.
    unsafe { positions_narrow(byte, bytes, start, out) }
}

#[target_feature(enable = "avx2")]
fn positions_narrow(byte: u8, bytes: &[u8], start: usize, out: &mut Vec<usize>) -> usize {
    let wanted = _mm256_set1_epi8(byte.cast_signed());
    let mut at = start;
    while let Some(window) = window::<{ 2 * NARROW }>(bytes, at) {
        let half = |from: usize| {
            // SAFETY: 32 of the window's 64 bytes are read; no alignment is asked for.
            let bytes = unsafe { _mm256_loadu_si256(window[from..].as_ptr().cast()) };
            let equal = _mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, wanted));
            u64::from(equal.cast_unsigned())
        };
        report(half(0) | half(NARROW) << NARROW, at, out);
        at += 2 * NARROW;
    }
    at
}

fn window<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

/// Adds the positions of the bits that are set.
#[inline]
fn report(mut mask: u64, at: usize, out: &mut Vec<usize>) {
    while mask != 0 {
        out.push(at + mask.trailing_zeros() as usize);
        mask &= mask - 1;
    }
}

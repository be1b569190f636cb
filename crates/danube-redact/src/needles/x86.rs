//! Sixteen probes at once on x86-64 with AVX-512.
#![expect(
    unsafe_code,
    reason = "vector instructions; each block says why it is sound"
)]

use std::arch::x86_64::{
    _mm_cvtsi32_si128, _mm512_and_si512, _mm512_i32gather_epi32, _mm512_loadu_si512,
    _mm512_mullo_epi32, _mm512_permutex2var_epi8, _mm512_set1_epi32, _mm512_sllv_epi32,
    _mm512_srl_epi32, _mm512_srli_epi32, _mm512_test_epi32_mask,
};

use super::tails::{HASH_FACTOR, PROBE_BYTES, Tails};

const TOGETHER: usize = 16;

/// Groups between two times of adding positions: a vector that grows in between
/// would cost the probes their registers.
const ROUND: usize = 32;

/// Bytes in which the probes of a group lie.
const WINDOW: usize = 128;

/// As [`Tails::probe`], while there are whole windows; returns where the next
/// probe would be.
pub(super) fn probe(tails: &Tails, bytes: &[u8], start: usize, hits: &mut Vec<usize>) -> usize {
    let probes = TOGETHER.min((WINDOW - PROBE_BYTES) / tails.stride + 1);
    let step = probes * tails.stride;
    let picks = picks(tails.stride);
    let mut at = start;
    let mut left = (bytes.len().saturating_sub(start) + step).saturating_sub(WINDOW) / step;
    let mut masks = [0; ROUND];
    while left > 0 {
        let round = left.min(ROUND);
        let masks = &mut masks[..round];
        // SAFETY: `Simd::or_scalar` let the engine through that comes here, so the
        // processor has AVX-512 F, BW and VBMI.
        unsafe { look(tails, &picks, step, &bytes[at..], masks) };
        for (index, mask) in masks.iter().enumerate() {
            let mut mask = mask & (u16::MAX >> (TOGETHER - probes));
            while mask != 0 {
                let probe = index * probes + mask.trailing_zeros() as usize;
                hits.push(at + probe * tails.stride);
                mask &= mask - 1;
            }
        }
        at += round * step;
        left -= round;
    }
    at
}

/// For each window of `bytes`, `step` bytes apart: which of its probes hit.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn look(
    tails: &Tails,
    picks: &[u8; TOGETHER * PROBE_BYTES],
    step: usize,
    bytes: &[u8],
    masks: &mut [u16],
) {
    // SAFETY: the array has the 64 bytes that are read; no alignment is asked for.
    let picks = unsafe { _mm512_loadu_si512(picks.as_ptr().cast()) };
    let factor = _mm512_set1_epi32(HASH_FACTOR.cast_signed());
    let shift = _mm_cvtsi32_si128(tails.shift.cast_signed());
    let one = _mm512_set1_epi32(1);
    let in_word = _mm512_set1_epi32(31);
    // A hash that is shifted so far has no more bits than the filter's slots.
    assert!(tails.filter.len() * 64 == 1 << (32 - tails.shift));
    let words = tails.filter.as_ptr().cast::<i32>();
    for (index, mask) in masks.iter_mut().enumerate() {
        let window: &[u8; WINDOW] = bytes[index * step..].first_chunk().expect("a window each");
        // SAFETY: the window has the 128 bytes that the two read.
        let (first, second) = unsafe {
            let first = window.as_ptr();
            (
                _mm512_loadu_si512(first.cast()),
                _mm512_loadu_si512(first.add(WINDOW / 2).cast()),
            )
        };
        let fours = _mm512_permutex2var_epi8(first, picks, second);
        let slots = _mm512_srl_epi32(_mm512_mullo_epi32(fours, factor), shift);
        // SAFETY: the filter has 2^(32 - shift) bits, and no slot is greater. In
        // words of 32 bits a slot's bit is the same: x86 is little-endian.
        let filter = unsafe { _mm512_i32gather_epi32::<4>(_mm512_srli_epi32::<5>(slots), words) };
        let bits = _mm512_sllv_epi32(one, _mm512_and_si512(slots, in_word));
        *mask = _mm512_test_epi32_mask(filter, bits);
    }
}

/// Which bytes of a window the probes look at: four each, `stride` apart. Those
/// of probes that don't fit are anything.
fn picks(stride: usize) -> [u8; TOGETHER * PROBE_BYTES] {
    std::array::from_fn(|it| {
        let at = it / PROBE_BYTES * stride + it % PROBE_BYTES;
        u8::try_from(at % WINDOW).expect("less than 128")
    })
}

//! Copies bytes up to one that ends it, in one go.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "vector instructions; each block says why it is sound"
    )
)]

use memchr::memchr;

use crate::prefilter::Simd;

/// Bytes that are copied together.
const TOGETHER: usize = 64;

/// Room that [`until`] likes to have behind all that is copied: it writes whole
/// vectors and takes back what was too much.
pub(super) const ROOM_BYTES: usize = TOGETHER;

/// Appends the bytes of `from` that stand before the first `end` to `to`; returns
/// how many there were.
pub(super) fn until(simd: Simd, end: u8, from: &[u8], to: &mut Vec<u8>) -> usize {
    let done = match simd {
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 | Simd::Avx512 => {
            // SAFETY: `Simd::or_scalar` let an engine through that has AVX2.
            let (done, found) = unsafe { vectors(end, from, to) };
            if found {
                return done;
            }
            done
        }
        _ => 0,
    };
    let rest = &from[done..];
    let len = memchr(end, rest).unwrap_or(rest.len());
    to.extend_from_slice(&rest[..len]);
    done + len
}

/// As [`until`], as long as there are whole vectors, and room for them; and
/// whether `end` was found.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn vectors(end: u8, from: &[u8], to: &mut Vec<u8>) -> (usize, bool) {
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8,
        _mm256_storeu_si256,
    };

    let wanted = _mm256_set1_epi8(end.cast_signed());
    let mask = |bytes: __m256i| -> u64 {
        let equal = _mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, wanted));
        u64::from(equal.cast_unsigned())
    };
    let mut done = 0;
    let mut found = false;
    let before = to.len();
    let room = to.spare_capacity_mut();
    while let (Some(source), Some(target)) = (
        from.get(done..done + TOGETHER),
        room.get_mut(done..done + TOGETHER),
    ) {
        // SAFETY: 64 bytes are read from the one and written to the other, which
        // both have; no alignment is asked for. What is written is initialised by
        // that.
        let ends = unsafe {
            let source = source.as_ptr().cast::<__m256i>();
            let target = target.as_mut_ptr().cast::<__m256i>();
            let (first, second) = (
                _mm256_loadu_si256(source),
                _mm256_loadu_si256(source.add(1)),
            );
            _mm256_storeu_si256(target, first);
            _mm256_storeu_si256(target.add(1), second);
            mask(first) | mask(second) << 32
        };
        if ends != 0 {
            done += ends.trailing_zeros() as usize;
            found = true;
            break;
        }
        done += TOGETHER;
    }
    // SAFETY: `done` bytes behind the old length lie within the capacity and have
    // been written.
    unsafe { to.set_len(before + done) };
    (done, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_copied_up_to_the_end_wherever_it_stands() {
        for len in [0, 1, 63, 64, 65, 127, 128, 200] {
            for at in 0..=len {
                let mut from: Vec<u8> = (0..len).map(|it| u8::try_from(it % 20).unwrap()).collect();
                from.insert(at, b'#');
                for simd in Simd::available() {
                    for room in [0, 10, 1000] {
                        let mut to = Vec::with_capacity(room);
                        to.extend_from_slice(b"old");
                        assert_eq!(until(simd, b'#', &from, &mut to), at);
                        assert_eq!(to, [b"old", &from[..at]].concat(), "{simd:?} {room}");
                        let mut all = Vec::with_capacity(room);
                        assert_eq!(until(simd, b'@', &from, &mut all), from.len());
                        assert_eq!(all, from);
                    }
                }
            }
        }
    }
}

//! Finds quickly where one of some four-byte patterns *may* stand.
//!
//! Each pattern ("gram") is four sets of bytes. Grams are put into eight
//! buckets; a byte's table entry says for each of the four places which buckets
//! allow it there, and a position is a candidate when some bucket allows all
//! four. Engines differ in how many bytes they look at together and may report
//! positions that the tables alone would not; nobody relies on a candidate
//! before it is confirmed, so they all lead to the same result.

mod buckets;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::byteset::ByteSet;

use buckets::LookUp;
pub(crate) use buckets::frequency;

pub(crate) const GRAM_BYTES: usize = 4;

/// What may stand at each of four places.
pub(crate) type Gram = [ByteSet; GRAM_BYTES];

/// How a redactor looks at bytes: one after the other, or many at once. All give
/// the same output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Simd {
    /// Runs everywhere.
    Scalar,
    /// 32 bytes at once: x86-64 with AVX2.
    Avx2,
    /// 64 bytes at once: x86-64 with AVX-512 BW and VBMI.
    Avx512,
}

impl Simd {
    /// The engines that this machine can run, the quickest last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[cfg_attr(
            not(target_arch = "x86_64"),
            expect(unused_mut, reason = "there is only one")
        )]
        let mut all = vec![Self::Scalar];
        #[cfg(target_arch = "x86_64")]
        all.extend(x86::available());
        all
    }

    /// The quickest that this machine can run.
    #[must_use]
    pub fn best() -> Self {
        Self::available().last().copied().unwrap_or(Self::Scalar)
    }

    /// This one, if the machine can run it.
    pub(crate) fn or_scalar(self) -> Self {
        if Self::available().contains(&self) {
            self
        } else {
            Self::Scalar
        }
    }
}

/// Which buckets allow a byte at each place, in the forms that the engines need.
pub(crate) struct Prefilter {
    /// For a byte: its buckets at place 0 in the lowest eight bits, and so on.
    places: [u32; 256],
    #[cfg(target_arch = "x86_64")]
    x86: x86::Tables,
}

impl Prefilter {
    pub(crate) fn new(grams: &[Gram]) -> Self {
        let whole = places(grams, LookUp::Whole);
        Self {
            #[cfg(target_arch = "x86_64")]
            x86: x86::Tables::new(&whole, &places(grams, LookUp::Halves)),
            places: whole,
        }
    }

    /// Adds to `out` the positions from `start` on at which a gram may begin, in
    /// order. All four bytes of it lie in `bytes`.
    pub(crate) fn find(&self, simd: Simd, bytes: &[u8], start: usize, out: &mut Vec<usize>) {
        match simd {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 | Simd::Avx512 => self.x86.find(simd, bytes, start, out),
            _ => scalar::find(&self.places, bytes, start, out),
        }
    }
}

/// For a byte: its buckets at place 0 in the lowest eight bits, and so on.
fn places(grams: &[Gram], look_up: LookUp) -> [u32; 256] {
    let mut places = [0; 256];
    for (gram, bucket) in grams.iter().zip(buckets::assign(grams, look_up)) {
        for (place, set) in gram.iter().enumerate() {
            for byte in set.iter() {
                places[usize::from(byte)] |= 1 << (8 * place + bucket);
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gram(text: &str) -> Gram {
        let mut gram = Gram::default();
        for (set, byte) in gram.iter_mut().zip(text.bytes()) {
            *set = ByteSet::of(&[byte.to_ascii_lowercase(), byte.to_ascii_uppercase()]);
        }
        gram
    }

    #[test]
    fn every_engine_finds_every_gram_at_every_place() {
        let mut grams: Vec<Gram> = [
            "sswo", "ecre", "oken", "_liv", "AKIA", "npm_", "glpa", "dckr",
        ]
        .map(gram)
        .to_vec();
        let mut any_last = gram("://x");
        any_last[3] = ByteSet::of(&(0..=255).collect::<Vec<u8>>());
        grams.push(any_last);
        let prefilter = Prefilter::new(&grams);
        let texts: [&[u8]; 5] = [b"sswo", b"SECRET", b"ToKeN", b"://\xff", b"aAKIA"];
        for len in [0, 3, 4, 31, 63, 64, 67, 68, 130, 200] {
            for text in texts {
                for at in 0..=len {
                    for start in [0, 1, 5, at] {
                        let mut bytes = vec![b'.'; at];
                        bytes.extend_from_slice(text);
                        bytes.resize(bytes.len() + len - at, 0x80);
                        let mut expected = Vec::new();
                        for p in start..bytes.len().saturating_sub(3) {
                            let fits = |gram: &Gram| (0..4).all(|it| gram[it].has(bytes[p + it]));
                            if grams.iter().any(fits) {
                                expected.push(p);
                            }
                        }
                        for simd in Simd::available() {
                            let mut found = Vec::new();
                            prefilter.find(simd, &bytes, start, &mut found);
                            assert!(found.is_sorted() && found.iter().all(|it| *it >= start));
                            for p in &expected {
                                assert!(found.contains(p), "{simd:?} {bytes:?} {p}");
                            }
                            assert!(found.iter().all(|it| it + 4 <= bytes.len()), "{simd:?}");
                        }
                    }
                }
            }
        }
    }
}

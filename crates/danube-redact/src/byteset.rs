//! A set of bytes.

use crate::class::Run;

/// A set of bytes, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(crate) const EMPTY: Self = Self([0; 4]);

    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut set = Self::EMPTY;
        for byte in bytes {
            set.insert(*byte);
        }
        set
    }

    /// Those bytes that alone may continue `run`; for a run that looks at its
    /// neighbours too, all that may.
    pub(crate) fn of_run(run: Run) -> Self {
        let mut set = Self::EMPTY;
        for byte in 0..=u8::MAX {
            if run.holds(byte) {
                set.insert(byte);
            }
        }
        set
    }

    pub(crate) fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte / 64)] |= 1 << (byte % 64);
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte / 64)] >> (byte % 64) & 1 == 1
    }

    pub(crate) fn union(self, other: Self) -> Self {
        let mut set = self;
        for (word, more) in set.0.iter_mut().zip(other.0) {
            *word |= more;
        }
        set
    }

    pub(crate) fn without(self, other: Self) -> Self {
        let mut set = self;
        for (word, less) in set.0.iter_mut().zip(other.0) {
            *word &= !less;
        }
        set
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        self.0
            .into_iter()
            .zip([0u8, 64, 128, 192])
            .flat_map(|(word, base)| {
                let mut left = word;
                std::iter::from_fn(move || {
                    let bit = u8::try_from(left.trailing_zeros())
                        .ok()
                        .filter(|it| *it < 64)?;
                    left &= left - 1;
                    Some(base + bit)
                })
            })
    }
}

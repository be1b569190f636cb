//! Finds words in a block, in any case.
//!
//! Of each word four bytes that are seldom in logs are looked for (`prefilter`),
//! and where they stand, the word is compared.

use crate::byteset::ByteSet;
use crate::prefilter::{GRAM_BYTES, Gram, Prefilter, Simd, frequency};

/// Shortest word.
pub(crate) const WORD_BYTES_MIN: usize = GRAM_BYTES - 1;

/// One word.
pub(crate) struct Word {
    /// In lower case, at least three bytes.
    pub(crate) text: Vec<u8>,
    /// What is looked for at each place: both cases of a byte, or fewer when only
    /// they matter.
    pub(crate) places: Vec<ByteSet>,
    /// What may stand behind it, for words that don't matter else. It is looked
    /// at for words of three bytes.
    pub(crate) follow: ByteSet,
}

impl Word {
    /// A word of which every occurrence matters.
    pub(crate) fn new(text: &[u8], case_sensitive: bool) -> Self {
        let both = |byte: &u8| [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()];
        let place = |byte: &u8| {
            if case_sensitive {
                ByteSet::of(&[*byte])
            } else {
                ByteSet::of(&both(byte))
            }
        };
        Self {
            text: text.to_ascii_lowercase(),
            places: text.iter().map(place).collect(),
            follow: ByteSet::of(&(0..=u8::MAX).collect::<Vec<u8>>()),
        }
    }

    /// The four bytes of the word (with what follows, if it is short) that are
    /// the rarest in logs.
    fn rarest_window(&self) -> Window {
        let mut places = self.places.clone();
        if places.len() < GRAM_BYTES {
            places.push(self.follow);
        }
        let rarity = |gram: &&[ByteSet]| -> f32 {
            gram.iter()
                .map(|set| set.iter().map(frequency).sum::<f32>())
                .product()
        };
        let (offset, gram) = places
            .windows(GRAM_BYTES)
            .enumerate()
            .min_by(|(_, a), (_, b)| rarity(a).total_cmp(&rarity(b)))
            .expect("a word has at least three bytes");
        let mut key = [0; GRAM_BYTES];
        for (place, byte) in key.iter_mut().zip(&self.text[offset..]) {
            *place = *byte;
        }
        Window {
            gram: std::array::from_fn(|it| gram[it]),
            key: u32::from_le_bytes(key),
            offset: number(offset),
        }
    }
}

/// Some words, ready to be found.
pub(crate) struct Words {
    texts: Vec<Vec<u8>>,
    prefilter: Prefilter,
    grams: GramTable,
}

impl Words {
    pub(crate) fn new(words: Vec<Word>) -> Self {
        let windows: Vec<Window> = words.iter().map(Word::rarest_window).collect();
        let mut grams: Vec<Gram> = windows.iter().map(|it| it.gram).collect();
        grams.sort_unstable_by_key(|it| it.map(|set| set.iter().collect::<Vec<u8>>()));
        grams.dedup();
        Self {
            prefilter: Prefilter::new(&grams),
            grams: GramTable::new(&windows),
            texts: words.into_iter().map(|it| it.text).collect(),
        }
    }

    /// Calls `found` with the number of each word and where it stands, from
    /// `start` on; for each word in order. `candidates` is room to work in.
    pub(crate) fn find(
        &self,
        simd: Simd,
        (bytes, start): (&[u8], usize),
        candidates: &mut Vec<usize>,
        mut found: impl FnMut(usize, usize),
    ) {
        candidates.clear();
        self.prefilter.find(simd, bytes, start, candidates);
        let stands = |word: usize, at: usize| {
            let text = &self.texts[word];
            bytes
                .get(at..at + text.len())
                .is_some_and(|it| it.eq_ignore_ascii_case(text))
        };
        for &at in &*candidates {
            let gram = bytes[at..].first_chunk().expect("found in full");
            for entry in self.grams.at(*gram) {
                let word = usize::from(entry.word);
                if let Some(at) = at.checked_sub(usize::from(entry.offset))
                    && at >= start
                    && stands(word, at)
                {
                    found(word, at);
                }
            }
        }
        // A short word at the end has no fourth byte.
        let Some(last) = bytes.len().checked_sub(WORD_BYTES_MIN) else {
            return;
        };
        for (word, text) in self.texts.iter().enumerate() {
            if text.len() == WORD_BYTES_MIN && last >= start && stands(word, last) {
                found(word, last);
            }
        }
    }
}

/// The bytes of one word that are looked for.
struct Window {
    gram: Gram,
    /// Those bytes in lower case; a fourth byte that isn't the word's is 0.
    key: u32,
    /// Where in the word they stand.
    offset: u16,
}

/// A word that has some four bytes at an offset.
#[derive(Clone, Copy)]
struct GramEntry {
    key: u32,
    word: u16,
    offset: u16,
}

/// From four bytes to the words that have them.
struct GramTable {
    /// By key.
    entries: Vec<GramEntry>,
    /// By hash: 1 + the first entry with a key, 0 for none. Collisions go to the
    /// next free slot.
    slots: Vec<u16>,
}

impl GramTable {
    /// Slots for each entry: collisions stay short.
    const SLOTS_EACH: usize = 8;

    fn new(windows: &[Window]) -> Self {
        let mut entries: Vec<GramEntry> = windows
            .iter()
            .enumerate()
            .map(|(word, it)| GramEntry {
                key: it.key,
                word: number(word),
                offset: it.offset,
            })
            .collect();
        entries.sort_by_key(|it| it.key);
        let len = (entries.len() * Self::SLOTS_EACH).next_power_of_two();
        let mut slots = vec![0; len];
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 && entries[index - 1].key == entry.key {
                continue;
            }
            let mut slot = Self::slot(entry.key, len);
            while slots[slot] != 0 {
                slot = (slot + 1) % len;
            }
            slots[slot] = number(index + 1);
        }
        Self { entries, slots }
    }

    fn slot(key: u32, len: usize) -> usize {
        (key.wrapping_mul(0x9e37_79b1) >> 16) as usize & (len - 1)
    }

    /// The words that have `gram` in any case, or its first three bytes and
    /// end there.
    fn at(&self, gram: [u8; GRAM_BYTES]) -> impl Iterator<Item = &GramEntry> {
        let lower = gram.map(|it| it.to_ascii_lowercase());
        let four = u32::from_le_bytes(lower);
        let three = four & 0x00ff_ffff;
        self.with_key(four).iter().chain(self.with_key(three))
    }

    fn with_key(&self, key: u32) -> &[GramEntry] {
        let mut slot = Self::slot(key, self.slots.len());
        loop {
            let Some(first) = usize::from(self.slots[slot]).checked_sub(1) else {
                return &[];
            };
            let entries = &self.entries[first..];
            if entries[0].key == key {
                let len = entries.iter().take_while(|it| it.key == key).count();
                return &entries[..len];
            }
            slot = (slot + 1) % self.slots.len();
        }
    }
}

fn number(it: usize) -> u16 {
    u16::try_from(it).expect("few words, and short ones")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_in_any_case_at_the_end_too() {
        let texts: [&[u8]; 5] = [b"abc", b"ACME-", b"token", b"okenx", b"\xc3\xa9tat"];
        let words = Words::new(texts.iter().map(|it| Word::new(it, false)).collect());
        let text = b"xABC acme-tokenx \xc3\xa9tat abc";
        for simd in Simd::available() {
            let mut found = Vec::new();
            words.find(simd, (text, 0), &mut Vec::new(), |word, at| {
                found.push((word, at));
            });
            found.sort_unstable();
            let expected = [(0, 1), (0, 23), (1, 5), (2, 10), (3, 11), (4, 17)];
            assert_eq!(found, expected, "{simd:?}");
        }
    }
}

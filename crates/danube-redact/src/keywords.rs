//! Finds the keywords of the rules in a block, and tries their rules there.
//!
//! Of each keyword four bytes that are seldom in logs are looked for
//! (`prefilter`); where they stand, the keyword is compared, and of its rules
//! only those are tried that allow the byte behind it.

use std::sync::LazyLock;

use memchr::memrchr2;

use crate::byteset::ByteSet;
use crate::class::{Run, RunMemo};
use crate::engine::Scan;
use crate::matcher::{self, Block};
use crate::prefilter::{GRAM_BYTES, Gram, Prefilter, Simd, frequency};
use crate::rules::{Atom, Body, RULES, Rule};

/// The keywords of the built-in rules.
pub(crate) static KEYWORDS: LazyLock<Keywords> = LazyLock::new(|| Keywords::new(RULES));

/// All keywords of some rules.
pub(crate) struct Keywords {
    words: Vec<Word>,
    prefilter: Prefilter,
    grams: GramTable,
    len_max: usize,
    /// Words that begin with this byte in either case.
    by_first: [Vec<u16>; 256],
    /// Those bytes, in either case.
    firsts: ByteSet,
}

/// One keyword; keywords that differ by case only share one.
struct Word {
    /// In lower case.
    text: Vec<u8>,
    /// What may stand behind it, for any of its rules.
    follow: ByteSet,
    uses: Vec<Use>,
}

/// One rule of a keyword.
struct Use {
    rule: &'static Rule,
    text: &'static [u8],
    follow: ByteSet,
}

impl Keywords {
    fn new(rules: &'static [Rule]) -> Self {
        let mut words: Vec<Word> = Vec::new();
        for rule in rules {
            let follow = follow(rule);
            for text in rule.keywords.iter().map(|it| it.as_bytes()) {
                let lower = text.to_ascii_lowercase();
                let index = words.iter().position(|it| it.text == lower);
                let index = index.unwrap_or_else(|| {
                    words.push(Word {
                        text: lower,
                        follow: ByteSet::EMPTY,
                        uses: Vec::new(),
                    });
                    words.len() - 1
                });
                let word = &mut words[index];
                word.follow = word.follow.union(follow);
                word.uses.push(Use { rule, text, follow });
            }
        }
        let windows: Vec<Window> = words.iter().map(Word::rarest_window).collect();
        let mut grams: Vec<Gram> = windows.iter().map(|it| it.gram).collect();
        grams.sort_unstable_by_key(|it| it.map(|set| set.iter().collect::<Vec<u8>>()));
        grams.dedup();
        let mut by_first = [const { Vec::new() }; 256];
        for (index, word) in words.iter().enumerate() {
            by_first[usize::from(word.text[0])].push(number(index));
        }
        Self {
            prefilter: Prefilter::new(&grams),
            grams: GramTable::new(&windows),
            len_max: words.iter().map(|it| it.text.len()).max().unwrap_or(0),
            firsts: words.iter().fold(ByteSet::EMPTY, |set, it| {
                let first = it.text[0];
                set.union(ByteSet::of(&[first, first.to_ascii_uppercase()]))
            }),
            words,
            by_first,
        }
    }

    /// Tries the rules at every keyword that begins at `start` or later.
    pub(crate) fn find(
        &self,
        simd: Simd,
        block: Block<'_>,
        start: usize,
        memo: &mut RunMemo,
        scan: &mut Scan,
    ) {
        let mut candidates = std::mem::take(&mut scan.candidates);
        candidates.clear();
        self.prefilter
            .find(simd, block.bytes, start, &mut candidates);
        for &at in &candidates {
            let gram = block.bytes[at..].first_chunk().expect("found in full");
            for entry in self.grams.at(*gram) {
                let word = &self.words[usize::from(entry.word)];
                if let Some(at) = at.checked_sub(usize::from(entry.offset))
                    && at >= start
                {
                    word.try_at(block, at, memo, scan);
                }
            }
        }
        scan.candidates = candidates;
        if !block.eof {
            self.unfinished(block, start, memo, scan);
        }
    }

    /// Tries the rules at the keywords that begin at one of `positions`, without
    /// a filter before: for a few bytes.
    pub(crate) fn find_among(
        &self,
        positions: std::ops::Range<usize>,
        block: Block<'_>,
        memo: &mut RunMemo,
        scan: &mut Scan,
    ) {
        let firsts = &self.firsts;
        for at in positions.filter(|at| firsts.has(block.bytes[*at])) {
            let first = block.bytes[at].to_ascii_lowercase();
            for word in &self.by_first[usize::from(first)] {
                let word = &self.words[usize::from(*word)];
                word.try_at(block, at, memo, scan);
                if !block.eof {
                    word.try_unfinished(block, at, memo, scan);
                }
            }
        }
    }

    /// A keyword that begins at the end of the block may be whole in the next,
    /// and one that ends there has its rules' first byte in the next.
    fn unfinished(&self, block: Block<'_>, start: usize, memo: &mut RunMemo, scan: &mut Scan) {
        let bytes = block.bytes;
        let first = start.max(bytes.len().saturating_sub(self.len_max));
        let line = memrchr2(b'\n', b'\r', &bytes[first..]).map_or(first, |it| first + it + 1);
        for at in line..bytes.len() {
            for word in &self.by_first[usize::from(bytes[at].to_ascii_lowercase())] {
                self.words[usize::from(*word)].try_unfinished(block, at, memo, scan);
            }
        }
    }
}

impl Word {
    /// Tries the rules at `at`, if the whole keyword stands there with something
    /// behind it that may follow.
    #[inline]
    fn try_at(&self, block: Block<'_>, at: usize, memo: &mut RunMemo, scan: &mut Scan) {
        let rest = &block.bytes[at..];
        let len = self.text.len();
        let Some((head, &[next, ..])) = rest.split_at_checked(len) else {
            return;
        };
        if !self.follow.has(next) || !head.eq_ignore_ascii_case(&self.text) {
            return;
        }
        for Use { rule, text, follow } in &self.uses {
            if follow.has(next) && (!rule.exact_case || head == *text) {
                let outcome = matcher::match_at(rule, len, block, at, memo);
                scan.take(rule.id, at, outcome);
            }
        }
    }

    /// Notes what has to be seen again if the block ends inside the keyword or
    /// right behind it.
    fn try_unfinished(&self, block: Block<'_>, at: usize, memo: &mut RunMemo, scan: &mut Scan) {
        let rest = &block.bytes[at..];
        let len = self.text.len();
        if rest.len() > len || !rest.eq_ignore_ascii_case(&self.text[..rest.len()]) {
            return;
        }
        for Use { rule, text, .. } in &self.uses {
            if rule.exact_case && rest != &text[..rest.len()] {
                continue;
            }
            if rest.len() == len {
                let outcome = matcher::match_at(rule, len, block, at, memo);
                scan.take(rule.id, at, outcome);
            } else {
                scan.retry_from(at);
                scan.hold_from((!rule.keep_head).then_some(at));
            }
        }
    }

    /// The four bytes of the keyword (with what follows, if it is short) that
    /// are the rarest in logs.
    fn rarest_window(&self) -> Window {
        let exact = self.uses.iter().all(|it| it.rule.exact_case);
        let mut places: Vec<ByteSet> = Vec::new();
        for (at, lower) in self.text.iter().enumerate() {
            let exactly: Vec<u8> = self.uses.iter().map(|it| it.text[at]).collect();
            places.push(if exact {
                ByteSet::of(&exactly)
            } else {
                ByteSet::of(&[*lower, lower.to_ascii_uppercase()])
            });
        }
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
            .expect("a keyword has at least three bytes");
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

/// The bytes of one keyword that are looked for.
struct Window {
    gram: Gram,
    /// Those bytes in lower case; a fourth byte that isn't the keyword's is 0.
    key: u32,
    /// Where in the keyword they stand.
    offset: u16,
}

/// A keyword that has some four bytes at an offset.
#[derive(Clone, Copy)]
struct GramEntry {
    key: u32,
    word: u16,
    offset: u16,
}

/// From four bytes to the keywords that have them.
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

    /// The keywords that have `gram` in any case, or its first three bytes and
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

/// What may stand right behind a keyword for `rule` to strike, and perhaps more.
fn follow(rule: &Rule) -> ByteSet {
    let mut set = ByteSet::EMPTY;
    for atom in rule.head {
        match atom {
            Atom::Of(run, min, _) => {
                set = set.union(ByteSet::of_run(*run));
                if *min > 0 {
                    return set;
                }
            }
            Atom::Word(words) => {
                let firsts = words.iter().map(|it| it.as_bytes()[0]);
                let both = firsts.flat_map(|it| [it, it.to_ascii_uppercase()]);
                return set.union(ByteSet::of(&both.collect::<Vec<u8>>()));
            }
        }
    }
    let body = match rule.body {
        Body::Run(run, _) => ByteSet::of_run(run),
        Body::Jwt => ByteSet::of_run(Run::Base64Url),
        Body::Userinfo => ByteSet::of_run(Run::Authority),
        Body::Pem => ByteSet::of_run(Run::PemLabel).union(ByteSet::of_run(Run::Dash)),
    };
    set.union(body).without(if rule.head.is_empty() {
        ByteSet::of(rule.not_first)
    } else {
        ByteSet::EMPTY
    })
}

fn number(it: usize) -> u16 {
    u16::try_from(it).expect("the built-in rules have few keywords")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_keyword_is_found_by_its_gram() {
        for word in &KEYWORDS.words {
            for next in word.follow.iter() {
                let mut bytes = word.text.clone();
                bytes.extend([next, b'.', b'.', b'.']);
                let window = word.rarest_window();
                let at = usize::from(window.offset);
                let gram = *bytes[at..].first_chunk().unwrap();
                let known = KEYWORDS
                    .grams
                    .at(gram)
                    .any(|it| KEYWORDS.words[usize::from(it.word)].text == word.text);
                assert!(known, "{:?}", String::from_utf8_lossy(&word.text));
            }
        }
    }
}

//! Finds the keywords of the built-in rules in a block, and tries their rules
//! there: of a keyword's rules those that allow the byte behind it.

use std::sync::LazyLock;

use memchr::memrchr2;

use crate::ansi::in_colour;
use crate::byteset::ByteSet;
use crate::class::{Run, RunMemo};
use crate::engine::Scan;
use crate::matcher::{self, Block};
use crate::prefilter::Simd;
use crate::rules::{Atom, Body, RULES, Rule};
use crate::words::{Word, Words};

/// The keywords of the built-in rules.
pub(crate) static KEYWORDS: LazyLock<Keywords> = LazyLock::new(|| Keywords::new(RULES));

/// All keywords of some rules.
pub(crate) struct Keywords {
    keywords: Vec<Keyword>,
    words: Words,
    len_max: usize,
    /// Keywords that begin with this byte in either case.
    by_first: [Vec<u16>; 256],
    /// Those bytes, in either case.
    firsts: ByteSet,
}

/// One keyword; keywords that differ by case only share one.
struct Keyword {
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
        let mut keywords: Vec<Keyword> = Vec::new();
        for rule in rules {
            let follow = follow(rule);
            for text in rule.keywords.iter().map(|it| it.as_bytes()) {
                let lower = text.to_ascii_lowercase();
                let index = keywords.iter().position(|it| it.text == lower);
                let index = index.unwrap_or_else(|| {
                    keywords.push(Keyword {
                        text: lower,
                        follow: ByteSet::EMPTY,
                        uses: Vec::new(),
                    });
                    keywords.len() - 1
                });
                let keyword = &mut keywords[index];
                keyword.follow = keyword.follow.union(follow);
                keyword.uses.push(Use { rule, text, follow });
            }
        }
        let mut by_first = [const { Vec::new() }; 256];
        for (index, keyword) in keywords.iter().enumerate() {
            let index = u16::try_from(index).expect("the built-in rules have few keywords");
            by_first[usize::from(keyword.text[0])].push(index);
        }
        Self {
            words: Words::new(keywords.iter().map(Keyword::word).collect()),
            len_max: keywords.iter().map(|it| it.text.len()).max().unwrap_or(0),
            firsts: keywords.iter().fold(ByteSet::EMPTY, |set, it| {
                let first = it.text[0];
                set.union(ByteSet::of(&[first, first.to_ascii_uppercase()]))
            }),
            keywords,
            by_first,
        }
    }

    /// Tries the rules at every keyword that begins at `start` or later.
    pub(crate) fn find(
        &self,
        simd: Simd,
        (block, start): (Block<'_>, usize),
        memo: &mut RunMemo,
        scan: &mut Scan,
    ) {
        let mut room = std::mem::take(&mut scan.candidates);
        self.words
            .find(simd, (block.bytes, start), &mut room, |word, at| {
                self.keywords[word].try_at(block, at, memo, scan);
            });
        scan.candidates = room;
        if !block.eof {
            self.unfinished(block, start, memo, scan);
        }
    }

    /// Whether a keyword stands anywhere in `bytes` with something behind it that
    /// may follow. `room` is room to work in.
    pub(crate) fn any(&self, simd: Simd, bytes: &[u8], room: &mut Vec<usize>) -> bool {
        let mut any = false;
        self.words.find(simd, (bytes, 0), room, |word, at| {
            let keyword = &self.keywords[word];
            let next = bytes.get(at + keyword.text.len());
            any |= next.is_some_and(|it| keyword.follow.has(*it));
        });
        any
    }

    /// Whether a keyword may begin inside a colour sequence.
    pub(crate) fn any_in_colour(&self) -> bool {
        self.firsts
            .iter()
            .any(|it| in_colour(it) || matches!(it, b'[' | b'm'))
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
            for index in &self.by_first[usize::from(first)] {
                let keyword = &self.keywords[usize::from(*index)];
                let rest = &block.bytes[at..];
                let len = keyword.text.len().min(rest.len());
                if rest[..len].eq_ignore_ascii_case(&keyword.text) {
                    keyword.try_at(block, at, memo, scan);
                }
                if !block.eof {
                    keyword.try_unfinished(block, at, memo, scan);
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
        for (at, first) in bytes.iter().enumerate().skip(line) {
            for index in &self.by_first[usize::from(first.to_ascii_lowercase())] {
                self.keywords[usize::from(*index)].try_unfinished(block, at, memo, scan);
            }
        }
    }
}

impl Keyword {
    /// Tries the rules at `at`, where the keyword stands in some case, if something
    /// is behind it that may follow.
    fn try_at(&self, block: Block<'_>, at: usize, memo: &mut RunMemo, scan: &mut Scan) {
        let len = self.text.len();
        let Some((head, &[next, ..])) = block.bytes[at..].split_at_checked(len) else {
            return;
        };
        if !self.follow.has(next) {
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

    /// What to look for.
    fn word(&self) -> Word {
        let exact = self.uses.iter().all(|it| it.rule.exact_case);
        let place = |(at, lower): (usize, &u8)| {
            if exact {
                ByteSet::of(&self.uses.iter().map(|it| it.text[at]).collect::<Vec<u8>>())
            } else {
                ByteSet::of(&[*lower, lower.to_ascii_uppercase()])
            }
        };
        Word {
            text: self.text.clone(),
            places: self.text.iter().enumerate().map(place).collect(),
            follow: self.follow,
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

//! Rules that users add: what one is, and the scan for all of them.
//!
//! A rule is tried at every *start*: every byte of which its keyword begins at
//! most [`KEYWORD_NEAR_BYTES`] before, on the same line. What is found at a start
//! depends on the bytes from there to the line's end, on at most
//! [`MATCH_BYTES_MAX`] of them and one more, and on nothing before but the
//! keyword and one byte for `\b`. All starts count, and the union is masked.

mod compile;
#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
mod walk;

use std::fmt;
use std::sync::Arc;

use memchr::memchr2;

use crate::MASK;
use crate::class::{Run, RunEnd, RunMemo};
use crate::engine::{OpenRun, Scan};
use crate::matcher::{Block, LOOK_BEHIND_BYTES, Outcome};
use crate::prefilter::Simd;
use crate::words::Words;

use compile::Compiled;
pub use compile::{RuleError, RuleField};
use walk::{Found, Walker};

/// How far behind the first byte of its keyword a match may begin. As far as
/// the redactor lets rules look back, less one byte for `\b`.
pub(crate) const KEYWORD_NEAR_BYTES: usize = if cfg!(any(test, fuzzing)) { 20 } else { 64 };

/// Longest match of a user's rule: how much of a line without an end is held back
/// while a match is not decided, and what one start can cost at most. A match of
/// this length is taken for the beginning of a longer one, which is masked to the
/// next white space or quote.
pub(crate) const MATCH_BYTES_MAX: usize = if cfg!(any(test, fuzzing)) {
    48
} else {
    4 * 1024
};

const _: () = assert!(KEYWORD_NEAR_BYTES < LOOK_BEHIND_BYTES);

/// A rule that a user adds, as it was written. [`Rules::with_user`] checks it.
///
/// [`Rules::with_user`]: crate::Rules::with_user
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRule {
    /// Names the rule in counts and metrics: lower-case letters, digits and `_`.
    pub id: String,
    /// What must stand near, literally: a match begins at its first byte or at
    /// most 64 bytes behind that, on the same line.
    pub keyword: String,
    /// A regular expression over bytes. All that it matches is masked, or only
    /// the group `(?<secret>…)` when it has one. A match never holds an end of line.
    /// What is 4 KiB long is masked to the next white space or quote, and but for
    /// what must stand before the group.
    pub pattern: String,
    /// The keyword stands in this case only.
    pub case_sensitive: bool,
}

/// Compiled rules, and how to find their keywords.
pub(crate) struct UserRules {
    written: Vec<UserRule>,
    compiled: Vec<Compiled>,
    keywords: Words,
}

impl UserRules {
    /// Checks and compiles `written`; tells all mistakes at once.
    pub(crate) fn new(written: &[UserRule]) -> Result<Arc<Self>, Vec<RuleError>> {
        let compiled = compile::all(written)?;
        let keywords = compile::keywords(&compiled);
        Ok(Arc::new(Self {
            written: written.to_vec(),
            compiled,
            keywords,
        }))
    }

    /// As they were written.
    pub(crate) fn written(&self) -> &[UserRule] {
        &self.written
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &'static str> {
        self.compiled.iter().map(|it| it.id)
    }

    /// Whether the keyword of a rule stands anywhere in `bytes`, in any case.
    pub(crate) fn any(&self, simd: Simd, bytes: &[u8], room: &mut Vec<usize>) -> bool {
        let mut any = false;
        self.keywords
            .find(simd, (bytes, 0), room, |_, _| any = true);
        any
    }

    /// Tries every start from `start` on.
    pub(crate) fn find(
        &self,
        simd: Simd,
        (block, start): (Block<'_>, usize),
        memo: &mut RunMemo,
        scan: &mut Scan,
    ) {
        let bytes = block.bytes;
        // A keyword that is out already may stand near a start that is not.
        let from = start.saturating_sub(KEYWORD_NEAR_BYTES);
        let mut tries: Vec<Option<Tries<'_>>> = Vec::new();
        let mut room = std::mem::take(&mut scan.candidates);
        self.keywords
            .find(simd, (bytes, from), &mut room, |index, at| {
                let rule = &self.compiled[index];
                if rule.case_sensitive && !bytes[at..].starts_with(&rule.keyword) {
                    return;
                }
                tries.resize_with(self.compiled.len(), || None);
                let tries = tries[index].get_or_insert_with(|| Tries::new(rule, block, start));
                tries.near(at, memo, scan);
            });
        scan.candidates = room;
        if block.eof {
            return;
        }
        for (index, rule) in self.compiled.iter().enumerate() {
            if let Some(keyword) = rule.unfinished(&bytes[from..]) {
                let tries = tries.get_mut(index).and_then(Option::take);
                let tries = tries.unwrap_or_else(|| Tries::new(rule, block, start));
                tries.perhaps_near(from + keyword, scan);
            }
        }
    }
}

impl PartialEq for UserRules {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for UserRules {}

impl fmt::Debug for UserRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

/// One rule in one block. Each start is tried once, however many keywords
/// stand near it.
struct Tries<'a> {
    rule: &'a Compiled,
    block: Block<'a>,
    walker: Walker<'a>,
    /// The first start that was not tried yet.
    next: usize,
}

impl<'a> Tries<'a> {
    fn new(rule: &'a Compiled, block: Block<'a>, start: usize) -> Self {
        Self {
            rule,
            block,
            walker: Walker::new(rule, block),
            next: start,
        }
    }

    /// Tries the starts near the keyword that stands at `keyword`.
    fn near(&mut self, keyword: usize, memo: &mut RunMemo, scan: &mut Scan) {
        let last = self.last(keyword);
        for at in self.next.max(keyword)..=last {
            let found = self.walker.find(at);
            scan.take(self.rule.id, at, self.outcome(at, found));
            if let Found::Long { from, to } = found {
                self.go_on((from, to), memo, scan);
            }
        }
        self.next = self.next.max(last + 1);
    }

    /// Masks the range and what follows, as one: sequences between the two are
    /// masked too.
    fn go_on(&self, (from, to): (usize, usize), memo: &mut RunMemo, scan: &mut Scan) {
        let Block { bytes, eof } = self.block;
        let RunEnd { end, sure } = memo.run_end(Run::Bare, bytes, to, eof);
        if end < bytes.len() || eof {
            scan.ranges.push((from, end));
            return;
        }
        scan.ranges.push((from, sure));
        scan.open_run(OpenRun {
            run: Run::Bare,
            at: sure,
            remaining: None,
        });
    }

    /// As [`Tries::near`], for a keyword of which only the beginning stands there.
    fn perhaps_near(mut self, keyword: usize, scan: &mut Scan) {
        for at in self.next.max(keyword)..=self.last(keyword) {
            let found = self.walker.find(at);
            let outcome = match self.outcome(at, found) {
                Outcome::Hit { from, .. } => Outcome::Undecided { hold: Some(from) },
                other => other,
            };
            scan.take(self.rule.id, at, outcome);
        }
    }

    /// The last start near a keyword.
    fn last(&self, keyword: usize) -> usize {
        let bytes = self.block.bytes;
        let end = bytes.len().min(keyword + KEYWORD_NEAR_BYTES + 1);
        let line = memchr2(b'\n', b'\r', &bytes[keyword..end]);
        // A keyword holds no end of line, so at least its first byte is a start.
        line.map_or(end, |it| keyword + it) - 1
    }

    fn outcome(&self, at: usize, found: Found) -> Outcome {
        let (from, to) = match found {
            Found::No => return Outcome::No,
            Found::Undecided => {
                let hold = at + self.rule.kept_bytes_min();
                let hold = Some(hold).filter(|it| *it < self.block.bytes.len());
                return Outcome::Undecided { hold };
            }
            Found::Match { from, to } | Found::Long { from, to } => (from, to),
        };
        if from == to || self.block.bytes[from..to] == *MASK.as_bytes() {
            return Outcome::No;
        }
        Outcome::Hit { from, to }
    }
}

#[cfg(test)]
mod tests;

//! Scans one block for every rule and every value. Knows nothing of streams:
//! what it returns depends on the block alone. This is the part to exchange for
//! a faster one; `oracle` says what it has to find.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Anchored, Input, MatchKind};

use crate::RULE_VALUE;
use crate::class::{Run, RunMemo};
use crate::encode::Needle;
use crate::matcher::{self, Block, EMAIL_LOCAL_BYTES_MAX, Outcome};
use crate::needles::NeedleSet;
use crate::rules::{EMAIL, RULES, Rules};

/// A masked run that reaches the end of a block and goes on in the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenRun {
    pub(crate) run: Run,
    /// Everything before is decided.
    pub(crate) at: usize,
    /// Ends after so many bytes at the latest.
    pub(crate) remaining: Option<usize>,
}

/// What was found in a block. Positions are those of the block.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Ranges to mask; unsorted, overlapping.
    pub(crate) ranges: Vec<(usize, usize)>,
    /// Runs that go on behind the block.
    pub(crate) open: Vec<OpenRun>,
    /// From here on bytes may still be masked by what comes.
    pub(crate) hold: Option<usize>,
    /// From here on positions have to be tried again with what comes.
    pub(crate) retry: Option<usize>,
    /// Who struck where, and to where.
    pub(crate) strikes: Vec<Strike>,
}

/// One rule that struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Strike {
    pub(crate) anchor: usize,
    pub(crate) end: usize,
    pub(crate) rule: &'static str,
}

impl Scan {
    pub(crate) fn take(&mut self, rule: &'static str, anchor: usize, outcome: Outcome) {
        match outcome {
            Outcome::No => {}
            Outcome::Undecided { hold } => {
                self.hold_from(hold);
                self.retry_from(anchor.min(hold.unwrap_or(anchor)));
            }
            Outcome::Hit { from, to } => {
                self.ranges.push((from, to));
                self.strike(rule, anchor, to);
            }
            Outcome::Open {
                from,
                sure,
                run,
                remaining,
            } => {
                self.ranges.push((from, sure));
                self.open_run(OpenRun {
                    run,
                    at: sure,
                    remaining,
                });
                self.strike(rule, anchor, sure);
            }
        }
    }

    fn strike(&mut self, rule: &'static str, anchor: usize, end: usize) {
        self.strikes.push(Strike { anchor, end, rule });
    }

    /// Runs of one kind that reach the end do so together; the longest counts.
    pub(crate) fn open_run(&mut self, open: OpenRun) {
        match self.open.iter_mut().find(|it| it.run == open.run) {
            Some(known) => known.remaining = known.remaining.max(open.remaining),
            None => self.open.push(open),
        }
    }

    fn hold_from(&mut self, at: Option<usize>) {
        self.hold = [self.hold, at].into_iter().flatten().min();
    }

    fn retry_from(&mut self, at: usize) {
        self.retry = Some(self.retry.map_or(at, |it| it.min(at)));
    }
}

/// The rules and values of one moment, ready to scan.
pub(crate) struct Engine {
    rules: Rules,
    needles: NeedleSet,
}

impl Engine {
    pub(crate) fn new(rules: Rules, needles: Vec<Needle>) -> Self {
        Self {
            rules,
            needles: NeedleSet::new(needles),
        }
    }

    /// The rules of which overlapping matches count as one.
    pub(crate) fn merged(&self) -> Vec<(&'static str, u64)> {
        let user = self.rules.user.iter().flat_map(|it| it.ids());
        user.chain([RULE_VALUE]).map(|it| (it, 0)).collect()
    }

    /// Nothing to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_none() && self.needles.len() == 0
    }

    /// Tries every position from `start` on; what stands before is context.
    /// `open` are the runs that came in from the block before.
    pub(crate) fn scan(&self, block: Block<'_>, start: usize, open: &[OpenRun]) -> Scan {
        let mut scan = Scan::default();
        let mut memo = RunMemo::new();
        for it in open {
            resume(*it, block, &mut memo, &mut scan);
        }
        if self.rules.builtin {
            keywords(block, start, &mut memo, &mut scan);
        }
        if self.rules.email {
            emails(block, start, &mut memo, &mut scan);
        }
        if let Some(user) = &self.rules.user {
            user.find(block, start, &mut memo, &mut scan);
        }
        self.needles.find(block.bytes, start, |from, to| {
            scan.ranges.push((from, to));
            scan.strikes.push(Strike {
                anchor: from,
                end: to,
                rule: RULE_VALUE,
            });
        });
        if !block.eof
            && let Some(at) = self.needles.first_unfinished(block.bytes, start)
        {
            scan.hold_from(Some(at));
            scan.retry_from(at);
        }
        // What is not sure yet must come again.
        let unsure = scan.open.iter().map(|it| it.at).min();
        scan.hold_from(unsure.filter(|it| *it < block.bytes.len()));
        scan
    }
}

/// Carries a run on from where the block before left it.
fn resume(open: OpenRun, block: Block<'_>, memo: &mut RunMemo, scan: &mut Scan) {
    let found = memo.run_end(open.run, block.bytes, open.at, block.eof);
    let limit = open.remaining.map_or(usize::MAX, |it| open.at + it);
    if found.sure >= limit {
        scan.ranges.push((open.at, limit));
    } else if found.end < block.bytes.len() || block.eof {
        scan.ranges.push((open.at, found.end.min(limit)));
    } else {
        scan.ranges.push((open.at, found.sure));
        scan.open_run(OpenRun {
            at: found.sure,
            remaining: open.remaining.map(|it| it - (found.sure - open.at)),
            ..open
        });
    }
}

/// One keyword of one rule.
struct Keyword {
    rule: usize,
    text: &'static [u8],
}

/// All keywords, and the automaton that finds them.
struct KeywordIndex {
    /// By pattern of the automaton: keywords that differ by case only share one.
    patterns: Vec<Vec<Keyword>>,
    automaton: AhoCorasick,
    len_max: usize,
    /// Patterns that begin with this byte in either case.
    by_first: [Vec<usize>; 256],
}

static KEYWORDS: LazyLock<KeywordIndex> = LazyLock::new(|| {
    let mut texts: Vec<Vec<u8>> = Vec::new();
    let mut patterns: Vec<Vec<Keyword>> = Vec::new();
    for (index, rule) in RULES.iter().enumerate() {
        for text in rule.keywords {
            let keyword = Keyword {
                rule: index,
                text: text.as_bytes(),
            };
            let lower = text.to_ascii_lowercase().into_bytes();
            match texts.iter().position(|it| *it == lower) {
                Some(at) => patterns[at].push(keyword),
                None => {
                    texts.push(lower);
                    patterns.push(vec![keyword]);
                }
            }
        }
    }
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .kind(Some(AhoCorasickKind::DFA))
        .build(&texts)
        .expect("the built-in keywords make a small automaton");
    let mut by_first = [const { Vec::new() }; 256];
    for (pattern, text) in texts.iter().enumerate() {
        by_first[text[0] as usize].push(pattern);
    }
    KeywordIndex {
        patterns,
        automaton,
        len_max: texts.iter().map(Vec::len).max().unwrap_or(0),
        by_first,
    }
});

fn keywords(block: Block<'_>, start: usize, memo: &mut RunMemo, scan: &mut Scan) {
    let index = &*KEYWORDS;
    let bytes = block.bytes;
    let input = Input::new(bytes)
        .span(start..bytes.len())
        .anchored(Anchored::No);
    for hit in index.automaton.find_overlapping_iter(input) {
        for Keyword { rule, text } in &index.patterns[hit.pattern().as_usize()] {
            let rule = &RULES[*rule];
            if rule.exact_case && bytes[hit.range()] != **text {
                continue;
            }
            let outcome = matcher::match_at(rule, text.len(), block, hit.start(), memo);
            scan.take(rule.id, hit.start(), outcome);
        }
    }
    if !block.eof {
        unfinished_keywords(block, start, scan);
    }
}

/// A keyword that begins at the end of the block may be whole in the next.
fn unfinished_keywords(block: Block<'_>, start: usize, scan: &mut Scan) {
    let index = &*KEYWORDS;
    let bytes = block.bytes;
    let first = start.max((bytes.len() + 1).saturating_sub(index.len_max));
    let line = memchr::memrchr2(b'\n', b'\r', &bytes[first..]).map_or(first, |it| first + it + 1);
    for at in line..bytes.len() {
        let rest = &bytes[at..];
        for pattern in &index.by_first[rest[0].to_ascii_lowercase() as usize] {
            for Keyword { rule, text } in &index.patterns[*pattern] {
                let rule = &RULES[*rule];
                let begins = rest.len() < text.len() && {
                    let text = &text[..rest.len()];
                    if rule.exact_case {
                        rest == text
                    } else {
                        rest.eq_ignore_ascii_case(text)
                    }
                };
                if begins {
                    scan.retry_from(at);
                    scan.hold_from((!rule.keep_head).then_some(at));
                }
            }
        }
    }
}

fn emails(block: Block<'_>, start: usize, memo: &mut RunMemo, scan: &mut Scan) {
    let bytes = block.bytes;
    for at in memchr::memchr_iter(b'@', &bytes[start..]) {
        let outcome = matcher::email_at(block, start + at, memo);
        scan.take(EMAIL, start + at, outcome);
    }
    if block.eof {
        return;
    }
    let local = bytes[start..]
        .iter()
        .rev()
        .take(EMAIL_LOCAL_BYTES_MAX)
        .take_while(|b| Run::EmailLocal.holds(**b))
        .count();
    if local > 0 {
        let at = bytes.len() - local;
        scan.hold_from(Some(at));
        scan.retry_from(at);
    }
}
